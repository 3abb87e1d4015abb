package feature

import (
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// A sample is an event as an aggregation sees it.
type sample struct {
	at Order
	v  Value
}

// A proof is what the tests need to know of one aggregation.
type proof struct {
	specs []AggregatorSpec
	// naive computes the result from samples in Order with plain loops.
	naive func(spec AggregatorSpec, in []sample) Value
	// same reports how a result differs from the naive one by more than the aggregation states; nil: they are Equal.
	same func(spec AggregatorSpec, in []sample, got, want Value) error
	// canonical: a state's bytes depend on the samples alone, not on their order or split.
	canonical bool
}

// proofs has an entry for each line of the table.
var proofs = map[string]proof{
	"count":           countProof,
	"sum":             sumProof,
	"mean":            meanProof,
	"min":             minProof,
	"max":             maxProof,
	"variance":        varianceProof,
	"stddev":          stddevProof,
	"first":           firstProof,
	"last":            lastProof,
	"last_n":          lastNProof,
	"approx_distinct": approxDistinctProof,
	"approx_quantile": approxQuantileProof,
	"top_k":           topKProof,
}

// specsOf returns spec for each of the types.
func specsOf(spec AggregatorSpec, types ...Type) []AggregatorSpec {
	var specs []AggregatorSpec
	for _, t := range types {
		spec.In = t
		specs = append(specs, spec)
	}
	return specs
}

func mustAggregator(t testing.TB, spec AggregatorSpec) Aggregator {
	t.Helper()
	a, _, err := NewAggregator(spec)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// emptyState returns a state without values.
func emptyState(a Aggregator) []byte {
	if a.Width() == 0 {
		return nil
	}
	return make([]byte, a.Width())
}

func stateOf(a Aggregator, in []sample) []byte {
	s := emptyState(a)
	for i := range in {
		s = a.Add(s, &in[i].v, &in[i].at)
	}
	return s
}

// samplesOf gives values orders one microsecond apart.
func samplesOf(vs ...Value) []sample {
	in := make([]sample, len(vs))
	for i, v := range vs {
		in[i] = sample{Order{Time: int64(i), Ordinal: 1, Offset: int64(i)}, v}
	}
	return in
}

func floats(fs ...float64) []sample {
	vs := make([]Value, len(fs))
	for i, f := range fs {
		vs[i] = Float64Value(f)
	}
	return samplesOf(vs...)
}

func ints(is ...int64) []sample {
	vs := make([]Value, len(is))
	for i, x := range is {
		vs[i] = Int64Value(x)
	}
	return samplesOf(vs...)
}

func texts(ss ...string) []sample {
	vs := make([]Value, len(ss))
	for i, s := range ss {
		vs[i] = StringValue(s)
	}
	return samplesOf(vs...)
}

func genInt() *rapid.Generator[int64] {
	return rapid.OneOf(rapid.Int64Range(-5, 5), rapid.Int64Range(-1e6, 1e6), rapid.Int64(),
		rapid.SampledFrom([]int64{math.MinInt64, math.MaxInt64, 0}))
}

func genFloat() *rapid.Generator[float64] {
	return rapid.OneOf(
		rapid.Map(rapid.Int64Range(-8, 8), func(i int64) float64 { return float64(i) / 4 }),
		rapid.Float64Range(-1e9, 1e9),
		rapid.Float64Range(-math.MaxFloat64, math.MaxFloat64),
		rapid.SampledFrom([]float64{math.MaxFloat64, -math.MaxFloat64, math.SmallestNonzeroFloat64, math.Copysign(0, -1), 0, 1e17}))
}

func genValue(t Type) *rapid.Generator[Value] {
	switch t {
	case Bool:
		return rapid.Map(rapid.Bool(), BoolValue)
	case Int64:
		return rapid.Map(genInt(), Int64Value)
	case Timestamp:
		return rapid.Map(genInt(), TimestampValue)
	case Float64:
		return rapid.Map(genFloat(), Float64Value)
	case Bytes:
		return rapid.Map(rapid.StringN(0, 8, MaxValueBytes), BytesValue)
	}
	return rapid.Map(rapid.OneOf(rapid.SampledFrom([]string{"", "a", "b", "ab", strings.Repeat("x", MaxValueBytes)}),
		rapid.StringN(0, 8, MaxValueBytes)), StringValue)
}

// genSamples draws samples in Order, with equal times among them.
func genSamples(t Type) *rapid.Generator[[]sample] {
	return rapid.Custom(func(rt *rapid.T) []sample {
		vs := rapid.SliceOfN(genValue(t), 0, 100).Draw(rt, "values")
		in := make([]sample, len(vs))
		now := rapid.Int64Range(-1e15, 1e15).Draw(rt, "start")
		for i, v := range vs {
			now += rapid.Int64Range(0, 2).Draw(rt, "step")
			in[i] = sample{Order{Time: now, Ordinal: 1, Partition: 3, Offset: int64(i)}, v}
		}
		return in
	})
}

// forEachSpec runs a property test for each aggregation and input type.
func forEachSpec(t *testing.T, check func(rt *rapid.T, p proof, spec AggregatorSpec, a Aggregator, in []sample)) {
	for _, name := range Aggregations() {
		p := proofs[name]
		for _, spec := range p.specs {
			t.Run(fmt.Sprintf("%s/%s", name, spec.In), func(t *testing.T) {
				a := mustAggregator(t, spec)
				rapid.Check(t, func(rt *rapid.T) {
					check(rt, p, spec, a, genSamples(spec.In).Draw(rt, "samples"))
				})
			})
		}
	}
}

// mustBe fails unless state is valid, within its bound, and reads as the naive result of the samples.
func mustBe(rt *rapid.T, p proof, spec AggregatorSpec, a Aggregator, in []sample, state []byte, what string) {
	rt.Helper()
	if err := a.Validate(state); err != nil {
		rt.Fatalf("%s: own state %x refused: %v", what, state, err)
	}
	if len(state) > MaxStateBytes(spec) || a.Width() != 0 && len(state) != a.Width() {
		rt.Fatalf("%s: state of %d bytes; width %d, at most %d", what, len(state), a.Width(), MaxStateBytes(spec))
	}
	_, out, _ := NewAggregator(spec)
	got, want := a.Result(state), p.naive(spec, in)
	if !got.IsNull() && got.Type() != out {
		rt.Fatalf("%s: result of type %s, declared %s", what, got.Type(), out)
	}
	if !got.IsNull() && OutOfRange(a, state) {
		rt.Fatalf("%s: %s is out of range", what, got)
	}
	if p.same == nil {
		if !got.Equal(&want) {
			rt.Fatalf("%s: got %s, want %s", what, got, want)
		}
		return
	}
	if err := p.same(spec, in, got, want); err != nil {
		rt.Fatalf("%s: got %s, want %s: %v", what, got, want, err)
	}
}

// randomValue returns a value as events have them: numbers around a thousand, few strings.
func randomValue(r *rand.Rand, t Type) Value {
	switch t {
	case Bool:
		return BoolValue(r.IntN(2) == 1)
	case Int64, Timestamp:
		return ScalarValue(t, uint64(r.IntN(2000)))
	case Float64:
		return Float64Value(math.Exp(r.NormFloat64()) * 100)
	case Null:
		return Value{}
	}
	return Value{typ: t, str: fmt.Sprintf("value-%d", r.IntN(50))}
}

// golden is a state's format by example.
type golden struct {
	spec AggregatorSpec
	in   []sample
	want string // hex, spaces between parts
}

func checkGolden(t *testing.T, cases []golden) {
	t.Helper()
	for _, c := range cases {
		a := mustAggregator(t, c.spec)
		state := stateOf(a, c.in)
		if got, want := hex.EncodeToString(state), strings.ReplaceAll(c.want, " ", ""); got != want {
			t.Errorf("%s of %s over %v: state\n %s, want\n %s", c.spec.Name, c.spec.In, c.in, got, want)
		}
		if err := a.Validate(state); err != nil {
			t.Errorf("%s of %s: %v", c.spec.Name, c.spec.In, err)
		}
	}
}

// checkRefused checks that bytes, in hex, are refused with an error that contains the other string.
func checkRefused(t *testing.T, spec AggregatorSpec, cases map[string]string) {
	t.Helper()
	a := mustAggregator(t, spec)
	for state, want := range cases {
		b, err := hex.DecodeString(strings.ReplaceAll(state, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Validate(b); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s of %s: state %s: got error %v, want %s", spec.Name, spec.In, state, err, want)
		}
	}
}

// checkResult checks the result over samples in every rotation of their arrival.
func checkResult(t *testing.T, spec AggregatorSpec, in []sample, want Value) {
	t.Helper()
	a := mustAggregator(t, spec)
	for i := range max(len(in), 1) {
		arrival := append(slices.Clone(in[i:]), in[:i]...)
		if got := a.Result(stateOf(a, arrival)); !got.Equal(&want) {
			t.Errorf("%s of %s over %v: got %s, want %s", spec.Name, spec.In, arrival, got, want)
		}
	}
}

// benchmark measures Add into one state, a read over 60 tiles (13 for a sketch), and Result.
func benchmark(b *testing.B, spec AggregatorSpec) {
	r := rand.New(rand.NewPCG(1, 2))
	in := make([]sample, 4096)
	for i := range in {
		in[i] = sample{Order{Time: int64(i), Ordinal: 1, Offset: int64(i)}, randomValue(r, spec.In)}
	}
	a := mustAggregator(b, spec)
	b.Run(fmt.Sprintf("Add/%s", spec.In), func(b *testing.B) {
		b.ReportAllocs()
		state := emptyState(a)
		for i := range b.N {
			s := &in[i%len(in)]
			state = a.Add(state, &s.v, &s.at)
		}
	})
	tiles := 60
	if IsSketch(spec.Name) {
		tiles = 13
	}
	states := make([][]byte, tiles)
	var packed []byte
	for i := range states {
		states[i] = stateOf(a, in[i*64:(i+1)*64])
		packed = append(packed, states[i]...)
	}
	b.Run(fmt.Sprintf("Read%d/%s", tiles, spec.In), func(b *testing.B) {
		b.ReportAllocs()
		dst := emptyState(a)
		for range b.N {
			if a.Width() != 0 {
				clear(dst)
				a.Fold(dst, packed, a.Width(), tiles)
				continue
			}
			dst = dst[:0]
			for _, s := range states {
				dst = a.Merge(dst, s)
			}
		}
	})
	b.Run(fmt.Sprintf("Result/%s", spec.In), func(b *testing.B) {
		b.ReportAllocs()
		state := stateOf(a, in)
		for range b.N {
			a.Result(state)
		}
	})
}
