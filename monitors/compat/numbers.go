package compat

import (
	"math"
	"slices"

	"github.com/freshet-io/freshet/monitors/significance/tail"
)

// The functions of this file take raw numbers, at least one on each side, and finite.

func wassersteinEvidently(ref, cur []float64) float64 {
	_, deviation := moments(ref)
	return Wasserstein(ref, cur) / max(deviation, 0.001)
}

// hellingerNumbers is Evidently's for numbers: of densities over Sturges' edges of the values' set, each value once.
func hellingerNumbers(ref, cur []float64) float64 {
	edges := sturgesEdges(distinct(ref, cur))
	// Densities times the bins' one width are shares.
	return hellingerEvidently(histogram(ref, edges), histogram(cur, edges))
}

// nannyBins is from how many reference rows on NannyML counts on as many bins of one width over the reference's range,
// where its statistics are of raw values below.
const nannyBins = 10_000

// ksNanny is NannyML's statistic: on the upper edges of the bins for a large reference.
func ksNanny(ref, cur []float64) float64 {
	if len(ref) < nannyBins {
		d, _ := KolmogorovSmirnov(ref, cur)
		return d
	}
	r, c, below, _ := nannyCumulated(ref, cur)
	var most float64
	for i := range r {
		most = max(most, math.Abs(r[i]-c[i]-below))
	}
	return most
}

// wassersteinNanny is NannyML's distance: for a large reference the differences at the bins' upper edges times their
// width, and what is outside of the reference's range by its distance from it. If any value is below the range the tool
// counts one more there than there are.
func wassersteinNanny(ref, cur []float64) float64 {
	if len(ref) < nannyBins {
		return Wasserstein(ref, cur)
	}
	r, c, below, edges := nannyCumulated(ref, cur)
	if below > 0 {
		below += 1 / float64(len(cur))
	}
	var area float64
	for i := range r {
		area += math.Abs(r[i]-c[i]-below) * (edges[1] - edges[0])
	}
	last := edges[len(edges)-1]
	for _, x := range cur {
		area += max(0, edges[0]-x, x-last) / float64(len(cur))
	}
	return area
}

// nannyCumulated are both sides' shares up to each upper edge, the current one's without the share below all edges.
func nannyCumulated(ref, cur []float64) (r, c []float64, below float64, edges []float64) {
	first, last := slices.Min(ref), slices.Max(ref)
	edges = evenEdges(first, last, 0)
	if first < last {
		edges = make([]float64, nannyBins+1)
		for i := range edges {
			edges[i] = float64(i)*((last-first)/nannyBins) + first
		}
		edges[nannyBins] = last
	}
	r, c = histogram(ref, edges), histogram(cur, edges)
	var rs, cs float64
	for i := range r {
		rs, cs = rs+r[i], cs+c[i]
		r[i], c[i] = rs/float64(len(ref)), cs/float64(len(cur))
	}
	for _, x := range cur {
		if x < edges[0] {
			below += 1 / float64(len(cur))
		}
	}
	return r, c, below, edges
}

// energy is √(2 ∫ (F - G)²).
func energy(ref, cur []float64) float64 {
	keys := distinct(ref, cur)
	r, c := tally(ref, keys), tally(cur, keys)
	var below, area float64
	for i := 0; i+1 < len(keys); i++ {
		below += r[i]/float64(len(ref)) - c[i]/float64(len(cur))
		area += below * below * (keys[i+1] - keys[i])
	}
	return math.Sqrt(2 * area)
}

// mannWhitneyLess is scipy's p-value of the one-sided alternative that the reference is smaller, by the normal
// approximation with its corrections for ties and continuity, which scipy takes where a side has more than 8 values or
// there are ties.
func mannWhitneyLess(ref, cur []float64) float64 {
	keys := distinct(ref, cur)
	r, c := tally(ref, keys), tally(cur, keys)
	n, m := float64(len(ref)), float64(len(cur))
	var u, below, ties float64 // u counts pairs in which the reference's value is larger
	for i := range keys {
		u += r[i] * (below + c[i]/2)
		below += c[i]
		t := r[i] + c[i]
		ties += t*t*t - t
	}
	all := n + m
	variance := n * m / 12 * (all + 1 - ties/(all*(all-1)))
	// The statistic for "less" is n m - u, whose upper tail counts.
	z := (n*m - u - n*m/2 - 0.5) / math.Sqrt(variance)
	return tail.Normal(z)
}

// student is the two-sided p-value of Student's test with the pooled variance.
func student(ref, cur []float64) float64 {
	a, sa := moments(ref)
	b, sb := moments(cur)
	n, m := float64(len(ref)), float64(len(cur))
	df := n + m - 2
	variance := (sa*sa*n + sb*sb*m) / df
	return tail.StudentTwoSided((a-b)/math.Sqrt(variance*(1/n+1/m)), df)
}

// clean drops NaN, and infinities too where a tool does.
func clean(x []float64, infinite bool) []float64 {
	bad := func(v float64) bool { return math.IsNaN(v) || infinite && math.IsInf(v, 0) }
	if !slices.ContainsFunc(x, bad) {
		return x
	}
	return slices.DeleteFunc(slices.Clone(x), bad)
}
