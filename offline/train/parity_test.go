package train_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/deploy/demo"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/offline/train"
)

// parityPlane has every aggregation, over an entity that is the source's own and over one that is repartitioned, with ids,
// tombstones, a ttl, nulls, and numbers that are none.
const parityPlane = `
project: parity
prefix: par.
connections: {kafka: {brokers: ["127.0.0.1:1"]}, redis: {url: "redis://127.0.0.1:1"}}
entities:
  - {name: user, join_keys: [{name: user, type: string}]}
  - {name: shop, join_keys: [{name: shop, type: int64}, {name: region, type: string}]}
sources:
  - name: orders
    topic: orders
    format: json
    key: [user]
    tombstones: delete
    event_id: {field: id, horizon: HORIZON}
    event_time: {field: at, format: unix_us}
    schema:
      - {name: user, type: string, required: true}
      - {name: shop, type: int64}
      - {name: region, type: string}
      - {name: amount, type: float64}
      - {name: n, type: int64}
      - {name: kind, type: string}
      - {name: id, type: string}
      - {name: at, type: int64, required: true}
feature_views:
  - name: user_orders
    entity: user
    source: orders
    history: none
    max_entity_bytes: 1MiB
    ttl: 40m
    features:
      - {name: u_ever, aggregate: count}
      - {name: u_count_1m, aggregate: count, window: 1m}
      - {name: u_count_5m, aggregate: count, of: amount, window: 5m}
      - {name: u_sum_5m, aggregate: sum, of: amount, window: 5m}
      - {name: u_isum_30m, aggregate: sum, of: n, window: 30m}
      - {name: u_mean_5m, aggregate: mean, of: amount, where: "kind == 'a'", window: 5m}
      - {name: u_min_5m, aggregate: min, of: amount, window: 5m}
      - {name: u_max_1m, aggregate: max, of: n, window: 1m}
      - {name: u_var_30m, aggregate: variance, of: amount, window: 30m}
      - {name: u_std_5m, aggregate: stddev, of: amount, window: 5m}
      - {name: u_first_30m, aggregate: first, of: kind, window: 30m}
      - {name: u_last_5m, aggregate: last, of: amount, window: 5m}
      - {name: u_last_n, aggregate: last_n, n: 7, of: n}
      - {name: u_last_n_5m, aggregate: last_n, n: 3, of: kind, window: 5m}
      - {name: u_kinds_5m, aggregate: approx_distinct, of: kind, window: 5m}
      - {name: u_p50_30m, aggregate: approx_quantile, q: 0.5, of: amount, window: 30m}
      - {name: u_top_5m, aggregate: top_k, k: 2, of: kind, window: 5m}
      - {name: u_nan_5m, aggregate: sum, of: "amount / double(n)", window: 5m}
      - {name: u_row, of: amount}
      - {name: u_row_kind, of: kind}
  - name: shop_orders
    entity: shop
    source: orders
    history: none
    max_entity_bytes: 1MiB
    where: amount != null && shop != null && region != null
    features:
      - {name: s_count_1m, aggregate: count, window: 1m}
      - {name: s_sum_5m, aggregate: sum, of: n, window: 5m}
      - {name: s_mean_5m, aggregate: mean, of: amount, window: 5m}
      - {name: s_max_10m, aggregate: max, of: amount, window: 10m}
      - {name: s_users_5m, aggregate: approx_distinct, of: user, window: 5m}
feature_services:
  - {name: all, features: [user_orders, shop_orders]}
`

// order is an event of the parity plane.
type order struct {
	User   string   `json:"user"`
	Shop   *int64   `json:"shop"`
	Region *string  `json:"region"`
	Amount *float64 `json:"amount"`
	N      *int64   `json:"n"`
	Kind   *string  `json:"kind"`
	ID     *string  `json:"id"`
	At     int64    `json:"at"`
}

// stream draws the parity plane's events.
type stream struct {
	rng   *rand.Rand
	past  []order // events with ids
	again bool    // the last event has the id of an earlier one
}

func maybe[T any](rng *rand.Rand, v T) *T {
	if rng.IntN(6) == 0 {
		return nil
	}
	return &v
}

func (g *stream) order(at int64) order {
	r := g.rng
	o := order{
		User: fmt.Sprint("u", r.IntN(8)), Shop: maybe(r, int64(r.IntN(3))), Region: maybe(r, string(rune('x'+r.IntN(2)))),
		Amount: maybe(r, float64(r.IntN(2000)-700)/7), N: maybe(r, int64(r.IntN(9)-2)), Kind: maybe(r, string(rune('a'+r.IntN(4)))), At: at,
	}
	g.again = false
	switch r.IntN(6) {
	case 0:
		id := fmt.Sprint("id", len(g.past))
		o.ID = &id
		g.past = append(g.past, o)
	case 1: // sent again, of the same entities, with another amount
		if len(g.past) > 0 {
			was := g.past[len(g.past)-1-r.IntN(min(len(g.past), 12))]
			o.User, o.Shop, o.Region, o.ID = was.User, was.Shop, was.Region, was.ID
			g.again = true
		}
	}
	return o
}

