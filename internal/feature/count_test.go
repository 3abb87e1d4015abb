package feature

import "testing"

var countProof = proof{
	specs:     specsOf(AggregatorSpec{Name: "count"}, append([]Type{Null, ListOf(String)}, scalars...)...),
	naive:     func(_ AggregatorSpec, in []sample) Value { return Int64Value(int64(len(in))) },
	canonical: true,
}

func TestCountOfEvents(t *testing.T) {
	a := mustAggregator(t, AggregatorSpec{Name: "count"})
	state := make([]byte, a.Width())
	for i := range 3 {
		state = a.Add(state, nil, &Order{Time: int64(i)})
	}
	want := Int64Value(3)
	if got := a.Result(state); !got.Equal(&want) {
		t.Errorf("got %s, want 3", got)
	}
}

func TestCountOfNothingIsZero(t *testing.T) {
	checkResult(t, AggregatorSpec{Name: "count", In: Int64}, nil, Int64Value(0))
}

func TestCountFormat(t *testing.T) {
	spec := AggregatorSpec{Name: "count", In: Int64}
	checkGolden(t, []golden{{spec, ints(), "0000000000000000"}, {spec, ints(7, 7, 7), "0300000000000000"}})
	checkRefused(t, spec, map[string]string{
		"":                 "wrong length",
		"000000000000":     "wrong length",
		"0000000000000080": "count of -9223372036854775808",
	})
}

func BenchmarkCount(b *testing.B) { benchmark(b, AggregatorSpec{Name: "count", In: Int64}) }
