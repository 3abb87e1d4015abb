package feature

import (
	"strings"
	"testing"
)

var lastNProof = proof{
	specs: append(specsOf(AggregatorSpec{Name: "last_n", N: 3}, scalars...),
		AggregatorSpec{Name: "last_n", N: MaxLastN, In: String}),
	naive: func(spec AggregatorSpec, in []sample) Value {
		if len(in) == 0 {
			return Value{}
		}
		var vs []Value
		for _, s := range in[max(0, len(in)-spec.N):] {
			vs = append(vs, s.v)
		}
		return ListValue(spec.In, vs)
	},
	canonical: true,
}

func TestLastNIsOldestFirst(t *testing.T) {
	spec := AggregatorSpec{Name: "last_n", In: String, N: 2}
	checkResult(t, spec, nil, Value{})
	checkResult(t, spec, texts("a"), ListValue(String, []Value{StringValue("a")}))
	checkResult(t, spec, texts("a", "b", "c", "b"), ListValue(String, []Value{StringValue("c"), StringValue("b")}))
}

func TestLastNFormat(t *testing.T) {
	const (
		first  = "8000000000000000 01 80000000 8000000000000000"
		second = "8000000000000001 01 80000000 8000000000000001"
		third  = "8000000000000002 01 80000000 8000000000000002"
	)
	spec := AggregatorSpec{Name: "last_n", In: String, N: 2}
	checkGolden(t, []golden{
		{spec, texts(), ""},
		{spec, texts("ab", "", "c"), second + "00" + third + "0163"},
		{AggregatorSpec{Name: "last_n", In: Int64, N: 1}, ints(4, 5), second + "0500000000000000"},
	})
	checkRefused(t, spec, map[string]string{
		first + "0161" + second + "0161" + third + "0161": "longer than its bound",
		first + "0161" + second:                           "ends inside",
		first + "0261":                                    "ends inside",
		second + "0161" + first + "0161":                  "not in order",
		first + "0161" + first + "0161":                   "not in order",
		first + "810061":                                  "shortest form",
		first + "8102" + strings.Repeat("61", 257):        "at most 256",
		"80": "ends inside",
	})
}

func BenchmarkLastN(b *testing.B) {
	for _, typ := range []Type{Int64, String} {
		benchmark(b, AggregatorSpec{Name: "last_n", In: typ, N: 10})
	}
}
