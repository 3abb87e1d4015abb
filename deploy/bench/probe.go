package bench

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/online"
)

// A probe is one event whose way to a lookup is timed. Its value is greater than every value before it, so that a
// maximum shows it, or a later one of the same entity, which can only have come after it.
type probe struct {
	value float64
	acked time.Time
}

// probes keeps account of the probes of one view that have been acknowledged and not been seen.
type probes struct {
	view   *config.View
	entity string // prefix of the names of the entities that probes are of
	warm   time.Time

	mu    sync.Mutex // acknowledgements come on the producer's goroutines
	open  []probe
	made  int // those after the warm-up
	times []time.Duration
}

// probeEntities is how many entities the probes are of, in turn: they spread over all partitions.
const probeEntities = 64

// probeBase is above every amount of an event that is no probe.
const probeBase = 1_000_000

// probeValue is the amount of the i-th probe.
func probeValue(i int) float64 { return float64(probeBase + i) }

// entityOf names the entity of a probe in one view.
func (p *probes) entityOf(value float64) string {
	return p.entity + strconv.Itoa((int(value)-probeBase)%probeEntities)
}

// acknowledged begins a probe's time.
func (p *probes) acknowledged(pr probe) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = append(p.open, pr)
	if !pr.acked.Before(p.warm) {
		p.made++
	}
}

// waiting returns the probes that have not been seen, in dst.
func (p *probes) waiting(dst []probe) []probe {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append(dst[:0], p.open...)
}

// unseen is how many of those after the warm-up have not been seen.
func (p *probes) unseen() (n int) {
	for _, pr := range p.waiting(nil) {
		if !pr.acked.Before(p.warm) {
			n++
		}
	}
	return n
}

// seen ends the times of probes that a lookup showed. Those acknowledged before the end of the warm-up do not count.
func (p *probes) seen(values map[float64]bool, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := p.open[:0]
	for _, pr := range p.open {
		switch {
		case !values[pr.value]:
			kept = append(kept, pr)
		case !pr.acked.Before(p.warm):
			p.times = append(p.times, max(0, now.Sub(pr.acked)))
		}
	}
	p.open = kept
}

// lookups looks open probes of a view up, as a server would: the view's fields of each entity, read at the clock.
type lookups struct {
	*probes
	project string

	fields *viewFields // of the maximum, which shows a probe
	reader feature.Reader
	vals   []feature.Value
	open   []probe
	asked  map[string]int // entities of the open probes, and their places among the requests
}

func newLookups(project string, p *probes) (*lookups, error) {
	for i, f := range p.view.Features {
		if f.Aggregate == "max" {
			return &lookups{
				probes: p, project: project, fields: newViewFields(p.view, []int{i}), vals: make([]feature.Value, 1), asked: map[string]int{},
			}, nil
		}
	}
	return nil, fmt.Errorf("feature view %s has no maximum", p.view.Name)
}

// ask appends the requests of a round: one for each entity that open probes are of.
func (l *lookups) ask(now time.Time, reqs []online.FetchRequest) ([]online.FetchRequest, error) {
	clear(l.asked)
	l.open = l.waiting(l.open)
	fields := l.fields.at(now)
	for _, pr := range l.open {
		name := l.entityOf(pr.value)
		if _, ok := l.asked[name]; ok {
			continue
		}
		key, err := feature.AppendKey(nil, feature.StringValue(name))
		if err != nil {
			return nil, err
		}
		l.asked[name] = len(reqs)
		reqs = append(reqs, online.FetchRequest{Key: string(online.AppendKey(nil, l.project, l.view.Entity.Name, key)), Fields: fields})
	}
	return reqs, nil
}

// answered takes up what the round at a clock has fetched; answers has the places of the requests.
func (l *lookups) answered(now time.Time, answers [][][]byte) error {
	shown := map[float64]bool{}
	for name, at := range l.asked {
		st, _, _, err := l.fields.read(&l.reader, answers[at], now, l.vals)
		if err != nil {
			return fmt.Errorf("look %s up: %w", name, err)
		}
		if st != feature.Present || l.vals[0].IsNull() {
			continue
		}
		for _, pr := range l.open {
			if pr.value <= l.vals[0].Float64() && l.entityOf(pr.value) == name {
				shown[pr.value] = true
			}
		}
	}
	l.seen(shown, time.Now())
	return nil
}

// rounds of lookups: those of all views are one round trip.
type rounds struct {
	rdb   *online.Client
	views []*lookups
	reqs  []online.FetchRequest
	out   [][][]byte
	made  int
}

func newRounds(project string, rdb *online.Client, of ...*probes) (*rounds, error) {
	r := &rounds{rdb: rdb}
	for _, p := range of {
		l, err := newLookups(project, p)
		if err != nil {
			return nil, err
		}
		r.views = append(r.views, l)
	}
	return r, nil
}

// look does one round for the open probes.
func (r *rounds) look(ctx context.Context) (err error) {
	now := time.Now()
	r.reqs = r.reqs[:0]
	for _, l := range r.views {
		if r.reqs, err = l.ask(now, r.reqs); err != nil {
			return err
		}
	}
	r.made++
	if len(r.reqs) == 0 {
		return nil
	}
	for len(r.out) < len(r.reqs) {
		r.out = append(r.out, nil)
	}
	if err := r.rdb.Fetch(ctx, r.reqs, r.out[:len(r.reqs)]); err != nil {
		return err
	}
	for _, l := range r.views {
		if err := l.answered(now, r.out); err != nil {
			return err
		}
	}
	return nil
}

// run does a round about every millisecond until ctx is done.
func (r *rounds) run(ctx context.Context) error {
	every := time.NewTicker(time.Millisecond)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
		}
		if err := r.look(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
}
