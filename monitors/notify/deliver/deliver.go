package deliver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/freshet-io/freshet/monitors/alert"
	"github.com/freshet-io/freshet/monitors/notify"
	"github.com/freshet-io/freshet/monitors/notify/kafkastore"
)

// checkEvery is how often an owner asks whether it still is one. A command that changes the state takes it over, and the
// runner, which has perhaps nothing to write for days, takes it back with what was changed.
const checkEvery = 3 * time.Second

// deliver reads the history and delivers until ctx ends or the state belongs to another. group is the member's client.
func (r *Runner) deliver(ctx context.Context, group *kgo.Client) error {
	store, err := kafkastore.Open(ctx, r.Client, r.Plane)
	if err != nil {
		return err
	}
	defer store.Close()
	state, err := store.State(ctx)
	if err != nil {
		return err
	}
	own := prometheus.NewRegistry() // who delivers next shows the state then: what is shown here must go
	d, err := notify.New(ctx, notify.Options{Channels: r.channels, Store: store, Logger: r.log, Registerer: own, Now: r.Now})
	if err != nil {
		return err
	}
	if err := r.Registerer.Register(own); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	defer r.Registerer.Unregister(own)
	cl, err := r.openHistory(ctx, state)
	if err != nil {
		return err
	}
	defer leave(cl)

	ctx, stop := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop(nil)
	wg.Go(func() { stop(r.watch(ctx, store)) })
	wg.Go(func() { stop(d.Run(ctx)) })
	r.met.owner.Set(1)
	defer r.met.owner.Set(0)
	r.setTrouble(nil)
	r.log.Info("notifications are delivered by this process", "deliveries", len(state.Records), "next", state.Next)
	if err := r.read(ctx, cl, d, store, group); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// watch returns when the store is lost, with why, or ctx ends.
func (r *Runner) watch(ctx context.Context, store *kafkastore.Store) error {
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-store.Lost():
			return kafkastore.ErrLost
		case <-tick.C:
			if err := store.Check(ctx); err != nil && ctx.Err() == nil {
				r.log.Debug("the owner of the state of notifications", "error", err)
			}
		}
	}
}

// openHistory returns a client that reads the history from where the state left it.
func (r *Runner) openHistory(ctx context.Context, state kafkastore.State) (*kgo.Client, error) {
	cl, err := kgo.NewClient(append(r.Client[:len(r.Client):len(r.Client)],
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.FetchMaxWait(time.Second))...)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", r.history, err)
	}
	from, err := r.begin(ctx, kadm.NewClient(cl), state)
	if err != nil {
		leave(cl)
		return nil, err
	}
	cl.AddConsumePartitions(map[string]map[int32]kgo.Offset{r.history: {0: kgo.NewOffset().At(from)}})
	return cl, nil
}

// begin is the offset to read the history from: all of it, if no position is known or it is of another history.
func (r *Runner) begin(ctx context.Context, adm *kadm.Client, state kafkastore.State) (int64, error) {
	var at [2]int64
	for i, list := range []func(context.Context, ...string) (kadm.ListedOffsets, error){adm.ListStartOffsets, adm.ListEndOffsets} {
		listed, err := list(ctx, r.history)
		if err == nil {
			err = listed.Error()
		}
		if err != nil {
			return 0, fmt.Errorf("list offsets of %s: %w", r.history, err)
		}
		o, ok := listed.Lookup(r.history, 0)
		if !ok {
			return 0, fmt.Errorf("list offsets of %s: it has no partition 0", r.history)
		}
		at[i] = o.Offset
	}
	start, end := at[0], at[1]
	switch {
	case !state.Known:
		return start, nil
	case state.Next > end:
		r.log.Warn("the history of alerts is shorter than it was: it is taken for another one and read from its beginning", "topic", r.history, "next", state.Next, "end", end)
		return start, nil
	case state.Next < start:
		r.log.Error("messages of the history of alerts are gone before they were offered to channels", "topic", r.history, "next", state.Next, "start", start)
		return start, nil
	}
	return state.Next, nil
}

