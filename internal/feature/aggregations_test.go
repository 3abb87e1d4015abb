package feature

import (
	"bytes"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestEveryAggregationHasAProof(t *testing.T) {
	for _, name := range Aggregations() {
		if len(proofs[name].specs) == 0 {
			t.Errorf("aggregate %s is not proved", name)
		}
	}
}

func TestArrivalOrderDoesNotMatter(t *testing.T) {
	forEachSpec(t, func(rt *rapid.T, p proof, spec AggregatorSpec, a Aggregator, in []sample) {
		sorted := stateOf(a, in)
		mustBe(rt, p, spec, a, in, sorted, "in order")
		shuffled := stateOf(a, rapid.Permutation(in).Draw(rt, "arrival"))
		mustBe(rt, p, spec, a, in, shuffled, "as arrived")
		if p.canonical && !bytes.Equal(sorted, shuffled) {
			rt.Fatalf("states differ: %x, %x", sorted, shuffled)
		}
	})
}

// Any split of the events, merged in any order and grouping, is the state of all.
func TestSplitsMergeToTheWhole(t *testing.T) {
	forEachSpec(t, func(rt *rapid.T, p proof, spec AggregatorSpec, a Aggregator, in []sample) {
		parts := make([][]sample, rapid.IntRange(1, 8).Draw(rt, "parts"))
		for _, s := range in {
			i := rapid.IntRange(0, len(parts)-1).Draw(rt, "part")
			parts[i] = append(parts[i], s)
		}
		var states [][]byte
		for _, part := range parts {
			states = append(states, stateOf(a, part))
		}
		for len(states) > 1 {
			i := rapid.IntRange(0, len(states)-1).Draw(rt, "dst")
			dst := states[i]
			states = slices.Delete(states, i, i+1)
			j := rapid.IntRange(0, len(states)-1).Draw(rt, "src")
			src := slices.Clone(states[j])
			merged := a.Merge(dst, states[j])
			if !bytes.Equal(src, states[j]) {
				rt.Fatalf("merge changed its source %x to %x", src, states[j])
			}
			states[j] = merged
		}
		mustBe(rt, p, spec, a, in, states[0], "merged")
		if whole := stateOf(a, in); p.canonical && !bytes.Equal(states[0], whole) {
			rt.Fatalf("merged %x, whole %x", states[0], whole)
		}
	})
}

// Fold over strided tiles is the loop of Merge, and leaves everything but dst alone.
func TestFoldIsTheLoopOfMerge(t *testing.T) {
	forEachSpec(t, func(rt *rapid.T, p proof, spec AggregatorSpec, a Aggregator, in []sample) {
		width := a.Width()
		if width == 0 {
			defer func() {
				if recover() == nil {
					rt.Fatal("Fold of a varying size did not panic")
				}
			}()
			a.Fold(nil, nil, 0, 0)
		}
		n := rapid.IntRange(0, 6).Draw(rt, "tiles")
		stride := width + rapid.IntRange(0, 9).Draw(rt, "gap")
		packed := bytes.Repeat([]byte{0xaa}, n*stride)
		cuts := []int{0}
		for range n {
			cuts = append(cuts, rapid.IntRange(cuts[len(cuts)-1], len(in)).Draw(rt, "cut"))
		}
		cuts = append(cuts, len(in))
		dst := stateOf(a, in[cuts[n]:])
		loop := slices.Clone(dst)
		for i := range n {
			tile := stateOf(a, in[cuts[i]:cuts[i+1]])
			copy(packed[i*stride:], tile)
			loop = a.Merge(loop, tile)
		}
		before := slices.Clone(packed)
		a.Fold(dst, packed[:max(len(packed)-(stride-width), 0)], stride, n)
		mustBe(rt, p, spec, a, in, dst, "folded")
		mustBe(rt, p, spec, a, in, loop, "looped")
		if p.canonical && !bytes.Equal(dst, loop) {
			rt.Fatalf("folded %x, looped %x", dst, loop)
		}
		if !bytes.Equal(before, packed) {
			rt.Fatal("Fold changed its tiles")
		}
	})
}

// The result and the state share no memory with what they came from.
func TestStatesAndResultsAreTheirOwn(t *testing.T) {
	for _, name := range []string{"first", "last", "last_n", "top_k", "approx_distinct"} {
		spec := proofs[name].specs[0]
		spec.In = String
		a := mustAggregator(t, spec)
		state := stateOf(a, texts("abc"))
		got := a.Result(state)
		want := got.Clone()
		clear(state)
		if !got.Equal(&want) {
			t.Errorf("%s: the result changed with its state: %s", name, got)
		}
	}
}

func TestAddDoesNotAllocate(t *testing.T) {
	for _, name := range Aggregations() {
		for _, spec := range proofs[name].specs {
			a := mustAggregator(t, spec)
			gen := rand.New(rand.NewPCG(1, 2))
			in := make([]sample, 64)
			for i := range in {
				in[i] = sample{Order{Time: int64(i), Ordinal: 1, Offset: int64(i)}, randomValue(gen, spec.In)}
			}
			state := stateOf(a, in)
			state = slices.Grow(state, MaxStateBytes(spec)+3*binaryMaxEntry)
			if n := testing.AllocsPerRun(20, func() {
				for i := range in {
					state = a.Add(state, &in[i].v, &in[i].at)
				}
			}); n != 0 {
				t.Errorf("%s of %s: %v allocations for 64 values", name, spec.In, n)
			}
		}
	}
}

// binaryMaxEntry is more than the longest entry of any state.
const binaryMaxEntry = 300

func TestSpecsAreRefusedByField(t *testing.T) {
	for _, c := range []struct {
		spec AggregatorSpec
		want string
	}{
		{AggregatorSpec{Name: "median"}, `unknown aggregate "median"; aggregates are approx_distinct, approx_quantile, count`},
		{AggregatorSpec{Name: "sum", In: String}, "aggregate sum needs `of` of type int64 or float64, not string"},
		{AggregatorSpec{Name: "sum"}, "aggregate sum needs `of`, of type int64 or float64"},
		{AggregatorSpec{Name: "min", In: Bool}, "aggregate min needs `of` of type int64, float64 or timestamp, not bool"},
		{AggregatorSpec{Name: "last", In: ListOf(Int64)}, "aggregate last needs `of` of type bool, int64, float64, string, bytes or timestamp, not list<int64>"},
		{AggregatorSpec{Name: "count", Q: 0.5}, "aggregate count takes no `q`"},
		{AggregatorSpec{Name: "mean", In: Int64, N: 1}, "aggregate mean takes no `n`"},
		{AggregatorSpec{Name: "last_n", In: Int64, N: 3, K: 1}, "aggregate last_n takes no `k`"},
		{AggregatorSpec{Name: "last_n", In: Int64}, "aggregate last_n needs `n` from 1 to 100, not 0"},
		{AggregatorSpec{Name: "last_n", In: Int64, N: 101}, "aggregate last_n needs `n` from 1 to 100, not 101"},
		{AggregatorSpec{Name: "top_k", In: String, K: -1}, "aggregate top_k needs `k` from 1 to 64, not -1"},
		{AggregatorSpec{Name: "top_k", In: Float64, K: 1}, "aggregate top_k needs `of` of type string, int64 or bool, not float64"},
		{AggregatorSpec{Name: "approx_quantile", In: Int64, Q: 1.5}, "aggregate approx_quantile needs `q` from 0 to 1, not 1.5"},
		{AggregatorSpec{Name: "approx_quantile", In: Int64, Q: math.NaN()}, "aggregate approx_quantile needs `q` from 0 to 1, not NaN"},
	} {
		_, _, err := NewAggregator(c.spec)
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%+v: got %v, want %s", c.spec, err, c.want)
		}
	}
}

