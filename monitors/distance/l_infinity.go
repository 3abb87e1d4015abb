package distance

import "math"

// lInfinity is the largest difference between a bin's two shares, as TFDV's L-infinity norm.
func lInfinity(s shares) float64 {
	var most float64
	for i := range s.Ref {
		p, q := s.at(i)
		most = max(most, math.Abs(p-q))
	}
	return most
}

// lInfinityNull is the expectation of the largest of normal differences, ∫ P(largest > t) dt, by the trapezoid rule.
// They are taken as independent (by Šidák's inequality that errs upwards, by a few per cent), except that of two bins
// one decides the other.
func lInfinityNull(s shares) float64 {
	const steps = 48
	var widest float64
	bins := 0
	for i := range s.Ref {
		if x := s.pooled(i); x > 0 {
			bins++
			widest = max(widest, math.Sqrt(x*(1-x)*s.noise))
		}
	}
	if bins <= 2 {
		return widest * math.Sqrt(2/math.Pi)
	}
	top := 4.5 * widest
	var sum float64
	for k := range steps {
		t := top * float64(k) / steps
		inside := 1.0
		for i := range s.Ref {
			if x := s.pooled(i); x > 0 && x < 1 {
				inside *= math.Erf(t / math.Sqrt(2*x*(1-x)*s.noise))
			}
		}
		if k == 0 {
			sum += (1 - inside) / 2
		} else {
			sum += 1 - inside
		}
	}
	return sum * top / steps
}
