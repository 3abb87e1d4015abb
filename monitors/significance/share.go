package significance

import (
	"fmt"
	"math"

	"github.com/freshet-io/freshet/monitors/significance/tail"
)

// TestShare is the name of ShareRise's test.
const TestShare = "share_rise"

// Part is how many values of a sample are of a kind, as null.
type Part struct {
	Count, N float64
	NEff     float64 // the sample's effective size; 0: N
}

func (p Part) share() float64 { return p.Count / p.N }

// effective is the sample's effective size.
func (p Part) effective() float64 {
	if p.NEff == 0 {
		return p.N
	}
	return p.NEff
}

func (p Part) check() error {
	if !(p.Count >= 0) || !(p.N >= p.Count) || !(p.NEff >= 0) || !finite(p.N) || !finite(p.NEff) {
		return fmt.Errorf("share test: %g of %g values, effective size %g: %w", p.Count, p.N, p.NEff, errCount)
	}
	return nil
}

// ShareRise tests whether a kind of value has become more frequent: the probability of a share that is larger by as much
// between samples of one population. It is one-sided, so 1 where the share has not risen. df is as in Input.
//
// Given how many of both samples are of the kind, the current ones are hypergeometric; the tail is a shifted gamma's with
// the first three moments (Pearson's type III), because a rare kind makes them skew. Where fewer than leastExpected are
// expected on either side the exact binomial test takes its place, which errs to the safe side.
func ShareRise(ref, cur Part, df float64) (float64, error) {
	for _, p := range []Part{ref, cur} {
		if err := p.check(); err != nil {
			return 1, err
		}
	}
	if ref.N == 0 || cur.N == 0 || cur.share() <= ref.share() {
		return 1, nil
	}
	nRef, nCur := ref.effective(), cur.effective()
	observed := cur.share() * nCur
	kind := observed + ref.share()*nRef
	chance := nCur / (nRef + nCur)
	if kind*min(chance, 1-chance) < leastExpected {
		return spread(func(v float64) float64 { return tail.Binomial(kind*v, chance, observed*v) }, df), nil
	}
	share := kind / (nRef + nCur)
	variance := kind * (1 - share) * chance * (1 - chance)
	if !(variance > 0) {
		return 1, nil
	}
	z := (observed - kind*chance) / math.Sqrt(variance)
	skew := (1 - 2*chance) * (1 - 2*share) / math.Sqrt(variance)
	return spread(func(v float64) float64 { return skewTail(z*math.Sqrt(v), skew/math.Sqrt(v)) }, df), nil
}

// skewTail is the probability that a variable of mean 0 and variance 1 exceeds z: a shifted gamma's if it leans to the
// right, a normal one's, which is larger, if it leans to the left.
func skewTail(z, skew float64) float64 {
	if !(skew > 1e-3) {
		return tail.Normal(z)
	}
	shape := 4 / (skew * skew)
	return tail.Gamma(shape, shape+z*math.Sqrt(shape))
}