// chunk draws records whose events happened in (from, to], some at the same time, in any order, with tombstones.
func (g *stream) chunk(tb testing.TB, n int, from, to int64, tombstones bool) []message {
	var out []message
	var last int64
	for i := range n {
		// Record time stamps are milliseconds, and so is what tombstones go by.
		at := from + 1000 + g.rng.Int64N((to-from)/1000)*1000
		if last != 0 && g.rng.IntN(5) == 0 {
			at = last
		}
		last = at
		if i < 8 {
			at = from + 1000
		}
		if tombstones && i >= 8 && g.rng.IntN(25) == 0 {
			out = append(out, message{key: feature.StringValue(fmt.Sprint("u", g.rng.IntN(8))), at: time.UnixMicro(at), taken: 1})
			continue
		}
		o := g.order(at)
		if i < 8 { // each partition's stream time moves on before anything is sent again, which does not move it
			o.User, o.ID = fmt.Sprint("u", i), nil
		} else if o.ID != nil && g.again {
			o.At = from + 1000
		}
		value, err := json.Marshal(o)
		if err != nil {
			tb.Fatal(err)
		}
		m := message{key: feature.StringValue(o.User), value: value, at: time.UnixMicro(to), taken: 1}
		if o.Shop != nil && o.Region != nil {
			m.taken++ // the router copies it
		}
		out = append(out, m)
	}
	return out
}

// asked is what serving answered.
type asked struct {
	at     int64
	key    []feature.Value
	values []feature.Value
}

// TestParity: what serving answers at a time, once it has processed every event up to it, is what a training set has.
func TestParity(t *testing.T) {
	for _, c := range []struct {
		name       string
		chunk      time.Duration
		tombstones bool
		horizon    string
	}{
		{"short", 20 * time.Second, true, "1h"},
		{"long", 11 * time.Minute, true, "30h"},
		{"no tombstones", 3 * time.Minute, false, "30h"},
		{"forgotten ids", 2 * time.Minute, true, "3m"},
	} {
		t.Run(c.name, func(t *testing.T) {
			plane := parsePlane(t, strings.Replace(parityPlane, "HORIZON", c.horizon, 1))
			s := startServing(t, plane)
			g := &stream{rng: rand.New(rand.NewPCG(3, uint64(c.chunk)))}
			user, shop := plane.Views[0], plane.Views[1]
			var users, shops []asked
			now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).UnixMicro()
			ask := func(at int64) {
				for i := range 9 { // the last is nobody
					key := feature.StringValue(fmt.Sprint("u", i))
					users = append(users, asked{at, []feature.Value{key}, s.lookup(user, at, key)})
				}
				for i := range 8 {
					key := []feature.Value{feature.Int64Value(int64(i / 2)), feature.StringValue(string(rune('x' + i%2)))}
					shops = append(shops, asked{at, key, s.lookup(shop, at, key...)})
				}
			}
			for range 10 {
				to := now + c.chunk.Microseconds()
				s.send(g.chunk(t, 60, now, to, c.tombstones))
				ask(to)
				gap := g.rng.Int64N(90) * feature.Second
				ask(to + gap) // before the next event
				now = to + gap
			}
			for _, later := range []time.Duration{39 * time.Minute, 41 * time.Minute, 3 * time.Hour} {
				ask(now + later.Microseconds())
			}
			compare(t, s, user, "user", users)
			if c.horizon != "3m" { // when a repartitioned view forgets an id depends on the order of its own topic
				compare(t, s, shop, "shop", shops)
			}
		})
	}
}

// compare makes the training set of what was asked, and compares it.
func compare(t *testing.T, s *servingPath, v *config.View, name string, rows []asked) {
	t.Helper()
	compareAs(t, s, v, name, rows, false)
}

func compareAs(t *testing.T, s *servingPath, v *config.View, name string, rows []asked, asServed bool) {
	t.Helper()
	for i, d := range trainingSet(t, s, v, name, rows, asServed) {
		for f, got := range d {
			if !near(&v.Features[f], &got, &rows[i].values[f]) {
				t.Errorf("%s %v at %s: %s is %s, serving had %s", v.Name, rows[i].key, time.UnixMicro(rows[i].at).UTC(), v.Features[f].Name, got, rows[i].values[f])
			}
		}
	}
	present := 0
	for _, a := range rows {
		for f := range a.values {
			if !a.values[f].IsNull() {
				present++
			}
		}
	}
	if present < len(rows) {
		t.Errorf("%s: only %d values in %d rows: the test asks too little", v.Name, present, len(rows))
	}
	t.Logf("%s: %d rows, %d values of %d features", v.Name, len(rows), present, len(v.Features))
}

