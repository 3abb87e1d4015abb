package distance

import "math"

// wasserstein is the earth mover's distance ∫ |F - G| between the ordered parts, in units of the reference's standard
// deviation. A special bin has no distance to anything else: mass that enters or leaves one is charged one unit, so the
// score is the ordered parts' distance, weighted by the smaller ordered share, plus half the sum of the changes of the
// ordered share and of each special bin's. Without special bins it is the classic distance over the reference's
// deviation.
func wasserstein(s shares) float64 {
	p, q := s.ordered()
	moved := math.Abs(p - q)
	for i := s.Special; i < len(s.Ref); i++ {
		a, b := s.at(i)
		moved += math.Abs(a - b)
	}
	moved /= 2
	if p <= 0 || q <= 0 {
		return moved
	}
	var below, area float64
	for i := 0; i+1 < s.Special; i++ {
		a, b := s.at(i)
		below += a/p - b/q
		area += math.Abs(below) * (s.Points[i+1] - s.Points[i])
	}
	return moved + min(p, q)*area/s.unit()
}

func wassersteinNull(s shares) float64 {
	p, q := s.ordered()
	kept := s.weightRef*p + (1-s.weightRef)*q
	var moved float64
	if s.Special < len(s.Ref) {
		moved = s.meanAbs(kept)
		for i := s.Special; i < len(s.Ref); i++ {
			moved += s.meanAbs(s.pooled(i))
		}
		moved /= 2
	}
	if p <= 0 || q <= 0 {
		return moved
	}
	// Within the ordered part there are fewer values, so more noise: its share cancels against the weight but for the
	// root.
	var below, area float64
	for i := 0; i+1 < s.Special; i++ {
		below += s.pooled(i) / kept
		area += s.meanAbs(min(below, 1)) * (s.Points[i+1] - s.Points[i])
	}
	return moved + min(p, q)/math.Sqrt(kept)*area/s.unit()
}

// ordered is the share of the ordered bins on both sides.
func (s shares) ordered() (p, q float64) {
	for i := range s.Special {
		a, b := s.at(i)
		p, q = p+a, q+b
	}
	return p, q
}

func (s shares) unit() float64 {
	if s.Scale > 0 {
		return s.Scale
	}
	for i := range s.Special {
		if s.Ref[i] > 0 && s.Points[i] != 0 {
			return math.Abs(s.Points[i])
		}
	}
	return 1
}
