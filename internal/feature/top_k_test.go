package feature

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

var topKProof = proof{
	specs: specsOf(AggregatorSpec{Name: "top_k", K: 3}, String, Int64, Bool),
	naive: func(spec AggregatorSpec, in []sample) Value {
		if len(in) == 0 {
			return Value{}
		}
		return ListValue(spec.In, naiveTop(in, spec.K))
	},
	same: func(spec AggregatorSpec, in []sample, got, want Value) error {
		if size := naiveSize(in); size > topKBytes || got.Equal(&want) {
			return nil // past the exact range; TestTopKBeyondItsBound looks there
		}
		return fmt.Errorf("within its bound top_k is exact")
	},
}

// naiveSize returns the bytes that the different values and their counts take in a state.
func naiveSize(in []sample) int {
	seen := map[string]int{}
	for _, s := range in {
		seen[s.v.String()] = len(appendScalar(nil, &s.v)) + 2
	}
	size := binary.MaxVarintLen64
	for _, n := range seen {
		size += n
	}
	return size
}

// naiveTop counts with a list, and sorts.
func naiveTop(in []sample, k int) []Value {
	type counted struct {
		v Value
		n int
	}
	var all []counted
next:
	for _, s := range in {
		for i := range all {
			if all[i].v.Equal(&s.v) {
				all[i].n++
				continue next
			}
		}
		all = append(all, counted{s.v, 1})
	}
	slices.SortFunc(all, func(x, y counted) int {
		if x.n != y.n {
			return y.n - x.n
		}
		return x.v.Compare(&y.v)
	})
	vs := []Value{}
	for _, c := range all[:min(k, len(all))] {
		vs = append(vs, c.v)
	}
	return vs
}

func TestTopKOrdersByCountThenValue(t *testing.T) {
	spec := AggregatorSpec{Name: "top_k", In: String, K: 3}
	checkResult(t, spec, nil, Value{})
	checkResult(t, spec, texts("b", "a", "c", "c", "d"), ListValue(String, []Value{StringValue("c"), StringValue("a"), StringValue("b")}))
	spec.In = Int64
	checkResult(t, spec, ints(5, -1, math.MinInt64), ListValue(Int64, []Value{Int64Value(math.MinInt64), Int64Value(-1), Int64Value(5)}))
	spec.In = Bool
	checkResult(t, spec, samplesOf(BoolValue(true), BoolValue(false)), ListValue(Bool, []Value{BoolValue(false), BoolValue(true)}))
}

// A tile with as many values as are stated is exact, and so is a window of such tiles with other values each.
func TestTopKIsExactUpToItsBound(t *testing.T) {
	a := mustAggregator(t, AggregatorSpec{Name: "top_k", In: String, K: 10})
	r := rand.New(rand.NewPCG(9, 10))
	var all []sample
	var window []byte
	for tile := range 13 {
		var in []sample
		for v := range topKValues {
			for range 1 + r.IntN(100) {
				in = append(in, texts(fmt.Sprintf("tile %02d value %06d", tile, v))...)
			}
		}
		r.Shuffle(len(in), func(i, j int) { in[i], in[j] = in[j], in[i] })
		window = a.Merge(window, stateOf(a, in))
		all = append(all, in...)
	}
	if err := a.Validate(window); err != nil {
		t.Error(err)
	}
	got, want := a.Result(window), ListValue(String, naiveTop(all, 10))
	if !got.Equal(&want) {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Beyond it, every count is within the stated error, which the state knows, and frequent values are present.
func TestTopKBeyondItsBound(t *testing.T) {
	for _, c := range []struct {
		name string
		m    int // values kept at a cut
		draw func(r *rand.Rand) Value
	}{
		{"zipf", topKValues / 2, func(r *rand.Rand) Value {
			return Int64Value(int64(math.Exp2(r.Float64() * 14)))
		}},
		{"uniform", topKValues / 2, func(r *rand.Rand) Value { return Int64Value(r.Int64N(10_000)) }},
		{"long strings", 7, func(r *rand.Rand) Value {
			return StringValue(strings.Repeat("x", MaxValueBytes-8) + fmt.Sprintf("%08d", int(math.Exp2(r.Float64()*10))))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(11, 12))
			in := make([]sample, 30_000)
			exact := map[string]uint64{}
			for i := range in {
				in[i].v = c.draw(r)
				exact[in[i].v.String()]++
			}
			a := mustAggregator(t, AggregatorSpec{Name: "top_k", In: in[0].v.Type(), K: 5}).(topK)
			states := map[string][]byte{"added": stateOf(a, in)}
			for i := 0; i < len(in); i += 3000 {
				states["merged"] = a.Merge(states["merged"], stateOf(a, in[i:i+3000]))
			}
			for what, state := range states {
				if err := a.Validate(state); err != nil {
					t.Fatal(err)
				}
				if what == "added" && len(state) > topKBytes {
					t.Errorf("%d bytes", len(state))
				}
				checkCounts(t, a, state, exact, uint64(len(in)/(c.m+1)))
			}
		})
	}
}

// checkCounts checks every count of a state against the exact ones.
func checkCounts(t *testing.T, a topK, state []byte, exact map[string]uint64, bound uint64) {
	t.Helper()
	tooSmall, i := uvarint(state)
	if tooSmall == 0 || tooSmall > bound {
		t.Errorf("counts may be too small by %d, stated are %d", tooSmall, bound)
	}
	present := map[string]bool{}
	for i < len(state) {
		e, w := a.entry(state[i:])
		i += w
		v := scalarAt(a.typ, e.value).String()
		present[v] = true
		if n := exact[v]; e.count > n || e.count+tooSmall < n {
			t.Errorf("%s counted %d, is %d, error at most %d", v, e.count, n, tooSmall)
		}
	}
	for v, n := range exact {
		if n > tooSmall && !present[v] {
			t.Errorf("%s with %d is absent; error at most %d", v, n, tooSmall)
		}
	}
}

func TestTopKFormat(t *testing.T) {
	spec := AggregatorSpec{Name: "top_k", In: String, K: 2}
	checkGolden(t, []golden{
		{spec, texts(), ""},
		{spec, texts("b", "a", "b"), "00 016101 016202"},
		{AggregatorSpec{Name: "top_k", In: Int64, K: 2}, ints(1, -1), "00 ffffffffffffffff01 010000000000000001"},
		{AggregatorSpec{Name: "top_k", In: Bool, K: 2}, samplesOf(BoolValue(true)), "00 0101"},
	})
	checkRefused(t, spec, map[string]string{
		"80":               "ends inside",
		"8000":             "shortest form",
		"00 0161":          "ends inside",
		"00 026101":        "ends inside",
		"00 01618000":      "shortest form",
		"00 016201 016101": "not in order",
		"00 016101 016101": "not in order",
		"00 0161" + strings.Repeat("ff", 8) + "7f": "counts too many",
		strings.Repeat("00", topKMergedBytes+1):    "longer than its bound",
	})
}

func BenchmarkTopK(b *testing.B) {
	for _, typ := range []Type{Int64, String} {
		benchmark(b, AggregatorSpec{Name: "top_k", In: typ, K: 5})
	}
}
