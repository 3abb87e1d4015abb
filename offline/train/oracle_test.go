package train_test

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/offlinetest"
	"github.com/freshet-io/freshet/offline/train"
)

const oraclePlane = `
project: oracle
connections: {kafka: {brokers: ["127.0.0.1:1"]}, redis: {url: "redis://127.0.0.1:1"}}
entities:
  - {name: user, join_keys: [{name: user, type: string}]}
  - {name: shop, join_keys: [{name: shop, type: int64}]}
sources:
  - name: orders
    topic: orders
    format: json
    key: [user]
    event_time: {field: at, format: unix_us}
    schema:
      - {name: user, type: string, required: true}
      - {name: shop, type: int64}
      - {name: amount, type: float64}
      - {name: at, type: int64, required: true}
feature_views:
  - name: user_orders
    entity: user
    source: orders
    ttl: 3m
    features:
      - {name: count_1m, aggregate: count, window: 1m}
      - {name: count_7m, aggregate: count, of: amount, window: 7m}
      - {name: sum_7m, aggregate: sum, of: amount, window: 7m}
      - {name: min_7m, aggregate: min, of: amount, window: 7m}
      - {name: max_7m, aggregate: max, of: amount, window: 7m}
      - {name: mean_7m, aggregate: mean, of: amount, window: 7m}
      - {name: first_7m, aggregate: first, of: amount, window: 7m}
      - {name: last_7m, aggregate: last, of: amount, window: 7m}
      - {name: count_ever, aggregate: count}
      - {name: last_amount, of: amount}
  - name: shop_orders
    entity: shop
    source: orders
    features:
      - {name: shop_count_7m, aggregate: count, window: 7m}
feature_services:
  - name: model
    features: [user_orders, shop_orders]
    request: [{name: limit, type: float64}]
    derived: [{name: above, expr: user_orders.last_amount - request.limit}]
`

const second = feature.Second

// inWindow is the window rule, written down once more.
func inWindow(at, t int64, window time.Duration) bool {
	w := window.Microseconds()
	hop := ((w/60 + second - 1) / second) * second
	start := (t - w) / hop * hop
	return start <= at && at <= t
}

// oracle computes a user's features from raw rows.
func oracle(rows []offlinetest.Row, t int64) map[string]feature.Value {
	rows = slices.DeleteFunc(slices.Clone(rows), func(r offlinetest.Row) bool { return r.Time > t })
	slices.SortFunc(rows, func(a, b offlinetest.Row) int {
		x, y := a.Order(), b.Order()
		return x.Compare(&y)
	})
	out := map[string]feature.Value{}
	if len(rows) == 0 {
		return out
	}
	if last := rows[len(rows)-1]; t-last.Time > (3 * time.Minute).Microseconds() {
		return out
	}
	var n1, n7 int64
	var amounts []float64
	for _, r := range rows {
		if inWindow(r.Time, t, time.Minute) {
			n1++
		}
		if a := &r.Values[2]; inWindow(r.Time, t, 7*time.Minute) && !a.IsNull() && a.Finite() {
			n7++
			amounts = append(amounts, a.Float64())
		}
	}
	out["count_1m"], out["count_7m"] = feature.Int64Value(n1), feature.Int64Value(n7)
	out["count_ever"] = feature.Int64Value(int64(len(rows)))
	out["last_amount"] = rows[len(rows)-1].Values[2]
	if n7 > 0 {
		sum := 0.0
		for _, a := range amounts {
			sum += a
		}
		out["sum_7m"], out["mean_7m"] = feature.Float64Value(sum), feature.Float64Value(sum/float64(n7))
		out["min_7m"], out["max_7m"] = feature.Float64Value(slices.Min(amounts)), feature.Float64Value(slices.Max(amounts))
		out["first_7m"], out["last_7m"] = feature.Float64Value(amounts[0]), feature.Float64Value(amounts[n7-1])
	}
	return out
}

