package distance

// chiSquare is ½ Σ (p-q)²/(p+q) (triangular discrimination): the chi-square of the contingency table of both samples
// divided by its total, φ², for sides of equal weight, so that it does not depend on the sample sizes.
func chiSquare(s shares) float64 {
	var sum float64
	for i := range s.Ref {
		if p, q := s.at(i); p != q {
			sum += (p - q) * (p - q) / (p + q)
		}
	}
	return sum / 2
}

func chiSquareNull(s shares) float64 { return s.degrees() * s.noise / 4 }
