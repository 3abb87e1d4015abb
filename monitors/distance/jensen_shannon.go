package distance

import "math"

// jensenShannon is the Jensen-Shannon distance with base-2 logarithms: the root of
// ½ Σ p log2(p/m) + ½ Σ q log2(q/m), m = (p+q)/2 (Endres and Schindelin 2003, a metric). It equals scipy's
// jensenshannon with base 2; its square is the divergence.
//
// With d = (p-q)/(p+q) a bin adds (p+q)/4 ((1+d) ln(1+d) + (1-d) ln(1-d)) nats, which is never negative; near 0 it is
// summed as the series in d, since the logarithms cancel.
func jensenShannon(s shares) float64 {
	var sum float64
	for i := range s.Ref {
		p, q := s.at(i)
		if p == q {
			continue
		}
		d := math.Abs(p-q) / (p + q)
		switch d2 := d * d; {
		case d < 1e-2:
			sum += (p + q) * d2 * (1 + d2*(1.0/6+d2*(1.0/15+d2/28)))
		case d < 1:
			sum += (p + q) * ((1+d)*math.Log1p(d) + (1-d)*math.Log1p(-d))
		default:
			sum += (p + q) * 2 * math.Ln2
		}
	}
	return math.Sqrt(sum / (4 * math.Ln2))
}

// jensenShannonNull follows from the expansion of the divergence, Σ (p-q)²/8p nats, and the mean of the chi-square.
func jensenShannonNull(s shares) float64 {
	return math.Sqrt(s.degrees() * s.noise / (8 * math.Ln2))
}
