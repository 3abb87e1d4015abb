package feature_test

import (
	"fmt"
	"time"

	"github.com/freshet-io/freshet/internal/feature"
)

// A view counts and sums an account's payments over an hour, and knows the latest merchant. Events change the entity's
// state; its head and tail go to the online store; a lookup reads them at its own time.
func ExampleLayout() {
	hour := time.Hour.Microseconds()
	layout, err := feature.NewLayout(feature.LayoutSpec{
		TTL: 24 * hour,
		Features: []feature.FeatureSpec{
			{Name: "payments_1h", Agg: feature.AggregatorSpec{Name: "count"}, Window: hour},
			{Name: "amount_1h", Agg: feature.AggregatorSpec{Name: "sum", In: feature.Float64}, Window: hour},
			{Name: "last_merchant", Type: feature.String},
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	start := time.Date(2026, 1, 2, 15, 0, 0, 0, time.UTC).UnixMicro()
	var account feature.Entity
	for i, merchant := range []string{"bakery", "cinema", "airline"} {
		amount, name := feature.Float64Value(12.5*float64(i+1)), feature.StringValue(merchant)
		at := feature.Order{Time: start + int64(i)*hour/2, Ordinal: 1, Offset: int64(i)}
		layout.Apply(&account, &at, []*feature.Value{&amount, &amount, &name}, at.Time)
	}

	v := feature.MakeVersion(1, 0, 2, 0)
	tail := layout.AppendTail(nil, &account, v)
	head := layout.AppendHead(nil, &account, v, v)

	var reader feature.Reader
	out := make([]feature.Value, 3)
	for _, after := range []int64{hour, 3 * hour / 2, 3 * hour, 26 * hour} {
		status, _, _, err := reader.Read(layout, head, tail, start+after, []int{0, 1, 2}, out)
		fmt.Println(time.Duration(after)*time.Microsecond, status, out, err)
	}
	// Output:
	// 1h0m0s PRESENT [3 75 "airline"] <nil>
	// 1h30m0s PRESENT [2 62.5 "airline"] <nil>
	// 3h0m0s PRESENT [0 null "airline"] <nil>
	// 26h0m0s OUTSIDE_MAX_AGE [null null null] <nil>
}