// drawRows draws events of few users and shops, many of them at the same times.
func drawRows(t *rapid.T) []offlinetest.Row {
	var rows []offlinetest.Row
	for i := range rapid.IntRange(0, 150).Draw(t, "events") {
		at := 1_000_000*second + int64(rapid.IntRange(0, 1500).Draw(t, "at"))*second/2
		m := offline.Meta{Time: at, Arrived: at, Ordinal: 1, Topic: "orders", Partition: int32(i % 3), Offset: int64(i)}
		amount := feature.Float64Value(float64(rapid.IntRange(-8, 8).Draw(t, "amount")) / 4) // whose sums are exact
		switch rapid.IntRange(0, 9).Draw(t, "odd") {
		case 0:
			amount = feature.Value{}
		case 1:
			amount = feature.Float64Value(math.NaN())
		case 2:
			amount = feature.Float64Value(math.Inf(-1))
		}
		shop := feature.Int64Value(int64(rapid.IntRange(0, 2).Draw(t, "shop")))
		if rapid.IntRange(0, 9).Draw(t, "no shop") == 0 {
			shop = feature.Value{}
		}
		user := feature.StringValue(string(rune('a' + rapid.IntRange(0, 3).Draw(t, "user"))))
		rows = append(rows, offlinetest.Row{Meta: m, Values: []feature.Value{user, shop, amount, feature.Int64Value(at)}})
	}
	return rows
}

// TestOracle: every row of a training set is what loops over the raw events give, in the spine's order, duplicates and all.
func TestOracle(t *testing.T) {
	plane := parsePlane(t, oraclePlane)
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		rows := drawRows(t)
		spine := &rowsSpine{cols: []train.SpineColumn{
			{Name: "note", Type: feature.String},
			{Name: "shop", Type: feature.Int64},
			{Name: "event_timestamp", Type: feature.Timestamp},
			{Name: "user", Type: feature.String},
			{Name: "limit", Type: feature.Float64},
		}}
		for i := range rapid.IntRange(1, 60).Draw(t, "spine") {
			at := 1_000_000*second + int64(rapid.IntRange(-10, 2000).Draw(t, "as of"))*second/2
			if len(rows) > 0 && i%4 == 0 {
				at = rows[i%len(rows)].Time // the very moment
			}
			row := []feature.Value{
				feature.StringValue(fmt.Sprint("row ", i)), feature.Int64Value(int64(i % 4)), feature.TimestampValue(at),
				feature.StringValue(string(rune('a' + rapid.IntRange(0, 4).Draw(t, "of")))), feature.Float64Value(float64(i)),
			}
			spine.rows = append(spine.rows, row)
			if i%5 == 0 {
				spine.rows = append(spine.rows, row)
			}
		}
		out := build(t, train.Options{
			Plane: plane, Service: "model", Spine: spine, Store: &offlinetest.Memory{Rows: rows, Twice: 5, BatchRows: 9}, Dir: dir,
			Memory: rapid.SampledFrom([]int64{1, 1 << 22}).Draw(t, "memory"),
		})
		checkAgainstOracle(t, plane, rows, spine, out)
	})
}

