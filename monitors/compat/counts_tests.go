package compat

import (
	"math"

	"github.com/freshet-io/freshet/monitors/significance/tail"
)

// ChiSquareContingency is the statistic and p-value of the table of both sides' counts by category, as scipy's
// chi2_contingency gives them: with Yates' correction where there are two categories, and none elsewhere. Categories
// without counts are left out; with fewer than two left the statistic is 0 and the p-value 1.
func ChiSquareContingency(ref, cur []float64) (statistic, p float64) {
	n, m, used := total(ref), total(cur), 0
	for i := range ref {
		if ref[i]+cur[i] > 0 {
			used++
		}
	}
	if n == 0 || m == 0 || used < 2 {
		return 0, 1
	}
	for i := range ref {
		both := ref[i] + cur[i]
		if both == 0 {
			continue
		}
		e := both * n / (n + m)
		d := math.Abs(ref[i] - e)
		if used == 2 {
			d -= min(0.5, d)
		}
		statistic += d*d/e + d*d/(both-e)
	}
	return statistic, tail.ChiSquare(statistic, float64(used-1))
}

// goodnessOfFit is the p-value of the current counts against the reference's, taken as exact and scaled to the current
// total. A category that the reference lacks makes it 0.
func goodnessOfFit(ref, cur []float64) float64 {
	scale := total(cur) / total(ref)
	var statistic float64
	categories := 0
	for i := range ref {
		if ref[i] == 0 && cur[i] == 0 {
			continue
		}
		categories++
		if ref[i] == 0 {
			return 0
		}
		e := ref[i] * scale
		statistic += (cur[i] - e) * (cur[i] - e) / e
	}
	return tail.ChiSquare(statistic, float64(categories-1))
}

// twoProportions is the two-sided p-value of the first category's shares with the pooled variance, for at most two
// categories in order. Both sides constant and equal give 1.
func twoProportions(ref, cur []float64) float64 {
	n, m := total(ref), total(cur)
	p, q := ref[0]/n, cur[0]/m
	pooled := (ref[0] + cur[0]) / (n + m)
	if p == q && (p == 0 || p == 1) {
		return 1
	}
	z := (p - q) / math.Sqrt(pooled*(1-pooled)*(1/n+1/m))
	return 2 * tail.Normal(math.Abs(z))
}
