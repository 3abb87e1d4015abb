package processors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/kafka"
)

// Options is what a Runtime is made of.
type Options struct {
	Plane      *config.Plane
	Kafka      config.Kafka
	Client     []kgo.Opt // to reach Kafka: internal/kafka.Options
	Online     OnlineStore
	Loss       LossDetector
	Marks      Marks // nil: readers of the online store know the states of the views otherwise
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	Now        func() time.Time // the wall clock: metrics, intervals and staleness, never a result

	// CreateSources creates source topics that do not exist, with SourcePartitions partitions.
	CreateSources    bool
	SourcePartitions int32
	// AcceptGap continues after records that were deleted before they were processed; the gap is logged and counted.
	AcceptGap bool

	fullEvery time.Duration // between two publications of everything; 0: fullSweepEvery
}

// Runtime runs the processors of a plane in this process. Several processes with the same plane share the work.
type Runtime struct {
	opts   Options
	plane  *config.Plane
	topo   *topology
	client []kgo.Opt
	logger *slog.Logger
	now    func() time.Time
	met    *metrics
	aside  *asideLog

	mat *materializer
	rts []*router
}

// New prepares a runtime: it creates the internal topics, records the views, and opens the local store. It fails if
// existing topics, the recorded definitions, or the store do not fit.
func New(ctx context.Context, o Options) (*Runtime, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	r := &Runtime{opts: o, plane: o.Plane, topo: newTopology(o.Plane), client: o.Client, logger: o.Logger, now: o.Now, met: newMetrics(o.Registerer)}
	r.aside = &asideLog{logger: o.Logger, now: o.Now}
	if len(r.topo.inputs) == 0 {
		return r, nil
	}
	if err := r.prepareTopics(ctx); err != nil {
		return nil, err
	}
	if err := r.recordViews(ctx); err != nil {
		return nil, err
	}
	if err := r.recordFirstOffsets(ctx); err != nil {
		return nil, err
	}
	dir, err := stateDir(r.plane)
	if err != nil {
		return nil, err
	}
	st, err := openStore(dir, max(o.Plane.Processing.StateCacheBytes/16, 8<<20), o.Logger)
	if err != nil {
		return nil, err
	}
	if r.mat, err = newMaterializer(r, st); err != nil {
		return nil, errors.Join(err, st.close())
	}
	for _, route := range r.topo.routes {
		rt, err := newRouter(r, route)
		if err != nil {
			return nil, errors.Join(err, st.close())
		}
		r.rts = append(r.rts, rt)
	}
	return r, nil
}

