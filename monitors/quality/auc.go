package quality

import "math"

// auc is the probability that a positive case has a higher score than a negative one, equal ones counted half; scores in
// one bin are equal. Its standard error is DeLong's: of each case it needs only the share of the other class below it.
func auc(s *Sums) estimate {
	var positives, negatives float64
	for _, n := range s.positive {
		positives += float64(n)
	}
	for _, n := range s.negative {
		negatives += float64(n)
	}
	if positives <= 0 || negatives <= 0 {
		return undefined
	}
	var value, ofPositives, ofNegatives float64 // and the sums of squares of both classes' shares
	var belowP, belowN float64
	for bin := range uint16(scoreBins) {
		p, n := float64(s.positive[bin]), float64(s.negative[bin])
		if p == 0 && n == 0 {
			continue
		}
		under := (belowN + n/2) / negatives
		over := 1 - (belowP+p/2)/positives
		value += p * under
		ofPositives += p * under * under
		ofNegatives += n * over * over
		belowP, belowN = belowP+p, belowN+n
	}
	value /= positives
	e := estimate{value: value, se: math.NaN(), n: int64(positives + negatives)}
	if positives > 1 && negatives > 1 {
		e.se = math.Sqrt(placementVariance(ofPositives, value, positives) + placementVariance(ofNegatives, value, negatives))
	}
	return e
}

// placementVariance is the part of an AUC's variance that one class of n cases has.
func placementVariance(squares, mean, n float64) float64 {
	return max(0, squares/n-mean*mean) / (n - 1)
}
