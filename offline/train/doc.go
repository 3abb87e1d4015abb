// Package train makes training sets: for each row of a spine, which names entities and a time, the features of a feature
// service as of that time. The numbers are those that a lookup at that time would have returned once every event up to it
// had been processed, because the same code makes them: events are replayed through the views' own inputs, tiles and
// reader. What the spine has besides is kept: its columns, its order, its duplicates.
//
// # What a row sees
//
// Events with event time <= t, ties included: an event at the very moment counts. Windows, the ttl and the absence of an
// entity are judged at t as by a lookup (feature.Reader); what a lookup would answer as NOT_FOUND or OUTSIDE_MAX_AGE is
// null, every feature of the view. A service's derived features are computed from those and from the request's fields, which
// the spine has as columns.
//
// With Options.AsServed a row sees instead the events whose records had arrived at t: those whose Kafka timestamp is t or
// before, whatever their event time, in the order of arrival. It is what serving knew then, up to one publish interval, and
// as exact as those stamps: a topic whose producers stamp records themselves (CreateTime) has the producers' clocks.
//
// # How
//
// The spine is read once, checked, and put aside (spill.Queue); each row becomes a probe of the replays (package replay):
// one for each source and set of join keys that the service reads. Every replay reads only the columns and the time that its
// views need, computes the features of its probes entity by entity, and writes them by row number to a sorter. At the end
// the spine is read back beside the sorted results and written out. So memory is bounded whatever the sizes.
//
// Nothing is left under the final name unless everything went well.
package train
