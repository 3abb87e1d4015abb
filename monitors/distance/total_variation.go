package distance

import "math"

// totalVariation is half the sum of the differences of shares: the mass that would have to change its bin.
func totalVariation(s shares) float64 {
	var sum float64
	for i := range s.Ref {
		p, q := s.at(i)
		sum += math.Abs(p - q)
	}
	return sum / 2
}

func totalVariationNull(s shares) float64 {
	var sum float64
	for i := range s.Ref {
		sum += s.meanAbs(s.pooled(i))
	}
	return sum / 2
}
