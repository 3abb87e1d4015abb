package served_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/valueskew"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/offlinetest"
	"github.com/freshet-io/freshet/offline/served"
)

const planeText = `
project: shop
connections: {parquet: {url: "file:///nowhere"}}
entities:
  - {name: user, join_keys: [{name: user_id, type: int64}]}
sources:
  - name: orders
    topic: orders
    key: [user_id]
    schema: [{name: user_id, type: int64, required: true}, {name: amount, type: float64}, {name: country, type: string}]
feature_views:
  - name: spend
    entity: user
    source: orders
    features:
      - {name: total, aggregate: sum, of: amount}
      - {name: orders, aggregate: count}
      - {name: country, of: country}
feature_services:
  - name: fraud
    features: [spend]
    request: [{name: amount, type: float64}]
    derived: [{name: share, type: float64, expr: request.amount / spend.total}]
models:
  - name: scorer
    feature_service: fraud
    inferences: {topic: scores, id: id, event_time: {field: at, format: unix_us}, slices: [region], %s entities: [{join_key: user_id, field: customer}]}
baselines: [{name: trained, model: scorer}]
monitors:
  - {name: inputs, model: scorer, window: {size: 1h}, skew: {baseline: trained}, value_skew: {%s}}
`

// tables is a store of several tables.
type tables map[string]*offlinetest.Memory

func (s tables) Scan(ctx context.Context, t *offline.Table, q offline.Query, fn func(int, *offline.Batch) error) error {
	return s[t.Name].Scan(ctx, t, q, fn)
}

func (s tables) Covered(ctx context.Context, t *offline.Table) ([]offline.Range, error) {
	return s[t.Name].Covered(ctx, t)
}

// world is a plane with its history. Times are in seconds after start.
type world struct {
	t     *testing.T
	plane *config.Plane
	store tables
}

var start = time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC).UnixMicro()

func second(s float64) int64 { return start + int64(s*1e6) }

