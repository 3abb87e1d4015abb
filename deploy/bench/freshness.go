package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"text/template"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/kafka"
)

// FreshnessOptions say under which load freshness is measured, and with which services. An interval of 0 is the plane's
// default.
type FreshnessOptions struct {
	Kafka      string // host:port of a broker
	Redis      string // URL
	Rate       int    // events a second
	Duration   time.Duration
	Warmup     time.Duration // events flow, and probes do not count
	Probes     int           // a second
	Users      int
	Merchants  int
	Partitions int32
	Commit     time.Duration
	Route      time.Duration
	Publish    time.Duration
	Dir        string // of the local store; it is left empty
	CPUProfile string
	Logger     *slog.Logger
	Out        io.Writer
}

// FreshnessResult is how soon lookups showed events, from the producer's acknowledgement on.
type FreshnessResult struct {
	LoadBefore    string           `json:"load_before"` // the machine's, before the run
	OwnKey        Latency          `json:"own_key"`
	Repartitioned Latency          `json:"repartitioned"`
	Probes        int              `json:"probes"`            // acknowledged after the warm-up; each is looked for in both views
	Unseen        int              `json:"unseen"`            // probes that no lookup showed within the grace at the end
	Reached       float64          `json:"events_per_second"` // that were produced
	CPU           float64          `json:"cpu_cores"`         // that this process used, the producers included
	Lookups       float64          `json:"lookup_rounds_per_second"`
	Stages        map[string]Stage `json:"stages"`
}

var freshnessPlane = template.Must(template.New("plane").Parse(`
project: bench
prefix: {{.Prefix}}
connections:
  kafka: {brokers: ["{{.Kafka}}"], replication_factor: 1, min_insync_replicas: 1}
processing: { {{- if .Commit}}commit_interval: {{.Commit}}, {{end}}{{if .Route}}route_interval: {{.Route}}, {{end}}{{if .Publish}}publish_interval: {{.Publish}}, {{end}}state_cache_bytes: 536870912}
entities:
  - {name: user, join_keys: [{name: user_id, type: string}]}
  - {name: merchant, join_keys: [{name: merchant_id, type: string}]}
sources:
  - name: events
    topic: {{.Topic}}
    format: json
    key: [user_id]
    event_time: {field: ts, format: unix_ms}
    schema:
      - {name: user_id, type: string, required: true}
      - {name: merchant_id, type: string, required: true}
      - {name: amount, type: float64}
      - {name: ts, type: int64, required: true}
feature_views:
  - name: user_amounts
    entity: user
    source: events
    features:
      - {name: count_1h, aggregate: count, window: 1h}
      - {name: sum_1h, aggregate: sum, of: amount, window: 1h}
      - {name: max_1h, aggregate: max, of: amount, window: 1h}
  - name: merchant_amounts
    entity: merchant
    source: events
    features:
      - {name: count_1h, aggregate: count, window: 1h}
      - {name: sum_1h, aggregate: sum, of: amount, window: 1h}
      - {name: max_1h, aggregate: max, of: amount, window: 1h}
`))

// grace is how long lookups go on after the last probe.
const grace = 5 * time.Second

// Freshness runs the runtime under a steady load and times probes on their way through a view on the source's own key
// and through a repartitioned one.
func Freshness(ctx context.Context, o FreshnessOptions) (res FreshnessResult, err error) {
	res.LoadBefore = Load()
	topic := runName()
	plane, remove, err := loadPlane(o.Dir, freshnessPlane, map[string]any{
		"Prefix": topic + ".", "Kafka": o.Kafka, "Topic": topic, "Commit": o.Commit, "Route": o.Route, "Publish": o.Publish,
	})
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	opts, err := kafka.Options(*plane.Connections.Kafka, "freshet-bench")
	if err != nil {
		return res, err
	}
	drop, err := sourceTopic(ctx, opts, topic, o.Partitions)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, drop()) }()
	run, err := startRuntime(ctx, plane, opts, o.Redis, o.Logger)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, run.close()) }()
	if err := run.ready(ctx); err != nil {
		return res, err
	}
	fmt.Fprintf(o.Out, "%d events/s for %v after %v of warm-up, %d probes/s, %d partitions\n", o.Rate, o.Duration, o.Warmup, o.Probes, o.Partitions)
	if o.CPUProfile != "" {
		stop, err := profileCPU(o.CPUProfile)
		if err != nil {
			return res, err
		}
		defer stop()
	}
	f := freshness{o: o, plane: plane, opts: opts, topic: topic, run: run}
	return res, f.measure(ctx, &res)
}