// differences counts the values that a training set has and serving had not.
func differences(t *testing.T, s *servingPath, v *config.View, name string, rows []asked, asServed bool) int {
	t.Helper()
	n := 0
	for i, d := range trainingSet(t, s, v, name, rows, asServed) {
		for f, got := range d {
			if !near(&v.Features[f], &got, &rows[i].values[f]) {
				n++
			}
		}
	}
	return n
}

// trainingSet makes the set of what was asked.
func trainingSet(t *testing.T, s *servingPath, v *config.View, name string, rows []asked, asServed bool) [][]feature.Value {
	t.Helper()
	plane := *s.plane
	service := &config.Service{Name: name}
	for i := range v.Features {
		service.Features = append(service.Features, config.ServiceFeature{View: v, Index: i})
	}
	plane.Services = []*config.Service{service}
	spine := &rowsSpine{cols: []train.SpineColumn{{Name: "timestamp", Type: feature.Timestamp}}}
	for _, k := range v.Entity.JoinKeys {
		spine.cols = append(spine.cols, train.SpineColumn{Name: k.Name, Type: k.Type})
	}
	for _, a := range rows {
		spine.rows = append(spine.rows, append([]feature.Value{feature.TimestampValue(a.at)}, a.key...))
	}
	out := build(t, train.Options{Plane: &plane, Service: name, Spine: spine, Store: s.rows, Dir: t.TempDir(), Memory: 1, AsServed: asServed})
	if len(out.values) != len(rows) {
		t.Fatalf("%d rows of %d", len(out.values), len(rows))
	}
	return out.values
}

// near compares exact values exactly, and sums of floats within their stated rounding: 1e-12 of the sum of the absolute values, which is
// no less than that of the values, and 1e-9 for variances.
func near(f *config.Feature, a, b *feature.Value) bool {
	if a.Equal(b) {
		return true
	}
	if a.Type() != feature.Float64 || b.Type() != feature.Float64 {
		return false
	}
	switch f.Aggregate {
	case "sum", "mean":
		return math.Abs(a.Float64()-b.Float64()) <= 1e-12*max(1, math.Abs(b.Float64()))
	case "variance", "stddev":
		return math.Abs(a.Float64()-b.Float64()) <= 1e-9*max(1, math.Abs(b.Float64()))
	}
	return false
}

// TestParityOfFlights compares over the demo's flights, for every view of its plane.
func TestParityOfFlights(t *testing.T) {
	plane := parsePlane(t, string(demo.PlaneYAML))
	for _, v := range plane.Views {
		v.History = "none"
	}
	s := startServing(t, plane)
	flights, err := demo.Load()
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(5, 5))
	rows := make([][]asked, len(plane.Views))
	var open []message
	keys := make([][][]feature.Value, len(plane.Views)) // of each view, of recent flights
	var before int64
	n := 0
	for f := range flights.All() {
		at := f.DepartedAt.UnixMicro()
		if at != before && len(open) >= 700 {
			// Flights come up to hours late, within what has been sent together.
			rng.Shuffle(len(open), func(i, j int) { open[i], open[j] = open[j], open[i] })
			s.send(open)
			open = open[:0]
			for i, v := range plane.Views {
				for range 6 {
					key := keys[i][rng.IntN(len(keys[i]))]
					t := before + rng.Int64N(at-before)
					rows[i] = append(rows[i], asked{t, key, s.lookup(v, t, key...)})
				}
				keys[i] = keys[i][:0]
			}
			if n++; n == 20 {
				break
			}
		}
		before = at
		m := message{key: feature.StringValue(f.Carrier), value: f.AppendEvent(nil), at: f.DepartedAt.Add(6 * time.Hour), taken: 4}
		if f.Tailnum == "" {
			m.taken--
		}
		open = append(open, m)
		keys[0] = append(keys[0], []feature.Value{feature.StringValue(f.Carrier)})
		keys[1] = append(keys[1], []feature.Value{feature.StringValue(f.Origin)})
		keys[2] = append(keys[2], []feature.Value{feature.StringValue(f.Origin), feature.StringValue(f.Dest)})
		if f.Tailnum != "" {
			keys[3] = append(keys[3], []feature.Value{feature.StringValue(f.Tailnum)})
		}
	}
	for i, v := range plane.Views {
		compare(t, s, v, v.Name, rows[i])
	}
}
