package feature

// variance is the population variance of int64 or float64, as float64; null over no values, and out of range (see
// OutOfRange). moments states the tolerance and the state.
type variance struct{ moments }

func newVariance(s AggregatorSpec) Aggregator { return variance{moments{s.In}} }

// Result implements Aggregator.
func (a variance) Result(state []byte) Value {
	v, ok := a.moments.variance(state)
	if !ok || v-v != 0 {
		return Value{}
	}
	return Float64Value(v)
}
