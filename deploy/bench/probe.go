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
	p.open = append(p.open, pr)
	p.mu.Unlock()
}

// waiting returns the probes that have not been seen, in dst.
func (p *probes) waiting(dst []probe) []probe {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append(dst[:0], p.open...)
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

// lookups looks open probes of a view up, as a server would: the view's fields of each entity in one round trip, read at
// the clock.
type lookups struct {
	project string
	view    *config.View
	max     int // index of the feature that shows a probe
	rdb     *online.Client

	fields *viewFields
	reader feature.Reader
	reqs   []online.FetchRequest
	out    [][][]byte
	vals   []feature.Value
	open   []probe
}

func newLookups(project string, v *config.View, rdb *online.Client) (*lookups, error) {
	for i, f := range v.Features {
		if f.Aggregate == "max" {
			return &lookups{project: project, view: v, max: i, rdb: rdb, fields: newViewFields(v, []int{i}), vals: make([]feature.Value, 1)}, nil
		}
	}
	return nil, fmt.Errorf("feature view %s has no maximum", v.Name)
}

// look does one round for the open probes of p.
func (l *lookups) look(ctx context.Context, p *probes) error {
	if l.open = p.waiting(l.open); len(l.open) == 0 {
		return nil
	}
	now := time.Now()
	fields := l.fields.at(now)
	l.reqs = l.reqs[:0]
	for _, pr := range l.open {
		key, err := feature.AppendKey(nil, feature.StringValue(p.entityOf(pr.value)))
		if err != nil {
			return err
		}
		l.reqs = append(l.reqs, online.FetchRequest{
			Key: string(online.AppendKey(nil, l.project, l.view.Entity.Name, key)), Fields: fields,
		})
	}
	for len(l.out) < len(l.reqs) {
		l.out = append(l.out, nil)
	}
	if err := l.rdb.Fetch(ctx, l.reqs, l.out[:len(l.reqs)]); err != nil {
		return err
	}
	shown := map[float64]bool{}
	for i, pr := range l.open {
		st, _, _, err := l.fields.read(&l.reader, l.out[i], now, l.vals)
		if err != nil {
			return fmt.Errorf("look %s up: %w", l.reqs[i].Key, err)
		}
		if st == feature.Present && !l.vals[0].IsNull() && l.vals[0].Float64() >= pr.value {
			shown[pr.value] = true
		}
	}
	p.seen(shown, time.Now())
	return nil
}
