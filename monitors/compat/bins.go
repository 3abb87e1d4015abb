package compat

import (
	"math"
	"slices"
	"sort"
)

// sturgesEdges are the edges that numpy's histogram_bin_edges(x, "sturges") gives floats: ⌈log2 n + 1⌉ bins, or as many as
// rounding leaves, of one width over the range. Values must be finite, and at least one.
func sturgesEdges(x []float64) []float64 {
	first, last := slices.Min(x), slices.Max(x)
	return evenEdges(first, last, (last-first)/(math.Log2(float64(len(x)))+1))
}

// doaneEdges are those of numpy's "doane": Sturges' with more bins the more skewed the values are.
func doaneEdges(x []float64) []float64 {
	first, last := slices.Min(x), slices.Max(x)
	n := float64(len(x))
	var width float64
	if mean, deviation := moments(x); len(x) > 2 && deviation > 0 {
		var skew float64
		for _, v := range x {
			z := (v - mean) / deviation
			skew += z * z * z
		}
		skew /= n
		width = (last - first) / (1 + math.Log2(n) + math.Log2(1+math.Abs(skew)/math.Sqrt(6*(n-2)/((n+1)*(n+3)))))
	}
	return evenEdges(first, last, width)
}

// evenEdges divides the range as numpy does: into ⌈range/width⌉ bins, one where the width is 0, and a range of no extent
// is widened by a half on both sides.
func evenEdges(first, last, width float64) []float64 {
	bins := 1
	if width > 0 {
		bins = int(math.Ceil((last - first) / width))
	}
	if first == last {
		first, last = first-0.5, last+0.5
	}
	step := (last - first) / float64(bins)
	edges := make([]float64, bins+1)
	for i := range edges {
		edges[i] = float64(i)*step + first
	}
	edges[bins] = last
	return edges
}

// histogram counts values by bin as numpy does: a bin has its lower edge, the last one its upper edge too, and what is
// outside is not counted.
func histogram(x, edges []float64) []float64 {
	out := make([]float64, len(edges)-1)
	last := len(edges) - 1
	for _, v := range x {
		switch i := sort.SearchFloat64s(edges, v); {
		case i <= last && edges[i] == v:
			out[min(i, last-1)]++
		case i > 0 && i <= last:
			out[i-1]++
		}
	}
	return out
}

// moments are the mean and the deviation of the population that the values are.
func moments(x []float64) (mean, deviation float64) {
	for _, v := range x {
		mean += v
	}
	mean /= float64(len(x))
	for _, v := range x {
		deviation += (v - mean) * (v - mean)
	}
	return mean, math.Sqrt(deviation / float64(len(x)))
}

// distinct are the values of both sides, each once, in order.
func distinct[T float64 | string](ref, cur []T) []T {
	all := slices.Concat(ref, cur)
	slices.Sort(all)
	return slices.Compact(all)
}

// tally counts values by key; keys are in order and have all of them.
func tally[T float64 | string](values, keys []T) []float64 {
	out := make([]float64, len(keys))
	for _, v := range values {
		i, _ := slices.BinarySearch(keys, v)
		out[i]++
	}
	return out
}

// countsByValue counts both sides by value.
func countsByValue[T float64 | string](ref, cur []T) (r, c []float64) {
	keys := distinct(ref, cur)
	return tally(ref, keys), tally(cur, keys)
}

// evidentlyCounts bins numbers as Evidently does: by Sturges' edges over both sides together where the reference has more
// than 20 distinct values, else by value.
func evidentlyCounts(ref, cur []float64) (r, c []float64) {
	if len(distinct(ref, nil)) <= 20 {
		return countsByValue(ref, cur)
	}
	edges := sturgesEdges(slices.Concat(ref, cur))
	return histogram(ref, edges), histogram(cur, edges)
}

// nannyCounts bins numbers as NannyML does: by Doane's edges over the reference, and what of the current side is outside
// of them in one bin more.
func nannyCounts(ref, cur []float64) (r, c []float64) {
	edges := doaneEdges(ref)
	r, c = histogram(ref, edges), histogram(cur, edges)
	if rest := float64(len(cur)) - total(c); rest > 0 {
		r, c = append(r, 0), append(c, rest)
	}
	return r, c
}
