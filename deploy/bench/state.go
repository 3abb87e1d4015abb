package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"text/template"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/kafka"
)

// StateOptions say how much state is measured, and with which services.
type StateOptions struct {
	Kafka       string // host:port of a broker
	Redis       string // URL
	Entities    int    // of the large pass
	Few         int    // of the small pass
	PerEntity   int    // events of each entity before the large pass is measured
	Rate        int    // events a second that are measured; 0: they are all there before the runtime starts
	Events      int    // measured, of entities at random; in both passes
	Partitions  int32
	Commit      time.Duration // 0: the plane's default
	Cache       int64         // bytes of entities in memory; 0: the plane's default
	Dir         string        // of the local store; it is left empty
	CPUProfile  string        // a file for the profile of the large pass's measured part
	HeapProfile string        // a file for what the heap holds after it
	Logger      *slog.Logger
	Out         io.Writer
}

// StatePass is one number of entities, touched at random.
type StatePass struct {
	Entities    int              `json:"entities"`
	Random      Rate             `json:"random"`
	CPUMicros   float64          `json:"cpu_us_per_event"`
	MaxRSSBytes int64            `json:"max_rss_bytes"`
	Published   float64          `json:"published_per_event"` // entities written to Redis; what changes meanwhile coalesces
	Stages      map[string]Stage `json:"stages"`
}

// StateResult compares many entities with few, and tells how long it takes to rebuild the many.
type StateResult struct {
	LoadBefore     string    `json:"load_before"`
	Few            StatePass `json:"few"`
	Many           StatePass `json:"many"`
	RatioCPU       float64   `json:"ratio_of_cpu"` // CPU an event of many over few
	RestoreSeconds float64   `json:"restore_seconds"`
	RestoreRecords float64   `json:"restore_records"`
	RestoreCPU     float64   `json:"restore_cpu_seconds"`
}

var statePlane = template.Must(template.New("plane").Parse(`
project: bench
prefix: {{.Prefix}}
connections:
  kafka: {brokers: ["{{.Kafka}}"], replication_factor: 1, min_insync_replicas: 1}
entities:
  - {name: user, join_keys: [{name: user_id, type: string}]}
sources:
  - name: events
    topic: {{.Topic}}
    format: json
    key: [user_id]
    event_time: {field: ts, format: unix_ms}
    schema:
      - {name: user_id, type: string, required: true}
      - {name: amount, type: float64}
      - {name: ts, type: int64, required: true}
feature_views:
  - name: user_amounts
    entity: user
    source: events
    features:
      - {name: count_10m, aggregate: count, window: 10m}
      - {name: sum_10m, aggregate: sum, of: amount, window: 10m}
      - {name: count_6h, aggregate: count, window: 6h}
      - {name: sum_6h, aggregate: sum, of: amount, window: 6h}
      - {name: count_7d, aggregate: count, window: 168h}
      - {name: sum_7d, aggregate: sum, of: amount, window: 168h}
`))

// State measures memory, the cost of an event at few and at many entities, and the restore of the many.
func State(ctx context.Context, o StateOptions) (res StateResult, err error) {
	res.LoadBefore = Load()
	few := o
	few.CPUProfile, few.HeapProfile = "", ""
	err = few.pass(ctx, o.Few, func(ctx context.Context, p *statePass) error {
		res.Few, err = p.measure(ctx)
		return err
	})
	if err != nil {
		return res, err
	}
	err = o.pass(ctx, o.Entities, func(ctx context.Context, p *statePass) error {
		if res.Many, err = p.measure(ctx); err != nil {
			return err
		}
		return p.restore(ctx, &res)
	})
	res.RatioCPU = res.Many.CPUMicros / res.Few.CPUMicros
	return res, err
}

// statePass is one topic, its plane, and its number of entities.
type statePass struct {
	o        StateOptions
	entities int
	plane    *config.Plane
	opts     []kgo.Opt
	maker    *eventMaker
}

// pass makes a topic of events of a number of entities and a plane over it, calls fn, and cleans up.
func (o StateOptions) pass(ctx context.Context, entities int, fn func(context.Context, *statePass) error) (err error) {
	topic := runName()
	plane, remove, err := loadPlane(o.Dir, statePlane, map[string]any{"Prefix": topic + ".", "Kafka": o.Kafka, "Topic": topic})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	if o.Commit > 0 {
		plane.Processing.CommitInterval = o.Commit
	}
	if o.Cache > 0 {
		plane.Processing.StateCacheBytes = o.Cache
	}
	opts, err := kafka.Options(*plane.Connections.Kafka, "freshet-bench")
	if err != nil {
		return err
	}
	drop, err := sourceTopic(ctx, opts, topic, o.Partitions)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, drop()) }()
	p := &statePass{o: o, entities: entities, plane: plane, opts: opts}
	m := newEventMaker(entities)
	m.user = uniform(m.rng, entities, o.PerEntity*entities)
	p.maker = m
	n := p.events()
	if o.Rate > 0 {
		n = p.warm()
	}
	if _, err := fill(ctx, opts, topic, o.Partitions, n, m.next); err != nil {
		return err
	}
	fmt.Fprintf(o.Out, "%d entities: %d events each, then %d of entities at random\n", entities, o.PerEntity, o.Events)
	return fn(ctx, p)
}

