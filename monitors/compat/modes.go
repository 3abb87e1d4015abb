package compat

import (
	"errors"
	"fmt"
	"math"
	"strings"
)

// Mode is another tool's way to a number.
type Mode struct {
	// Name is the method, a dot and the tool.
	Name string
	// Numeric and Categorical say for which columns the tool offers it.
	Numeric, Categorical bool
	// PValue says that the score is a p-value: drift is where it is small.
	PValue bool
	// Threshold is the tool's default for the score; NaN where it derives one from chunks of the reference.
	Threshold float64

	counts  func(ref, cur []float64) float64 // of counts by bin; nil if the mode needs values
	numbers func(ref, cur []float64) float64 // of raw numbers; nil if not proved
	labels  bool                             // raw categories are counted and go to counts
	// orEqual: a score equal to the threshold is drift.
	orEqual bool
	// infinite: the tool drops infinities with NaN.
	infinite bool
	// most values on the reference side for which the number is the tool's; 0 for any.
	most int
}

// table has the modes that were proved against their tools' numbers. Left out are those that are random (Evidently's TVD
// is a permutation's p-value), depend on a sketch (TFDV's and whylogs' histograms of raw numbers), refer to tables of
// critical values, or whose p-value is approximated beyond a size (Evidently's ks beyond 10,000 values: an error there).
func table() []Mode {
	own := math.NaN()
	numbers := func(binned func(ref, cur []float64) (r, c []float64), score func(ref, cur []float64) float64) func(ref, cur []float64) float64 {
		return func(ref, cur []float64) float64 { return score(binned(ref, cur)) }
	}
	ksP := func(ref, cur []float64) float64 { _, p := KolmogorovSmirnov(ref, cur); return p }
	contingency := func(ref, cur []float64) float64 { _, p := ChiSquareContingency(ref, cur); return p }
	return []Mode{
		{Name: "psi.evidently", Numeric: true, Categorical: true, Threshold: 0.1, orEqual: true, infinite: true, labels: true, counts: psiEvidently, numbers: numbers(evidentlyCounts, psiEvidently)},
		{Name: "kl.evidently", Numeric: true, Categorical: true, Threshold: 0.1, orEqual: true, infinite: true, labels: true, counts: klEvidently, numbers: numbers(evidentlyCounts, klEvidently)},
		{Name: "js.evidently", Numeric: true, Categorical: true, Threshold: 0.1, orEqual: true, infinite: true, labels: true, counts: jsEvidently, numbers: numbers(evidentlyCounts, jsEvidently)},
		{Name: "hellinger.evidently", Numeric: true, Categorical: true, Threshold: 0.1, orEqual: true, infinite: true, labels: true, counts: hellingerEvidently, numbers: hellingerNumbers},
		{Name: "wasserstein.evidently", Numeric: true, Threshold: 0.1, orEqual: true, infinite: true, numbers: wassersteinEvidently},
		{Name: "energy.evidently", Numeric: true, Threshold: 0.1, infinite: true, numbers: energy},
		{Name: "ks.evidently", Numeric: true, PValue: true, Threshold: 0.05, orEqual: true, infinite: true, most: largestExact, numbers: ksP},
		{Name: "t_test.evidently", Numeric: true, PValue: true, Threshold: 0.05, infinite: true, numbers: student},
		{Name: "mann_whitney.evidently", Numeric: true, PValue: true, Threshold: 0.05, infinite: true, numbers: mannWhitneyLess},
		{Name: "chi_square.evidently", Numeric: true, Categorical: true, PValue: true, Threshold: 0.05, infinite: true, labels: true, counts: goodnessOfFit, numbers: numbers(countsByValue[float64], goodnessOfFit)},
		{Name: "z.evidently", Categorical: true, PValue: true, Threshold: 0.05, infinite: true, labels: true, counts: twoProportions},
		{Name: "js.nannyml", Numeric: true, Categorical: true, Threshold: own, labels: true, counts: jsNanny, numbers: numbers(nannyCounts, jsNanny)},
		{Name: "hellinger.nannyml", Numeric: true, Categorical: true, Threshold: own, labels: true, counts: hellingerNanny, numbers: numbers(nannyCounts, hellingerNanny)},
		{Name: "l_infinity.nannyml", Categorical: true, Threshold: own, labels: true, counts: lInfinity},
		{Name: "ks.nannyml", Numeric: true, Threshold: own, numbers: ksNanny},
		{Name: "wasserstein.nannyml", Numeric: true, Threshold: own, numbers: wassersteinNanny},
		{Name: "chi_square.nannyml", Categorical: true, PValue: true, Threshold: 0.05, labels: true, counts: contingency},
		{Name: "jsd.tfdv", Numeric: true, Categorical: true, Threshold: 0.3, labels: true, counts: jsdTFDV},
		{Name: "l_infinity.tfdv", Categorical: true, Threshold: 0.3, labels: true, counts: lInfinity},
		{Name: "psi.deepchecks", Numeric: true, Categorical: true, Threshold: 0.2, counts: psiDeepchecks},
		{Name: "psi.fiddler", Numeric: true, Categorical: true, Threshold: own, counts: psiFiddler},
	}
}

