package feature

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"
)

var approxDistinctProof = proof{
	specs: specsOf(AggregatorSpec{Name: "approx_distinct"}, scalars...),
	naive: func(_ AggregatorSpec, in []sample) Value {
		seen := map[string]bool{}
		for _, s := range in {
			if s.v.Type() == Float64 {
				s.v = Float64Value(s.v.Float64() + 0) // -0 is 0
			}
			seen[s.v.String()] = true
		}
		return Int64Value(int64(len(seen)))
	},
	// Up to 100 values meet in one of 2^18 cells so rarely that the sketch is exact but for a few in a billion runs.
	same: func(_ AggregatorSpec, in []sample, got, want Value) error {
		if d := got.Int64() - want.Int64(); d < -4 || d > 4 {
			return fmt.Errorf("off by %d", d)
		}
		return nil
	},
	canonical: true,
}

// The relative error over 40 fixed sets for each size: the promised standard error, and no bias.
func TestApproxDistinctError(t *testing.T) {
	a := mustAggregator(t, AggregatorSpec{Name: "approx_distinct", In: Int64})
	const sets = 40
	sizes := []int{10, 100, 1000, 1100, 3000, 10_000, 30_000, 100_000}
	sum, squares := make([]float64, len(sizes)), make([]float64, len(sizes))
	for set := range sets {
		var state []byte
		n := 0
		for i, size := range sizes {
			for ; n < size; n++ {
				v := Int64Value(int64(set)<<32 | int64(n))
				state = a.Add(state, &v, nil)
			}
			got := a.Result(state)
			e := float64(got.Int64())/float64(size) - 1
			sum[i] += e
			squares[i] += e * e
		}
	}
	for i, size := range sizes {
		promised := 0.01625
		if size <= 1000 {
			promised = 0.002
		}
		rms, bias := math.Sqrt(squares[i]/sets), sum[i]/sets
		t.Logf("%7d values: standard error %.4f, mean error %+.4f", size, rms, bias)
		if rms > 1.3*promised {
			t.Errorf("%d values: standard error %.4f, promised %.4f", size, rms, promised)
		}
		if math.Abs(bias) > 3*promised/math.Sqrt(sets) {
			t.Errorf("%d values: mean error %+.4f", size, bias)
		}
	}
}

// Sketches of every form merge to the sketch of the union, byte for byte.
func TestApproxDistinctMergesAcrossForms(t *testing.T) {
	a := mustAggregator(t, AggregatorSpec{Name: "approx_distinct", In: Int64})
	sketch := func(from, to int64) []byte {
		var s []byte
		for i := from; i < to; i++ {
			v := Int64Value(i)
			s = a.Add(s, &v, nil)
		}
		return s
	}
	for _, c := range []struct{ from, mid, to int64 }{
		{0, 10, 20}, {0, 600, 1200}, {0, 10, 5000}, {0, 4990, 5000}, {0, 5000, 10_000}, {0, 1020, 1021}, {0, 1015, 1035},
	} {
		overlap := c.mid - 5
		x, y := sketch(c.from, c.mid), sketch(overlap, c.to)
		want := fmt.Sprintf("%x", sketch(c.from, c.to))
		if got := fmt.Sprintf("%x", a.Merge(append([]byte(nil), x...), y)); got != want {
			t.Errorf("%v: left with right is not the whole", c)
		}
		if got := fmt.Sprintf("%x", a.Merge(append([]byte(nil), y...), x)); got != want {
			t.Errorf("%v: right with left is not the whole", c)
		}
	}
}

// Registers compared eight at a time are those compared one at a time.
func TestDenseMergeTakesTheLargerRegister(t *testing.T) {
	for a := range uint64(64) {
		for b := range uint64(64) {
			x, y := a|b<<12|63<<24|a<<36, b|a<<12|0<<24|63<<36
			want := max(a, b)*(1+1<<12) | 63<<24 | 63<<36
			if got := laneMax(x, y); got != want {
				t.Fatalf("max of %d and %d: lanes %012x, want %012x", a, b, got, want)
			}
		}
	}
}

// A dense sketch grown from hashes has the registers that the definition gives.
func TestDenseRegistersByDefinition(t *testing.T) {
	var state []byte
	want := map[int]uint64{}
	for i := range 20_000 {
		v := Int64Value(int64(i))
		h := hashValue(&v)
		state = hllAdd(state, h)
		rank := uint64(1)
		for bit := 51; bit >= 0 && h>>bit&1 == 0; bit-- {
			rank++
		}
		want[int(h>>52)] = max(want[int(h>>52)], rank)
	}
	for r := range hllRegisters {
		bit := 6 * r
		word := uint64(state[1+bit/8])
		if bit/8+2 < len(state) {
			word |= uint64(state[2+bit/8]) << 8
		}
		if got := word >> (bit % 8) & 63; got != want[r] {
			t.Fatalf("register %d is %d, want %d", r, got, want[r])
		}
	}
}

