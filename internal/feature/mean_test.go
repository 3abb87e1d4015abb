package feature

import (
	"math"
	"math/big"
	"testing"
)

var meanProof = proof{
	specs: specsOf(AggregatorSpec{Name: "mean"}, Int64, Float64),
	naive: func(_ AggregatorSpec, in []sample) Value {
		if len(in) == 0 {
			return Value{}
		}
		return floatOrNull(exactMean(in))
	},
	same: func(_ AggregatorSpec, in []sample, got, want Value) error {
		if len(in) == 0 {
			return nullOnly(got)
		}
		tolerance := exactMagnitude(in)
		tolerance.Quo(scaledBy(1e-12, tolerance), exact(float64(len(in))))
		return within(got, exactMean(in), tolerance)
	},
}

func exactMean(in []sample) *big.Float {
	sum := exactSum(in)
	return sum.Quo(sum, exact(float64(len(in))))
}

func TestMeanOfExtremes(t *testing.T) {
	spec := AggregatorSpec{Name: "mean", In: Int64}
	checkResult(t, spec, nil, Value{})
	checkResult(t, spec, ints(math.MaxInt64, math.MaxInt64, math.MaxInt64), Float64Value(math.MaxInt64))
	checkResult(t, spec, ints(math.MinInt64, math.MinInt64), Float64Value(math.MinInt64))
	checkResult(t, spec, ints(math.MinInt64, math.MaxInt64), Float64Value(-0.5))
	checkResult(t, spec, ints(-1, 1), Float64Value(0))
	checkResult(t, spec, ints(1, 2), Float64Value(1.5))

	spec.In = Float64
	checkResult(t, spec, nil, Value{})
	checkResult(t, spec, floats(math.MaxFloat64, math.MaxFloat64), Float64Value(math.MaxFloat64))
	checkResult(t, spec, floats(math.Copysign(0, -1)), Float64Value(0))
	checkResult(t, spec, floats(1, 1e100, 1, -1e100), Float64Value(0.5))
}

func TestMeanFormat(t *testing.T) {
	spec := AggregatorSpec{Name: "mean", In: Int64}
	checkGolden(t, []golden{
		{spec, ints(), "0000000000000000 0000000000000000 0000000000000000"},
		{spec, ints(3, -5), "feffffffffffffff ffffffffffffffff 0200000000000000"},
	})
	checkRefused(t, spec, map[string]string{
		"00": "wrong length",
		"0100000000000000 0000000000000000 0000000000000000": "no values",
		"0100000000000000 0100000000000000 0100000000000000": "cannot reach",
	})
	spec.In = Float64
	checkGolden(t, []golden{
		{spec, floats(), "0000000000000000 0000000000000000 0000000000000000"},
		{spec, floats(1, 2), "0000000000000840 0100000000000000 0200000000000000"},
	})
	checkRefused(t, spec, map[string]string{
		"00": "wrong length",
		"0000000000000840 0100000000000000 0000000000000000": "no values",
		"0000000000000840 0000000000000000 0100000000000000": "no values",
		"000000000000f87f 0100000000000000 0100000000000000": "not a float sum",
	})
}

func BenchmarkMean(b *testing.B) {
	for _, spec := range meanProof.specs {
		benchmark(b, spec)
	}
}
