package replay

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/spill"
)

// Scanner reads what an offline store has of a table.
type Scanner interface {
	// Scan calls fn with batches of the rows that q asks for, in any order; a row may come twice. fn is called from
	// several goroutines only if q.Parallel > 1, with the number of the goroutine.
	Scan(ctx context.Context, t *offline.Table, q offline.Query, fn func(worker int, b *offline.Batch) error) error
	// Covered returns for each topic and partition the range of offsets whose records the store has whole.
	Covered(ctx context.Context, t *offline.Table) ([]offline.Range, error)
}

// Options say with what a Log works. The zero value of each field stands for its default.
type Options struct {
	Dir     string // of temporary files; default the system's
	Memory  int64  // bytes of events held and sorted; default 96 MiB
	Workers int    // default as many as cores
}

// Query says what is replayed.
type Query struct {
	Table  *offline.Table // of a source's events
	Key    []int          // the fields of the entity's join keys, in the entity's order
	Fields []int          // the fields whose values events have; all others of their rows are null

	From, To int64           // as offline.Query
	Below    map[int32]int64 // likewise

	// Direct says that the source is keyed by the entity and partitioned so: all records of an entity are in one
	// partition, and tombstones are of the entity. It is config.View.Direct.
	Direct  bool
	Arrival bool // in the order of arrival
	All     bool // every entity; else those of probes

	// Accept reports whether an event with this row matters to anyone; nil: all do. Of the row the fields of Fields are
	// set. It is called with the number of the goroutine.
	Accept func(worker int, row []feature.Value) bool

	// Task returns the task that counts the events of a row's entity, for Log.StreamTimes; nil: those are not kept. Of the
	// row the fields of Key and Fields are set.
	Task func(row []feature.Value) (int32, error)
}

// Event is one event of an entity. A Visitor does not keep it: its row's values are valid until it returns.
type Event struct {
	Order   feature.Order
	Arrived int64 // known with Query.Arrival; else 0
	Row     []feature.Value
}

// Visitor is told of entities one after the other.
type Visitor interface {
	Begin() error // an entity, of which nothing is known yet
	Event(e *Event) error
	Erase() error // forget all that was told of the entity
	Probe(at int64, row uint64) error
	End() error
}

// entity is the hash of an entity's key.
type entity [16]byte

// Log is the events of one replay.
type Log struct {
	o       Options
	q       Query
	seeds   [2]maphash.Seed
	sorter  *spill.Sorter
	ids     *spill.Sorter // nil: the source has no event ids
	probes  *spill.Writer
	wanted  filter
	clocks  clocks
	columns []int // of the table, as scanned
	id      int   // the field of the event id, -1 if there is none
	tombs   bool

	times   []map[int32]int64 // stream times by worker
	scanned atomic.Int64
	kept    atomic.Int64
	visited atomic.Int64
	rec     []byte
	loaded  bool
}

// New returns a Log without events.
func New(o Options, q Query) (*Log, error) {
	if o.Memory <= 0 {
		o.Memory = 96 << 20
	}
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if q.Table.View != nil {
		return nil, fmt.Errorf("table %s holds features, not events: it cannot be replayed", q.Table.Name)
	}
	if len(q.Key) == 0 {
		return nil, errors.New("no join keys")
	}
	src := q.Table.Source
	l := &Log{o: o, q: q, seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, id: src.EventID, tombs: q.Direct && src.Tombstones}
	share := o.Memory
	if l.id >= 0 {
		share /= 2
		l.ids = spill.New(spill.Options{Dir: o.Dir, Memory: share, Readers: o.Workers})
	}
	l.sorter = spill.New(spill.Options{Dir: o.Dir, Memory: share, Readers: o.Workers})
	l.probes = l.sorter.Writer()
	add := func(fields ...int) {
		for _, f := range fields {
			if !slices.Contains(l.columns, f) {
				l.columns = append(l.columns, f)
			}
		}
	}
	add(q.Key...)
	add(q.Fields...)
	if l.id >= 0 {
		add(l.id)
	}
	l.times = make([]map[int32]int64, o.Workers)
	return l, nil
}

