package feature_test

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/freshet-io/freshet/internal/feature"
)

// TestManyValuesAtOnceMakeTheSameSketch adds the same values one by one and many at once.
func TestManyValuesAtOnceMakeTheSameSketch(t *testing.T) {
	agg, _, err := feature.NewAggregator(feature.AggregatorSpec{Name: "approx_quantile", In: feature.Float64, Q: 0.5})
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.OneOf(
			rapid.Float64Range(-5, 5),
			rapid.Float64Range(-math.MaxFloat64, math.MaxFloat64),
			rapid.SampledFrom([]float64{0, math.Copysign(0, -1), 1, -1, math.SmallestNonzeroFloat64, math.MaxFloat64}),
			rapid.Custom(func(t *rapid.T) float64 { return math.Exp(rapid.Float64Range(-40, 40).Draw(t, "log")) }),
		)
		values := rapid.SliceOfN(value, 1, 700).Draw(t, "values")
		var one []byte
		for _, x := range values {
			v := feature.Float64Value(x)
			one = agg.Add(one, &v, nil)
		}
		var many []byte
		for len(values) > 0 {
			n := rapid.IntRange(1, len(values)).Draw(t, "batch")
			var keys []int32
			for _, x := range values[:n] {
				keys = append(keys, feature.QuantileKey(x))
			}
			slices.Sort(keys)
			many = feature.AddQuantileKeys(many, slices.Min(values[:n]), slices.Max(values[:n]), keys)
			values = values[n:]
		}
		if err := agg.Validate(many); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(one, many) {
			t.Fatalf("one by one %x, at once %x", one, many)
		}
	})
}
