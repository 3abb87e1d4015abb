package replay

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/offline/spill"
)

// Each tells of every entity that was asked about, and, where the filter let more through, of some others. visitor is
// called once for each goroutine; an entity is told by one of them. It is called once, after Load.
func (l *Log) Each(ctx context.Context, visitor func(worker int) Visitor) error {
	if !l.loaded {
		return errors.New("the events have not been read")
	}
	tellers := make([]*teller, l.o.Workers)
	for i := range tellers {
		tellers[i] = &teller{l: l, r: l.sorter.Reader(), v: visitor(i), ev: l.newEvent(), old: l.newEvent()}
	}
	return l.parallel(ctx, l.sorter.Buckets(), func(worker, bucket int) error { return tellers[worker].bucket(bucket) })
}

func (l *Log) newEvent() Event {
	return Event{Row: make([]feature.Value, len(l.q.Table.Source.Schema))}
}

// teller tells one Visitor of the entities of its buckets.
type teller struct {
	l   *Log
	r   *spill.Reader
	v   Visitor
	ev  Event // the one that has been read
	old Event // one that is told again

	last  []byte // the head of the record before
	open  bool   // an entity has begun
	tombs tombstones
	kept  survivors
	told  int64
}

func (t *teller) bucket(i int) error {
	if err := t.r.Open(i); err != nil {
		return err
	}
	t.last = t.last[:0]
	for {
		rec, err := t.r.Next()
		if err != nil {
			return err
		}
		if rec == nil {
			break
		}
		if len(rec) < headLen {
			return errRecord
		}
		if bytes.Equal(rec[:headLen], t.last) {
			continue // the row came twice
		}
		if len(t.last) == 0 || !bytes.Equal(rec[:16], t.last[:16]) {
			if err := t.begin(); err != nil {
				return err
			}
		}
		t.last = append(t.last[:0], rec[:headLen]...)
		if err := t.record(rec); err != nil {
			return err
		}
	}
	return t.end()
}

func (t *teller) begin() error {
	if err := t.end(); err != nil {
		return err
	}
	t.open = true
	t.tombs.reset()
	t.kept.reset()
	return t.v.Begin()
}

func (t *teller) end() error {
	if !t.open {
		return nil
	}
	t.open = false
	// What is left of the tombstones erased what was told, if not yet at its time.
	if err := t.eraseUntil(feature.MaxTime); err != nil {
		return err
	}
	t.l.visited.Add(t.told)
	t.told = 0
	return t.v.End()
}

func (t *teller) record(rec []byte) error {
	h := parseHead(rec)
	if h.ordinal == probeMark {
		at := unsortable(h.time)
		if err := t.eraseUntil(at); err != nil {
			return err
		}
		return t.v.Probe(at, uint64(h.offset))
	}
	tombstone, err := t.l.parseEvent(rec, &h, &t.ev)
	if err != nil {
		return err
	}
	t.told++
	switch {
	case !t.l.tombs:
	case t.l.q.Arrival:
		if tombstone {
			return t.v.Erase()
		}
	case tombstone:
		t.tombs.add(t.ev.Order.Time, t.ev.Order.Offset)
		return nil
	default:
		if err := t.eraseUntil(t.ev.Order.Time); err != nil {
			return err
		}
		place := arrival(&t.ev.Order)
		if t.tombs.erasedFrom(place) <= t.ev.Order.Time {
			return nil
		}
		if t.tombs.erasesLater(place, t.ev.Order.Time) {
			t.kept.add(rec)
		}
	}
	return t.v.Event(&t.ev)
}

// arrival is the place of an event among the arrivals of its partition: backfilled rows were there before any.
func arrival(o *feature.Order) int64 {
	if o.Ordinal == 0 {
		return -1
	}
	return o.Offset
}

// eraseUntil makes the tombstones up to a time take effect.
func (t *teller) eraseUntil(at int64) error {
	for {
		tomb, ok := t.tombs.due(at)
		if !ok {
			return nil
		}
		if err := t.v.Erase(); err != nil {
			return err
		}
		if err := t.again(tomb); err != nil {
			return err
		}
	}
}

