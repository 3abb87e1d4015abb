package processors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
)

// BuilderOptions is what a Builder is made of.
type BuilderOptions struct {
	Plane  *config.Plane
	Kafka  config.Kafka
	Client []kgo.Opt // to reach Kafka: internal/kafka.Options
	Online OnlineStore
	Fields OnlineFields
	Logger *slog.Logger
	Now    func() time.Time
	Dir    string // for what a build does not hold in memory; it is left as it was found

	// Step is called before each step that changes something outside this process, with its name; an error ends the build
	// there, as a crash would. nil: nothing is.
	Step func(name string) error
}

// A Builder builds states of views beside running processors, which know nothing of it: from a source's past events up to
// an offset of each partition, where the tasks of the next definition go on. See ARCHITECTURE.md, "Change".
type Builder struct {
	rt   *Runtime
	opts BuilderOptions
}

// NewBuilder returns a Builder. It connects to nothing.
func NewBuilder(o BuilderOptions) *Builder {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Step == nil {
		o.Step = func(string) error { return nil }
	}
	rt := &Runtime{
		opts: Options{Plane: o.Plane, Kafka: o.Kafka}, plane: o.Plane, topo: newTopology(o.Plane), client: o.Client, logger: o.Logger, now: o.Now,
		met: newMetrics(prometheus.NewRegistry()),
	}
	return &Builder{rt: rt, opts: o}
}

// A PastEvent is an event of a source's history; Row has a value for each field of its schema that the view reads. One that
// is Deleted erases what has been folded in of the entity; of its Row the key is set.
type PastEvent struct {
	Row     []feature.Value
	Order   feature.Order
	Deleted bool
}

// History hands out what the offline stores have of a source: its backfilled rows, and of the records of its topic those
// below an offset of their partition, each once. What fold is given is valid until it returns.
type History func(ctx context.Context, below []int64, fold func(*PastEvent) error) error

// BuildProgress is how far a build is.
type BuildProgress struct {
	Stage   string // "history", "topic", "write"
	Done    int64  // events or cells
	Total   int64  // 0 where it is not known
	Refused int64  // records that cannot be used; their dead letters are the running processors'
}

// Build builds the state of one of the plane's views anew, under a generation of its own, and records it: processes that
// start with this definition, and those that run with it, go on with it. What an earlier build left that died is cleaned up.
func (b *Builder) Build(ctx context.Context, v *config.View, h History, tell func(BuildProgress)) error {
	if err := b.rt.prepareTopics(ctx); err != nil {
		return err
	}
	in, err := b.inputOf(v)
	if err != nil {
		return err
	}
	rec, dead, err := b.announce(ctx, in, v)
	if err != nil {
		return err
	}
	for i := range dead {
		if err := b.sweepState(ctx, &dead[i]); err != nil {
			return err
		}
	}
	cl, err := kgo.NewClient(b.opts.Client...)
	if err != nil {
		return fmt.Errorf("connect to kafka: %w", err)
	}
	defer cl.Close()
	boot, err := b.boundary(ctx, cl, in)
	if err != nil {
		return err
	}
	rec.Bootstrap = boot
	f, err := newFold(b, in, v, rec)
	if err != nil {
		return err
	}
	defer f.close()
	if err := f.past(ctx, cl, h, tell); err != nil {
		return err
	}
	if err := f.write(ctx, cl, tell); err != nil {
		return err
	}
	if err := b.opts.Step("record"); err != nil {
		return err
	}
	return b.finish(ctx, rec)
}

func (b *Builder) inputOf(v *config.View) (*input, error) {
	for _, in := range b.rt.topo.inputs {
		if slices.Contains(in.views, v) {
			return in, nil
		}
	}
	return nil, fmt.Errorf("feature view %q is not of this plane", v.Name)
}