// ErrUnproved means that the mode has no number of its tool for this kind or amount of input.
var ErrUnproved = errors.New("not known to equal the tool's number")

// ErrEmpty means that a side has no values after the tool's own cleaning.
var ErrEmpty = errors.New("no values")

// Modes lists the modes.
func Modes() []Mode { return table() }

// Lookup finds a mode by name. The error of an unknown one names those there are.
func Lookup(name string) (Mode, error) {
	var names []string
	for _, m := range table() {
		if m.Name == name {
			return m, nil
		}
		names = append(names, m.Name)
	}
	return Mode{}, fmt.Errorf("unknown compatibility mode %q; there are %s", name, strings.Join(names, ", "))
}

// Binned says that the mode takes counts; Raw that it takes raw numbers.
func (m Mode) Binned() bool { return m.counts != nil }

// Raw says that the mode bins raw numbers as its tool does, for Numbers.
func (m Mode) Raw() bool { return m.numbers != nil }

// Counts is the tool's formula on counts by bin, the same bins on both sides.
func (m Mode) Counts(ref, cur []float64) (float64, error) {
	if m.counts == nil {
		return 0, fmt.Errorf("%s of counts by bin: %w", m.Name, ErrUnproved)
	}
	if len(ref) != len(cur) {
		return 0, fmt.Errorf("%s: %d reference bins and %d current ones", m.Name, len(ref), len(cur))
	}
	for i := range ref {
		if !(ref[i] >= 0) || !(cur[i] >= 0) || math.IsInf(ref[i]+cur[i], 1) {
			return 0, fmt.Errorf("%s: the counts of bin %d are not finite numbers from 0 on", m.Name, i)
		}
	}
	if total(ref) == 0 || total(cur) == 0 {
		return 0, fmt.Errorf("%s: %w", m.Name, ErrEmpty)
	}
	return m.counts(ref, cur), nil
}

// Numbers is the tool's number for a column of floats, with its cleaning and its binning. Nulls are not among them.
func (m Mode) Numbers(ref, cur []float64) (float64, error) {
	if m.numbers == nil {
		return 0, fmt.Errorf("%s of raw numbers: %w", m.Name, ErrUnproved)
	}
	ref, cur = clean(ref, m.infinite), clean(cur, m.infinite)
	if len(ref) == 0 || len(cur) == 0 {
		return 0, fmt.Errorf("%s: %w", m.Name, ErrEmpty)
	}
	if m.most > 0 && (len(ref) > m.most || m.PValue && len(cur) > m.most) {
		return 0, fmt.Errorf("%s of %d and %d values, %d at most: %w", m.Name, len(ref), len(cur), m.most, ErrUnproved)
	}
	if !m.infinite && (hasInfinity(ref) || hasInfinity(cur)) {
		return 0, fmt.Errorf("%s of infinities: %w", m.Name, ErrUnproved)
	}
	return m.numbers(ref, cur), nil
}

// Labels is the tool's number for a column of categories. Nulls are not among them.
func (m Mode) Labels(ref, cur []string) (float64, error) {
	if !m.labels || !m.Categorical {
		return 0, fmt.Errorf("%s of raw categories: %w", m.Name, ErrUnproved)
	}
	if len(ref) == 0 || len(cur) == 0 {
		return 0, fmt.Errorf("%s: %w", m.Name, ErrEmpty)
	}
	r, c := countsByValue(ref, cur)
	return m.counts(r, c), nil
}

// Drifted is the tool's decision by default; false where it has no fixed threshold.
func (m Mode) Drifted(score float64) bool {
	switch {
	case m.orEqual && score == m.Threshold:
		return true
	case m.PValue:
		return score < m.Threshold
	}
	return score > m.Threshold
}

func hasInfinity(x []float64) bool {
	for _, v := range x {
		if math.IsInf(v, 0) {
			return true
		}
	}
	return false
}
