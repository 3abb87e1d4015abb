package processors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/ingest"
	"github.com/freshet-io/freshet/internal/kafka"
	"github.com/freshet-io/freshet/monitors/alert"
	"github.com/freshet-io/freshet/monitors/baseline"
	"github.com/freshet-io/freshet/monitors/topics"
)

// MonitorOptions are what Monitors are made of.
type MonitorOptions struct {
	Plane      *config.Plane
	Kafka      config.Kafka
	Client     []kgo.Opt // to reach Kafka: internal/kafka.Options
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	Now        func() time.Time // the wall clock: what ticks say, and intervals

	// CreateSources creates topics of inferences that do not exist, with SourcePartitions partitions.
	CreateSources    bool
	SourcePartitions int32
	// AcceptGap continues after records that were deleted before they were processed; the gap is logged and counted.
	AcceptGap bool
}

// Monitors profiles the inferences of a plane's models and judges its monitors. Several processes share the work.
type Monitors struct {
	plane    *config.Plane
	models   []*config.Model // that a monitor watches
	client   []kgo.Opt
	logger   *slog.Logger
	now      func() time.Time
	met      *monitorMetrics
	aside    *asideLog
	follower *follower
	accept   bool // gaps
	// partitions are how many the topics of inferences had at the start.
	partitions map[string]int32

	profiler  *profiler
	joiner    *joiner // nil: no model's labels are joined
	evaluator *evaluator
}

// NewMonitors prepares the topics of the monitors and reads the baselines. It returns nil if the plane has no monitors.
func NewMonitors(ctx context.Context, o MonitorOptions) (*Monitors, error) {
	if len(o.Plane.Monitors) == 0 {
		return nil, nil
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	m := &Monitors{plane: o.Plane, client: o.Client, logger: o.Logger, now: o.Now, met: newMonitorMetrics(o.Registerer), accept: o.AcceptGap}
	m.aside = &asideLog{logger: o.Logger, now: o.Now}
	for _, model := range o.Plane.Models {
		for _, mon := range o.Plane.Monitors {
			if mon.Model == model {
				m.models = append(m.models, model)
				break
			}
		}
	}
	if err := m.prepareTopics(ctx, o); err != nil {
		return nil, err
	}
	m.follower = &follower{client: m.client, baselines: topics.Name(m.plane, topics.Baselines), quiet: topics.Name(m.plane, topics.Silences), logger: m.logger}
	if err := m.follower.sync(ctx); err != nil {
		return nil, err
	}
	for _, b := range m.plane.Baselines {
		if all, _ := m.follower.all(); all[b.Name] == nil {
			m.logger.Warn("the baseline does not exist yet: inferences that need it are not profiled", "baseline", b.Name, "model", b.Model.Name,
				"hint", "freshet baseline create "+b.Name)
		}
	}
	var err error
	if m.profiler, err = newProfiler(m); err != nil {
		return nil, err
	}
	m.evaluator = &evaluator{Monitors: m, gaps: m.gapsOf("evaluator")}
	if slices.ContainsFunc(m.models, func(model *config.Model) bool { return joined(m.plane, model) }) {
		m.joiner, err = newJoiner(ctx, m)
	}
	return m, err
}

// gaps are those of one of the groups.
func (m *Monitors) gapsOf(reader string) gaps {
	return gaps{
		reader: reader, accept: m.accept, logger: m.logger, fails: m.met.stopped.WithLabelValues(reader).Inc,
		passed: func(tp topicPartition, n int64) { m.met.gaps.WithLabelValues(tp.topic).Add(float64(n)) },
	}
}

func (m *Monitors) prepareTopics(ctx context.Context, o MonitorOptions) error {
	cl, err := kgo.NewClient(m.client...)
	if err != nil {
		return fmt.Errorf("connect to kafka: %w", err)
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	var names []string
	sources := m.sources()
	for _, src := range sources {
		names = append(names, src.Topic)
	}
	for topic := range freshnessSources(m.plane) {
		names = append(names, topic)
	}
	if o.CreateSources {
		have, err := adm.ListTopics(ctx, names...)
		if err != nil {
			return fmt.Errorf("list topics: %w", err)
		}
		var missing []kafka.TopicSpec
		for _, n := range names {
			if !have.Has(n) {
				missing = append(missing, kafka.TopicSpec{Name: n, Partitions: o.SourcePartitions})
			}
		}
		if err := kafka.EnsureTopics(ctx, adm, o.Kafka, missing); err != nil {
			return err
		}
	}
	found, err := describe(ctx, adm, names)
	if err != nil {
		return err
	}
	specs := topics.Specs(m.plane)
	m.partitions = map[string]int32{}
	for name, t := range found {
		m.partitions[name] = t.Partitions
	}
	for _, src := range sources {
		specs = append(specs, deadLetterSpec(ingest.DeadLetterTopic(m.plane, src.Name), found[src.Topic].Partitions))
	}
	return kafka.EnsureTopics(ctx, adm, o.Kafka, specs)
}

// sources are those of the inferences and labels that are read.
func (m *Monitors) sources() (all []*config.Source) {
	for _, model := range m.models {
		all = append(all, model.Inferences)
		if joined(m.plane, model) {
			all = append(all, model.Labels.Source)
		}
	}
	return all
}

// Run works until ctx is done: then it commits, and returns nil.
func (m *Monitors) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	errs := make([]error, 3)
	wg.Go(func() { errs[0] = m.profiler.run(ctx) })
	wg.Go(func() { errs[1] = m.evaluator.run(ctx) })
	if m.joiner != nil {
		wg.Go(func() { errs[2] = m.joiner.run(ctx) })
	}
	wg.Go(func() { m.follower.run(ctx) })
	wg.Wait()
	return errors.Join(errs...)
}

// Ready reports why the monitors are not at work; nil means that they are.
func (m *Monitors) Ready() error {
	var joining error
	if m.joiner != nil {
		joining = m.joiner.ready()
	}
	return errors.Join(m.profiler.ready(), joining, m.evaluator.ready())
}

// followEvery is how often the topics of baselines and silences are looked at. Both are small.
const followEvery = 2 * time.Second

// follower knows the baselines and silences that are recorded.
type follower struct {
	client           []kgo.Opt
	baselines, quiet string // topics
	logger           *slog.Logger

	mu         sync.Mutex
	collection baseline.Collection
	silenced   map[string]alert.Silence
	generation int // of the baselines
	ends       [2]int64
}

// run looks again and again.
func (f *follower) run(ctx context.Context) {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := f.sync(ctx); err != nil && ctx.Err() == nil {
				f.logger.Warn("baselines and silences are not up to date", "err", err)
			}
		}
	}
}

