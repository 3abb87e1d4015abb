package processors

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/online"
)

// LossDetector notices that Redis has lost what was published; see the canaries of package online.
type LossDetector interface {
	Check(ctx context.Context, task string, want feature.Version) ([]online.Node, error)
	Advance(ctx context.Context, task string, v feature.Version) error
	Vouch(ctx context.Context, task string, n online.Node, v feature.Version) error
	Forget(task string)
}

// canaryEvery is how often the canaries are looked at and advanced.
const canaryEvery = time.Second

// canaries look after the tasks' canaries on a goroutine of their own, so that a Redis that does not answer holds up
// nothing else.
type canaries struct {
	detector LossDetector
	logger   *slog.Logger

	orders   chan []canaryOrder    // from the loop: what to look at; the newest replaces what was not taken
	findings chan canaryFinding    // to the loop
	err      atomic.Pointer[error] // of the last round; nil before the first
}

// A canaryOrder is one task's situation as the loop saw it.
type canaryOrder struct {
	t         *task
	name      string
	want      feature.Version // what must have been published when the task began
	published feature.Version // everything up to here has been acknowledged
	waited    time.Duration   // since the task began
	first     bool            // the task has not published yet: it waits for this
	vouch     []online.Node   // whose entities have all been published again
	forget    bool
}

// firstCheckPatience is how long a task waits for all nodes to have been asked before it publishes.
const firstCheckPatience = 3 * time.Second

// A canaryFinding tells the loop that a task has been looked at, so that it may publish, and that its entities on some
// nodes have to be published again.
type canaryFinding struct {
	t     *task
	nodes []online.Node
}

func newCanaries(d LossDetector, logger *slog.Logger) *canaries {
	return &canaries{detector: d, logger: logger, orders: make(chan []canaryOrder, 1), findings: make(chan canaryFinding, 1024)}
}

func (c *canaries) run(ctx context.Context) {
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case orders := <-c.orders:
			var errs []error
			for _, o := range orders {
				err := c.tend(ctx, o)
				if err != nil && !slices.ContainsFunc(errs, func(e error) bool { return e.Error() == err.Error() }) { // tasks share their nodes
					errs = append(errs, err)
				}
			}
			err := errors.Join(errs...)
			if err != nil && !failing && ctx.Err() == nil {
				c.logger.Warn("the online store cannot be asked whether it has lost anything", "err", err)
			}
			failing = err != nil
			c.err.Store(&err)
		}
	}
}

// problem is why tasks wait to be looked at.
func (c *canaries) problem() error {
	if err := c.err.Load(); err != nil && *err != nil {
		return *err
	}
	return errors.New("the canaries have not been looked at yet")
}

// tend vouches, advances and checks, in this order: what is vouched for has been published before what is new.
func (c *canaries) tend(ctx context.Context, o canaryOrder) error {
	if o.forget {
		c.detector.Forget(o.name)
		return nil
	}
	var errs []error
	for _, n := range o.vouch {
		if err := c.detector.Vouch(ctx, o.name, n, o.published); err != nil && !errors.Is(err, online.ErrLostAgain) {
			errs = append(errs, err)
		}
	}
	lost, err := c.detector.Check(ctx, o.name, o.want)
	errs = append(errs, err)
	// A node that cannot be asked holds a task up for a while only: in a cluster the others take writes.
	if len(lost) > 0 || o.first && (err == nil || o.waited > firstCheckPatience) {
		select {
		case c.findings <- canaryFinding{o.t, lost}:
		default: // it is found again the next time
		}
	}
	if len(lost) == 0 && err == nil && o.published != (feature.Version{}) {
		if err := c.detector.Advance(ctx, o.name, o.published); err != nil && !errors.Is(err, online.ErrNewerWriter) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// tendCanaries is the loop's side: it reports the tasks' situation once a second and begins what losses demand.
func (m *materializer) tendCanaries(now time.Time) {
	for {
		select {
		case f := <-m.canaries.findings:
			if len(f.nodes) > 0 {
				m.republishLost(f)
			}
			f.t.online.checked = true
			continue
		default:
		}
		break
	}
	if now.Sub(m.lastCanary) < canaryEvery {
		return
	}
	var orders []canaryOrder
	for _, name := range m.forgotten { // first: the task may be here again under the same name
		orders = append(orders, canaryOrder{name: name, forget: true})
	}
	for _, t := range m.running {
		m.nothingWaits(t)
		o := canaryOrder{t: t, name: t.canaryName(), want: t.online.want, first: !t.online.checked, waited: now.Sub(t.online.began)}
		if t.online.next >= 0 {
			o.published = t.version(t.online.next)
		}
		o.vouch, t.online.vouch = t.online.vouch, nil
		orders = append(orders, o)
	}
	select {
	case m.canaries.orders <- orders:
		m.lastCanary, m.forgotten = now, nil
	default: // still busy with the last; what was to be vouched for is, the next time
		for i, t := range m.running {
			t.online.vouch = orders[len(m.forgotten)+i].vouch
		}
	}
}

// nothingWaits takes up that a task has nothing left to publish: events that change no entity move its offset too.
func (m *materializer) nothingWaits(t *task) {
	if t.online.checked && !m.pub.sending && !t.catchingUp && t.waiting() == 0 {
		t.online.published(t.now.next)
	}
}

// lastCanaries advances the canaries to what has been published when the instance stops, so that the next owner finds
// nothing amiss.
func (m *materializer) lastCanaries(ctx context.Context) {
	for _, t := range m.running {
		m.nothingWaits(t)
		if t.online.next < 0 || t.online.republish.active || len(t.online.vouch) > 0 ||
			t.catchingUp { // then everything is published at its end
			continue
		}
		if err := m.canaries.detector.Advance(ctx, t.canaryName(), t.version(t.online.next)); err != nil {
			m.logger.Warn("canary not advanced; the next owner publishes again", "task", t.name(), "err", err)
		}
	}
}

// republishLost begins to publish a task's entities on the lost nodes again. A loss that is being mended already is
// reported until it is.
func (m *materializer) republishLost(l canaryFinding) {
	t := l.t
	if m.tasks[topicPartition{t.in.topic, t.partition}] != t || t.state != taskRunning || t.online.republish.active || len(t.online.vouch) > 0 ||
		t.catchingUp { // then everything is published at its end
		return
	}
	level, what := slog.LevelWarn, "the online store has lost what was published; it is published again"
	if !t.online.checked {
		level, what = slog.LevelInfo, "the online store does not hold all that this task's state says; it is published again"
	}
	m.logger.Log(context.Background(), level, what, "task", t.name(), "nodes", len(l.nodes))
	owns := func(key []byte) bool {
		for _, n := range l.nodes {
			if n.Owns(key) {
				return true
			}
		}
		return false
	}
	t.startRepublish(owns, func() { t.online.vouch = l.nodes })
}

// canaryName names the task among all that publish to a Redis: the views' definitions are in it, because a loss of what
// another definition published is none of this one's.
func (t *task) canaryName() string { return t.in.changelog + ":" + t.partitionLabel }

// version is that of the task's state as of an input offset. The views' epochs may differ; the task's is the newest.
func (t *task) version(next int64) feature.Version {
	var epoch uint64
	for _, v := range t.views {
		epoch = max(epoch, v.epoch)
	}
	return feature.MakeVersion(epoch, uint32(t.partition), uint64(next), 0)
}
