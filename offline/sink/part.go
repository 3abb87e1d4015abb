package sink

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/offline"
)

// recordOverhead is what a record takes in memory besides its bytes.
const recordOverhead = 200

func cost(r *kgo.Record) int64 {
	n := recordOverhead + len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		n += len(h.Key) + len(h.Value)
	}
	return int64(n)
}

// limits say when a batch is large or old enough.
type limits struct {
	rows  int
	bytes int64
	age   time.Duration
}

// part is a partition that is this member's.
type part struct {
	id   int32
	next int64          // every record below is in the store
	redo *offline.Range // recorded by a predecessor: to be written before anything else (O2)

	recs  []*kgo.Record // waiting, in offset order, all at or above the end of the flight
	bytes int64         // of recs
	since time.Time     // when the oldest of recs came

	flight  *flight // under way; nil: nothing is (O3)
	told    mark    // what the group has been told
	high    int64   // end of the log, as far as it is known
	passed  int64   // behind the last marker of a transaction that has been read; markers have no row
	stopped error   // why nothing more is read; nil: it is
}

// mark is what a commit says: everything below offset is written, and the range [offset, end) may be; end is 0 if none is.
type mark struct{ offset, end int64 }

// flight is a range on its way into the store.
type flight struct {
	r      offline.Range
	recs   []*kgo.Record
	bytes  int64
	cancel func()
	done   chan struct{} // closed when it has ended; ok may be read then
	ok     bool          // the store has it
}

func (p *part) ended() bool {
	if p.flight == nil {
		return false
	}
	select {
	case <-p.flight.done:
		return true
	default:
		return false
	}
}

// push adds records. Those below what is wanted, which a fetch begun before a seek may bring, are dropped.
func (p *part) push(recs []*kgo.Record, now time.Time) (added int64) {
	from := p.end()
	if n := len(p.recs); n > 0 {
		from = p.recs[n-1].Offset + 1
	}
	for _, r := range recs {
		if r.Attrs.IsControl() {
			p.passed = r.Offset + 1
			continue
		}
		if r.Offset < from {
			continue
		}
		if len(p.recs) == 0 {
			p.since = now
		}
		p.recs = append(p.recs, r)
		added += cost(r)
	}
	p.bytes += added
	return added
}

// lag is how many records are known that are not in the store.
func (p *part) lag() int64 {
	done := p.next
	if p.flight == nil && len(p.recs) == 0 {
		done = max(done, p.passed)
	}
	return max(0, p.high-done)
}

// end is where the next range begins.
func (p *part) end() int64 {
	if p.flight != nil {
		return p.flight.r.End
	}
	return p.next
}

// cut returns how many of the waiting records are the next batch, and where its range ends; ok is false if it is not due.
// A pressed batch is due as it is. A recorded range is due when it is here whole, and is not a record more or less.
func (p *part) cut(l limits, now time.Time, pressed bool) (n int, end int64, ok bool) {
	if len(p.recs) == 0 {
		return 0, 0, false
	}
	last := p.recs[len(p.recs)-1].Offset
	if p.redo != nil {
		if last < p.redo.End-1 {
			return 0, 0, false
		}
		n, _ = slices.BinarySearchFunc(p.recs, p.redo.End, func(r *kgo.Record, end int64) int { return int(r.Offset - end) })
		return n, p.redo.End, true
	}
	size := int64(0)
	full := false
	for n < len(p.recs) && !full {
		size += cost(p.recs[n])
		n++
		full = n >= l.rows || size >= l.bytes
	}
	if !full && !pressed && now.Sub(p.since) < l.age {
		return 0, 0, false
	}
	return n, p.recs[n-1].Offset + 1, true
}

// take removes the first n waiting records for a range that ends at end.
func (p *part) take(topic string, n int, end int64, now time.Time) *flight {
	f := &flight{
		r:    offline.Range{Topic: topic, Partition: p.id, First: p.next, End: end},
		recs: p.recs[:n:n], done: make(chan struct{}),
	}
	for _, r := range f.recs {
		f.bytes += cost(r)
	}
	p.recs = slices.Clone(p.recs[n:])
	p.bytes -= f.bytes
	p.since = now
	p.flight = f
	return f
}

// settle ends a flight that is done. One that failed was cancelled: the part is no longer anyone's here.
func (p *part) settle() {
	if p.flight.ok {
		p.next = p.flight.r.End
		p.redo = nil
	}
	p.flight = nil
}

// wants is what the group should be told.
func (p *part) wants() mark {
	m := mark{offset: p.next}
	if p.flight != nil {
		m.end = p.flight.r.End
	} else if p.redo != nil {
		m.end = p.redo.End
	}
	return m
}