// again tells of the events that arrived after a tombstone and happened before it.
func (t *teller) again(tomb tombstone) error {
	kept := t.kept.recs[:0]
	for _, rec := range t.kept.recs {
		h := parseHead(rec)
		if _, err := t.l.parseEvent(rec, &h, &t.old); err != nil {
			return err
		}
		if arrival(&t.old.Order) < tomb.offset {
			continue
		}
		kept = append(kept, rec)
		if err := t.v.Event(&t.old); err != nil {
			return err
		}
	}
	clear(t.kept.recs[len(kept):])
	t.kept.recs = kept
	return nil
}

// tombstone says that what arrived before an offset is erased from a time on.
type tombstone struct{ time, offset int64 }

// tombstones are those of one entity. All are added before anything is asked.
type tombstones struct {
	byTime   []tombstone
	byOffset []tombstone
	from     []int64 // from[i]: the earliest time of byOffset[i:]
	latest   []int64 // latest[i]: the latest time of byOffset[:i+1]
	next     int     // of byTime
	sorted   bool
}

func (s *tombstones) reset() {
	s.byTime, s.byOffset, s.next, s.sorted = s.byTime[:0], s.byOffset[:0], 0, false
}

func (s *tombstones) add(time, offset int64) {
	s.byTime = append(s.byTime, tombstone{time, offset})
}

func (s *tombstones) sort() {
	if s.sorted {
		return
	}
	s.sorted = true
	s.byOffset = append(s.byOffset[:0], s.byTime...)
	slices.SortFunc(s.byOffset, func(a, b tombstone) int { return int(min(max(a.offset-b.offset, -1), 1)) })
	slices.SortFunc(s.byTime, func(a, b tombstone) int {
		if a.time != b.time {
			return int(min(max(a.time-b.time, -1), 1))
		}
		return int(min(max(a.offset-b.offset, -1), 1))
	})
	n := len(s.byOffset)
	s.from, s.latest = slices.Grow(s.from[:0], n)[:n], slices.Grow(s.latest[:0], n)[:n]
	for i := range n {
		s.latest[i] = s.byOffset[i].time
		if i > 0 {
			s.latest[i] = max(s.latest[i], s.latest[i-1])
		}
	}
	for i := n - 1; i >= 0; i-- {
		s.from[i] = s.byOffset[i].time
		if i+1 < n {
			s.from[i] = min(s.from[i], s.from[i+1])
		}
	}
}

// due returns the next tombstone that takes effect at a time or before.
func (s *tombstones) due(at int64) (tombstone, bool) {
	if len(s.byTime) == 0 {
		return tombstone{}, false
	}
	s.sort()
	if s.next == len(s.byTime) || s.byTime[s.next].time > at {
		return tombstone{}, false
	}
	s.next++
	return s.byTime[s.next-1], true
}

// after returns the index in byOffset of the first tombstone that arrived after a place.
func (s *tombstones) after(place int64) int {
	s.sort()
	i, _ := slices.BinarySearchFunc(s.byOffset, place, func(t tombstone, p int64) int {
		if t.offset <= p {
			return -1
		}
		return 1
	})
	return i
}

// erasedFrom returns the time from which an event that arrived at a place is erased, a time beyond all if it never is.
func (s *tombstones) erasedFrom(place int64) int64 {
	if len(s.byTime) == 0 {
		return feature.MaxTime + 1
	}
	if i := s.after(place); i < len(s.from) {
		return s.from[i]
	}
	return feature.MaxTime + 1
}

// erasesLater reports whether a tombstone that arrived before a place takes effect after a time: the event there outlives
// it, and is to be told again.
func (s *tombstones) erasesLater(place, time int64) bool {
	if len(s.byTime) == 0 {
		return false
	}
	i := s.after(place)
	return i > 0 && s.latest[i-1] > time
}

// survivors are copies of the records that a tombstone may leave.
type survivors struct{ recs [][]byte }

func (s *survivors) reset() {
	clear(s.recs)
	s.recs = s.recs[:0]
}

func (s *survivors) add(rec []byte) { s.recs = append(s.recs, bytes.Clone(rec)) }
