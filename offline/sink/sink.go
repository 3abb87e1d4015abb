package sink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/offline"
)

// Store is what a sink writes to.
type Store interface {
	// Prepare creates or migrates the table: columns are added, nothing is dropped or narrowed.
	Prepare(ctx context.Context, t *offline.Table) error
	// Identify returns the id of the topic of which the table has offsets; it is id from now on if none was known.
	Identify(ctx context.Context, t *offline.Table, topic, id string) (string, error)
	// Resume says what the store itself knows of partitions, at one moment. Of one that it does not return it cannot tell, or has
	// nothing: then the group's commit decides.
	Resume(ctx context.Context, t *offline.Table, topic string, partitions []int32) (map[int32]offline.Place, error)
	// Write stores the rows of a range, once however often it is called with the same range and rows. Rows are in offset
	// order; there may be none. They are valid until Write returns.
	Write(ctx context.Context, t *offline.Table, r offline.Range, b *offline.Batch) error
}

// Budget bounds the records that wait in memory, over all sinks of a process.
type Budget struct {
	limit int64
	used  atomic.Int64
}

// NewBudget returns a budget of so many bytes.
func NewBudget(bytes int64) *Budget { return &Budget{limit: bytes} }

// Options are what a Sink is made of.
type Options struct {
	Plane  *config.Plane
	Client []kgo.Opt // to reach Kafka
	Name   string    // of the store, in group names and metrics: clickhouse, parquet
	Store  Store
	Tables []*offline.Table

	// DeadLetters has the sink put aside what it refuses of sources that no view reads. Of the sinks of a plane one should.
	DeadLetters bool
	// AcceptGap goes on where records were lost to a topic's retention.
	AcceptGap bool

	Budget  *Budget
	Metrics *Metrics
	Logger  *slog.Logger
}

// Sink fills the tables of one store.
type Sink struct {
	Options
	consumers []*consumer
	slots     chan *offline.Batch // who writes has one; rows are built in it
}

// writers is how many ranges of a sink are decoded and written at a time.
const writers = 2

// New returns a Sink that does nothing yet.
func New(o Options) (*Sink, error) {
	s := &Sink{Options: o, slots: make(chan *offline.Batch, writers)}
	for range writers {
		s.slots <- &offline.Batch{}
	}
	for _, t := range o.Tables {
		c, err := newConsumer(s, t)
		if err != nil {
			return nil, fmt.Errorf("sink of table %s: %w", t.Name, err)
		}
		s.consumers = append(s.consumers, c)
	}
	return s, nil
}

// Run fills the tables until ctx ends, then waits for the ranges under way. A table that cannot go on is told by Ready, and
// does not end the others.
func (s *Sink) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, c := range s.consumers {
		wg.Go(func() { c.run(ctx) })
	}
	wg.Wait()
	return nil
}

// Ready tells which tables cannot be filled, and why; nil if all can and have found their places.
func (s *Sink) Ready() error {
	var errs []error
	for _, c := range s.consumers {
		if err := c.ready(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %s: %w", s.Name, c.t.Name, err))
		}
	}
	return errors.Join(errs...)
}

// Group is the name of the consumer group that fills a table of a store.
func Group(p *config.Plane, store string, t *offline.Table) string {
	return p.Prefix + "sink." + store + "." + t.Name
}

// Committed returns for each partition of a table's topic the offset below which its records are in the store.
func Committed(ctx context.Context, adm *kadm.Client, p *config.Plane, store string, t *offline.Table) (map[int32]int64, error) {
	resp, err := adm.FetchOffsets(ctx, Group(p, store, t))
	if err == nil {
		err = resp.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("fetch the offsets of %s: %w", Group(p, store, t), err)
	}
	out := map[int32]int64{}
	for partition, o := range resp[t.Source.Topic] {
		if o.At >= 0 {
			out[partition] = o.At
		}
	}
	return out, nil
}

// The metadata of a commit whose offset is followed by a range that may have been written: "writing to END".
const writingTo = "writing to "

func (m mark) metadata() string {
	if m.end == 0 {
		return ""
	}
	return writingTo + strconv.FormatInt(m.end, 10)
}

func parseMark(offset int64, metadata string) (mark, error) {
	m := mark{offset: offset}
	text, ok := strings.CutPrefix(metadata, writingTo)
	if !ok {
		return m, nil
	}
	var err error
	if m.end, err = strconv.ParseInt(text, 10, 64); err != nil || m.end <= offset {
		return m, fmt.Errorf("the commit at offset %d has metadata %q, which records no range", offset, metadata)
	}
	return m, nil
}

// backoff returns the wait before try n, from 1: 100 ms, doubled up to 10 s.
func backoff(n int) time.Duration {
	return min(100*time.Millisecond<<min(n-1, 10), 10*time.Second)
}

// sleep returns false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
