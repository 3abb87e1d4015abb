// Package node assembles one process of a plane: from a definition and the roles that the process has, it connects the
// clients, mounts the faces on their listeners, and starts and stops everything in order.
//
//	role     needs          does                                             listens on
//	ingest   Kafka          events over HTTP into source topics              listen.http
//	process  Kafka, Redis   source topics into state and the online store    -
//	serve    Redis          lookups over HTTP and gRPC                       listen.http, listen.grpc
//	offline  Kafka, and     source topics and feature logs into ClickHouse   -
//	         a store        and Parquet
//	monitor  Kafka          inferences into profiles, scores, alerts and     -
//	                        messages to channels
//
// Every process has the admin listener with metrics, health and profiles. What the parts do is theirs; here is only
// who is given what, and in which order they come and go.
package node