// uniform numbers the users of events: the first `each` are all users in turn, in an order that jumps about; the others
// are at random.
func uniform(rng interface{ Uint64N(uint64) uint64 }, users, each int) func() uint64 {
	i, n := 0, uint64(users)
	step := coprime(n)
	return func() uint64 {
		i++
		if i <= each {
			return uint64(i) * step % n
		}
		return rng.Uint64N(n)
	}
}

// coprime returns a number that has no divisor in common with n and is not close to a divisor of it: its multiples
// modulo n are all numbers below n.
func coprime(n uint64) uint64 {
	for s := uint64(float64(n)*0.618) | 1; ; s += 2 {
		a, b := s, n
		for b != 0 {
			a, b = b, a%b
		}
		if a == 1 {
			return s
		}
	}
}

// warm is how many events come before those that are measured.
func (p *statePass) warm() int { return p.o.PerEntity * p.entities }

func (p *statePass) events() int { return p.warm() + p.o.Events }

// warmedUp waits until the events before those that are measured are done with.
func (p *statePass) warmedUp(ctx context.Context, run *running) error {
	if p.o.Rate > 0 {
		return run.settled(ctx, int64(p.warm()))
	}
	return run.wait(ctx, func() bool { return run.rt.Progress().Events >= int64(p.warm()) })
}

// random waits until the measured events have been committed and published; at a rate, it produces them first.
func (p *statePass) random(ctx context.Context, run *running) error {
	if p.o.Rate > 0 {
		if _, err := flow(ctx, p.opts, p.plane.Sources[0].Topic, p.o.Partitions, time.Now(), p.o.Rate, p.o.Events, p.maker.next); err != nil {
			return err
		}
	}
	return run.settled(ctx, int64(p.events()))
}

// measure runs the runtime over all events, and times the part in which entities are touched at random.
func (p *statePass) measure(ctx context.Context) (r StatePass, err error) {
	releaseMemory()
	whole := startMeter()
	run, err := startRuntime(ctx, p.plane, p.opts, p.o.Redis, p.o.Logger)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, run.close()) }()
	defer run.tell(ctx, p.o.Out, int64(p.events()))()
	if err := p.warmedUp(ctx, run); err != nil {
		return r, err
	}
	if p.o.CPUProfile != "" {
		stop, err := profileCPU(p.o.CPUProfile)
		if err != nil {
			return r, err
		}
		defer stop()
	}
	before, published := run.rt.Progress().Events, 0.0
	if published, err = counted(run.reg, "freshet_published_entities_total"); err != nil {
		return r, err
	}
	m := meter{time.Now(), cpuTime()} // the greatest memory is the whole pass's
	if err := p.random(ctx, run); err != nil {
		return r, err
	}
	n := p.events() - int(before)
	r = StatePass{Entities: p.entities, Random: m.rate(n), MaxRSSBytes: whole.rate(1).MaxRSSBytes}
	r.CPUMicros = r.Random.CPUSeconds / float64(n) * 1e6
	now, err := counted(run.reg, "freshet_published_entities_total")
	if err != nil {
		return r, err
	}
	r.Published = (now - published) / float64(n)
	if r.Stages, err = stagesOf(run.reg); err != nil {
		return r, err
	}
	if p.o.HeapProfile != "" {
		return r, profileHeap(p.o.HeapProfile)
	}
	return r, nil
}

// restore deletes the local store and times a runtime from its start until every task is caught up and at work.
func (p *statePass) restore(ctx context.Context, res *StateResult) (err error) {
	if err := os.RemoveAll(p.plane.Processing.StateDir); err != nil {
		return err
	}
	releaseMemory()
	m := startMeter()
	run, err := startRuntime(ctx, p.plane, p.opts, p.o.Redis, p.o.Logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, run.close()) }()
	if err := run.ready(ctx); err != nil {
		return err
	}
	r := m.rate(p.entities)
	res.RestoreSeconds, res.RestoreCPU = r.Seconds, r.CPUSeconds
	res.RestoreRecords, err = counted(run.reg, "freshet_restored_records_total")
	return err
}