func TestBoundsOfStatesAndInputs(t *testing.T) {
	for _, c := range []struct {
		spec         AggregatorSpec
		state, input int
	}{
		{AggregatorSpec{Name: "count"}, 8, 0},
		{AggregatorSpec{Name: "sum", In: Int64}, 16, 0},
		{AggregatorSpec{Name: "sum", In: Float64}, 16, 0},
		{AggregatorSpec{Name: "mean", In: Int64}, 24, 0},
		{AggregatorSpec{Name: "mean", In: Float64}, 24, 0},
		{AggregatorSpec{Name: "min", In: Int64}, 9, 0},
		{AggregatorSpec{Name: "max", In: Float64}, 8, 0},
		{AggregatorSpec{Name: "variance", In: Int64}, 24, 0},
		{AggregatorSpec{Name: "stddev", In: Float64}, 24, 0},
		{AggregatorSpec{Name: "last", In: Bool}, 22, 0},
		{AggregatorSpec{Name: "first", In: Timestamp}, 29, 0},
		{AggregatorSpec{Name: "last", In: String}, 277, 256},
		{AggregatorSpec{Name: "last_n", In: Int64, N: 10}, 290, 0},
		{AggregatorSpec{Name: "last_n", In: Bytes, N: 10}, 2790, 256},
		{AggregatorSpec{Name: "approx_distinct", In: String}, 3073, 0},
		{AggregatorSpec{Name: "approx_quantile", In: Float64, Q: 0.5}, 1280, 0},
		{AggregatorSpec{Name: "top_k", In: String, K: 5}, 4096, 256},
		{AggregatorSpec{Name: "top_k", In: Bool, K: 1}, 32, 0},
		{AggregatorSpec{Name: "sum", In: String}, 0, 0},
	} {
		if got := MaxStateBytes(c.spec); got != c.state {
			t.Errorf("%+v: state of %d bytes, want %d", c.spec, got, c.state)
		}
		if got := MaxInputBytes(c.spec); got != c.input {
			t.Errorf("%+v: input of %d bytes, want %d", c.spec, got, c.input)
		}
	}
}

