package distance

import "math"

// hellinger is the Hellinger distance √(½ Σ (√p - √q)²).
func hellinger(s shares) float64 {
	var sum float64
	for i := range s.Ref {
		p, q := s.at(i)
		d := math.Sqrt(p) - math.Sqrt(q)
		sum += d * d
	}
	return math.Sqrt(sum / 2)
}

// hellingerNull follows from the expansion of the square, Σ (p-q)²/8p.
func hellingerNull(s shares) float64 { return math.Sqrt(s.degrees() * s.noise / 8) }
