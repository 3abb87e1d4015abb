package significance

import (
	"fmt"
	"math"

	"github.com/freshet-io/freshet/monitors/significance/tail"
)

// LargestLevel is the level that no rate of false alarms, however generous, leads beyond.
const LargestLevel = 0.05

// Schedule is how often a monitor looks and how often it may be wrong.
type Schedule struct {
	// FalseAlarms is the expected number of false episodes in a period (30 days), above 0.
	FalseAlarms float64
	// Evaluations is how many evaluations the period has.
	Evaluations float64
	// Step is the time between two evaluations as a part of the window: 1 for disjoint windows, 1/12 for a window of an
	// hour that slides by five minutes. 0 is taken as 1.
	Step float64
	// Windows is how many disjoint windows in a row must be significant; at least 1.
	Windows int
	// Shared is the correlation between disjoint windows that the common reference causes, from 0 (a reference much larger
	// than a window) to 1: m/(n+m) for m values in a window and n in the reference, effective ones.
	Shared float64
}

// Level is the level for the family of tests of one evaluation (Adjust) from which the configured rate follows.
//
// While nothing has changed a family is significant at an evaluation with probability at most the level. Windows that must
// be significant together are normal variables with the common reference as their one common factor. Sliding windows that
// follow each other are nearly the same: significant ones come in clusters, which one episode covers; the number of
// clusters is the number of significant windows times the extremal index of a process that falls off linearly
// (Siegmund 1985; z² s ν(√(2 z² s)) for steps s).
func (s Schedule) Level() (float64, error) {
	if !(s.FalseAlarms > 0) || !(s.Evaluations > 0) || !finite(s.FalseAlarms) || !finite(s.Evaluations) {
		return 0, fmt.Errorf("%g false alarms in %g evaluations: both must be positive", s.FalseAlarms, s.Evaluations)
	}
	if s.Windows < 1 || !(s.Step >= 0 && s.Step <= 1) || !(s.Shared >= 0 && s.Shared <= 1) {
		return 0, fmt.Errorf("%d windows, step %g, shared %g: windows must be at least 1, the others from 0 to 1", s.Windows, s.Step, s.Shared)
	}
	if s.episodes(LargestLevel) <= s.FalseAlarms {
		return LargestLevel, nil
	}
	return s.solve(), nil
}

// closeEnough is how far, relatively, a level may be from the one that leads to exactly the configured rate.
const closeEnough = 1e-12

// solve finds the largest level that leads to no more than the configured rate. The logarithm of the rate is nearly a line over the
// logarithm of the level, so that a dozen steps of the false position method (as Illinois has it) find what bisection needs
// fifty for; an evaluation is an integral. Rates that underflow have no logarithm: there the interval is halved.
func (s Schedule) solve() float64 {
	over := func(x float64) float64 { return math.Log(s.episodes(math.Exp(x))) - math.Log(s.FalseAlarms) }
	low, high := math.Log(1e-300), math.Log(LargestLevel)
	below, above := over(low), over(high)
	if below > 0 {
		return math.Exp(low) // no level is small enough
	}
	kept := 0 // the end that the last step kept: -1 is low, 1 is high
	for high-low > closeEnough {
		x := (low + high) / 2
		if !math.IsInf(below, 0) {
			x = low + (high-low)*below/(below-above)
			x = min(max(x, low+closeEnough/4), high-closeEnough/4) // so that both ends move
		}
		switch f := over(x); {
		case f <= 0:
			if low, below = x, f; kept == 1 {
				above /= 2
			}
			kept = 1
		default:
			if high, above = x, f; kept == -1 {
				below /= 2
			}
			kept = -1
		}
	}
	return math.Exp(low)
}

// episodes is the expected number of false episodes at a level.
func (s Schedule) episodes(level float64) float64 {
	z := tail.NormalQuantile(level / 2)
	if s.Windows > 1 {
		return s.Evaluations * s.together(z)
	}
	clusters := 1.0
	if s.Step > 0 && s.Step < 1 {
		x := z * math.Sqrt(2*s.Step)
		clusters = min(1, x*x/2*math.Exp(-0.583*x))
	}
	return s.Evaluations * level * max(clusters, s.Step)
}

// together is the probability that all of a run of windows exceed z in absolute value.
func (s Schedule) together(z float64) float64 {
	if s.Shared == 0 {
		return power(2*tail.Normal(z), s.Windows)
	}
	if s.Shared == 1 {
		return 2 * tail.Normal(z)
	}
	common, own := math.Sqrt(s.Shared), math.Sqrt(1-s.Shared)
	const steps = 2000
	top := z/common + 6
	top = min(top, 38)
	h := top / steps
	var total float64
	for i := range steps + 1 {
		u := h * float64(i)
		p := tail.Normal((z-common*u)/own) + tail.Normal((z+common*u)/own)
		f := math.Exp(-u*u/2) * power(p, s.Windows)
		if i == 0 {
			f /= 2
		}
		total += f
	}
	return total * h * math.Sqrt(2/math.Pi)
}

// power is x to the power of k, which is mostly 2 or 3.
func power(x float64, k int) float64 {
	p := x
	for range k - 1 {
		p *= x
	}
	return p
}
