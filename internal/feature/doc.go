// Package feature is the core that every path shares: values and their types, entity keys, the order of events,
// windows and tiles, aggregations, a view's state and its encodings, and the evaluation of a view at a time.
//
// The stream processors, the lookups and the training sets all compute features with this package and with
// nothing else: one definition, one semantics. What lives here does no I/O, reads no clock, starts no goroutine and
// imports nothing of the project; time is always an argument, in microseconds since the Unix epoch.
//
// Three floors, each knowing only what is below it:
//
//	Value, Type, Order, key            what an event and an entity are made of
//	Aggregator (one file each)         partial states of one aggregate function, as bytes
//	Layout, Entity, Blob               a view: its tiles for each hop, their encodings, and the reading of a window
package feature
