package quality

import "math"

// rmse is the root of the mean square error. Its standard error is that of the mean square by the delta method.
func rmse(s *Sums) estimate {
	square, se := mean(s.Usable(), s.square.float(), s.fourth.float())
	value := math.Sqrt(square)
	if value > 0 {
		se /= 2 * value
	}
	return estimate{value: value, se: se, n: s.Usable()}
}