// announce records that a state is being built, so that whatever happens, the next builder knows of its cells. It returns
// the record, and those of builds that died.
func (b *Builder) announce(ctx context.Context, in *input, v *config.View) (rec ViewRecord, dead []ViewRecord, err error) {
	if err := b.opts.Step("announce"); err != nil {
		return rec, nil, err
	}
	err = b.rt.registry().update(ctx, func(recorded map[string]ViewRecord) ([]ViewRecord, error) {
		rec = wantedRecord(v, in.sourceID, in.partitions)
		if have, ok := recorded[v.Name]; ok && !have.Dropped {
			same := rec
			same.Fingerprint = have.Fingerprint // a changed definition is what this is for
			if err := refuse(&have, &same); err != nil {
				return nil, err
			}
		}
		rec.Epoch, rec.Building = nextEpoch(recorded, b.opts.Now()), true
		generation, _ := newest(recorded, v.Name)
		rec.Generation = generation + 1
		announced := rec
		announced.View = buildingPrefix + v.Name
		dead = deadOf(recorded[announced.View])
		announced.Previous = dead
		return []ViewRecord{announced}, nil
	})
	return rec, dead, err
}

// errOvertaken says that another builder has begun to build the same view.
var errOvertaken = errors.New("another build of the view has begun since; this one is given up")

// finish puts the built state in the place of the recorded one, which is kept as a previous one.
func (b *Builder) finish(ctx context.Context, rec ViewRecord) error {
	return b.rt.registry().update(ctx, func(recorded map[string]ViewRecord) ([]ViewRecord, error) {
		if have, ok := recorded[rec.View]; ok && have.Generation == rec.Generation && have.Epoch == rec.Epoch {
			return nil, nil // an earlier attempt has committed after all, though it was told otherwise
		}
		name := buildingPrefix + rec.View
		if a, ok := recorded[name]; !ok || a.Generation != rec.Generation || a.Epoch != rec.Epoch {
			return nil, fmt.Errorf("feature view %q: %w", rec.View, errOvertaken)
		}
		done := rec
		done.Building = false
		if have, ok := recorded[rec.View]; ok {
			for _, p := range have.states() {
				p.Previous = nil
				done.Previous = append(done.Previous, p)
			}
		}
		return []ViewRecord{done, {View: name}}, nil
	})
}

// boundary decides up to where a build counts (B2). The offsets of the input are taken first, then those of the source: every
// copy below the former is of a record below the latter.
func (b *Builder) boundary(ctx context.Context, cl *kgo.Client, in *input) (*Bootstrap, error) {
	adm := kadm.NewClient(cl)
	next, err := b.fronts(ctx, adm, b.rt.topo.materializeGroup(), in.topic, in.partitions, in.repartitioned())
	if err != nil {
		return nil, err
	}
	boot := &Bootstrap{Source: next}
	if in.repartitioned() {
		i := slices.IndexFunc(b.rt.topo.routes, func(r *route) bool { return r.to == in })
		group := b.rt.topo.routeGroup(b.rt.topo.routes[i])
		if boot.Source, err = b.fronts(ctx, adm, group, in.source.Topic, in.partitions, false); err != nil {
			return nil, err
		}
	}
	logs := map[topicPartition]bool{}
	for p := range in.partitions {
		logs[topicPartition{in.changelog, p}] = true
	}
	ends, err := highWatermarks(ctx, cl, logs)
	if err != nil {
		return nil, err
	}
	for p, n := range next {
		boot.Tasks = append(boot.Tasks, TaskBootstrap{Next: n, StreamTime: feature.NoTime, Changelog: ends[topicPartition{in.changelog, int32(p)}]})
	}
	return boot, nil
}

// fronts returns how far a group has come on each partition of a topic; where it has not begun, the end of what is committed
// there, or the beginning.
func (b *Builder) fronts(ctx context.Context, adm *kadm.Client, group, topic string, partitions int32, atStart bool) ([]int64, error) {
	// Stable: what a transaction has moved whose markers are still on their way is waited for.
	committed, err := groupOffsets(kadm.RequireStable(ctx), adm, group, topic)
	if err != nil {
		return nil, err
	}
	list := adm.ListCommittedOffsets
	if atStart {
		list = adm.ListStartOffsets
	}
	listed, err := list(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("list offsets of %s: %w", topic, err)
	}
	out := make([]int64, partitions)
	for p := range out {
		l, ok := listed.Lookup(topic, int32(p))
		if !ok || l.Err != nil {
			return nil, fmt.Errorf("list offsets of %s: %w", taskName(topic, int32(p)), errors.Join(l.Err, missing(ok)))
		}
		out[p] = l.Offset
		if c, ok := committed.Lookup(topic, int32(p)); ok && c.Err == nil && c.At >= 0 {
			out[p] = c.At
		}
	}
	return out, nil
}
