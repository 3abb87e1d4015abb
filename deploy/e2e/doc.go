// Package e2e holds the tests that hold the whole program to its promises from outside: the freshet binary as processes
// of its own, on a real Kafka and a real Redis, killed, cut off and fed bad input, and then every feature of every
// entity looked up over HTTP and compared with a naive computation over the raw events. What can be shown with less
// is tested where it lives.
//
// The tests need the services of package testenv and take minutes; nothing in them depends on how fast anything is.
package e2e