// freshness is one run under load.
type freshness struct {
	o     FreshnessOptions
	plane *config.Plane
	opts  []kgo.Opt
	topic string
	run   *running

	own, routed *probes
}

// measure runs the load, the probes and the lookups beside one another.
func (f *freshness) measure(ctx context.Context, res *FreshnessResult) error {
	begin := time.Now()
	warm := begin.Add(f.o.Warmup)
	f.own = &probes{view: f.plane.Views[0], entity: "probe-user-", warm: warm}
	f.routed = &probes{view: f.plane.Views[1], entity: "probe-merchant-", warm: warm}
	r, err := newRounds(f.plane.Project, f.run.rdb, f.own, f.routed)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m := startMeter()
	var wg sync.WaitGroup
	var loadErr, probeErr, lookErr error
	var made int
	wg.Go(func() { made, loadErr = f.load(ctx, begin) })
	wg.Go(func() { probeErr = f.probe(ctx, begin) })
	looking, stop := context.WithCancel(ctx)
	var looked sync.WaitGroup
	looked.Go(func() {
		if lookErr = r.run(looking); lookErr != nil {
			cancel()
		}
	})
	wg.Wait()
	rate := m.rate(made)
	for until := time.Now().Add(grace); time.Now().Before(until) && f.unseen() > 0 && ctx.Err() == nil; {
		time.Sleep(time.Millisecond)
	}
	stop()
	looked.Wait()
	if err := errors.Join(loadErr, probeErr, lookErr); err != nil {
		return err
	}
	res.Reached, res.CPU = rate.PerSecond, rate.CPUSeconds/rate.Seconds
	res.Lookups = float64(r.made) / time.Since(begin).Seconds()
	res.Probes, res.Unseen = f.own.made, f.unseen()
	res.OwnKey, res.Repartitioned = latencyOf(f.own.times), latencyOf(f.routed.times)
	res.Stages, err = stagesOf(f.run.reg)
	return err
}

func (f *freshness) unseen() int { return f.own.unseen() + f.routed.unseen() }

// load produces events at the rate until the time is up.
func (f *freshness) load(ctx context.Context, begin time.Time) (int, error) {
	m := newEventMaker(f.o.Users)
	m.merchants = f.o.Merchants
	return flow(ctx, f.opts, f.topic, f.o.Partitions, begin, f.o.Rate, f.number(f.o.Rate), m.next)
}

// number is how many events a rate makes in the whole run.
func (f *freshness) number(rate int) int {
	return int(float64(rate) * (f.o.Warmup + f.o.Duration).Seconds())
}

// probe produces the probes, at once each. It does not wait for one before the next: a stall delays every probe that falls
// into it, as it does events.
func (f *freshness) probe(ctx context.Context, begin time.Time) error {
	p, err := newProducer(f.opts, f.topic, f.o.Partitions, 0)
	if err != nil {
		return err
	}
	defer p.cl.Close()
	var mu sync.Mutex
	var failed error
	pace := pacer{rate: float64(f.o.Probes)}
	pace.spread(ctx, begin, f.number(f.o.Probes), func(i int, now time.Time) {
		value := probeValue(i)
		user := f.own.entityOf(value)
		v := fmt.Appendf(nil, `{"user_id":%q,"merchant_id":%q,"amount":%.0f,"ts":%d}`, user, f.routed.entityOf(value), value, now.UnixMilli())
		p.cl.Produce(ctx, p.record([]byte(user), v), func(_ *kgo.Record, err error) {
			if err != nil {
				mu.Lock()
				failed = errors.Join(failed, fmt.Errorf("produce a probe: %w", err))
				mu.Unlock()
				return
			}
			acked := time.Now()
			f.own.acknowledged(probe{value, acked})
			f.routed.acknowledged(probe{value, acked})
		})
	})
	if err := p.flush(ctx); err != nil {
		return err
	}
	mu.Lock()
	defer mu.Unlock()
	return failed
}
