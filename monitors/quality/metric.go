package quality

import (
	"fmt"
	"math"

	"github.com/freshet-io/freshet/monitors/significance/tail"
)

// estimate is a metric of some cases.
type estimate struct {
	value float64 // NaN where it is not defined
	se    float64 // standard error; NaN where it cannot be estimated
	// n cases are what it is of. Of a share, hits of them.
	n, hits int64
	share   bool
	// excess is what chance alone adds to the value of a perfect model, which does not count as its fault.
	excess float64
}

var undefined = estimate{value: math.NaN(), se: math.NaN()}

// Metric is a measure of quality.
type Metric struct {
	Name string
	more bool // more of it is better
	of   func(*Sums) estimate
}

// metrics in the order in which they are told. A metric is a file and a line here; config says what it is of.
var metrics = []Metric{
	{"rmse", false, rmse},
	{"mae", false, mae},
	{"log_loss", false, logLoss},
	{"calibration_error", false, calibrationError},
	{"auc", true, auc},
	{"accuracy", true, accuracy},
	{"precision", true, precision},
	{"recall", true, recall},
}

// Lookup finds a metric by its name.
func Lookup(name string) (Metric, error) {
	for _, m := range metrics {
		if m.Name == name {
			return m, nil
		}
	}
	return Metric{}, fmt.Errorf("no metric %q of quality", name)
}

// Limit is what a metric is held to: one of the two. Bound is the largest value of a metric of which less is better, the
// least of one of which more is better. WorseBy is by which part of the reference's it may be worse.
type Limit struct{ Bound, WorseBy float64 }

// Result is a metric held to a limit.
type Result struct {
	Value float64 // NaN where it is not defined, as a precision without positive predictions
	SE    float64
	N     int64 // cases it is of
	Bound float64
	// Reference is the reference's value, NaN if there is none.
	Reference float64
	NRef      int64
	// Effect is how bad it is, larger is worse, and Threshold from where on it is too bad: the value and the bound of a metric
	// of which less is better, what they lack to 1 of the others, and by which part it is worse than the reference where
	// that is what it is held to. Effect is NaN where nothing can be said.
	Effect, Threshold float64
	// P is the probability of so bad a value, or a worse one, from a model that is exactly at the limit.
	P float64
}

// Judge holds the metric of some cases to a limit. ref is what WorseBy is relative to.
func (m Metric) Judge(cur *Sums, limit Limit, ref *Sums) Result {
	e := m.of(cur)
	r := Result{Value: e.value, SE: e.se, N: e.n, Bound: limit.Bound, Reference: math.NaN(), Effect: math.NaN(), Threshold: limit.Bound, P: 1}
	if limit.WorseBy > 0 {
		m.relative(&r, e, limit.WorseBy, ref)
		return r
	}
	if m.more {
		r.Threshold = 1 - limit.Bound
	}
	if math.IsNaN(e.value) {
		return r
	}
	value := e.value - e.excess
	r.Effect = value
	if m.more {
		r.Effect = 1 - value
	}
	if e.share {
		// Exactly: n trials at the least share that is allowed have so few hits.
		r.P = tail.Binomial(float64(e.n), 1-limit.Bound, float64(e.n-e.hits))
		return r
	}
	r.P = beyond(r.Effect-r.Threshold, e.se)
	return r
}

// relative holds an estimate to a reference's, which is as uncertain.
func (m Metric) relative(r *Result, e estimate, worse float64, ref *Sums) {
	r.Threshold, r.Bound = worse, math.NaN()
	if ref == nil {
		return
	}
	b := m.of(ref)
	r.Reference, r.NRef = b.value, b.n
	value, base := e.value-e.excess, b.value-b.excess
	if math.IsNaN(value) || math.IsNaN(base) || base <= 0 {
		return
	}
	bound := base * (1 + worse)
	over := value - bound
	r.Effect = value/base - 1
	if m.more {
		bound = base * (1 - worse)
		over = bound - value
		r.Effect = 1 - value/base
	}
	r.Bound = bound
	r.P = beyond(over, math.Hypot(e.spread(), b.spread()*bound/base))
}

// spread is the standard error; that of a share is never taken as less than that of one case more that goes the other
// way, since a share of 0 or 1 would have none.
func (e estimate) spread() float64 {
	if !e.share || e.n == 0 {
		return e.se
	}
	n := float64(e.n)
	p := (float64(e.hits) + 1) / (n + 2)
	return max(e.se, math.Sqrt(p*(1-p)/n))
}

// beyond is the probability that chance leads so far over a bound.
func beyond(over, se float64) float64 {
	switch {
	case math.IsNaN(se):
		return 1
	case se == 0 && over > 0:
		return 0
	case se == 0:
		return 1
	}
	return tail.Normal(over / se)
}

// mean is the mean of n numbers of which the sum and the sum of squares are known, with its standard error.
func mean(n int64, sum, squares float64) (value, se float64) {
	if n <= 0 {
		return math.NaN(), math.NaN()
	}
	value = sum / float64(n)
	if n < 2 {
		return value, math.NaN()
	}
	variance := max(0, squares/float64(n)-value*value) * float64(n) / float64(n-1)
	return value, math.Sqrt(variance / float64(n))
}

// share is which part of n cases is a hit.
func share(hits, n int64) estimate {
	if n <= 0 {
		return undefined
	}
	p := float64(hits) / float64(n)
	return estimate{value: p, se: math.Sqrt(p * (1 - p) / float64(n)), n: n, hits: hits, share: true}
}
