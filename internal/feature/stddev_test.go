package feature

import "testing"

var stddevProof = proof{
	specs: specsOf(AggregatorSpec{Name: "stddev"}, Int64, Float64),
	naive: func(_ AggregatorSpec, in []sample) Value {
		if len(in) == 0 {
			return Value{}
		}
		v, _ := exactVariance(in)
		return floatOrNull(v.Sqrt(v))
	},
	same: func(_ AggregatorSpec, in []sample, got, want Value) error {
		squared := number(got)
		return sameVariance(in, got, squared.Mul(squared, squared))
	},
}

func TestStddevByHand(t *testing.T) {
	spec := AggregatorSpec{Name: "stddev", In: Int64}
	checkResult(t, spec, nil, Value{})
	checkResult(t, spec, ints(7, 7), Float64Value(0))
	checkResult(t, spec, ints(2, 6), Float64Value(2))
	spec.In = Float64
	checkResult(t, spec, floats(1e200, -1e200), Value{})
}

func BenchmarkStddev(b *testing.B) { benchmark(b, AggregatorSpec{Name: "stddev", In: Float64}) }