func checkAgainstOracle(t *rapid.T, plane *config.Plane, rows []offlinetest.Row, spine *rowsSpine, out *rowsOutput) {
	if len(out.values) != len(spine.rows) || out.manifest.Rows != uint64(len(spine.rows)) {
		t.Fatalf("%d rows of %d", len(out.values), len(spine.rows))
	}
	shops, above := out.column(t, "shop_count_7m"), out.column(t, "above")
	columns := map[string][]feature.Value{}
	for _, f := range plane.Views[0].Features {
		columns[f.Name] = out.column(t, f.Name)
	}
	for i, row := range spine.rows {
		for c := range row {
			if !out.spine[i][c].Equal(&row[c]) {
				t.Fatalf("row %d: column %d is %s, was %s", i, c, out.spine[i][c], row[c])
			}
		}
		at, user := row[2].Int64(), row[3].Str()
		mine := slices.DeleteFunc(slices.Clone(rows), func(r offlinetest.Row) bool { return r.Values[0].Str() != user })
		want := oracle(mine, at)
		for name, values := range columns {
			if w := want[name]; !values[i].Equal(&w) {
				t.Fatalf("row %d, %s at %d: %s is %s, want %s", i, user, at, name, values[i], w)
			}
		}
		var n int64
		seen := false
		for _, r := range rows {
			if r.Values[1].Equal(&row[1]) && inWindow(r.Time, at, 7*time.Minute) {
				n++
				seen = true
			}
		}
		if w := feature.Int64Value(n); seen && !shops[i].Equal(&w) || !seen && !shops[i].IsNull() {
			t.Fatalf("row %d: shop_count_7m is %s, want %d", i, shops[i], n)
		}
		amount := want["last_amount"]
		if w := feature.Float64Value(amount.Float64() - row[4].Float64()); amount.IsNull() != above[i].IsNull() ||
			!amount.IsNull() && !above[i].Equal(&w) && !math.IsNaN(w.Float64()) {
			t.Fatalf("row %d: above is %s, last_amount %s, limit %s", i, above[i], amount, row[4])
		}
	}
}

// TestNoLeakage: a feature that holds the time of its own event is never later than the row, and equal to it exactly where
// an event happens at that very moment.
func TestNoLeakage(t *testing.T) {
	const text = `
project: leak
connections: {kafka: {brokers: ["127.0.0.1:1"]}, redis: {url: "redis://127.0.0.1:1"}}
entities:
  - {name: user, join_keys: [{name: user, type: string}]}
sources:
  - name: future
    topic: future
    format: json
    key: [user]
    event_time: {field: at, format: unix_us}
    schema: [{name: user, type: string, required: true}, {name: at, type: int64, required: true}]
feature_views:
  - name: future
    entity: user
    source: future
    features:
      - {name: latest, of: at}
      - {name: max_5m, aggregate: max, of: at, window: 5m}
      - {name: max_ever, aggregate: max, of: at}
      - {name: last_3, aggregate: last_n, n: 3, of: at}
feature_services: [{name: leak, features: [future]}]
`
	plane := parsePlane(t, text)
	rapid.Check(t, func(t *rapid.T) {
		store := &offlinetest.Memory{}
		var times []int64
		for i := range rapid.IntRange(1, 80).Draw(t, "events") {
			at := rapid.Int64Range(0, 1000).Draw(t, "at") * 500_000
			times = append(times, at)
			store.Add(offline.Meta{Time: at, Arrived: 0, Ordinal: 1, Topic: "future", Offset: int64(i)}, feature.StringValue("u"), feature.Int64Value(at))
		}
		spine := &rowsSpine{cols: []train.SpineColumn{{Name: "user", Type: feature.String}, {Name: "timestamp", Type: feature.Timestamp}}}
		for range rapid.IntRange(1, 50).Draw(t, "rows") {
			at := rapid.Int64Range(0, 1000).Draw(t, "as of") * 500_000
			at += rapid.Int64Range(-1, 1).Draw(t, "a microsecond")
			spine.rows = append(spine.rows, []feature.Value{feature.StringValue("u"), feature.TimestampValue(at)})
		}
		out := build(t, train.Options{Plane: plane, Service: "leak", Spine: spine, Store: store})
		for i, row := range spine.rows {
			at, latest := row[1].Int64(), int64(math.MinInt64)
			for _, e := range times {
				if e <= at {
					latest = max(latest, e)
				}
			}
			for f, v := range out.values[i] {
				if v.Type().IsList() {
					if list := v.List(); len(list) > 0 {
						v = slices.MaxFunc(list, func(a, b feature.Value) int { return a.Compare(&b) })
					}
				}
				if v.IsNull() != (latest == math.MinInt64) && out.features[f].Name != "max_5m" || !v.IsNull() && v.Int64() != latest {
					t.Fatalf("%s at %d: %s, the latest event is at %d", out.features[f].Name, at, v, latest)
				}
			}
		}
	})
}