// Close gives back memory and files.
func (l *Log) Close() error {
	err := l.sorter.Close()
	if l.ids != nil {
		err = errors.Join(err, l.ids.Close())
	}
	return err
}

// Scanned returns how many rows have been read; Kept how many of them were of use; Visited how many of those have been
// handed out. They may be called at any time.
func (l *Log) Scanned() int64 { return l.scanned.Load() }

// Kept is explained at Scanned.
func (l *Log) Kept() int64 { return l.kept.Load() }

// Visited is explained at Scanned.
func (l *Log) Visited() int64 { return l.visited.Load() }

// Spilled returns the bytes that went to temporary files.
func (l *Log) Spilled() int64 {
	n := l.sorter.Spilled()
	if l.ids != nil {
		n += l.ids.Spilled()
	}
	return n
}

func (l *Log) hash(key []byte) (e entity) {
	putWord(e[:], maphash.Bytes(l.seeds[0], key))
	putWord(e[8:], maphash.Bytes(l.seeds[1], key))
	return e
}

// bucket is the bucket of an entity: of its own, and in order, so that the hash's first bits are used up here.
func bucketOf(e []byte, n int) int { return int(uint(e[0])<<8|uint(e[1])) * n >> 16 }

// Expect says how many probes will come, about; it makes the filter of entities fit. Called before the first.
func (l *Log) Expect(probes int64) { l.wanted = newFilter(probes) }

// Probe asks about the entity with a key (feature.AppendKey) at a time. row is the caller's. All probes come before
// Load, from one goroutine.
func (l *Log) Probe(key []byte, at int64, row uint64) error {
	if l.wanted.bits == nil {
		l.wanted = newFilter(1 << 21)
	}
	e := l.hash(key)
	l.wanted.add(&e)
	l.rec = appendHead(l.rec[:0], &e, sortable(at), probeMark, 0, int64(row))
	return l.probes.Add(bucketOf(e[:], l.sorter.Buckets()), l.rec)
}

// Span sets the event times that Load reads, as Query.From and Query.To: known, it may be, only once the last probe is.
func (l *Log) Span(from, to int64) { l.q.From, l.q.To = from, to }

// Load reads the events.
func (l *Log) Load(ctx context.Context, s Scanner) error {
	if l.loaded {
		return errors.New("the events have been read already")
	}
	l.loaded = true
	if err := l.probes.Close(); err != nil {
		return err
	}
	loaders := make([]*loader, l.o.Workers)
	for i := range loaders {
		loaders[i] = l.newLoader(i)
	}
	q := offline.Query{Columns: l.columns, From: l.q.From, To: l.q.To, Below: l.q.Below, Parallel: l.o.Workers}
	err := s.Scan(ctx, l.q.Table, q, func(worker int, b *offline.Batch) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return loaders[worker].take(b)
	})
	if err != nil {
		return fmt.Errorf("read %s: %w", l.q.Table.Name, err)
	}
	for _, ld := range loaders {
		if err := ld.close(); err != nil {
			return err
		}
	}
	if l.ids == nil {
		return nil
	}
	return l.dropDuplicates(ctx)
}

// StreamTimes returns the stream time of each task, by Query.Task: the largest event time of its events. An event whose id
// was counted already adds to it too.
func (l *Log) StreamTimes() map[int32]int64 {
	out := map[int32]int64{}
	for _, times := range l.times {
		for p, t := range times {
			if was, ok := out[p]; !ok || t > was {
				out[p] = t
			}
		}
	}
	return out
}

// parallel runs fn for every bucket, one worker a core.
func (l *Log) parallel(ctx context.Context, buckets int, fn func(worker, bucket int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var wg sync.WaitGroup
	for w := range l.o.Workers {
		wg.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1) - 1)
				if i >= buckets {
					return
				}
				if err := fn(w, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// Workers returns how many goroutines call a Visitor, and Query.Accept.
func (l *Log) Workers() int { return l.o.Workers }
