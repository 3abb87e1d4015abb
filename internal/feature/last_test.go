package feature

import (
	"strings"
	"testing"
)

var lastProof = proof{
	specs: specsOf(AggregatorSpec{Name: "last"}, scalars...),
	naive: func(_ AggregatorSpec, in []sample) Value {
		if len(in) == 0 {
			return Value{}
		}
		return in[len(in)-1].v
	},
	canonical: true,
}

// Every part of an Order decides, in turn; the samples are in Order.
func TestLastGoesByOrder(t *testing.T) {
	orders := []Order{
		{Time: -5, Ordinal: 9, Partition: 9, Offset: 9},
		{Time: 5, Ordinal: 0, Partition: 9, Offset: 9},
		{Time: 5, Ordinal: 1, Partition: 0, Offset: 9},
		{Time: 5, Ordinal: 1, Partition: 1, Offset: 0},
		{Time: 5, Ordinal: 1, Partition: 1, Offset: 300},
	}
	for _, typ := range []Type{Int64, String} {
		for i := range orders[1:] {
			in := ints(1, 2)
			if typ == String {
				in = texts("1", "2")
			}
			in[0].at, in[1].at = orders[i], orders[i+1]
			checkResult(t, AggregatorSpec{Name: "last", In: typ}, in, in[len(in)-1].v)
		}
	}
}

func TestLastKeepsZeroValues(t *testing.T) {
	for _, v := range []Value{Int64Value(0), Float64Value(0), BoolValue(false), StringValue(""), BytesValue(""), TimestampValue(0)} {
		checkResult(t, AggregatorSpec{Name: "last", In: v.Type()}, samplesOf(v), v)
		checkResult(t, AggregatorSpec{Name: "last", In: v.Type()}, nil, Value{})
	}
}

func TestLastFormat(t *testing.T) {
	const order = "8000000000000001 01 80000000 8000000000000001"
	spec := AggregatorSpec{Name: "last", In: Int64}
	checkGolden(t, []golden{
		{spec, ints(), strings.Repeat("00", 29)},
		{spec, ints(5, 7), order + "0700000000000000"},
	})
	checkRefused(t, spec, map[string]string{
		"":                                "wrong length",
		strings.Repeat("00", 28) + "01":   "not all zero",
		order + "0500000000000000" + "00": "wrong length",
	})
	spec.In = Bool
	checkGolden(t, []golden{{spec, samplesOf(BoolValue(true), BoolValue(false)), order + "00"}})
	checkRefused(t, spec, map[string]string{order + "02": "bool of 2"})
	spec.In = Float64
	checkRefused(t, spec, map[string]string{order + "000000000000f07f": "not finite"})
	spec.In = String
	checkGolden(t, []golden{{spec, texts(), ""}, {spec, texts("ab", "c"), order + "63"}})
	checkRefused(t, spec, map[string]string{
		"80":                              "ends inside",
		order + strings.Repeat("61", 257): "longer than its bound",
		strings.Repeat("00", 21) + "61":   "no order",
	})
}

func BenchmarkLast(b *testing.B) {
	for _, typ := range []Type{Int64, String} {
		benchmark(b, AggregatorSpec{Name: "last", In: typ})
	}
}
