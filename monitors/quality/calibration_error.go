package quality

import "math"

// calibrationError is by how much the probabilities of a tenth and the share of them that was true differ, on average over
// the cases (ECE with ten bins of equal width).
func calibrationError(s *Sums) estimate {
	var total int64
	for _, c := range s.calibration {
		total += c.n
	}
	if total <= 0 {
		return undefined
	}
	var value, corrected, variance float64
	for _, c := range s.calibration {
		if c.n <= 0 {
			continue
		}
		n := float64(c.n)
		weight := n / float64(total)
		p, y := float64(c.sum)/fixedOne/n, float64(c.positive)/n
		off := math.Abs(p - y)
		chance := p * (1 - p) / n // the variance of the share if the probabilities are right
		value += weight * off
		corrected += weight * math.Sqrt(max(0, off*off-chance))
		variance += weight * weight * chance
	}
	return estimate{value: value, se: math.Sqrt(variance), n: total, excess: value - corrected}
}
