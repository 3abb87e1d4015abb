// Package processors is the stream runtime and the processors on it: routers, which copy a source's records to
// repartition topics keyed by other entities; the materializer, which folds events into the state of feature views and
// publishes entities to the online store; the profiler and the evaluator, which count a model's inferences and judge its
// monitors; and the Builder, which builds a view's state beside the running processors.
//
// The invariants that hold this package together are written in ARCHITECTURE.md ("The stream runtime") and cited here by
// number, R1 to R13. What a feature is worth is not decided here (internal/feature), nor how an event is decoded
// (ingest), nor what Redis accepts (internal/online).
//
// Who touches what:
//
//	loop goroutine      the session, every running task, entities in memory; between batches only
//	batch workers       one task each, inside one batch, while the loop waits
//	ender goroutine     the session alone, while a transaction ends; the loop leaves it alone
//	restorer goroutine  the changelog reader and the store's cells of tasks that are not running
//	publisher goroutine one batch of encoded blobs at a time; it sees no task
//	canaries goroutine  the tasks' canaries in Redis, by the versions that the loop hands over
//
// They meet in channels; no task, view or entry is touched by two goroutines at a time.
package processors
