// Package distance holds the distances between two samples of one column that were counted on the same bins: raw scores,
// the effect (the score freed of what chance alone gives at these sample sizes), the merging of fine bins that effects
// are computed on, and the bins that moved most.
//
// It knows counts and nothing of where they come from: no profiles, no tests of significance (monitors/significance), no
// other tools' binning (monitors/compat). A distance is one file and one line in the table of methods.
package distance

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Method is the name of a distance, as configurations and reports spell it.
type Method string

// The methods.
const (
	JensenShannon  Method = "jensen_shannon"
	PSI            Method = "psi"
	LInfinity      Method = "l_infinity"
	KS             Method = "ks"
	Wasserstein    Method = "wasserstein"
	Hellinger      Method = "hellinger"
	ChiSquare      Method = "chi_square"
	TotalVariation Method = "total_variation"
)

// ErrEmpty means that a side has no counts at all, so that no share exists.
var ErrEmpty = errors.New("no values")

// Pair is a reference and a current sample of one column on the same bins.
type Pair struct {
	// Ref and Cur are counts by bin: whole numbers, or fractions where profiles of different bins were aligned. Ordered
	// bins come first, in order, then from index Special on the bins that have no place in the order (null, NaN, +Inf,
	// -Inf). A categorical column's categories take the place of the ordered bins.
	Ref, Cur []float64
	// Special is the index of the first special bin; len(Ref) where there is none.
	Special int
	// Points has a value for each ordered bin, not decreasing: where the bin's mass is taken to be. Only Wasserstein
	// reads it.
	Points []float64
	// Scale is the reference's standard deviation, the unit of Wasserstein. At 0 (a constant reference) the unit is the
	// constant's absolute value, and 1 if that is 0 too.
	Scale float64
}

// Definition is a line of the table of methods.
type Definition struct {
	Method Method
	// Numeric and Categorical say for which columns the method is meant. The numeric-only ones need ordered bins.
	Numeric, Categorical bool
	// NeedsValues says that Pair.Points and Pair.Scale are read.
	NeedsValues bool
	// Max is the largest possible score, +Inf where there is none. The smallest is 0, reached by equal shares alone.
	Max float64
	// Symmetric says that exchanging the sides keeps the score.
	Symmetric bool
	// Merged says that effects are computed on merged bins. The two distances on cumulative shares keep the fine ones:
	// what chance gives them does not grow with the number of bins, and merging would hide movement inside a bin.
	Merged bool
	// EmptyBins says what a bin that is empty on one side counts.
	EmptyBins string

	// quadratic says that small differences enter by their square; the others are norms of the differences.
	quadratic bool
	score     func(shares) float64
	// null is the score that chance alone is expected to give: the expectation of a quadratic score, and for a norm
	// the level whose square is subtracted from the score's square.
	null func(shares) float64
}

// table is the one list of methods, in the order in which reports show them.
func table() []Definition {
	const plain = "as a share of 0"
	return []Definition{
		{Method: JensenShannon, Numeric: true, Categorical: true, Max: 1, Symmetric: true, Merged: true, EmptyBins: plain, score: jensenShannon, null: jensenShannonNull},
		{Method: PSI, Numeric: true, Categorical: true, Max: math.Inf(1), Symmetric: true, Merged: true, EmptyBins: psiEmptyBins, quadratic: true, score: psi, null: psiNull},
		{Method: LInfinity, Numeric: true, Categorical: true, Max: 1, Symmetric: true, Merged: true, EmptyBins: plain, score: lInfinity, null: lInfinityNull},
		{Method: KS, Numeric: true, Max: 1, Symmetric: true, EmptyBins: plain, score: ks, null: ksNull},
		{Method: Wasserstein, Numeric: true, NeedsValues: true, Max: math.Inf(1), EmptyBins: plain, score: wasserstein, null: wassersteinNull},
		{Method: Hellinger, Numeric: true, Categorical: true, Max: 1, Symmetric: true, Merged: true, EmptyBins: plain, score: hellinger, null: hellingerNull},
		{Method: ChiSquare, Numeric: true, Categorical: true, Max: 1, Symmetric: true, Merged: true, EmptyBins: plain, quadratic: true, score: chiSquare, null: chiSquareNull},
		{Method: TotalVariation, Numeric: true, Categorical: true, Max: 1, Symmetric: true, Merged: true, EmptyBins: plain, score: totalVariation, null: totalVariationNull},
	}
}

// Methods lists every method, the default (Jensen-Shannon) first.
func Methods() []Definition { return table() }

// Lookup finds a method by name. The error of an unknown one names those there are.
func Lookup(name string) (Definition, error) {
	var names []string
	for _, d := range table() {
		if string(d.Method) == name {
			return d, nil
		}
		names = append(names, string(d.Method))
	}
	return Definition{}, fmt.Errorf("unknown distance %q; there are %s", name, strings.Join(names, ", "))
}

// Score is the distance as its formula gives it. The error wraps ErrEmpty if a side has no counts.
func (d Definition) Score(p Pair) (float64, error) {
	s, err := d.prepare(p)
	if err != nil {
		return 0, err
	}
	return d.clamp(d.score(s)), nil
}

// Effect is a distance and what of it chance does not explain.
type Effect struct {
	// Raw is the score.
	Raw float64
	// Null is the score that two samples of these sizes from one population are expected to have.
	Null float64
	// Corrected is Raw without Null, at least 0: what thresholds are compared with.
	Corrected float64
}

