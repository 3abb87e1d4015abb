package compat

import (
	"math"
	"slices"
)

// largestExact is the larger side's size up to which scipy's ks_2samp computes an exact p-value unasked.
const largestExact = 10_000

// KolmogorovSmirnov is the two-sample statistic on raw values and its two-sided p-value as scipy's ks_2samp gives them by
// default: exact while neither side has more than 10,000 values. The second is NaN beyond, where scipy takes the
// distribution of a one-sample statistic; KolmogorovLimit is near to that. Values must not be NaN.
func KolmogorovSmirnov(ref, cur []float64) (statistic, p float64) {
	if len(ref) == 0 || len(cur) == 0 {
		return math.NaN(), math.NaN()
	}
	a, b := slices.Clone(ref), slices.Clone(cur)
	slices.Sort(a)
	slices.Sort(b)
	most := largestGap(a, b)
	n, m := len(a), len(b)
	statistic = float64(most) / float64(n) / float64(m)
	if max(n, m) > largestExact {
		return statistic, math.NaN()
	}
	return statistic, pathsOutside(n, m, most)
}

// KolmogorovLimit approximates the p-value of a statistic between samples of any size, within 2 % from en = n m/(n+m) = 30
// on (Stephens 1970).
func KolmogorovLimit(statistic, n, m float64) float64 {
	en := math.Sqrt(n * m / (n + m))
	l := (en + 0.12 + 0.11/en) * statistic
	if l < 0.2 {
		return 1
	}
	var sum float64
	for k, sign := 1.0, 1.0; k < 100; k, sign = k+1, -sign {
		term := 2 * math.Exp(-2*k*k*l*l)
		sum += sign * term
		if term < 1e-17*sum {
			break
		}
	}
	return min(1, max(0, sum))
}

// largestGap is the largest |i m - j n|, where i values of a and j of b are up to the same place.
func largestGap(a, b []float64) int {
	n, m := len(a), len(b)
	var i, j, most int
	for i < n && j < m {
		x := min(a[i], b[j])
		for i < n && a[i] <= x {
			i++
		}
		for j < m && b[j] <= x {
			j++
		}
		most = max(most, i*m-j*n, j*n-i*m)
	}
	return most
}

// pathsOutside is the probability that a random path from (0, 0) to (n, m) meets a point (i, j) with |i m - j n| >= gap
// (Hodges 1957). What leaves the band is summed as it leaves, so that small probabilities are as accurate as large ones.
func pathsOutside(n, m, gap int) float64 {
	if gap == 0 {
		return 1
	}
	arrive := make([]float64, m+2) // at (i, j) from (i-1, j)
	arrive[0] = 1
	var outside float64
	for i := range n + 1 {
		// Inside: i m - gap < j n < i m + gap. What was inside in the row before, and one more above, takes what steps out.
		low, high := max(0, ((i-1)*m-gap)/n-1), min(m, (i*m+gap)/n+1)
		left := 0.0 // at (i, j) from (i, j-1)
		for j := low; j <= high; j++ {
			here := arrive[j] + left
			arrive[j], left = 0, 0
			if here == 0 {
				continue
			}
			if d := i*m - j*n; d >= gap || -d >= gap {
				outside += here
				continue
			}
			if rest := n + m - i - j; rest > 0 {
				arrive[j] = here * float64(n-i) / float64(rest)
				left = here * float64(m-j) / float64(rest)
			}
		}
	}
	return min(1, outside)
}
