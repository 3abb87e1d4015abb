package deliver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/kafka"
	"github.com/freshet-io/freshet/monitors/notify"
	"github.com/freshet-io/freshet/monitors/topics"
)

// Options are what a Runner is made of. All but Now are required.
type Options struct {
	Plane      *config.Plane
	Client     []kgo.Opt // to reach Kafka: internal/kafka.Options
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	Now        func() time.Time // of the schedule of attempts; default time.Now
}

// Runner delivers a plane's alerts, or stands by while another process does.
type Runner struct {
	Options
	log      *slog.Logger
	group    string
	history  string // topic
	channels []*notify.Channel
	monitors map[string]*config.Monitor
	met      *metrics

	mu      sync.Mutex
	trouble error // why it is not at work; nil if it delivers or stands by
}

var (
	errJoining = errors.New("notifications: joining the group")
	errLoading = errors.New("notifications: loading the state of deliveries")
)

// New checks the channels and returns a runner. A channel that a monitor uses and that lacks a setting is an error.
func New(o Options) (*Runner, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	channels, err := newChannels(o.Plane, o.Logger)
	if err != nil {
		return nil, err
	}
	r := &Runner{
		Options: o, log: o.Logger, group: o.Plane.Prefix + "notify", history: topics.Name(o.Plane, topics.Alerts), channels: channels,
		monitors: map[string]*config.Monitor{}, met: newMetrics(o.Registerer), trouble: errJoining,
	}
	for _, m := range o.Plane.Monitors {
		r.monitors[m.Name] = m
	}
	return r, nil
}

// Ready reports why the runner neither delivers nor stands by; nil means that it does.
func (r *Runner) Ready() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.trouble
}

func (r *Runner) setTrouble(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.trouble = err
}

// Pauses before the group is joined anew after a failure.
const (
	rejoinFirst = 200 * time.Millisecond
	rejoinLast  = 15 * time.Second
	settled     = time.Minute // a membership that lasted so long was no failure to start
)

// Run works until ctx ends. Failures are logged, told by Ready, and tried again: it returns nil.
func (r *Runner) Run(ctx context.Context) error {
	defer func() {
		for _, c := range r.channels {
			c.Close()
		}
	}()
	for pause := rejoinFirst; ; {
		began := time.Now()
		err := r.member(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(began) > settled {
			pause = rejoinFirst
		}
		r.setTrouble(fmt.Errorf("notifications: %w", err))
		r.log.Warn("notifications stopped and begin anew", "error", err, "in", pause)
		if !sleep(ctx, pause) {
			return nil
		}
		pause = min(2*pause, rejoinLast)
	}
}

// sleep waits and reports whether ctx still lasts.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// member is in the group until ctx ends or something fails, and delivers while it has the partition.
func (r *Runner) member(ctx context.Context) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	r.setTrouble(errJoining)
	t := &tenure{runner: r, ctx: ctx, fail: fail}
	cl, err := kgo.NewClient(slices.Concat(kafka.GroupOptions(0), r.Client, []kgo.Opt{
		kgo.ConsumerGroup(r.group), kgo.ConsumeTopics(r.history), kgo.DisableAutoCommit(), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.OnPartitionsAssigned(t.gain), kgo.OnPartitionsRevoked(t.lose), kgo.OnPartitionsLost(t.lose),
	})...)
	if err != nil {
		return fmt.Errorf("join group %s: %w", r.group, err)
	}
	defer leave(cl)
	defer t.end()
	for {
		// The partition is paused: what a poll brings are the client's troubles.
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		for _, e := range fetches.Errors() {
			var session *kgo.ErrGroupSession
			if !kerr.IsRetriable(e.Err) && !errors.As(e.Err, &session) {
				return fmt.Errorf("group %s: %w", r.group, e.Err)
			}
			r.log.Warn("the group of notifications is in trouble", "group", r.group, "error", e.Err)
		}
	}
}

// leaveWithin bounds the wait for a client to leave its group: one whose broker is gone is forgotten by the group.
const leaveWithin = 10 * time.Second

func leave(cl *kgo.Client) {
	done := make(chan struct{})
	go func() {
		cl.Close()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(leaveWithin):
	}
}

// tenure is what a member does with the partition, from when it comes until it goes.
type tenure struct {
	runner *Runner
	ctx    context.Context // of the membership
	fail   context.CancelCauseFunc

	mu   sync.Mutex
	stop context.CancelFunc // nil: the member does not have the partition
	done chan struct{}
}

// gain begins to deliver. It is called with nothing when the group has decided that another does.
func (t *tenure) gain(_ context.Context, cl *kgo.Client, parts map[string][]int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(parts[t.runner.history]) == 0 {
		if t.stop == nil {
			t.runner.setTrouble(nil)
		}
		return
	}
	cl.PauseFetchTopics(t.runner.history) // it is read from another position than the group's
	if t.stop != nil {
		return
	}
	t.runner.setTrouble(errLoading)
	ctx, stop := context.WithCancel(t.ctx)
	done := make(chan struct{})
	t.stop, t.done = stop, done
	go func() {
		defer close(done)
		if err := t.runner.deliver(ctx, cl); err != nil && ctx.Err() == nil {
			t.fail(err)
		}
	}()
}

// lose returns when nothing is delivered any more (D2). It is called with nothing when other members come.
func (t *tenure) lose(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
	if len(parts[t.runner.history]) > 0 {
		t.end()
		t.runner.setTrouble(nil)
	}
}

// end stops delivering, and returns when that has happened.
func (t *tenure) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stop == nil {
		return
	}
	t.stop()
	<-t.done
	t.stop = nil
}
