package feature

import (
	"fmt"
	"math"
	"math/big"
	"testing"
)

var sumProof = proof{
	specs: specsOf(AggregatorSpec{Name: "sum"}, Int64, Float64),
	naive: func(spec AggregatorSpec, in []sample) Value {
		switch {
		case len(in) == 0:
			return Value{}
		case spec.In == Float64:
			return floatOrNull(exactSum(in))
		}
		sum := new(big.Int)
		for _, s := range in {
			sum.Add(sum, big.NewInt(s.v.Int64()))
		}
		if !sum.IsInt64() {
			return Value{}
		}
		return Int64Value(sum.Int64())
	},
	same: func(spec AggregatorSpec, in []sample, got, want Value) error {
		if spec.In == Int64 {
			if !got.Equal(&want) {
				return fmt.Errorf("an int sum is exact")
			}
			return nil
		}
		if len(in) == 0 {
			return nullOnly(got)
		}
		return within(got, exactSum(in), scaledBy(1e-12, exactMagnitude(in)))
	},
}

// exact returns a number that holds any sum of a few float64 without rounding.
func exact(x float64) *big.Float { return new(big.Float).SetPrec(2200).SetFloat64(x) }

// number returns the content of an int64 or float64 value.
func number(v Value) *big.Float {
	if v.Type() == Int64 {
		return exact(0).SetInt64(v.Int64())
	}
	return exact(v.Float64())
}

func exactSum(in []sample) *big.Float {
	sum := exact(0)
	for _, s := range in {
		sum.Add(sum, number(s.v))
	}
	return sum
}

func exactMagnitude(in []sample) *big.Float {
	sum := exact(0)
	for _, s := range in {
		sum.Add(sum, new(big.Float).Abs(number(s.v)))
	}
	return sum
}

func scaledBy(f float64, x *big.Float) *big.Float { return exact(f).Mul(exact(f), x) }

// floatOrNull rounds x, null when it is out of range.
func floatOrNull(x *big.Float) Value {
	f, _ := x.Float64()
	if math.IsInf(f, 0) {
		return Value{}
	}
	return Float64Value(f)
}

func nullOnly(got Value) error {
	if !got.IsNull() {
		return fmt.Errorf("want null")
	}
	return nil
}

// within checks a float64 result against an exact one. One unit of the smallest float64 is always granted; null is
// right where the tolerance reaches past the largest.
func within(got Value, want, tolerance *big.Float) error {
	if got.IsNull() {
		reach := exact(0).Abs(want)
		if reach.Add(reach, tolerance).Cmp(exact(math.MaxFloat64)) < 0 {
			return fmt.Errorf("null, want %v", want)
		}
		return nil
	}
	off := exact(0).Sub(number(got), want)
	granted := exact(0).Add(tolerance, exact(math.SmallestNonzeroFloat64))
	if off.Abs(off).Cmp(granted) > 0 {
		return fmt.Errorf("off by %.3g, granted %.3g", off, granted)
	}
	return nil
}

func TestIntSumOnlyTheTotalOverflows(t *testing.T) {
	spec := AggregatorSpec{Name: "sum", In: Int64}
	checkResult(t, spec, nil, Value{})
	checkResult(t, spec, ints(0), Int64Value(0))
	checkResult(t, spec, ints(math.MaxInt64, math.MaxInt64, math.MinInt64, math.MinInt64), Int64Value(-2))
	checkResult(t, spec, ints(math.MinInt64), Int64Value(math.MinInt64))
	checkResult(t, spec, ints(math.MaxInt64, 1), Value{})
	checkResult(t, spec, ints(math.MinInt64, -1), Value{})
}

func TestFloatSumOnlyTheTotalOverflows(t *testing.T) {
	const most = math.MaxFloat64
	spec := AggregatorSpec{Name: "sum", In: Float64}
	checkResult(t, spec, nil, Value{})
	checkResult(t, spec, floats(most, most, -most, -most), Float64Value(0))
	checkResult(t, spec, floats(most, most, -most), Float64Value(most))
	checkResult(t, spec, floats(most, most), Value{})
	checkResult(t, spec, floats(-most, -most), Value{})
	checkResult(t, spec, floats(1e308, 1, -1e308), Float64Value(1))
}