// Effect corrects the score for the sample sizes. The sizes are effective ones: at most the counts, less where values
// repeat or follow one another. A distance that is quadratic in small differences (psi, chi_square) loses its null
// expectation; one that is a norm or a root of such (all others) loses it in the squared domain, where independent
// contributions add: subtracting levels would take too much from a large effect.
//
// The pair has the bins that the effect is wanted on: merge before where the definition says Merged.
func (d Definition) Effect(p Pair, nEffRef, nEffCur float64) (Effect, error) {
	s, err := d.prepare(p)
	if err != nil {
		return Effect{}, err
	}
	if !(nEffRef > 0) || !(nEffCur > 0) {
		return Effect{}, fmt.Errorf("effective sample sizes must be positive, got %g and %g", nEffRef, nEffCur)
	}
	s.weightRef = nEffRef / (nEffRef + nEffCur)
	s.noise = 1/nEffRef + 1/nEffCur
	e := Effect{Raw: d.clamp(d.score(s)), Null: d.clamp(d.null(s))}
	if d.quadratic {
		e.Corrected = max(0, e.Raw-e.Null)
	} else {
		e.Corrected = math.Sqrt(max(0, (e.Raw-e.Null)*(e.Raw+e.Null)))
	}
	return e, nil
}

// NoiseFloor is the score that chance alone is expected to give samples of these effective sizes on so many equal bins: a
// threshold below it fires on noise until it is corrected, and one not far above it is decided by noise.
func (d Definition) NoiseFloor(bins int, nEffRef, nEffCur float64) float64 {
	if bins < 2 || !(nEffRef > 0) || !(nEffCur > 0) {
		return 0
	}
	s := shares{
		Pair: Pair{Ref: make([]float64, bins), Special: bins, Points: make([]float64, bins), Scale: 1},
		nRef: float64(bins), nCur: float64(bins),
		weightRef: nEffRef / (nEffRef + nEffCur), noise: 1/nEffRef + 1/nEffCur,
	}
	for i := range s.Ref {
		s.Ref[i] = 1
		// Evenly over a range of deviation 1.
		s.Points[i] = math.Sqrt(12) * (float64(i) + 0.5) / float64(bins)
	}
	s.Cur = s.Ref
	return d.clamp(d.null(s))
}

func (d Definition) clamp(x float64) float64 { return min(max(x, 0), d.Max) }

// shares is a checked pair with what turns counts into shares.
type shares struct {
	Pair
	nRef, nCur float64 // the total of each side
	// weightRef and noise are set for effects: the reference's weight in the pooled shares, and 1/n + 1/m.
	weightRef, noise float64
}

// at divides, and does not multiply by an inverse, so that equal shares of different totals are equal floats.
func (s shares) at(i int) (p, q float64) { return s.Ref[i] / s.nRef, s.Cur[i] / s.nCur }

// pooled is the share of bin i in both samples together.
func (s shares) pooled(i int) float64 {
	p, q := s.at(i)
	return s.weightRef*p + (1-s.weightRef)*q
}

// degrees is the number of bins that are not empty on both sides, less one.
func (s shares) degrees() float64 {
	n := -1
	for i := range s.Ref {
		if s.Ref[i] > 0 || s.Cur[i] > 0 {
			n++
		}
	}
	return float64(max(n, 0))
}

// meanAbs is the expectation of the absolute difference of two shares whose pooled value is x, by the normal
// approximation.
func (s shares) meanAbs(x float64) float64 {
	return math.Sqrt(2 / math.Pi * max(0, x*(1-x)) * s.noise)
}

func (d Definition) prepare(p Pair) (shares, error) {
	if len(p.Ref) != len(p.Cur) {
		return shares{}, fmt.Errorf("%s: %d reference bins and %d current ones", d.Method, len(p.Ref), len(p.Cur))
	}
	if p.Special < 0 || p.Special > len(p.Ref) {
		return shares{}, fmt.Errorf("%s: special bins from %d on, of %d", d.Method, p.Special, len(p.Ref))
	}
	ref, cur := total(p.Ref), total(p.Cur)
	for _, side := range []struct {
		name string
		n    float64
	}{{"reference", ref}, {"current", cur}} {
		if math.IsNaN(side.n) || math.IsInf(side.n, 0) {
			return shares{}, fmt.Errorf("%s: the %s counts are not finite numbers from 0 on", d.Method, side.name)
		}
		if side.n == 0 {
			return shares{}, fmt.Errorf("%s of the %s side: %w", d.Method, side.name, ErrEmpty)
		}
	}
	if d.NeedsValues {
		if err := checkPoints(p); err != nil {
			return shares{}, fmt.Errorf("%s: %w", d.Method, err)
		}
	}
	return shares{Pair: p, nRef: ref, nCur: cur}, nil
}

// total sums counts; NaN if one is negative.
func total(counts []float64) float64 {
	var sum float64
	for _, c := range counts {
		if c < 0 {
			return math.NaN()
		}
		sum += c
	}
	return sum
}

func checkPoints(p Pair) error {
	if len(p.Points) < p.Special {
		return fmt.Errorf("%d values for %d ordered bins", len(p.Points), p.Special)
	}
	points := p.Points[:p.Special]
	if !slices.IsSorted(points) {
		return errors.New("the bins' values are not in order")
	}
	for _, x := range points {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return fmt.Errorf("a bin's value is %g", x)
		}
	}
	if !(p.Scale >= 0) || math.IsInf(p.Scale, 0) {
		return fmt.Errorf("the reference's standard deviation is %g", p.Scale)
	}
	return nil
}
