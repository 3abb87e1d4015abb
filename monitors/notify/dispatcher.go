package notify

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/freshet-io/freshet/monitors/alert"
)

// Options of a Dispatcher. Store, Logger and Registerer are required.
type Options struct {
	Channels   []*Channel
	Store      Store
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	Now        func() time.Time // default time.Now
	Chance     func() float64   // of jitter, in [0, 1); default random
}

// Dispatcher delivers messages. One process at a time runs the dispatcher of a Store.
type Dispatcher struct {
	store   Store
	log     *slog.Logger
	now     func() time.Time
	metrics *metrics
	wake    chan struct{} // there may be something to do

	saving  sync.Mutex // held while records are on their way to the store, so that they arrive in order
	mu      sync.Mutex // guards what follows
	outbox  *outbox
	unsaved map[string]Record // what the store has not taken yet
}

const (
	saveTimeout = 10 * time.Second
	saveAgain   = time.Second
)

// New loads the state of deliveries. Nothing is sent until Run.
func New(ctx context.Context, o Options) (*Dispatcher, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Chance == nil {
		o.Chance = rand.Float64
	}
	box, err := newOutbox(o.Channels, o.Chance)
	if err != nil {
		return nil, err
	}
	records, err := o.Store.Load(ctx)
	if err != nil {
		return nil, fmt.Errorf("load the state of notifications: %w", err)
	}
	if err := box.load(records, o.Now()); err != nil {
		return nil, err
	}
	d := &Dispatcher{
		store: o.Store, log: o.Logger, now: o.Now, metrics: newMetrics(o.Registerer), outbox: box,
		wake: make(chan struct{}, 1), unsaved: map[string]Record{},
	}
	d.metrics.show(box)
	return d, nil
}

// Offer takes a message for channels and returns when it is kept: whoever reads messages may go on then. After an error
// it must be offered again; what is known already is not sent twice (N1). Messages that are for the history alone are
// ignored.
func (d *Dispatcher) Offer(ctx context.Context, m *alert.Message, channels []string) error {
	if !m.Type.Delivered() {
		return nil
	}
	event, err := m.Event()
	if err != nil {
		return err
	}
	if _, err := alert.ParseEvent(event); err != nil { // it could not be loaded again
		return fmt.Errorf("offer message %q: %w", m.ID, err)
	}
	d.mu.Lock()
	for _, name := range channels {
		if d.outbox.channels[name] == nil {
			d.mu.Unlock()
			return fmt.Errorf("offer message %s: no channel %q", m.ID, name)
		}
	}
	for _, name := range channels {
		d.outbox.add(m, event, name, d.now())
	}
	d.mu.Unlock()
	err = d.save(ctx)
	d.nudge()
	return err
}

func (d *Dispatcher) nudge() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// save brings everything that has changed to the store.
func (d *Dispatcher) save(ctx context.Context) error {
	d.saving.Lock()
	defer d.saving.Unlock()
	d.mu.Lock()
	for _, r := range d.outbox.changes() {
		d.unsaved[r.Key] = r
	}
	records := make([]Record, 0, len(d.unsaved))
	for _, r := range d.unsaved {
		records = append(records, r)
	}
	d.metrics.show(d.outbox)
	d.mu.Unlock()
	if len(records) == 0 {
		return nil
	}
	slices.SortFunc(records, func(a, b Record) int { return cmp.Compare(a.Key, b.Key) })
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	if err := d.store.Save(ctx, records); err != nil {
		d.metrics.unsaved.Inc()
		return fmt.Errorf("keep the state of notifications: %w", err)
	}
	d.mu.Lock()
	for _, r := range records { // nobody else has changed them: saves are one at a time
		delete(d.unsaved, r.Key)
	}
	d.mu.Unlock()
	return nil
}

