// Package replay hands out a source's past events entity by entity, in bounded memory, as the processors would count them:
// for training sets, which ask for features at moments in between, and for rebuilding a view, which asks for the state of
// every entity at the end. It reads through a Scanner, which the offline stores implement; what is computed from the
// events is its callers' matter.
//
// # Use
//
//	l, err := replay.New(options, replay.Query{...}) // one source, one set of join keys
//	l.Probe(key, t, row)                             // moments asked about; none for Query.All
//	l.Load(ctx, scanner)                             // reads the events, once
//	l.Each(ctx, func(worker int) replay.Visitor)     // entity by entity; a Visitor for each goroutine
//	l.Close()
//
// A Visitor sees, for each entity, Begin, then Event, Erase and Probe in order, then End. States is a Visitor that builds
// the state of every entity in some views: a bootstrap is New with Query.All, Load, EachState.
//
// # Which events, in which order
//
// In event time (the default): an entity's events come in their Order, and a probe at t after all that happened at t or
// before; so a Visitor that folds events in and reads at a probe has what serving returns at t once every event up to t has
// been processed. In arrival (Query.Arrival): events come as they arrived, and a probe at t after all that had arrived
// at t or before, their own times whatever they are: what serving knew at t, as far as the stamps of arrival tell.
//
//   - A row that comes twice, with the same Order, is handed out once.
//   - Event ids. Of the events of one entity with one id the first to arrive counts. A later one counts again if stream time
//     had passed the event time of the one that counted by more than the source's horizon, as the processors judge it. Null
//     is no id. Backfilled rows arrived before all others, and among them an id never counts again.
//   - Tombstones (Query.Direct). A tombstone erases what arrived before it, from its own time on: events that arrived
//     before and happen later never count, events that happened before and arrived later count on. A Visitor is told to
//     Erase, then gets those again.
//   - Rows without a key, or with one that no entity can have, are left out, as the processors leave them out.
//
// All this equals what the processors do for Query.Direct, where an entity's records are in one partition, whose offsets are
// the order of arrival. What cannot be known from rows is judged by what they have:
//
//   - An id is looked for within its entity; the processors look in the whole task. It differs where a producer gives one id
//     to events of two entities.
//   - Of a repartitioned view, arrival is by the records' time stamps, then partition and offset, and stream time is that of
//     the source's partition, not of the repartition topic's.
//   - Stream time is kept exactly for offsets below 262,144 in a partition, and beyond that in steps of offsets that double
//     as partitions grow, at most 262,144 of them. Rows before Query.From do not add to it. Both move the moment at which an
//     id is forgotten, nothing else. So does a duplicate whose event time is beyond all others.
//
// # Memory
//
// Events of entities that nobody asks about are dropped as they are read (a filter of bits, which lets a few through).
// The others become compact records in package spill, which sorts them within a budget, on disk where needed. An entity
// is told from others by a 128-bit hash of its key, seeded anew for each Log. A record sorts as its bytes do:
//
//	0   16   hash of the entity's key
//	16  u64  the time it is sorted by, big-endian, sign bit flipped; 0 for a tombstone in event time, which is known first
//	24  u8   source ordinal; 255: a probe
//	25  i32  partition, big-endian, sign bit flipped; of a probe 0
//	29  i64  offset, likewise; of a probe its row
//	37  u8   1: a tombstone; 2: the event time follows
//	         i64 event time, little-endian, where it is not what is sorted by
//	         the values of Query.Fields, as package rowbytes writes them
//
// With event ids, records pass another sorter first, under the hash of entity and id, by arrival.
package replay
