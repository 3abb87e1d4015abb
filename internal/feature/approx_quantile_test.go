package feature

import (
	"bytes"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var approxQuantileProof = proof{
	specs: append(append(specsOf(AggregatorSpec{Name: "approx_quantile", Q: 0.5}, Int64, Float64),
		specsOf(AggregatorSpec{Name: "approx_quantile", Q: 0.99}, Int64, Float64)...),
		specsOf(AggregatorSpec{Name: "approx_quantile", Q: 0}, Int64, Float64)...),
	naive: func(spec AggregatorSpec, in []sample) Value {
		if len(in) == 0 {
			return Value{}
		}
		return Float64Value(exactQuantile(in, spec.Q))
	},
	// The test's samples are few enough for level 0, at which a result is within 1 %, or a unit of the smallest
	// float64.
	same: func(_ AggregatorSpec, in []sample, got, want Value) error {
		if len(in) == 0 {
			return nullOnly(got)
		}
		g, w := got.Float64(), want.Float64()
		if math.Abs(g-w) > 0.01*math.Abs(w)+math.SmallestNonzeroFloat64 {
			return fmt.Errorf("off by %v", (g-w)/w)
		}
		return nil
	},
	canonical: true,
}

// exactQuantile returns the value of rank floor(q*(n-1)).
func exactQuantile(in []sample, q float64) float64 {
	sorted := make([]float64, len(in))
	for i, s := range in {
		sorted[i], _ = number(s.v).Float64()
		sorted[i] += 0
	}
	slices.Sort(sorted)
	return sorted[int(q*float64(len(sorted)-1))]
}

// The edges are the powers of two that the format says, rounded down to 32 bits.
func TestBinStarts(t *testing.T) {
	for k, start := range binStart {
		// start <= (2^(k/35) - 1) * 2^32 < start + 1, taken to the 35th power.
		for add, want := range map[uint64]bool{0: true, 1: false} {
			edge := new(big.Int).SetUint64(1<<32 + start + add)
			edge.Exp(edge, big.NewInt(ddsPerOctave), nil)
			limit := new(big.Int).Lsh(big.NewInt(1), uint(32*ddsPerOctave+k))
			if below := edge.Cmp(limit) <= 0; below != want {
				t.Errorf("edge %d: %#x+%d below: %t", k, start, add, below)
			}
		}
	}
}

// Bins ascend with the values, and the middle of a bin is within the promised share of each value in it.
func TestBinsAreNarrowEnough(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		x := rapid.Float64Range(math.SmallestNonzeroFloat64, math.MaxFloat64).Draw(rt, "x")
		if rapid.Bool().Draw(rt, "wide") {
			x = math.Float64frombits(rapid.Uint64Range(1, math.Float64bits(math.MaxFloat64)).Draw(rt, "bits"))
		}
		if next := math.Nextafter(x, math.Inf(1)); !math.IsInf(next, 1) && binOf(next) < binOf(x) {
			rt.Fatalf("bin of %v is after that of %v", x, next)
		}
		if bin := binOf(x); bin < 0 || bin >= ddsBins {
			rt.Fatalf("bin %d of %v", bin, x)
		}
		level := uint8(rapid.IntRange(0, 3).Draw(rt, "level"))
		for _, x := range []float64{x, -x} {
			mid := binValue(binKey(x, level), level)
			if off := math.Abs(mid - x); off > ddsError(level)*math.Abs(x)+math.SmallestNonzeroFloat64 && !math.IsInf(mid, 0) {
				rt.Fatalf("%v has the middle %v at level %d: off by %v", x, mid, level, off/x)
			}
		}
		if ddsError(0) > 0.01 {
			rt.Fatalf("the error at level 0 is %v", ddsError(0))
		}
	})
}

// The error of quantiles of a few fixed distributions, some so wide that bins are joined.
func TestApproxQuantileError(t *testing.T) {
	for _, c := range []struct {
		name  string
		level uint8
		draw  func(r *rand.Rand) float64
	}{
		{"uniform", 0, func(r *rand.Rand) float64 { return r.Float64() * 1000 }},
		{"normal", 0, func(r *rand.Rand) float64 { return r.NormFloat64()*10 + 50 }},
		{"lognormal", 0, func(r *rand.Rand) float64 { return math.Exp(r.NormFloat64()) }},
		{"both signs, with zeros", 0, func(r *rand.Rand) float64 { return math.Floor(r.NormFloat64() * 5) }},
		{"one outlier in a thousand", 0, func(r *rand.Rand) float64 {
			if r.IntN(1000) == 0 {
				return 1e300
			}
			return 10 + r.Float64()
		}},
		{"30 powers of two", 1, func(r *rand.Rand) float64 { return math.Exp2(r.Float64() * 30) }},
		{"all numbers", 8, func(r *rand.Rand) float64 { return math.Exp2(r.Float64()*2000-1000) * float64(1-2*r.IntN(2)) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(5, 6))
			in := make([]sample, 20_000)
			for i := range in {
				in[i].v = Float64Value(c.draw(r))
			}
			a := mustAggregator(t, AggregatorSpec{Name: "approx_quantile", In: Float64})
			state := stateOf(a, in)
			if state[0] != c.level {
				t.Errorf("level %d, want %d", state[0], c.level)
			}
			worst := 0.0
			for _, q := range []float64{0, 0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 1} {
				want := exactQuantile(in, q)
				off := math.Abs(ddsQuantile(state, q) - want)
				if want != 0 {
					off /= math.Abs(want)
				}
				worst = max(worst, off)
			}
			t.Logf("level %d, %d bytes, worst error %.4f of %.4f", state[0], len(state), worst, ddsError(state[0]))
			if worst > ddsError(state[0]) {
				t.Errorf("error %v, promised %v", worst, ddsError(state[0]))
			}
		})
	}
}

