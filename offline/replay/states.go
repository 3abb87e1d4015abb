package replay

import (
	"context"
	"errors"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/inputs"
)

// State is one entity in one view after all its events.
type State struct {
	View   int // of the views that were asked for
	Key    []byte
	Task   int32           // by Query.Task
	Entity *feature.Entity // Trim-med to the task's stream time; the callee's to keep
}

// EachState calls fn with the state of every entity in every view in which it has any, as the processors have it once
// they have counted the same events; fn is called from several goroutines, with their numbers. The Log's query has All,
// Task, and Fields that hold the join keys and what the views read. An event that came too late for a tile is not told
// apart: at the end its tile is not kept anyway. Float sums may differ in their last bits, as their order does.
func (l *Log) EachState(ctx context.Context, views []*config.View, fn func(worker int, s *State) error) error {
	if !l.q.All || l.q.Task == nil {
		return errors.New("states need a query of all entities and their tasks")
	}
	times := l.StreamTimes()
	return l.Each(ctx, func(worker int) Visitor {
		b := &builder{l: l, views: views, times: times, worker: worker, fn: fn, keyVal: make([]feature.Value, len(l.q.Key))}
		for _, v := range views {
			b.inputs = append(b.inputs, inputs.New(v))
		}
		return b
	})
}

// builder is the Visitor of EachState.
type builder struct {
	l      *Log
	views  []*config.View
	inputs []*inputs.Evaluator
	times  map[int32]int64
	worker int
	fn     func(worker int, s *State) error

	entities []*feature.Entity
	key      []byte
	keyVal   []feature.Value
	task     int32
	now      int64 // stream time of the task
}

// Begin implements Visitor.
func (b *builder) Begin() error {
	b.key = b.key[:0]
	return b.Erase()
}

// Erase implements Visitor.
func (b *builder) Erase() error {
	b.entities = b.entities[:0]
	for range b.views {
		b.entities = append(b.entities, nil)
	}
	return nil
}

// Event implements Visitor.
func (b *builder) Event(e *Event) error {
	if len(b.key) == 0 {
		if err := b.identify(e); err != nil {
			return err
		}
	}
	for i, v := range b.views {
		if keep := v.Layout.KeepFor(); keep > 0 && e.Order.Time < b.now-keep {
			continue // nothing of it is kept
		}
		if !b.inputs[i].Accepts(e.Row) {
			continue
		}
		if b.entities[i] == nil {
			b.entities[i] = &feature.Entity{}
		}
		v.Layout.Apply(b.entities[i], &e.Order, b.inputs[i].Evaluate(e.Row), b.now)
	}
	return nil
}

// identify finds the entity's key and its task.
func (b *builder) identify(e *Event) error {
	if !b.l.hasKey(e.Row, b.keyVal) {
		return errors.New("states need the join keys among the fields")
	}
	var err error
	if b.key, err = feature.AppendKey(b.key[:0], b.keyVal...); err != nil {
		return err
	}
	if b.task, err = b.l.q.Task(e.Row); err != nil {
		return err
	}
	b.now = b.times[b.task]
	return nil
}

// Probe implements Visitor.
func (b *builder) Probe(int64, uint64) error { return nil }

// End implements Visitor.
func (b *builder) End() error {
	for i, e := range b.entities {
		if e == nil {
			continue
		}
		b.views[i].Layout.Trim(e, b.now)
		if e.Empty() {
			continue
		}
		s := State{View: i, Key: append([]byte(nil), b.key...), Task: b.task, Entity: e}
		if err := b.fn(b.worker, &s); err != nil {
			return err
		}
	}
	return nil
}
