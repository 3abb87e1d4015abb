// Package kafka holds what every Kafka client of Freshet shares: connection options, the wait for brokers, the
// creation and checking of topics. No record passes through it; producing and consuming belong to the rooms.
package kafka
