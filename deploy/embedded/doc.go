// Package embedded runs the services that a plane needs inside this process: a Kafka, whose protocol any client on
// this machine can speak, and a Redis. It knows nothing of planes; whoever runs one passes the addresses on.
//
// Both are for one machine and one process. The Kafka keeps topics, records and committed offsets over a restart, and
// over a kill of the process, when it is given a folder; what a crash of the machine had not reached the disk is lost,
// and a transaction that was being committed when the process was killed may be seen in a part of its partitions. The
// Redis starts empty: it is rebuilt from the processors' state. Where that is not enough, name real services.
package embedded