// Of two hashes with the same prefix the larger rank stays, whichever came first.
func TestSparseEntriesKeepTheLargerRank(t *testing.T) {
	const prefix = 0xabcdc << 44
	low, high := uint64(prefix|1<<43), uint64(prefix|1<<10)
	want := hllAdd(nil, high)
	for how, got := range map[string][]byte{
		"low, then high":     hllAdd(hllAdd(nil, low), high),
		"high, then low":     hllAdd(hllAdd(nil, high), low),
		"low merges high":    hllMerge(hllAdd(nil, low), want),
		"high merges low":    hllMerge(hllAdd(nil, high), hllAdd(nil, low)),
		"high merges itself": hllMerge(hllAdd(nil, high), want),
	} {
		if string(got) != string(want) {
			t.Errorf("%s: %x, want %x", how, got, want)
		}
	}
	if string(want) == string(hllAdd(nil, low)) {
		t.Error("the ranks do not differ")
	}
}

func TestApproxDistinctOfNothingIsZero(t *testing.T) {
	checkResult(t, AggregatorSpec{Name: "approx_distinct", In: String}, nil, Int64Value(0))
	checkResult(t, AggregatorSpec{Name: "approx_distinct", In: Float64}, floats(0, math.Copysign(0, -1)), Int64Value(1))
	checkResult(t, AggregatorSpec{Name: "approx_distinct", In: String}, texts("", "a", strings.Repeat("a", 5000)), Int64Value(3))
}

// The hash is xxhash64 over the type byte and the content.
func TestHashIsOfTypedBytes(t *testing.T) {
	for _, c := range []struct {
		v    Value
		want string
	}{
		{StringValue("a"), "\x04a"},
		{StringValue(""), "\x04"},
		{BytesValue("a"), "\x05a"},
		{Int64Value(-2), "\x02\xfe\xff\xff\xff\xff\xff\xff\xff"},
		{BoolValue(true), "\x01\x01\x00\x00\x00\x00\x00\x00\x00"},
		{TimestampValue(1), "\x06\x01\x00\x00\x00\x00\x00\x00\x00"},
		{Float64Value(1), "\x03\x00\x00\x00\x00\x00\x00\xf0\x3f"},
		{StringValue(strings.Repeat("long", 100)), "\x04" + strings.Repeat("long", 100)},
	} {
		if got, want := hashValue(&c.v), xxhash.Sum64String(c.want); got != want {
			t.Errorf("%s: %x, want %x", c.v, got, want)
		}
	}
}

func TestApproxDistinctFormat(t *testing.T) {
	spec := AggregatorSpec{Name: "approx_distinct", In: String}
	checkGolden(t, []golden{
		{spec, texts(), ""},
		{spec, texts("a", "b", "c"), "01 437b43 770301 9663c1"},
		{AggregatorSpec{Name: "approx_distinct", In: Int64}, ints(1, 2), "01 7344 01 7bc742"},
		{AggregatorSpec{Name: "approx_distinct", In: Float64}, floats(math.Copysign(0, -1)), "01 727041"},
	})
	zeros := strings.Repeat("00", hllDenseBytes-1)
	checkRefused(t, spec, map[string]string{
		"03":                "not a distinct sketch",
		"01":                "ends inside",
		"01000041 00":       "ends inside",
		"01000001 000001":   "not in order",
		"01000040 000081":   "no hash has",
		"01000041 000030":   "not in order",
		"01000070":          "no hash has",
		"02" + zeros:        "wrong length",
		"02" + zeros + "fc": "no hash has",
	})
}

func BenchmarkApproxDistinct(b *testing.B) {
	for _, typ := range []Type{Int64, String} {
		benchmark(b, AggregatorSpec{Name: "approx_distinct", In: typ})
	}
}

// BenchmarkApproxDistinctDense reads 13 dense tiles, and adds new values to one.
func BenchmarkApproxDistinctDense(b *testing.B) {
	a := mustAggregator(b, AggregatorSpec{Name: "approx_distinct", In: Int64})
	var states [13][]byte
	for i := range states {
		for j := range 5000 {
			v := Int64Value(int64(i*5000 + j))
			states[i] = a.Add(states[i], &v, nil)
		}
	}
	b.Run("Add", func(b *testing.B) {
		b.ReportAllocs()
		s := append([]byte(nil), states[0]...)
		var v Value
		for i := range b.N {
			v = Int64Value(int64(i))
			s = a.Add(s, &v, nil)
		}
	})
	b.Run("Read13", func(b *testing.B) {
		b.ReportAllocs()
		dst := make([]byte, 0, hllMaxBytes)
		for range b.N {
			dst = dst[:0]
			for _, s := range states {
				dst = a.Merge(dst, s)
			}
			a.Result(dst)
		}
	})
}
