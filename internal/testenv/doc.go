// Package testenv gives tests real services and the certificates they need. Only tests, and the command that runs
// them with services, import it; nothing of it is in the binary that users get.
//
// Kafka, Redis and ClickHouse each come from the first of these that is there:
//
//  1. an address in FRESHET_TEST_KAFKA, FRESHET_TEST_REDIS or FRESHET_TEST_CLICKHOUSE;
//  2. a Docker engine that answers (see docker.go);
//  3. local processes: Apache Kafka from Maven Central, which needs java and mvn, redis-server, and the engine of ClickHouse
//     as a library from the npm registry, which needs npm and linux on amd64, behind the small server in clickhouse/.
//
// An Alertmanager is always a local process of the test that asks for it.
//
// Where none is, the test is skipped with a line that says so; with FRESHET_REQUIRE_SERVICES=1 it fails instead. Tests
// share the services, so each keeps to its own names: see Prefix.
package testenv
