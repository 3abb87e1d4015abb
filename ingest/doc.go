// Package ingest knows how an event gets in. It turns a record's bytes into a typed row of its source's schema (codecs),
// judges it (required fields, event time, keys), names and computes record keys and partitions, writes what cannot be
// used to dead-letter topics and replays it from there, and takes events over HTTP (Gateway).
//
// What happens to an accepted event is not known here: state, windows and features are the processors' subject, and
// topics are created elsewhere.
//
// One set of rules serves both ways in. The gateway refuses a record for exactly the reasons for which a processor
// would dead-letter it, because both call Reader.
package ingest
