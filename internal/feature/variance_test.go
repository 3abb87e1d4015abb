package feature

import (
	"fmt"
	"math"
	"math/big"
	"testing"
)

var varianceProof = proof{
	specs: specsOf(AggregatorSpec{Name: "variance"}, Int64, Float64),
	naive: func(_ AggregatorSpec, in []sample) Value {
		if len(in) == 0 {
			return Value{}
		}
		v, _ := exactVariance(in)
		return floatOrNull(v)
	},
	same: func(_ AggregatorSpec, in []sample, got, want Value) error { return sameVariance(in, got, number(got)) },
}

// exactVariance returns the population variance and the mean of the squares, all but exact.
func exactVariance(in []sample) (variance, square *big.Float) {
	mean, n := exactMean(in), exact(float64(len(in)))
	variance, square = exact(0), exact(0)
	for _, s := range in {
		x := number(s.v)
		d := exact(0).Sub(x, mean)
		variance.Add(variance, d.Mul(d, d))
		square.Add(square, x.Mul(x, x))
	}
	return variance.Quo(variance, n), square.Quo(square, n)
}

// sameVariance checks a result whose variance is given: within 1e-9 of the mean square, or null where n times that is
// out of range. What is lost where squares are subnormal is granted.
func sameVariance(in []sample, got Value, variance *big.Float) error {
	if len(in) == 0 {
		return nullOnly(got)
	}
	want, square := exactVariance(in)
	tolerance := scaledBy(1e-9, square)
	if got.IsNull() {
		reach := exact(0).Add(want, tolerance)
		if reach.Mul(reach, exact(float64(len(in)))).Cmp(exact(math.MaxFloat64)) < 0 {
			return fmt.Errorf("null, want %v", want)
		}
		return nil
	}
	off := exact(0).Sub(variance, want)
	granted := exact(0).Add(tolerance, exact(1e-320))
	if off.Abs(off).Cmp(granted) > 0 {
		return fmt.Errorf("variance off by %.3g, granted %.3g", off, granted)
	}
	return nil
}

func TestVarianceByHand(t *testing.T) {
	spec := AggregatorSpec{Name: "variance", In: Int64}
	checkResult(t, spec, nil, Value{})
	checkResult(t, spec, ints(7), Float64Value(0))
	checkResult(t, spec, ints(1, 3), Float64Value(1))
	checkResult(t, spec, ints(math.MinInt64, math.MinInt64), Float64Value(0))
	spec.In = Float64
	checkResult(t, spec, floats(-2, 0, 2, 0), Float64Value(2))
	checkResult(t, spec, floats(1e200, -1e200), Value{})
	checkResult(t, spec, floats(math.MaxFloat64, -math.MaxFloat64, 0), Value{})
	checkResult(t, spec, floats(math.MaxFloat64, math.MaxFloat64), Float64Value(0))
}

// A large mean beside a small spread, over tiles: where sums of squares are worthless.
func TestVarianceOfTilesWithALargeMean(t *testing.T) {
	a := mustAggregator(t, AggregatorSpec{Name: "variance", In: Float64})
	var packed []byte
	for i := range 60 {
		packed = append(packed, stateOf(a, floats(1e9+float64(i), 1e9-float64(i)))...)
	}
	dst := emptyState(a)
	a.Fold(dst, packed, a.Width(), 60)
	got := a.Result(dst)
	const want = 59.0 * 119 / 6 // the mean of the squares of 0 to 59
	if math.Abs(got.Float64()-want) > 1e-9*want {
		t.Errorf("got %s, want %v", got, want)
	}
}

// Empty tiles change nothing, however large the mean.
func TestVarianceSkipsEmptyTiles(t *testing.T) {
	a := mustAggregator(t, AggregatorSpec{Name: "variance", In: Float64})
	full, empty := stateOf(a, floats(1e200, 1e200)), emptyState(a)
	for _, tiles := range [][]byte{append(append([]byte{}, full...), empty...), append(append([]byte{}, empty...), full...)} {
		dst := emptyState(a)
		a.Fold(dst, tiles, a.Width(), 2)
		if got := a.Result(dst); got.IsNull() || got.Float64() != 0 {
			t.Errorf("got %s, want 0", got)
		}
	}
}

func TestVarianceOutOfRangeIsTold(t *testing.T) {
	a := mustAggregator(t, AggregatorSpec{Name: "variance", In: Float64})
	state := stateOf(a, floats(1e200, -1e200))
	if !OutOfRange(a, state) {
		t.Error("a variance past the largest float64 is not out of range")
	}
	if state = a.Merge(state, stateOf(a, floats(1, 2, 3))); !OutOfRange(a, state) {
		t.Error("more values brought it back into range")
	}
	if OutOfRange(a, emptyState(a)) || OutOfRange(a, stateOf(a, floats(1, 2))) {
		t.Error("a variance in range is out of range")
	}
}

func TestVarianceFormat(t *testing.T) {
	for _, name := range []string{"variance", "stddev"} {
		spec := AggregatorSpec{Name: name, In: Float64}
		checkGolden(t, []golden{
			{spec, floats(), "0000000000000000 0000000000000000 0000000000000000"},
			{spec, floats(1, 3), "0200000000000000 0000000000000040 0000000000000040"},
			{spec, floats(1e200, -1e200), "0200000000000000 0000000000000000 000000000000f07f"},
		})
		checkRefused(t, spec, map[string]string{
			"00": "wrong length",
			"0000000000000000 0000000000000040 0000000000000000": "not all zero",
			"0200000000000000 0000000000000040 00000000000000c0": "not a mean and M2",
			"0200000000000000 000000000000f07f 000000000000f07f": "not a mean and M2",
			"0200000000000080 0000000000000040 0000000000000000": "not a mean and M2",
		})
	}
}

func BenchmarkVariance(b *testing.B) {
	for _, spec := range varianceProof.specs {
		benchmark(b, spec)
	}
}