// Run delivers until ctx ends, and returns when no attempt is under way any more.
func (d *Dispatcher) Run(ctx context.Context) error {
	var attempts sync.WaitGroup
	defer func() {
		attempts.Wait()
		for _, c := range d.outbox.channels {
			c.Close()
		}
		// What the last attempts brought must be kept, though ctx has ended; else they are made again, which is allowed.
		if err := d.save(context.WithoutCancel(ctx)); err != nil {
			d.log.Error("the last attempts to notify were not kept and will be made again", "error", err)
		}
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-d.wake:
		}
		started, in := d.begin()
		for _, s := range started {
			attempts.Go(func() { d.attempt(ctx, s) })
		}
		if err := d.save(ctx); err != nil && ctx.Err() == nil {
			d.log.Error("the state of notifications was not kept; it is tried again", "error", err)
			in = min(in, saveAgain)
		}
		timer.Reset(in)
	}
}

// attemptOf is a delivery under way.
type attemptOf struct {
	d       *delivery
	channel *Channel
	event   []byte
	number  int
}

// begin returns the attempts to make now, and how long nothing else is due.
func (d *Dispatcher) begin() ([]attemptOf, time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	d.outbox.sweep(now)
	var out []attemptOf
	for _, x := range d.outbox.due(now) {
		out = append(out, attemptOf{x, d.outbox.channels[x.Channel], x.Event, x.Attempts + 1})
	}
	in := time.Hour
	if at, ok := d.outbox.next(now); ok {
		in = min(in, max(at.Sub(now), time.Millisecond))
	}
	return out, in
}

// attempt sends a message once and notes what became of it.
func (d *Dispatcher) attempt(ctx context.Context, a attemptOf) {
	began := d.now()
	var out Outcome
	m, err := alert.ParseEvent(a.event)
	if err != nil { // it was parsed when it came
		out = Outcome{Result: Refused, Err: err}
	} else {
		out = a.channel.Send(ctx, &m, began)
	}
	if ctx.Err() != nil && out.Result == Failed {
		d.abandon(a)
		return
	}
	now := d.now()
	name := a.channel.name
	d.metrics.attempts.WithLabelValues(name, string(out.Result)).Inc()
	d.metrics.seconds.WithLabelValues(name).Observe(now.Sub(began).Seconds())
	d.mu.Lock()
	d.outbox.finish(a.d, out, now)
	what, next := a.d.Stage, a.d.Next
	d.mu.Unlock()
	attrs := []any{"channel", name, "message", m.ID, "attempt", a.number}
	switch {
	case out.Result == Delivered:
		d.log.Debug("notified", attrs...)
	case what == dead:
		d.log.Error("a notification was given up", append(attrs, "error", out.Err)...)
	default:
		d.log.Warn("a notification failed and will be tried again", append(attrs, "error", out.Err, "next", next)...)
	}
	d.nudge()
}

// abandon forgets an attempt that the program's end cut short: nobody knows what became of it, and it does not count.
func (d *Dispatcher) abandon(a attemptOf) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.outbox.underway, a.d.key())
	d.outbox.busy[a.d.Channel]--
}

// Enable lets a channel that was disabled have messages again.
func (d *Dispatcher) Enable(ctx context.Context, channel string) error {
	d.mu.Lock()
	known := d.outbox.channels[channel] != nil
	d.outbox.enable(channel)
	d.mu.Unlock()
	if !known {
		return fmt.Errorf("enable: no channel %q", channel)
	}
	d.nudge()
	return d.save(ctx)
}

// Replay delivers a dead message again, under its id.
func (d *Dispatcher) Replay(ctx context.Context, channel, message string) error {
	d.mu.Lock()
	err := d.outbox.replay(channel, message, d.now())
	d.mu.Unlock()
	if err != nil {
		return err
	}
	d.nudge()
	return d.save(ctx)
}

// Delivery is where a message stands on a channel.
type Delivery struct {
	Channel, Message, Episode string
	Stage                     string // waiting, resending, delivered, dead or passed
	Attempts                  int
	Next                      time.Time // of the next attempt
	Error                     string    // of the last one
}

// Deliveries are all that are remembered, in the order in which they came.
func (d *Dispatcher) Deliveries() []Delivery {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]*delivery, 0, len(d.outbox.deliveries))
	for _, x := range d.outbox.deliveries {
		all = append(all, x)
	}
	return overview(all)
}
