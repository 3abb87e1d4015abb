package significance

import (
	"fmt"

	"github.com/freshet-io/freshet/monitors/significance/tail"
)

// TestVolume is the name of Volume's test.
const TestVolume = "negative_binomial"

// History is what is known of a count from earlier ones of its kind, as of the same hour of earlier weeks.
type History struct {
	Mean  float64 // of the earlier counts
	Count float64 // how many they are, at least 1
	// Dispersion is how much larger the variance of such counts is than their mean, at least 1, and DF on how many degrees
	// of freedom it was estimated.
	Dispersion, DF float64
}

// leastMean stands for the mean of counts that were all zero: nobody knows that they must be.
const leastMean = 0.5

func (h History) mean() float64 { return max(h.Mean, leastMean/h.Count) }

// Surprise is the square of a count's distance from its history, over its expectation for a Poisson variable: the mean of
// many is their Dispersion.
func (h History) Surprise(count float64) float64 {
	d := count - h.mean()
	return d * d / (h.mean() * (1 + 1/h.Count))
}

// Volume tests a count against earlier ones, to both sides: the probability of one at least as far from their mean. Counts
// are negative binomial, which is Poisson without dispersion; the mean is an estimate from few, and so is the dispersion.
func Volume(count float64, h History) (float64, error) {
	if !(count >= 0) || !(h.Mean >= 0) || !(h.Count >= 1) || !(h.Dispersion >= 0) || !(h.DF >= 0) || !finite(count) || !finite(h.Mean) {
		return 1, fmt.Errorf("volume test: %g against %g, the mean of %g, dispersion %g on %g degrees of freedom", count, h.Mean, h.Count, h.Dispersion, h.DF)
	}
	mean := h.mean()
	ratio := max(1, h.Dispersion) * (1 + 1/h.Count) // variance over mean of the difference
	return spread(func(v float64) float64 {
		r := max(1+1e-9, ratio/v)
		size := mean / (r - 1)
		upper := 1.0
		if count > 0 {
			upper = tail.Beta(count, size, 1-1/r) // P(X >= count)
		}
		lower := tail.Beta(size, count+1, 1/r) // P(X <= count)
		return min(1, 2*min(upper, lower))
	}, h.DF), nil
}
