package distance

import "math"

const psiEmptyBins = "as half an observation of its side, or as the other side's share where that is less"

// psi is the population stability index Σ (p-q) ln(p/q).
//
// The sum is infinite where a bin is empty on one side alone, and what a tool puts there decides the score: 0.0001, 0.01
// or the smallest float give values that differ a hundredfold on the same data. Here an empty bin counts as half an
// observation of its own side, the share 1/2n, so that an absence weighs what the sample's size makes it worth; and as no
// more than the other side's share, so that a bin too rare to be seen in a small sample counts nothing. Shares are not
// scaled again. Bins empty on both sides are left out. Equal shares alone give 0.
func psi(s shares) float64 {
	var sum float64
	for i := range s.Ref {
		p, q := s.at(i)
		switch {
		case p == q:
			continue
		case p == 0:
			p = min(0.5/s.nRef, q)
		case q == 0:
			q = min(0.5/s.nCur, p)
		}
		sum += (p - q) * math.Log(p/q)
	}
	return sum
}

// psiNull is the mean of the chi-square that the index, divided by 1/n + 1/m, follows (Yurdakul 2018).
func psiNull(s shares) float64 { return s.degrees() * s.noise }
