package watch

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/monitors/alert"
	"github.com/freshet-io/freshet/monitors/drift"
)

// freshnessTick is how long after the last one a freshness is judged again.
func freshnessTick(f *config.Freshness) int64 {
	return max(f.MaxAge/10, time.Second).Truncate(time.Second).Microseconds()
}

func freshnessLane(f *config.Freshness) string { return "freshness/" + f.Source.Name }

// judgeFreshness judges what is due of a monitor's freshness (W9).
func (w *Watch) judgeFreshness(m *monitor) ([]Judgement, error) {
	var out []Judgement
	for i := range m.Freshness {
		f := &m.Freshness[i]
		s := w.sources[f.Source.Name]
		now := s.whole()
		if f.Stream {
			now = s.stream(w.progress.clock)
		}
		if now == Unknown {
			continue
		}
		tick := freshnessTick(f)
		end := floor(now, tick)
		if end <= m.Ticks[f.Source.Name] {
			continue
		}
		m.Ticks[f.Source.Name] = end
		w.changed[monitorRecord(m.Name)] = struct{}{}
		c := Check{Monitor: m.Name, Lane: freshnessLane(f), Window: alert.Window{Start: end - tick, End: end}, For: 1}
		for _, a := range ages(f, s, now) {
			sc := a.score(m, f, c.Window)
			if a.told {
				c.Scores = append(c.Scores, sc)
			}
			v := sc.verdict(f.Source.Name, []string{f.Source.Name})
			v.Significant, v.Lower = true, 0 // an age is no estimate
			c.Verdicts = append(c.Verdicts, v)
		}
		if len(c.Verdicts) == 0 {
			continue
		}
		j := Judgement{Monitor: m.Monitor, Window: c.Window, Check: true}
		if err := w.evaluate(m, &c, &j); err != nil {
			return nil, err
		}
		out = append(out, j)
	}
	return out, nil
}

// age is how old the newest event of a source, or of a slice of it, is.
type age struct {
	slice  string
	newest int64
	age    time.Duration
	known  bool // not where the source as a whole is too old: that says it all
	told   bool // it has a score: that of the source, of slices that are too old, and of the oldest
}

// ages are those of a source and its slices at a time.
func ages(f *config.Freshness, s *sourceTimes, now int64) []age {
	at := func(slice string, newest int64) age {
		return age{slice: slice, newest: newest, age: time.Duration(max(0, now-newest)) * time.Microsecond, known: true}
	}
	var out []age
	stale := false
	if newest := s.newest(); !f.Stream && newest != Unknown {
		a := at("", newest)
		a.told, stale = true, a.age >= f.MaxAge
		out = append(out, a)
	}
	if f.By < 0 {
		return out
	}
	prefix, oldest := f.Source.Schema[f.By].Name+"=", -1
	for _, slice := range slices.Sorted(maps.Keys(s.Slices)) {
		if !strings.HasPrefix(slice, prefix) {
			continue // by a field of another monitor
		}
		a := at(slice, s.Slices[slice])
		a.known, a.told = !stale, !stale && a.age >= f.MaxAge
		if out = append(out, a); oldest < 0 || a.age > out[oldest].age {
			oldest = len(out) - 1
		}
	}
	if oldest >= 0 && !stale {
		out[oldest].told = true
	}
	return out
}

func (a *age) score(m *monitor, f *config.Freshness, win alert.Window) Score {
	none := Number(math.NaN())
	s := Score{
		Monitor: m.Name, Model: m.Model.Name, Kind: alert.Freshness, Column: f.Source.Name, Slice: a.slice, Window: win, Against: "max_age " + f.MaxAge.String(), Method: "age",
		Score: Number(a.age.Seconds()), Effect: Number(float64(a.age) / float64(f.MaxAge)), Threshold: 1, P: none, PAdjusted: none, NEffRef: none, NEffCur: none,
		Outcome: string(drift.Stable),
		Notes:   []string{fmt.Sprintf("the newest event is of %s, %s before", time.UnixMicro(a.newest).UTC().Format(time.RFC3339), a.age.Truncate(time.Second))},
	}
	switch {
	case !a.known:
		s.Outcome, s.Effect = string(drift.NoRows), none
	case a.age >= f.MaxAge:
		s.Outcome = string(drift.Exceeded)
	}
	return s
}
