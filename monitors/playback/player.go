package playback

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/monitors/baseline"
	"github.com/freshet-io/freshet/monitors/watch"
)

// Options say what is played, and who is told.
type Options struct {
	Plane     *config.Plane
	Model     *config.Model
	Baselines map[string]*baseline.Baseline // by name; those of other models are left alone
	// Judged is called with everything that a window comes to, in the order of the windows' ends. An error ends the play.
	Judged func(watch.Judgement) error
}

// Player plays the inferences of one model. One goroutine uses it at a time.
type Player struct {
	o     Options
	acc   *watch.Accumulator
	watch *watch.Watch
	pane  int64
	step  int64 // in which time passes where no rows are: that of the most frequent windows
	clock int64 // microseconds UTC
	begun bool
	rows  uint64
	next  int64 // when counts are handed on
}

// New makes a player. It refuses a model that no monitor watches.
func New(o Options) (*Player, error) {
	w, err := watch.New(o.Plane, o.Model)
	if err != nil {
		return nil, err
	}
	p := &Player{o: o, watch: w}
	pane := watch.Pane(o.Plane, o.Model)
	p.pane, p.step = pane.Microseconds(), pane.Microseconds()
	for _, m := range o.Plane.Monitors {
		if m.Model == o.Model {
			p.step = max(p.step, min(m.Every.Microseconds(), time.Hour.Microseconds()))
		}
	}
	p.acc = watch.NewAccumulator(o.Model, pane)
	for _, name := range slices.Sorted(maps.Keys(o.Baselines)) {
		p.acc.SetBaseline(name, o.Baselines[name])
		p.watch.SetBaseline(name, o.Baselines[name])
	}
	p.acc.Partitions([]int32{0}, 1)
	return p, nil
}

// Rows is how many inferences were added.
func (p *Player) Rows() uint64 { return p.rows }

// Late is how many of them came for windows that had been judged (Y1).
func (p *Player) Late() uint64 { return p.watch.Late() }

// Strays are the inferences of versions without a baseline, by version.
func (p *Player) Strays() map[string]uint64 { return p.watch.Strays() }

// Add plays an inference: a row of the model's source, with its event time in microseconds UTC. The row is not kept.
func (p *Player) Add(row []feature.Value, at int64) error {
	if !p.begun {
		p.begun, p.clock, p.next = true, at, at+p.pane
	}
	if at >= p.next {
		if err := p.pass(at); err != nil {
			return err
		}
	}
	p.clock = max(p.clock, at)
	p.acc.Add(0, row, at)
	p.rows++
	return nil
}

// Advance lets time pass until t, microseconds UTC, without inferences (Y2).
func (p *Player) Advance(t int64) error {
	if !p.begun || t <= p.clock {
		return nil
	}
	return p.pass(t)
}

// pass hands on what has been counted and lets time pass until t.
func (p *Player) pass(t int64) error {
	if err := p.commit(p.clock); err != nil {
		return err
	}
	for t-p.clock > p.step {
		if err := p.quiet(p.clock + p.step); err != nil {
			return err
		}
	}
	p.clock, p.next = t, t+p.pane
	return nil
}

// tick is how often a profiler tells that time has passed: often enough that its partition is not taken for one that
// nobody reads.
const tick = 10 * time.Second

// quiet tells that nothing came until t: so often, shortly before it, that the partition is idle (watch.W3) and stream
// time follows the clock.
func (p *Player) quiet(t int64) error {
	for at := t - watch.IdleAfter.Microseconds(); at < t; at += tick.Microseconds() {
		if at <= p.clock {
			continue
		}
		if err := p.commit(at); err != nil {
			return err
		}
	}
	return p.commit(t)
}

// commit hands on what has been counted, and judges what is due.
func (p *Player) commit(clock int64) error {
	p.clock = max(p.clock, clock)
	for _, d := range p.acc.Flush(p.clock) {
		if err := p.watch.Add(d); err != nil {
			return fmt.Errorf("model %s: %w", p.o.Model.Name, err)
		}
	}
	p.acc.Committed()
	for more := true; more; {
		var judged []watch.Judgement
		var err error
		if judged, more, err = p.watch.Advance(windowsATime); err != nil {
			return fmt.Errorf("model %s: %w", p.o.Model.Name, err)
		}
		for _, j := range judged {
			if err := p.o.Judged(j); err != nil {
				return err
			}
		}
	}
	return nil
}

// windowsATime bounds how many judgements are held at a time.
const windowsATime = 50

// End judges every window that ends by until and its grace, as if no more inferences came; 0: by the last row's.
func (p *Player) End(until int64) error {
	if !p.begun {
		return nil
	}
	end := max(until, p.clock)
	var grace time.Duration
	for _, m := range p.o.Plane.Monitors {
		if m.Model == p.o.Model {
			grace = max(grace, m.Grace)
		}
	}
	if err := p.pass(end); err != nil {
		return err
	}
	// Idle stream time is behind the clock by as much as it takes to call a partition idle.
	return p.quiet(end + grace.Microseconds() + 2*watch.IdleAfter.Microseconds() + tick.Microseconds())
}