// prepareTopics makes sure of every topic and learns their ids and partition counts.
func (r *Runtime) prepareTopics(ctx context.Context) error {
	cl, err := kgo.NewClient(r.client...)
	if err != nil {
		return fmt.Errorf("connect to kafka: %w", err)
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	if r.opts.CreateSources {
		var specs []kafka.TopicSpec
		have, err := adm.ListTopics(ctx, sourceTopics(r.topo)...)
		if err != nil {
			return fmt.Errorf("list topics: %w", err)
		}
		for _, t := range sourceTopics(r.topo) {
			if !have.Has(t) {
				specs = append(specs, kafka.TopicSpec{Name: t, Partitions: r.opts.SourcePartitions})
			}
		}
		if err := kafka.EnsureTopics(ctx, adm, r.opts.Kafka, specs); err != nil {
			return err
		}
	}
	sources, err := describe(ctx, adm, sourceTopics(r.topo))
	if err != nil {
		return err
	}
	if err := r.admitTopics(ctx, adm, sources); err != nil {
		return err
	}
	partitions := func(topic string) int32 { return sources[topic].Partitions }
	if err := kafka.EnsureTopics(ctx, adm, r.opts.Kafka, r.topo.internalTopics(partitions)); err != nil {
		return err
	}
	var names []string
	for _, in := range r.topo.inputs {
		names = append(names, in.topic, in.changelog)
	}
	all, err := describe(ctx, adm, names)
	if err != nil {
		return err
	}
	for _, in := range r.topo.inputs {
		in.partitions = all[in.topic].Partitions
		in.topicID, in.sourceID = all[in.topic].ID, sources[in.source.Topic].ID
		in.changelogID = all[in.changelog].ID
	}
	return nil
}

// admitTopics refuses source topics that are not those which the recorded views were built of. It comes before the topics that
// follow their partition count are compared with it: altering those would mend nothing.
func (r *Runtime) admitTopics(ctx context.Context, adm *kadm.Client, sources map[string]kafka.Topic) error {
	_, err := kafka.DescribeTopic(ctx, adm, r.topo.planeTopic())
	if errors.Is(err, kafka.ErrNoTopic) {
		return nil // a first start
	}
	if err != nil {
		return err
	}
	recorded, err := r.registry().read(ctx)
	if err != nil {
		return err
	}
	var refused []error
	for _, in := range r.topo.inputs {
		source := sources[in.source.Topic]
		for _, v := range in.views {
			w := wantedRecord(v, source.ID, source.Partitions)
			have, ok := recorded[v.Name]
			if !ok || have.Dropped || have.Topic != w.Topic {
				continue
			}
			if same, ok := have.of(w.Fingerprint); ok {
				have = same
			}
			refused = append(refused, refuseTopic(&have, &w))
		}
	}
	return errors.Join(refused...)
}

func sourceTopics(t *topology) []string {
	var names []string
	seen := map[string]bool{}
	for _, in := range t.inputs {
		if !seen[in.source.Topic] {
			seen[in.source.Topic] = true
			names = append(names, in.source.Topic)
		}
	}
	return names
}

func describe(ctx context.Context, adm *kadm.Client, names []string) (map[string]kafka.Topic, error) {
	found := make(map[string]kafka.Topic, len(names))
	for _, n := range names {
		t, err := kafka.DescribeTopic(ctx, adm, n)
		if errors.Is(err, kafka.ErrNoTopic) {
			return nil, fmt.Errorf("%w; create it, or start with --create-sources", err)
		}
		if err != nil {
			return nil, err
		}
		found[n] = t
	}
	return found, nil
}

// recordViews compares every view with what the plane topic says of it, and learns the epochs.
func (r *Runtime) recordViews(ctx context.Context) error {
	g := r.registry()
	g.admit = r.admitAdded
	records, err := g.record(ctx, r.wantedRecords())
	if err != nil {
		return err
	}
	bound, err := bindAll(records)
	if err != nil {
		return err
	}
	r.bind(bound)
	return nil
}

// MemoryLimit is where the garbage collector of a process with a runtime should begin to work harder: entities in memory,
// half as much again that is on its way to be collected, and what does not depend on them.
func MemoryLimit(p *config.Plane) int64 {
	cache := p.Processing.StateCacheBytes
	return cache + cache/2 + 544<<20
}

// admitAdded refuses views that are added to a source whose history cannot be counted again: a view that comes later
// reads its input from the beginning, and of a source with an event_id the ids of old events are forgotten by then.
func (r *Runtime) admitAdded(recorded map[string]ViewRecord) error {
	var errs []error
	for _, in := range r.topo.inputs {
		var old, added string
		for _, v := range in.views {
			if have, ok := recorded[v.Name]; ok && !have.Dropped {
				old = v.Name
			} else {
				added = v.Name
			}
		}
		if old != "" && added != "" && in.source.EventID >= 0 {
			errs = append(errs, fmt.Errorf("feature view %q is new on source %q, where %q has counted events already: the source has an event_id, and the ids of earlier events "+
				"are not all remembered, so they cannot be counted again. `freshet apply` builds it from the source itself", added, in.source.Name, old))
		}
	}
	return errors.Join(errs...)
}

// recordFirstOffsets commits where routers of sources with `start_at: latest` begin, before they first join: a route that
// saw no record would otherwise choose anew at its second start, and lose what came in between. A group that has members
// refuses it, and needs it no more.
func (r *Runtime) recordFirstOffsets(ctx context.Context) error {
	cl, err := kgo.NewClient(r.client...)
	if err != nil {
		return fmt.Errorf("connect to kafka: %w", err)
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	for _, rt := range r.topo.routes {
		if rt.source.StartAt != "latest" {
			continue
		}
		group, topic := r.topo.routeGroup(rt), rt.source.Topic
		have, err := groupOffsets(ctx, adm, group, topic)
		if err != nil {
			return err
		}
		ends, err := adm.ListEndOffsets(ctx, topic)
		if err != nil {
			return fmt.Errorf("list end offsets of %s: %w", topic, err)
		}
		first := kadm.Offsets{}
		ends.Each(func(o kadm.ListedOffset) {
			if h, ok := have.Lookup(topic, o.Partition); !ok || h.At < 0 {
				first.AddOffset(topic, o.Partition, o.Offset, -1)
			}
		})
		if len(first) == 0 {
			continue
		}
		done, err := adm.CommitOffsets(ctx, group, first)
		if err == nil {
			err = done.Error()
		}
		if err != nil && !errors.Is(err, kerr.UnknownMemberID) && !errors.Is(err, kerr.IllegalGeneration) && !errors.Is(err, kerr.RebalanceInProgress) {
			return fmt.Errorf("commit the first offsets of group %s: %w", group, err)
		}
	}
	return nil
}

// stateDir is where the local store of this instance of a plane's processors is.
func stateDir(plane *config.Plane) (string, error) {
	p := plane.Processing
	dir := p.StateDir
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("no place for the local store: %w; set processing.state_dir", err)
		}
		dir = filepath.Join(cache, "freshet")
	}
	dir = filepath.Join(dir, strings.TrimSuffix(plane.Prefix, "."), p.InstanceID)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make the folder of the local store: %w", err)
	}
	return dir, nil
}

// Run processes until ctx is done: then it commits, publishes what waits, and returns nil.
func (r *Runtime) Run(ctx context.Context) error {
	if r.mat == nil {
		<-ctx.Done()
		return nil
	}
	var wg sync.WaitGroup
	errs := make([]error, len(r.rts)+1)
	for i, rt := range r.rts {
		wg.Go(func() { errs[i] = rt.run(ctx) })
	}
	wg.Go(func() { errs[len(r.rts)] = r.mat.run(ctx) })
	wg.Go(func() { r.watchStates(ctx) })
	wg.Go(func() { r.readErasures(ctx) })
	wg.Go(func() { r.watchLag(ctx) })
	wg.Wait()
	return errors.Join(append(errs, r.mat.store.close())...)
}

// Ready reports why the processors are not caught up and at work; nil means that they are.
func (r *Runtime) Ready() error {
	if r.mat == nil {
		return nil
	}
	var errs []error
	for _, rt := range r.rts {
		errs = append(errs, rt.ready())
	}
	return errors.Join(append(errs, r.mat.ready())...)
}
