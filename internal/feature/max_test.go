package feature

import (
	"math"
	"testing"
)

var maxProof = proof{
	specs:     specsOf(AggregatorSpec{Name: "max"}, Int64, Float64, Timestamp),
	naive:     func(_ AggregatorSpec, in []sample) Value { return naiveExtreme(in, 1) },
	canonical: true,
}

func TestMaxOfExtremes(t *testing.T) {
	minusZero := math.Copysign(0, -1)
	spec := AggregatorSpec{Name: "max", In: Int64}
	checkResult(t, spec, nil, Value{})
	checkResult(t, spec, ints(math.MinInt64), Int64Value(math.MinInt64))
	checkResult(t, spec, ints(math.MaxInt64), Int64Value(math.MaxInt64))
	checkResult(t, spec, ints(math.MinInt64, 0, math.MaxInt64), Int64Value(math.MaxInt64))
	spec.In = Timestamp
	checkResult(t, spec, samplesOf(TimestampValue(-1), TimestampValue(5)), TimestampValue(5))
	spec.In = Float64
	checkResult(t, spec, floats(math.MaxFloat64), Float64Value(math.MaxFloat64))
	checkResult(t, spec, floats(-math.MaxFloat64), Float64Value(-math.MaxFloat64))
	checkResult(t, spec, floats(0, minusZero), Float64Value(0))
	checkResult(t, spec, floats(-2, -1, math.SmallestNonzeroFloat64), Float64Value(math.SmallestNonzeroFloat64))
}

func TestMaxFormat(t *testing.T) {
	spec := AggregatorSpec{Name: "max", In: Int64}
	checkGolden(t, []golden{
		{spec, ints(), "0000000000000000 00"},
		{spec, ints(1), "0100000000000080 01"},
		{spec, ints(0), "0000000000000080 01"},
	})
	checkRefused(t, spec, map[string]string{
		"00":                  "wrong length",
		"0100000000000000 00": "not an extreme",
		"0100000000000000 02": "not an extreme",
	})
	spec.In = Float64
	checkGolden(t, []golden{
		{spec, floats(), "0000000000000000"},
		{spec, floats(1.5), "000000000000f8bf"},
	})
	checkRefused(t, spec, map[string]string{
		"00":               "wrong length",
		"ffffffffffffffff": "extreme of NaN",
		"0100000000000000": "extreme of NaN",
	})
}

func BenchmarkMax(b *testing.B) {
	for _, spec := range maxProof.specs[:2] {
		benchmark(b, spec)
	}
}
