package feature

import "math"

// stddev is the population standard deviation of int64 or float64, as float64: the square root of variance, and null
// where that is. moments states the tolerance and the state.
type stddev struct{ moments }

func newStddev(s AggregatorSpec) Aggregator { return stddev{moments{s.In}} }

// Result implements Aggregator.
func (a stddev) Result(state []byte) Value {
	v, ok := a.variance(state)
	if !ok || v-v != 0 {
		return Value{}
	}
	return Float64Value(math.Sqrt(v))
}
