// Package offline knows what is kept of a plane's history, and in which form: a table for each source's events, one for
// each feature view's log, one for each model's inferences and two for what monitors find, their columns, and the batches of rows in which they are
// written and read.
//
// The stores (clickhouse, parquet), the sink that fills them from Kafka, the replay of a source's events in the order of
// their entities, and the training sets made from it are packages below this one. Nothing here connects to anything.
package offline