// Sketches that had to join bins, at different levels, still do not depend on the split or the order.
func TestJoinedSketchesAreCanonical(t *testing.T) {
	a := mustAggregator(t, AggregatorSpec{Name: "approx_quantile", In: Float64, Q: 0.5})
	r := rand.New(rand.NewPCG(7, 8))
	for round := range 20 {
		octaves := float64(int(5) << (round % 8))
		in := make([]sample, 3000)
		for i := range in {
			in[i].v = Float64Value(math.Exp2((r.Float64() - 0.3) * octaves))
		}
		want := stateOf(a, in)
		r.Shuffle(len(in), func(i, j int) { in[i], in[j] = in[j], in[i] })
		if got := stateOf(a, in); !bytes.Equal(got, want) {
			t.Fatalf("%v octaves: the order of arrival changed the state", octaves)
		}
		merged := []byte(nil)
		for len(in) > 0 {
			n := min(1+r.IntN(1500), len(in))
			part := stateOf(a, in[:n])
			if r.IntN(2) == 0 {
				merged, part = part, merged
			}
			merged, in = a.Merge(merged, part), in[n:]
			if err := a.Validate(merged); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(merged, want) {
			t.Fatalf("%v octaves: a split changed the state", octaves)
		}
	}
}

// A sketch of 600 neighbouring bins is still at level 0, as its comment states.
func TestApproxQuantileRangeAtLevelZero(t *testing.T) {
	a := mustAggregator(t, AggregatorSpec{Name: "approx_quantile", In: Float64, Q: 0.5})
	var state []byte
	for x := 1.0; x < 100_000; x *= 1.0002 {
		v := Float64Value(x)
		state = a.Add(state, &v, nil)
	}
	if state[0] != 0 {
		t.Errorf("level %d", state[0])
	}
}

func TestApproxQuantileIsExactForExtremesAndConstants(t *testing.T) {
	in := floats(3.7, -120.25, 8, 0, math.MaxFloat64)
	checkResult(t, AggregatorSpec{Name: "approx_quantile", In: Float64, Q: 0}, in, Float64Value(-120.25))
	checkResult(t, AggregatorSpec{Name: "approx_quantile", In: Float64, Q: 1}, in, Float64Value(math.MaxFloat64))
	checkResult(t, AggregatorSpec{Name: "approx_quantile", In: Float64, Q: 0.3}, floats(3.7, 3.7, 3.7), Float64Value(3.7))
	checkResult(t, AggregatorSpec{Name: "approx_quantile", In: Float64, Q: 0.3}, nil, Value{})
	checkResult(t, AggregatorSpec{Name: "approx_quantile", In: Float64, Q: 0.5}, floats(math.Copysign(0, -1)), Float64Value(0))
	checkResult(t, AggregatorSpec{Name: "approx_quantile", In: Int64, Q: 0.5}, ints(math.MinInt64), Float64Value(math.MinInt64))
}

func TestApproxQuantileFormat(t *testing.T) {
	const (
		one  = "000000000000f03f"
		zero = "0000000000000000"
	)
	spec := AggregatorSpec{Name: "approx_quantile", In: Float64, Q: 0.5}
	checkGolden(t, []golden{
		{spec, floats(), ""},
		{spec, floats(0), "00" + zero + zero + "d6bd04 01"},
		{spec, floats(0, 1, 1, -1), "00" + "000000000000f0bf" + one + "ff9702 01 d6a502 01 d6a502 02"},
	})
	checkRefused(t, spec, map[string]string{
		"00":                        "ends inside",
		"12" + zero + zero + "0001": "level",
		"00" + zero + "000000000000f07f" + "d6bd0401":   "not finite",
		"00" + "0000000000000080" + zero + "d6bd0401":   "not finite or is -0",
		"00" + zero + one + "d6bd0401":                  "last bin",
		"00" + one + one + "d6bd0401":                   "first bin",
		"00" + zero + zero + "d6bd0400":                 "no value",
		"00" + zero + zero + "d6bd04":                   "ends inside",
		"00" + zero + zero + "d6bd048100":               "shortest form",
		"00" + zero + zero + strings.Repeat("01", 1280): "longer than its bound",
	})
}

func BenchmarkApproxQuantile(b *testing.B) {
	for _, typ := range []Type{Int64, Float64} {
		benchmark(b, AggregatorSpec{Name: "approx_quantile", In: typ, Q: 0.9})
	}
}
