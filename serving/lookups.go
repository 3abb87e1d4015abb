package serving

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/online"
)

// Options tune lookups. The zero value of each field stands for its default.
type Options struct {
	Logger     *slog.Logger          // default: discard
	Clock      func() time.Time      // the reader's clock; default time.Now
	Registerer prometheus.Registerer // default: metrics are counted and not exposed
	Version    string                // what GetFeastServingInfo answers; default "dev"

	MaxRows      int           // of one request; default 1,000
	MaxFeatures  int           // of one request that lists them; default 1,000
	MaxBodyBytes int           // of one request; default 4 MiB
	Timeout      time.Duration // of one request that names none; default 1 s
	MaxTimeout   time.Duration // that a request may name; default 10 s

	// Allow tells whether the caller may read a feature service, or, for "", features by name; nil: everyone may.
	Allow func(ctx context.Context, service string) bool

	// Generations asks the store which states of the views are whole (online.Client.Generations); nil: those that the
	// processors build themselves. Until Follow has asked once, lookups are not answered.
	Generations func(context.Context) (map[string]uint32, error)

	// Ready reports why lookups cannot be answered now, for health checks; nil: always ready.
	Ready func(context.Context) error
}

func (o *Options) setDefaults() {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Version == "" {
		o.Version = "dev"
	}
	defaultTo(&o.MaxRows, 1000)
	defaultTo(&o.MaxFeatures, 1000)
	defaultTo(&o.MaxBodyBytes, 4<<20)
	defaultTo(&o.Timeout, time.Second)
	defaultTo(&o.MaxTimeout, 10*time.Second)
	if o.Ready == nil {
		o.Ready = func(context.Context) error { return nil }
	}
}

func defaultTo[T int | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}

// Lookups answers lookups over a plane's online store. Safe for concurrent use.
type Lookups struct {
	plane   *config.Plane
	store   Fetcher
	opts    Options
	metrics *metrics
	planner planner
	batches sync.Pool // of *batch
	wires   sync.Pool // of *wire

	logged   atomic.Int64 // when a failure was last logged, Unix nanoseconds
	unlogged atomic.Int64 // failures since then
	followed atomic.Bool  // the generations are known
}

// New returns the lookups of a plane.
func New(plane *config.Plane, store Fetcher, opts Options) (*Lookups, error) {
	opts.setDefaults()
	m, err := newMetrics(opts.Registerer, plane)
	if err != nil {
		return nil, fmt.Errorf("register lookup metrics: %w", err)
	}
	l := &Lookups{plane: plane, store: store, opts: opts, metrics: m}
	l.planner = planner{catalog: newCatalog(plane), metrics: m, maxFeatures: opts.MaxFeatures, plans: make(map[string]*plan)}
	l.batches.New = func() any { return new(batch) }
	l.wires.New = func() any { return new(wire) }
	return l, nil
}

// followEvery is how often the generations of the views' states are asked for.
const followEvery = time.Second

// Follow keeps lookups at the newest whole states of the views until ctx ends. An answer that does not come changes nothing.
func (l *Lookups) Follow(ctx context.Context) {
	if l.opts.Generations == nil {
		return
	}
	for {
		ask, cancel := context.WithTimeout(ctx, l.opts.Timeout)
		g, err := l.opts.Generations(ask)
		cancel()
		wait := followEvery
		if err == nil {
			l.planner.setGenerations(g)
			l.followed.Store(true)
		} else if !l.followed.Load() {
			wait = followEvery / 10
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

// begin returns a batch for a lookup of the plan as of now.
func (l *Lookups) begin(pl *plan) *batch {
	b := l.batches.Get().(*batch)
	b.reset(pl, l.opts.Clock().UnixMicro())
	return b
}

// end takes the batch back; its values must not be used any more.
func (l *Lookups) end(b *batch) {
	if b.release() {
		l.batches.Put(b)
	}
}

// errNotFollowed says that it is not known yet which states of the views are whole.
var errNotFollowed = errors.New("it has not said yet which states of the views are whole")

// mayRead refuses a caller whose token does not cover what the request asks for.
func (l *Lookups) mayRead(ctx context.Context, pl *plan) *Error {
	if l.opts.Allow != nil && !l.opts.Allow(ctx, pl.service) {
		return forbidden(pl.service)
	}
	return nil
}

// fetch reads from the store and tells a store that is away from a request whose time is up.
func (l *Lookups) fetch(ctx context.Context, reqs []online.FetchRequest, out [][][]byte, mem *online.Memory) *Error {
	if len(reqs) == 0 {
		return nil
	}
	if l.opts.Generations != nil && !l.followed.Load() {
		return &Error{Kind: Unavailable, Row: -1, Message: "the online store is not available", Err: errNotFollowed}
	}
	err := l.store.FetchInto(ctx, reqs, out, mem)
	switch {
	case err == nil:
		return nil
	case timeIsUp(ctx, err):
		return &Error{Kind: Deadline, Row: -1, Message: "the online store did not answer in time", Err: err}
	}
	return &Error{Kind: Unavailable, Row: -1, Message: "the online store is not available", Err: err}
}

// timeIsUp tells whether a fetch failed because the request's time had come. A connection takes the request's deadline as
// its own and may notice it first: then ctx has not ended yet. One that gave up earlier was the store's failure.
func timeIsUp(ctx context.Context, err error) bool {
	const early = time.Millisecond // of a connection's timer
	if ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	at, ok := ctx.Deadline()
	return ok && errors.Is(err, os.ErrDeadlineExceeded) && time.Until(at) < early
}

// log writes what the operator has to know: the client's mistakes are the client's. While the store is away every
// lookup fails alike, so at most one a second is written, with how many were left out.
func (l *Lookups) log(ctx context.Context, f face, err *Error) {
	if err.Kind < Unavailable {
		return
	}
	now := time.Now().UnixNano()
	last := l.logged.Load()
	if now-last < int64(time.Second) || !l.logged.CompareAndSwap(last, now) {
		l.unlogged.Add(1)
		return
	}
	l.opts.Logger.LogAttrs(ctx, slog.LevelWarn, "lookup failed", slog.String("face", faceNames[f]),
		slog.String("kind", err.Kind.String()), slog.Int64("others", l.unlogged.Swap(0)), slog.Any("error", err))
}
