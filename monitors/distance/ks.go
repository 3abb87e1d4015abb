package distance

import "math"

// ks is the Kolmogorov-Smirnov distance: the largest difference between the shares of everything up to, or from, one
// place in the order. A special bin has no place, so its own difference counts beside them: with special bins the
// distance is the largest over all lower ranges, upper ranges and special bins, and without any it is the classic
// statistic on the bins.
func ks(s shares) float64 {
	var below, all, most float64
	for i := range s.Special {
		p, q := s.at(i)
		all += p - q
	}
	for i := range s.Special {
		p, q := s.at(i)
		below += p - q
		most = max(most, math.Abs(below))
		if i < s.Special-1 {
			most = max(most, math.Abs(all-below))
		}
	}
	for i := s.Special; i < len(s.Ref); i++ {
		p, q := s.at(i)
		most = max(most, math.Abs(p-q))
	}
	return most
}

// ksNull is the expectation of the largest absolute value of a Brownian bridge, √(π/2) ln 2, seen only at the bins'
// bounds: of a walk with steps of deviation σ the largest value falls short by 0.5826 σ (Siegmund 1985), here on average
// over the bins. It is at least what the middle bound alone gives.
func ksNull(s shares) float64 {
	var step, below, middle float64
	for i := range s.Ref {
		x := s.pooled(i)
		step += x * math.Sqrt(x)
		below += x
		middle = max(middle, s.meanAbs(min(below, 1)))
	}
	return max(middle, (math.Sqrt(math.Pi/2)*math.Ln2-0.5826*step)*math.Sqrt(s.noise))
}
