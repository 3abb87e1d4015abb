package compat

import (
	"math"
	"slices"
)

// Wasserstein is the distance ∫ |F - G| between raw values, as scipy's wasserstein_distance. It is NaN if a side is empty.
func Wasserstein(ref, cur []float64) float64 {
	if len(ref) == 0 || len(cur) == 0 {
		return math.NaN()
	}
	a, b := slices.Clone(ref), slices.Clone(cur)
	slices.Sort(a)
	slices.Sort(b)
	var i, j int
	var area float64
	last := min(a[0], b[0])
	for i < len(a) || j < len(b) {
		var x float64
		if j == len(b) || i < len(a) && a[i] <= b[j] {
			x = a[i]
		} else {
			x = b[j]
		}
		area += math.Abs(float64(i)/float64(len(a))-float64(j)/float64(len(b))) * (x - last)
		last = x
		for i < len(a) && a[i] == x {
			i++
		}
		for j < len(b) && b[j] == x {
			j++
		}
	}
	return area
}
