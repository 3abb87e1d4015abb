package inputs

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
)

const plane = `
project: test
connections: {kafka: {brokers: ["127.0.0.1:1"]}, redis: {url: "redis://127.0.0.1:1"}}
entities:
  - {name: user, join_keys: [{name: user, type: string}]}
sources:
  - name: orders
    topic: orders
    format: json
    key: [user]
    event_time: {field: at, format: unix_ms}
    schema:
      - {name: user, type: string, required: true}
      - {name: amount, type: float64}
      - {name: n, type: int64}
      - {name: kind, type: string}
      - {name: unread, type: string}
      - {name: at, type: int64, required: true}
feature_views:
  - name: user_orders
    entity: user
    source: orders
    where: n >= 0
    features:
      - {name: events, aggregate: count, window: 1h}
      - {name: sum, aggregate: sum, of: amount, window: 1h}
      - {name: doubled, aggregate: mean, of: amount * 2.0, where: "kind == 'a'", window: 1h}
      - {name: last_kind, aggregate: last, of: kind, window: 1h}
      - {name: kind_now, of: kind}
      - {name: amount_now, of: amount}
      - {name: ratio, aggregate: max, of: 100 / n, window: 1h}
`

func testView(tb testing.TB) *config.View {
	tb.Helper()
	p, err := config.Parse([]config.File{{Name: "plane.yaml", Data: []byte(plane)}}, func(string) (string, bool) { return "", false })
	if err != nil {
		tb.Fatal(err)
	}
	return p.Views[0]
}

func TestEvaluate(t *testing.T) {
	long := strings.Repeat("x", feature.MaxValueBytes+1)
	null, text, num, float := feature.Value{}, feature.StringValue, feature.Int64Value, feature.Float64Value
	for _, c := range []struct {
		name    string
		amount  feature.Value
		n       feature.Value
		kind    feature.Value
		accepts bool
		want    string // a value a feature; - where the event does not count
		counts  Counts
	}{
		{"all", float(2.5), num(4), text("a"), true, `true 2.5 5 "a" "a" 2.5 25`, Counts{}},
		{"a feature's condition", float(2.5), num(4), text("b"), true, `true 2.5 - "b" "b" 2.5 25`, Counts{}},
		{"nulls", null, num(4), null, true, `true null - null null null 25`, Counts{}},
		{"not a number", float(math.NaN()), num(4), text("a"), true, `true - - "a" "a" NaN 25`, Counts{NotFinite: 2}},
		{"infinite", float(math.Inf(1)), num(4), text("b"), true, `true - - "b" "b" +Inf 25`, Counts{NotFinite: 1}},
		{"too long to keep", float(1), num(4), text(long), true, `true 1 - - ` + text(long).String() + ` 1 25`, Counts{TooLong: 1}},
		{"failing expression", float(1), num(0), text("b"), true, `true 1 - "b" "b" 1 null`, Counts{EvalErrors: 1}},
		{"the view's condition", float(1), num(-1), text("b"), false, "", Counts{}},
		{"null in the view's condition", float(1), null, text("b"), false, "", Counts{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := New(testView(t))
			row := []feature.Value{text("u"), c.amount, c.n, c.kind, null, num(1)}
			if got := e.Accepts(row); got != c.accepts {
				t.Fatalf("accepts: %v", got)
			}
			if c.accepts {
				var got []string
				for _, v := range e.Evaluate(row) {
					if v == nil {
						got = append(got, "-")
					} else {
						got = append(got, v.String())
					}
				}
				if s := strings.Join(got, " "); s != c.want {
					t.Errorf("got  %s\nwant %s", s, c.want)
				}
			}
			if got := e.TakeCounts(); got != c.counts {
				t.Errorf("counted %+v, want %+v", got, c.counts)
			}
			if got := e.TakeCounts(); got != (Counts{}) {
				t.Errorf("counted again: %+v", got)
			}
		})
	}
}

// TestFields: what is read is what expressions name, not the key and not what nobody asks for.
func TestFields(t *testing.T) {
	if got := Fields(testView(t)); !slices.Equal(got, []int{1, 2, 3}) {
		t.Errorf("fields %v", got)
	}
}

func BenchmarkEvaluate(b *testing.B) {
	e := New(testView(b))
	row := []feature.Value{feature.StringValue("u"), feature.Float64Value(2.5), feature.Int64Value(7), feature.StringValue("a"), {}, feature.Int64Value(1)}
	b.ReportAllocs()
	for b.Loop() {
		if !e.Accepts(row) {
			b.Fatal("the row is not accepted")
		}
		e.Evaluate(row)
	}
}
