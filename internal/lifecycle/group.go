package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Runner is a part of a process. It calls ready once it serves its purpose, and runs until ctx ends; then it finishes
// what it must, releases everything it holds, goroutines included, and returns nil or ctx's error. Any other error
// ends the group. A Runner that returns nil of itself is a step that is done, and the group goes on without it.
type Runner func(ctx context.Context, ready func()) error

// DefaultStopWithin is how long a part may take to stop when its Add does not say.
const DefaultStopWithin = 15 * time.Second

// Group runs parts together. The zero value is not usable; see New.
type Group struct {
	logger  *slog.Logger
	members []*member // fixed when Run begins
}

type member struct {
	name       string
	run        Runner
	stopWithin time.Duration

	cancel context.CancelFunc
	ready  chan struct{} // closed by the part
	done   chan struct{} // closed when it has returned; err may be read then
	err    error
}

// New returns an empty group that logs each start and stop.
func New(logger *slog.Logger) *Group { return &Group{logger: logger} }

// Add puts a part behind those added before: it starts when they are ready and stops before them. It may take
// stopWithin to stop (0: DefaultStopWithin). REQUIRES: Run has not been called.
func (g *Group) Add(name string, stopWithin time.Duration, run Runner) {
	if stopWithin <= 0 {
		stopWithin = DefaultStopWithin
	}
	g.members = append(g.members, &member{
		name: name, run: run, stopWithin: stopWithin,
		ready: make(chan struct{}), done: make(chan struct{}),
	})
}

// Run starts the parts and returns when all have ended: because ctx ended, which is no error, because one failed, or
// because all were done. The first failure comes first in the error. Run returns without a part that does not stop in
// time, and names it; the process should exit then. A Group runs once.
func (g *Group) Run(ctx context.Context) error {
	failed := make(chan *member, len(g.members))
	started, first := g.start(ctx, failed)
	if first == nil {
		first = g.await(ctx, failed)
	}
	errs := make([]error, 0, 1)
	if first != nil {
		g.logger.Error("stopping: a part failed", "part", first.name, "error", first.err)
		errs = append(errs, first.failure())
	}
	for i := started - 1; i >= 0; i-- {
		if m := g.members[i]; m != first {
			errs = append(errs, g.stop(m))
		}
	}
	return errors.Join(errs...)
}

// start starts part after part until all are ready, ctx ends, or one fails, which it returns.
func (g *Group) start(ctx context.Context, failed chan *member) (started int, first *member) {
	for i, m := range g.members {
		if ctx.Err() != nil {
			return i, nil
		}
		began := time.Now()
		m.start(ctx, failed)
		select {
		case <-m.ready:
			g.logger.Debug("started", "part", m.name, "took", time.Since(began))
		case <-m.done: // a step without a word
			if m.err != nil {
				return i + 1, m
			}
		case <-ctx.Done():
			return i + 1, nil
		case first := <-failed:
			return i + 1, first
		}
	}
	return len(g.members), nil
}

// start runs the part under a context of its own, which outlives the group's until it is the part's turn to stop.
func (m *member) start(ctx context.Context, failed chan<- *member) {
	ctx, m.cancel = context.WithCancel(context.WithoutCancel(ctx))
	told := false
	ready := func() {
		if !told {
			told = true
			close(m.ready)
		}
	}
	go func() {
		m.err = m.run(ctx, ready)
		if errors.Is(m.err, context.Canceled) && ctx.Err() != nil {
			m.err = nil
		}
		if m.err != nil {
			failed <- m // has room for every part
		}
		close(m.done)
	}()
}

func (m *member) failure() error { return fmt.Errorf("%s: %w", m.name, m.err) }

// await returns the part that failed, or nil when ctx ended or all parts are done.
func (g *Group) await(ctx context.Context, failed <-chan *member) *member {
	allDone := make(chan struct{})
	go func() {
		defer close(allDone)
		for _, m := range g.members {
			select {
			case <-m.done:
			case <-ctx.Done():
				return
			}
		}
	}()
	select {
	case m := <-failed:
		return m
	case <-ctx.Done():
	case <-allDone:
	}
	select {
	case m := <-failed: // it failed just before the rest was done
		return m
	default:
		return nil
	}
}

// stop ends one part and returns what went wrong with that.
func (g *Group) stop(m *member) error {
	began := time.Now()
	m.cancel()
	late := time.NewTimer(m.stopWithin)
	defer late.Stop()
	select {
	case <-m.done:
	case <-late.C:
		g.logger.Error("a part does not stop", "part", m.name, "within", m.stopWithin)
		return fmt.Errorf("%s did not stop within %s", m.name, m.stopWithin)
	}
	g.logger.Debug("stopped", "part", m.name, "took", time.Since(began))
	if m.err != nil {
		return m.failure()
	}
	return nil
}