// A value that is too long to keep counts as null.
func TestTooLongValuesAreSkipped(t *testing.T) {
	for _, name := range Aggregations() {
		for _, spec := range proofs[name].specs {
			longest := MaxInputBytes(spec)
			if longest == 0 {
				continue
			}
			a := mustAggregator(t, spec)
			fits := Value{typ: spec.In, str: strings.Repeat("é", longest/2)}
			tooLong := Value{typ: spec.In, str: fits.str + "x"}
			state := a.Add(nil, &tooLong, &Order{Time: 2, Offset: 2})
			if got := a.Result(state); !got.IsNull() {
				t.Errorf("%s of %s: %s after a value that is too long", name, spec.In, got)
			}
			if got := a.Result(a.Add(state, &fits, &Order{Time: 1, Offset: 1})); got.IsNull() {
				t.Errorf("%s of %s: null after a value that fits", name, spec.In)
			}
		}
	}
}

// FuzzStates holds every aggregation to its word: after Validate accepts bytes, nothing panics on them, and no state
// outgrows its bound.
func FuzzStates(f *testing.F) {
	var specs []AggregatorSpec
	for _, name := range Aggregations() {
		specs = append(specs, proofs[name].specs...)
	}
	r := rand.New(rand.NewPCG(3, 4))
	for i, spec := range specs {
		a := mustAggregator(f, spec)
		in := make([]sample, 5)
		for j := range in {
			in[j] = sample{Order{Time: int64(j), Ordinal: 1, Offset: int64(j)}, randomValue(r, spec.In)}
		}
		f.Add(uint8(i), stateOf(a, in), stateOf(a, in[:1]))
		f.Add(uint8(i), stateOf(a, in[2:]), emptyState(a))
	}
	f.Fuzz(func(t *testing.T, which uint8, x, y []byte) {
		spec := specs[int(which)%len(specs)]
		a := mustAggregator(t, spec)
		if a.Validate(x) != nil || a.Validate(y) != nil {
			return
		}
		v := randomValue(rand.New(rand.NewPCG(uint64(len(x)), 1)), spec.In)
		at := Order{Time: 3, Ordinal: 1, Offset: 2}
		_, out, _ := NewAggregator(spec)
		states := [][]byte{x, a.Merge(slices.Clone(x), y), a.Merge(slices.Clone(y), x), a.Add(slices.Clone(x), &v, &at)}
		if w := a.Width(); w != 0 {
			dst := slices.Clone(x)
			a.Fold(dst, append(slices.Clone(x), y...), w, 2)
			states = append(states, dst)
		}
		for _, s := range states {
			if got := a.Result(s); !got.IsNull() && (got.Type() != out || !got.Finite()) {
				t.Fatalf("result %s of type %s", got, got.Type())
			}
			OutOfRange(a, s)
			if len(s) > 16*MaxStateBytes(spec) {
				t.Fatalf("state of %d bytes", len(s))
			}
		}
	})
}