// sync reads both topics if they have grown.
func (f *follower) sync(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cl, err := kgo.NewClient(f.client...)
	if err != nil {
		return fmt.Errorf("connect to kafka: %w", err)
	}
	defer cl.Close()
	tps := map[topicPartition]bool{{f.baselines, 0}: true, {f.quiet, 0}: true}
	ends, err := highWatermarks(ctx, cl, tps)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if end := ends[topicPartition{f.baselines, 0}]; end != f.ends[0] {
		var c baseline.Collection
		err := readTopic(ctx, f.client, f.baselines, 0, func(rec *kgo.Record) error {
			if _, err := c.Add(rec.Key, rec.Value); err != nil {
				f.logger.Warn("a record of a baseline is left out", "topic", rec.Topic, "offset", rec.Offset, "err", err)
			}
			return nil
		})
		if err != nil {
			return err
		}
		f.keepKnown(&c)
		f.collection, f.ends[0] = c, end
		f.generation++
	}
	if end := ends[topicPartition{f.quiet, 0}]; end != f.ends[1] {
		all := map[string]alert.Silence{}
		err := readTopic(ctx, f.client, f.quiet, 0, func(rec *kgo.Record) error {
			if rec.Value == nil {
				delete(all, string(rec.Key))
				return nil
			}
			s, err := alert.DecodeSilence(rec.Value)
			if err != nil {
				f.logger.Warn("a silence is left out", "topic", rec.Topic, "offset", rec.Offset, "err", err)
				return nil
			}
			all[s.ID] = s
			return nil
		})
		if err != nil {
			return err
		}
		f.silenced, f.ends[1] = all, end
	}
	return nil
}

// keepKnown keeps the value of a build that is known already, so that equal builds are equal pointers.
func (f *follower) keepKnown(c *baseline.Collection) {
	old := f.collection.All()
	for name, b := range c.All() {
		if have := old[name]; have != nil && have.Build == b.Build {
			c.All()[name] = have
		}
	}
}

// all returns the baselines by name, and which generation of them it is.
func (f *follower) all() (map[string]*baseline.Baseline, int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.collection.All()), f.generation
}

func (f *follower) silences() map[string]alert.Silence {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.silenced)
}

// baselineView is what one user of the follower has taken up.
type baselineView struct {
	generation int
	known      map[string]*baseline.Baseline
}

// update takes up what is new, and calls changed for every baseline that is new, replaced or gone.
func (v *baselineView) update(f *follower, changed func(name string)) {
	all, generation := f.all()
	if generation == v.generation {
		return
	}
	old := v.known
	v.known, v.generation = all, generation
	for name, b := range all {
		if old[name] != b {
			changed(name)
		}
	}
	for name := range old {
		if all[name] == nil {
			changed(name)
		}
	}
}

// of returns a baseline if the plane defines it as the model's: the topic may have others, of definitions that were.
func (v *baselineView) of(p *config.Plane, name string, m *config.Model) *baseline.Baseline {
	b := v.known[name]
	for _, d := range p.Baselines {
		if b != nil && d.Name == name && d.Model == m && b.Model == m.Name && b.Version == d.Version {
			return b
		}
	}
	return nil
}
