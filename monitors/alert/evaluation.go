package alert

import (
	"fmt"
	"math"
	"slices"
)

// Window is the half-open range of event time [Start, End) that was judged, microseconds UTC.
type Window struct{ Start, End int64 }

// Evaluation is everything that was judged of a monitor at one end of a window.
type Evaluation struct {
	Monitor string
	Model   string // for the reader of a message
	Origin  string // URI reference of the plane, the source of its CloudEvents, as "/freshet/flights"
	Lane    string // sequence of evaluations it belongs to; see A1
	Window  Window
	// At is when the evaluation was made, as its own record says, so that a replay says the same. Silences go by it. 0:
	// the window's end.
	At int64
	// For is the number k of counted windows, at least 1.
	For int
	// Verdicts are of all series that the lane watches, those without enough samples too (see A4, A5), in any order. A
	// tick that only lets time pass has none, and a lane of its own.
	Verdicts []Verdict
}

// Verdict is how one series was judged in the evaluation's window.
type Verdict struct {
	Series
	Group   string   // whose episode it belongs to: an upstream source, or empty for the monitor
	Sources []string // the upstream sources that its column is made of; of a freshness, the source itself

	// Effect is the effect size, bias-corrected, larger is worse; one that is NaN was not judged.
	Effect    float64
	Threshold float64 // at or over it is too much
	// Lower is the cutoff under which it is well again. 0, or more than Threshold: Threshold.
	Lower       float64
	Significant bool // by the family's error control; always true of checks that need no test
	Enough      bool // the minimum sample was met

	Evidence Evidence // Series, Effect and Window in it are filled in
}

// judgement is what a verdict says of its window.
type judgement int

const (
	unknown judgement = iota
	bad
	between // neither bad enough to fire nor good enough to recover
	good
)

func (v *Verdict) judge() judgement {
	lower := v.Lower
	if !(lower > 0 && lower <= v.Threshold) {
		lower = v.Threshold
	}
	switch {
	case !v.Enough || math.IsNaN(v.Effect):
		return unknown
	case v.Effect >= v.Threshold && v.Significant:
		return bad
	case v.Effect < lower || !v.Significant:
		return good
	default:
		return between
	}
}

// ratio is how far over its threshold an effect is, to put the worst first.
func ratio(effect, threshold Number) float64 {
	switch {
	case !effect.finite(): // judged as bad, so it was infinite
		return math.MaxFloat64
	case threshold > 0:
		return float64(effect / threshold)
	default:
		return float64(effect)
	}
}

// check refuses what cannot be an evaluation of the monitor, which is a mistake of the caller.
func (e *Evaluation) check(monitor string) error {
	switch {
	case e.Monitor != monitor:
		return fmt.Errorf("evaluation of monitor %q: the state is of monitor %q", e.Monitor, monitor)
	case e.Window.Start >= e.Window.End:
		return fmt.Errorf("evaluation of monitor %q: its window [%d, %d) is empty", e.Monitor, e.Window.Start, e.Window.End)
	case e.For < 1:
		return fmt.Errorf("evaluation of monitor %q: for %d windows, want at least 1", e.Monitor, e.For)
	}
	seen := make(map[Series]bool, len(e.Verdicts))
	for i := range e.Verdicts {
		s := e.Verdicts[i].Series
		if !s.Kind.known() {
			return fmt.Errorf("evaluation of monitor %q: column %q: no kind %q", e.Monitor, s.Column, s.Kind)
		}
		if seen[s] {
			return fmt.Errorf("evaluation of monitor %q: two verdicts of %s of column %q, slice %q, check %q", e.Monitor, s.Kind, s.Column, s.Slice, s.Check)
		}
		seen[s] = true
	}
	return nil
}

// canonical returns the evaluation with names bounded and verdicts in the order of their series, so that what follows
// depends on neither.
func (e Evaluation) canonical() Evaluation {
	e.Monitor, e.Model, e.Origin, e.Lane = canonical(e.Monitor), canonical(e.Model), canonical(e.Origin), canonical(e.Lane)
	if e.At == 0 {
		e.At = e.Window.End
	}
	e.Verdicts = slices.Clone(e.Verdicts)
	for i := range e.Verdicts {
		v := &e.Verdicts[i]
		v.Column, v.Slice, v.Group = canonical(v.Column), canonical(v.Slice), canonical(v.Group)
		v.Check = canonical(v.Check)
		v.Sources = slices.Clone(v.Sources)
		for j, s := range v.Sources {
			v.Sources[j] = canonical(s)
		}
		v.Evidence = v.Evidence.bounded(v, e.Window)
	}
	slices.SortFunc(e.Verdicts, func(a, b Verdict) int { return compareSeries(a.Series, b.Series) })
	return e
}