// Cancellation and many small values beside a large one, where a plain loop is wrong.
func TestFloatSumKeepsWhatPlainSumsLose(t *testing.T) {
	spec := AggregatorSpec{Name: "sum", In: Float64}
	checkResult(t, spec, floats(1e16, 1, -1e16), Float64Value(1))
	checkResult(t, spec, floats(1, 1e100, 1, -1e100), Float64Value(2))
	many := floats(1e16)
	for range 1000 {
		many = append(many, floats(1)...)
	}
	checkResult(t, spec, many[:201], Float64Value(1e16+200))
}

// Tiles carry what their rounded sums lost, through Fold and Merge alike.
func TestFloatSumsOfTilesKeepWhatRoundingLoses(t *testing.T) {
	for _, name := range []string{"sum", "mean"} {
		a := mustAggregator(t, AggregatorSpec{Name: name, In: Float64})
		tiles := [][]byte{stateOf(a, floats(1e16, 1)), stateOf(a, floats(1, -1e16))}
		merged := a.Merge(a.Merge(emptyState(a), tiles[0]), tiles[1])
		folded := emptyState(a)
		a.Fold(folded, append(tiles[0], tiles[1]...), a.Width(), 2)
		want := map[string]float64{"sum": 2, "mean": 0.5}[name]
		for how, state := range map[string][]byte{"merged": merged, "folded": folded} {
			if got := a.Result(state); got.Float64() != want {
				t.Errorf("%s %s: got %s, want %v", name, how, got, want)
			}
		}
	}
}

func TestZeroFloatSumsArePositive(t *testing.T) {
	zero := math.Copysign(0, -1)
	spec := AggregatorSpec{Name: "sum", In: Float64}
	checkResult(t, spec, floats(zero), Float64Value(0))
	checkResult(t, spec, floats(zero, zero, 0), Float64Value(0))
	checkResult(t, spec, floats(-1, 1), Float64Value(0))
}

func TestSumTellsOutOfRange(t *testing.T) {
	for _, c := range []struct {
		typ  Type
		in   []sample
		want bool
	}{
		{Int64, ints(), false},
		{Int64, ints(math.MaxInt64), false},
		{Int64, ints(math.MaxInt64, 1), true},
		{Float64, floats(), false},
		{Float64, floats(math.MaxFloat64), false},
		{Float64, floats(math.MaxFloat64, math.MaxFloat64), true},
		{Float64, floats(math.MaxFloat64, math.MaxFloat64, -1e308), true},
		{Float64, floats(math.MaxFloat64, math.MaxFloat64, -math.MaxFloat64), false},
	} {
		a := mustAggregator(t, AggregatorSpec{Name: "sum", In: c.typ})
		if got := OutOfRange(a, stateOf(a, c.in)); got != c.want {
			t.Errorf("%v: out of range %t, want %t", c.in, got, c.want)
		}
	}
}

func TestIntSumFormat(t *testing.T) {
	spec := AggregatorSpec{Name: "sum", In: Int64}
	checkGolden(t, []golden{
		{spec, ints(), "0000000000000000 0000000000000000"},
		{spec, ints(0), "0100000000000000 0000000000000000"},
		{spec, ints(5), "0b00000000000000 0000000000000000"},
		{spec, ints(-1), "ffffffffffffffff ffffffffffffffff"},
		{spec, ints(math.MaxInt64, math.MaxInt64), "fdffffffffffffff 0100000000000000"},
	})
	checkRefused(t, spec, map[string]string{
		"00":                               "wrong length",
		"02000000000000000000000000000000": "not an int sum",
	})
}

func TestFloatSumFormat(t *testing.T) {
	spec := AggregatorSpec{Name: "sum", In: Float64}
	checkGolden(t, []golden{
		{spec, floats(), "0000000000000000 0000000000000000"},
		{spec, floats(0), "0000000000000000 0100000000000000"},
		{spec, floats(1.5), "000000000000f83f 0100000000000000"},
		{spec, floats(0x1p60, 1), "000000000000b043 010000000000f03f"},
		{spec, floats(0x1p1023, 0x1p1023), "000000000000f07b 0300000000000000"},
	})
	checkRefused(t, spec, map[string]string{
		"00":                                "wrong length",
		"000000000000f83f 0000000000000000": "not a float sum",
		"000000000000f07f 0100000000000000": "not a float sum",
		"000000000000f83f 010000000000f83f": "not a float sum",
	})
}

func BenchmarkSum(b *testing.B) {
	for _, spec := range sumProof.specs {
		benchmark(b, spec)
	}
}
