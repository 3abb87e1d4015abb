package feature

import (
	"math"
	"testing"
)

var minProof = proof{
	specs:     specsOf(AggregatorSpec{Name: "min"}, Int64, Float64, Timestamp),
	naive:     func(_ AggregatorSpec, in []sample) Value { return naiveExtreme(in, -1) },
	canonical: true,
}

// naiveExtreme returns the value that compares with all others as sign says, -0 being less than 0.
func naiveExtreme(in []sample, sign int) Value {
	var best Value
	for _, s := range in {
		negative := s.v.Type() == Float64 && math.Signbit(s.v.Float64())
		c := 0
		if !best.IsNull() {
			c = s.v.Compare(&best)
			if c == 0 && s.v.Type() == Float64 && negative != math.Signbit(best.Float64()) {
				c = 1
				if negative {
					c = -1
				}
			}
		}
		if best.IsNull() || c == sign {
			best = s.v
		}
	}
	return best
}

func TestMinOfExtremes(t *testing.T) {
	minusZero := math.Copysign(0, -1)
	spec := AggregatorSpec{Name: "min", In: Int64}
	checkResult(t, spec, nil, Value{})
	checkResult(t, spec, ints(math.MinInt64), Int64Value(math.MinInt64))
	checkResult(t, spec, ints(math.MaxInt64), Int64Value(math.MaxInt64))
	checkResult(t, spec, ints(math.MinInt64, 0, math.MaxInt64), Int64Value(math.MinInt64))
	spec.In = Timestamp
	checkResult(t, spec, samplesOf(TimestampValue(-1), TimestampValue(5)), TimestampValue(-1))
	spec.In = Float64
	checkResult(t, spec, floats(math.MaxFloat64), Float64Value(math.MaxFloat64))
	checkResult(t, spec, floats(-math.MaxFloat64), Float64Value(-math.MaxFloat64))
	checkResult(t, spec, floats(0, minusZero), Float64Value(minusZero))
	checkResult(t, spec, floats(-2, -1, math.SmallestNonzeroFloat64), Float64Value(-2))
}

func TestMinFormat(t *testing.T) {
	spec := AggregatorSpec{Name: "min", In: Int64}
	checkGolden(t, []golden{
		{spec, ints(), "0000000000000000 00"},
		{spec, ints(1), "feffffffffffff7f 01"},
		{spec, ints(0), "ffffffffffffff7f 01"},
	})
	checkRefused(t, spec, map[string]string{
		"00":                  "wrong length",
		"0100000000000000 00": "not an extreme",
		"0100000000000000 02": "not an extreme",
	})
	spec.In = Float64
	checkGolden(t, []golden{
		{spec, floats(), "0000000000000000"},
		{spec, floats(1.5), "ffffffffffff0740"},
	})
	checkRefused(t, spec, map[string]string{
		"00":               "wrong length",
		"ffffffffffffffff": "extreme of NaN",
		"0100000000000000": "extreme of NaN",
	})
}

func BenchmarkMin(b *testing.B) {
	for _, spec := range minProof.specs[:2] {
		benchmark(b, spec)
	}
}