// read offers what the history says until ctx ends.
func (r *Runner) read(ctx context.Context, cl *kgo.Client, d *notify.Dispatcher, store *kafkastore.Store, group *kgo.Client) error {
	for {
		fetches := cl.PollRecords(ctx, 1000)
		if ctx.Err() != nil {
			return nil
		}
		for _, e := range fetches.Errors() {
			if !kerr.IsRetriable(e.Err) {
				return fmt.Errorf("read %s: %w", r.history, e.Err)
			}
			r.log.Warn("the history of alerts cannot be read; it is tried again", "topic", r.history, "error", e.Err)
		}
		var last *kgo.Record
		for it := fetches.RecordIter(); !it.Done(); {
			last = it.Next()
			if err := r.take(ctx, d, last); err != nil {
				return nil // ctx has ended
			}
		}
		if last == nil {
			continue
		}
		if err := r.insist(ctx, "keep the position", func() error { return store.SaveNext(ctx, last.Offset+1) }); err != nil {
			return nil
		}
		r.commit(ctx, group, last)
	}
}

// take offers one record's message. It returns an error only when ctx has ended: the message must be offered again.
func (r *Runner) take(ctx context.Context, d *notify.Dispatcher, rec *kgo.Record) error {
	m, err := alert.ParseEvent(rec.Value)
	if err == nil {
		_, err = m.Event() // it will be sent as this
	}
	if err != nil {
		r.met.messages.WithLabelValues(unreadable).Inc()
		r.log.Error("a record of the history of alerts is not a message and is left out", "topic", rec.Topic, "offset", rec.Offset, "error", err)
		return nil
	}
	if !m.Type.Delivered() {
		r.met.messages.WithLabelValues(historical).Inc()
		return nil
	}
	to := r.recipients(&m, d)
	if len(to) == 0 {
		r.met.messages.WithLabelValues(nowhere).Inc()
		if r.monitors[m.Monitor] == nil {
			r.log.Warn("an alert of a monitor that is not defined goes nowhere", "monitor", m.Monitor, "message", m.ID)
		}
		return nil
	}
	if err := r.insist(ctx, "offer "+m.ID, func() error { return d.Offer(ctx, &m, to) }); err != nil {
		return err
	}
	r.met.messages.WithLabelValues(offered).Inc()
	return nil
}

// recipients are the channels that a message is for (D3).
func (r *Runner) recipients(m *alert.Message, d *notify.Dispatcher) []string {
	var to []string
	add := func(name string) {
		known := slices.ContainsFunc(r.channels, func(c *notify.Channel) bool { return c.Name() == name })
		if known && !slices.Contains(to, name) {
			to = append(to, name)
		}
	}
	if mon := r.monitors[m.Monitor]; mon != nil {
		for _, c := range mon.Channels {
			add(c.Name)
		}
	}
	if m.Type == alert.ResolvedType {
		for _, told := range d.Deliveries() {
			if told.Episode == m.Episode {
				add(told.Channel)
			}
		}
	}
	return to
}

// Pauses between tries to write the state.
const (
	insistFirst = 100 * time.Millisecond
	insistLast  = 5 * time.Second
)

// insist calls fn until it succeeds or ctx ends.
func (r *Runner) insist(ctx context.Context, what string, fn func() error) error {
	for pause := insistFirst; ; pause = min(2*pause, insistLast) {
		err := fn()
		if err == nil {
			return nil
		}
		if ctx.Err() == nil && !errors.Is(err, kafkastore.ErrLost) {
			r.log.Warn("notifications: "+what+": it is tried again", "error", err)
		}
		if !sleep(ctx, pause) {
			return ctx.Err()
		}
	}
}

// commitWithin bounds the commit of the group's offset, which is for watching lag only and not waited for: a rebalance may
// hold it up, and wait for this itself.
const commitWithin = 5 * time.Second

func (r *Runner) commit(ctx context.Context, group *kgo.Client, last *kgo.Record) {
	ctx, cancel := context.WithTimeout(ctx, commitWithin)
	offsets := map[string]map[int32]kgo.EpochOffset{last.Topic: {last.Partition: {Epoch: last.LeaderEpoch, Offset: last.Offset + 1}}}
	group.CommitOffsets(ctx, offsets, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, _ *kmsg.OffsetCommitResponse, err error) {
		if err != nil && ctx.Err() == nil {
			r.log.Debug("the offset of the group of notifications is not committed", "group", r.group, "error", err)
		}
		cancel()
	})
}