func newWorld(t *testing.T, asOf, skew string) *world {
	t.Helper()
	file := filepath.Join(t.TempDir(), "plane.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, planeText, asOf, skew), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	return &world{t, p, tables{"events_orders": {}, "inferences_scorer": {BatchRows: 7, Twice: 5}}}
}

// order happens, and arrives at once.
func (w *world) order(user int64, at, amount float64, country string) {
	m := w.store["events_orders"]
	m.Add(offline.Meta{Time: second(at), Arrived: second(at), Offset: int64(len(m.Rows)), Topic: "orders", Ordinal: 1},
		feature.Int64Value(user), feature.Float64Value(amount), feature.StringValue(country))
}

// inference is logged a second after its lookup. Values are those of id, customer, the features and the request field, nil
// for null.
func (w *world) inference(asOf float64, id string, user any, total, orders, country, amount, share any, mistyped ...string) {
	w.t.Helper()
	table := offline.InferencesTable(w.plane.Models[0])
	given := map[string]any{
		"id": id, "at": second(asOf + 1), "as_of": second(asOf), "customer": user, "total": total, "orders": orders, "country": country, "amount": amount, "share": share,
	}
	var row []feature.Value
	for _, c := range table.Columns {
		switch v := given[c.Name].(type) {
		case float64:
			row = append(row, feature.Float64Value(v))
		case int:
			row = append(row, feature.Int64Value(int64(v)))
		case int64:
			row = append(row, feature.Int64Value(v))
		case string:
			row = append(row, feature.StringValue(v))
		default:
			row = append(row, feature.Value{})
		}
	}
	if len(mistyped) > 0 {
		var names []feature.Value
		for _, n := range mistyped {
			names = append(names, feature.StringValue(n))
		}
		row[len(row)-1] = feature.ListValue(feature.String, names)
	}
	m := w.store["inferences_scorer"]
	m.Add(offline.Meta{Time: second(asOf + 1), Arrived: second(asOf + 1), Offset: int64(len(m.Rows)), Topic: "scores", Ordinal: 1}, row...)
}

func (w *world) compare() *valueskew.Result {
	w.t.Helper()
	r, err := served.Compare(w.t.Context(), served.Options{Plane: w.plane, Store: w.store, Dir: w.t.TempDir()}, w.plane.Monitors[0], start, second(3600))
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func counts(r *valueskew.Result) string {
	var b strings.Builder
	for i := range r.Features {
		f := &r.Features[i]
		fmt.Fprintf(&b, "%s %v; ", f.Column, f.Counts)
	}
	return strings.TrimSuffix(b.String(), "; ")
}

const logged = "as_of: {field: as_of},"

// TestOutcomes: user 1 has spent 10 at 0 s and 30 at 100 s, user 2 nothing.
func TestOutcomes(t *testing.T) {
	w := newWorld(t, logged, "timing: 1s")
	w.order(1, 0, 10, "de")
	w.order(1, 100, 30, "fr")
	w.inference(50, "right", 1, 10.0, 1, "de", 5.0, 0.5)
	w.inference(50, "no customer", nil, 10.0, 1, "de", 5.0, 0.5)
	w.inference(100.2, "late", 1, 10.0, 1, "de", 5.0, 0.5)       // the order of 100 s had not been counted
	w.inference(105, "too late", 1, 10.0, 1, "de", 5.0, 0.5)     // and now it should have been
	w.inference(200, "factor", 1, 64.0, 2, "fr", 5.0, 5/64.0)    // 1.6 times; the derived feature is of what was served
	w.inference(200, "null", 1, nil, 2, nil, 5.0, nil)           //
	w.inference(200, "unknown", 2, nil, nil, nil, 5.0, nil)      // of nobody there is nothing on either side
	w.inference(200, "stranger", 2, 1.0, nil, "de", 5.0, 5.0)    //
	w.inference(200, "typed", 1, nil, 2, nil, 5.0, nil, "total") // text was logged
	w.inference(5000, "another window", 1, 0.0, 0, "", 0.0, 0.0)
	r := w.compare()
	if r.Unkeyed != 1 {
		t.Errorf("%d without a key, want 1", r.Unkeyed)
	}
	want := "total [2 3 2 1]; orders [6 1 0 1]; country [3 1 3 1]; share [2 2 3 1]"
	if got := counts(r); got != want {
		t.Errorf("match, mismatch, missing, timing: %s\nwant %s", got, want)
	}
	total := &r.Features[0]
	got := fmt.Sprint(total.Samples[valueskew.Mismatch])
	wantSamples := fmt.Sprint([]valueskew.Sample{
		{ID: "too late", At: second(105), Entity: "user_id=1", Served: "10", Computed: "40"},
		{ID: "factor", At: second(200), Entity: "user_id=1", Served: "64", Computed: "40"},
		{ID: "typed", At: second(200), Entity: "user_id=1", Served: "a value of another type", Computed: "40"},
	})
	if len(got) != len(wantSamples) || !strings.Contains(got, "{too late ") || !strings.Contains(got, " 64 40}") || !strings.Contains(got, "another type 40}") {
		t.Errorf("samples of total: %s\nwant %s in some order", got, wantSamples)
	}
}

// TestWithoutAsOf: the inference's time is all there is, a second after the lookup; an event in between explains a difference.
func TestWithoutAsOf(t *testing.T) {
	w := newWorld(t, "", "tolerance: 0.000001")
	w.order(1, 0, 10, "de")
	w.order(1, 100, 30, "fr")
	w.inference(99.5, "1", 1, 10.0, 1, "de", 5.0, 0.5)
	w.inference(50, "2", 1, 10.0, 1, "de", 5.0, 0.5)
	w.inference(200, "3", 1, 10.0, 1, "de", 5.0, 0.5)
	if got, want := counts(w.compare()), "total [1 1 0 1]; orders [1 1 0 1]; country [1 1 0 1]; share [1 1 0 1]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestDrawing: what is drawn follows from ids, whatever the order of rows, and no more than asked for.
func TestDrawing(t *testing.T) {
	draw := func(reverse bool) *valueskew.Result {
		w := newWorld(t, logged, "rows: 20")
		w.order(1, 0, 10, "de")
		for i := range 300 {
			if reverse {
				i = 299 - i
			}
			w.inference(50+float64(i), fmt.Sprint(i), 1, 10.0+float64(i%2), 1, "de", 5.0, 0.5)
		}
		return w.compare()
	}
	a, b := draw(false), draw(true)
	if n := a.Features[0].Rows(); n != 20 {
		t.Errorf("%d rows were drawn, want 20", n)
	}
	if c := a.Features[0].Counts; c[valueskew.Mismatch] < 4 || c[valueskew.Mismatch] > 16 {
		t.Errorf("%d of 20 are mismatches, where a half of all are", c[valueskew.Mismatch])
	}
	if fmt.Sprint(a.Features) != fmt.Sprint(b.Features) {
		t.Errorf("in another order others are drawn:\n%v\n%v", a.Features, b.Features)
	}
}

func TestNothingToCompare(t *testing.T) {
	w := newWorld(t, logged, "rows: 20")
	if got, want := counts(w.compare()), "total [0 0 0 0]; orders [0 0 0 0]; country [0 0 0 0]; share [0 0 0 0]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
