// Package sink fills an offline store from Kafka: one consumer group for each table, whose members read the table's topic
// read_committed, judge its records as the processors do, and hand the store ranges of offsets with their rows. The store
// writes a range once however often it is given; what is here sees to it that after any crash the same range is given again.
//
// # Exactly once
//
// The code cites these by number.
//
//   - O1 A range is recorded before it is written: its end stands in the metadata of the group's offset commit, whose
//     offset is the range's beginning. When the store has the range, the commit moves to its end. One commit does both for
//     the range before and the range after.
//   - O2 Who takes a partition over reads the commit. A range that is recorded there is read again, exactly so, and written
//     before anything else; it may or may not be in the store, in whole or in part. A store that knows more than the group
//     (files do) is believed first.
//   - O3 A partition has at most one range under way, and ranges follow each other without gaps. What is committed is whole.
//   - O4 Commits happen only while rebalances are held up, so only for partitions that are this member's. A member that was
//     thrown out may still be writing a range: it is the recorded one, which its successor writes too.
//   - O5 A topic that was deleted and created again is another one: a store notes the id of the topic it was filled from, and
//     no partition of another is read. Offsets that the topic has lost stop the partition, and say how many; they are gone past only where that was asked
//     for.
//   - O6 What waits is bounded: beyond the budget, which all tables of a process share, batches are cut short; beyond it
//     still, fetching pauses. A store that is away is tried again forever, with the same range.
//
// # Who dead-letters
//
// The processors put aside what they refuse. A source that no view reads has none: then the sink of one store, chosen by
// who assembles the process, does it, at least once, before the range's commit.
//
//	sink.go      the tables of a process, and whether they are ready
//	consumer.go  one table: polling, launching, settling
//	part.go      one partition: what waits, and where the next batch ends
//	resume.go    where a partition begins when it is assigned
//	writer.go    records into rows, and rows into the store
//	metrics.go   numbers
package sink
