package serving

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/expr"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/online"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// The shared Redis lives as long as the test binary.
		goleak.IgnoreAnyFunction("github.com/freshet-io/freshet/internal/testenv.start.func1"),
		goleak.IgnoreAnyFunction("os/exec.(*Cmd).Start.func2"),
	)
}

// now is the reader's clock of the tests: 2026-03-01T12:00:00.123456Z.
var now = time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)

const (
	second = int64(1_000_000)
	minute = 60 * second
	hour   = 60 * minute
)

// ago returns the event time so long before the reader's clock.
func ago(d time.Duration) int64 { return now.Add(-d).UnixMicro() }

// column is one feature of a test's view: an aggregate of the named type, or a row feature.
type column struct {
	name, agg string
	typ       feature.Type
	window    time.Duration
	q         float64
	n, k      int
}

func newView(t testing.TB, name string, entity *config.Entity, ttl time.Duration, columns ...column) *config.View {
	t.Helper()
	v := &config.View{Name: name, Entity: entity, TTL: ttl, Fingerprint: config.Fingerprint{1, 2, 3, 4, 5, 6, 7, byte(len(name))}}
	spec := feature.LayoutSpec{TTL: ttl.Microseconds(), AllowedSkew: 5 * minute}
	for _, c := range columns {
		f := feature.FeatureSpec{Name: c.name, Window: c.window.Microseconds(), Type: c.typ}
		if c.agg != "" {
			f.Agg = feature.AggregatorSpec{Name: c.agg, In: c.typ, Q: c.q, N: c.n, K: c.k}
		}
		spec.Features = append(spec.Features, f)
	}
	layout, err := feature.NewLayout(spec)
	if err != nil {
		t.Fatalf("layout of %s: %v", name, err)
	}
	v.Layout = layout
	for i, c := range columns {
		v.Features = append(v.Features, config.Feature{Name: c.name, Aggregate: c.agg, Window: c.window, Type: layout.FeatureType(i)})
	}
	return v
}

// flights is the plane that most tests ask: carriers, routes of two keys, users with an int64 key and every type.
func flights(t testing.TB) *config.Plane {
	t.Helper()
	carrier := &config.Entity{Name: "carrier", JoinKeys: []config.Field{{Name: "carrier", Type: feature.String}}}
	route := &config.Entity{Name: "route", JoinKeys: []config.Field{{Name: "origin", Type: feature.String}, {Name: "dest", Type: feature.String}}}
	user := &config.Entity{Name: "user", JoinKeys: []config.Field{{Name: "user_id", Type: feature.Int64}}}
	p := &config.Plane{Project: "flights", Entities: []*config.Entity{carrier, route, user}}
	p.Views = []*config.View{
		newView(t, "carrier_delays", carrier, 14*24*time.Hour,
			column{name: "departures_1h", agg: "count", window: time.Hour},
			column{name: "mean_delay_1h", agg: "mean", typ: feature.Float64, window: time.Hour},
			column{name: "departures_ever", agg: "count"},
			column{name: "last_dest", typ: feature.String}),
		newView(t, "route_delays", route, time.Hour,
			column{name: "mean_delay_24h", agg: "mean", typ: feature.Float64, window: 24 * time.Hour},
			column{name: "departures_1h", agg: "count", window: time.Hour}),
		newView(t, "user_profile", user, 0,
			column{name: "score", typ: feature.Float64},
			column{name: "member", typ: feature.Bool},
			column{name: "visits", typ: feature.Int64},
			column{name: "seen", typ: feature.Timestamp},
			column{name: "token", typ: feature.Bytes},
			column{name: "tags", typ: feature.ListOf(feature.String)},
			column{name: "last_scores", agg: "last_n", typ: feature.Float64, n: 3}),
	}
	p.Services = []*config.Service{delayModel(t, p)}
	return p
}

func delayModel(t testing.TB, p *config.Plane) *config.Service {
	t.Helper()
	s := &config.Service{
		Name: "delay_model",
		Features: []config.ServiceFeature{
			{View: p.Views[0], Index: 1}, {View: p.Views[1], Index: 0}, {View: p.Views[0], Index: 0},
		},
		Request: []config.Field{{Name: "distance", Type: feature.Float64}, {Name: "stops", Type: feature.Int64, Required: true}},
	}
	env, err := expr.NewEnv([]expr.Variable{
		{Name: "carrier_delays.mean_delay_1h", Type: feature.Float64},
		{Name: "route_delays.mean_delay_24h", Type: feature.Float64},
		{Name: "carrier_delays.departures_1h", Type: feature.Int64},
		{Name: "request.distance", Type: feature.Float64},
		{Name: "request.stops", Type: feature.Int64},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []struct{ name, src string }{
		{"delay_ratio", "carrier_delays.mean_delay_1h / (request.distance + 1.0)"},
		{"per_stop", "carrier_delays.departures_1h / request.stops"},
	} {
		program, err := expr.Compile(env, d.src)
		if err != nil {
			t.Fatal(err)
		}
		s.Derived = append(s.Derived, config.Derived{Name: d.name, Type: program.Type(), Program: program})
	}
	return s
}

// memStore is an online store in memory.
type memStore struct {
	mu      sync.Mutex
	hashes  map[string]map[string][]byte // tails whole, as they are written
	offset  uint64
	fetches int
	fetched int
	fail    error
	onFetch func(s *memStore) // before each fetch is answered
}

func newStore() *memStore {
	return &memStore{hashes: make(map[string]map[string][]byte)}
}

// Fetch implements Fetcher.
func (s *memStore) FetchInto(ctx context.Context, reqs []online.FetchRequest, out [][][]byte, _ *online.Memory) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fetches++
	s.fetched += len(reqs)
	if s.onFetch != nil {
		s.onFetch(s)
	}
	if s.fail != nil {
		return s.fail
	}
	for i := range reqs {
		hash := s.hashes[reqs[i].Key]
		for j, f := range reqs[i].Fields {
			out[i][j] = stored(hash, f)
		}
	}
	return ctx.Err()
}

// stored returns what a Redis would have in a field.
func stored(hash map[string][]byte, field string) []byte {
	name := field[:strings.LastIndexByte(field, ':')+2]
	first, pages, ok := feature.TailParts(hash[name])
	if !ok || name[len(name)-1] != 't' {
		return hash[field]
	}
	for field != name && len(pages) > 0 {
		place, page, rest, _ := feature.NextPage(pages)
		if field == online.PageField(name, place) {
			return page
		}
		pages = rest
	}
	if field != name {
		return nil
	}
	return first
}

// event is one event of an entity in a view.
type event struct {
	at int64
	in []any // a feature's input: nil is null, absent{} does not count
}

type absent struct{}

func valueOf(t testing.TB, x any) feature.Value {
	t.Helper()
	switch x := x.(type) {
	case nil:
		return feature.Value{}
	case string:
		return feature.StringValue(x)
	case int:
		return feature.Int64Value(int64(x))
	case float64:
		return feature.Float64Value(x)
	case bool:
		return feature.BoolValue(x)
	case []byte:
		return feature.BytesValue(string(x))
	case time.Time:
		return feature.TimestampValue(x.UnixMicro())
	case []string:
		vs := make([]feature.Value, len(x))
		for i := range x {
			vs[i] = feature.StringValue(x[i])
		}
		return feature.ListValue(feature.String, vs)
	case feature.Value:
		return x
	}
	t.Fatalf("no value of %T", x)
	return feature.Value{}
}

// storeKey is the name of an entity's hash.
func storeKey(t testing.TB, project string, v *config.View, key ...any) string {
	t.Helper()
	vals := make([]feature.Value, len(key))
	for i := range key {
		vals[i] = valueOf(t, key[i])
	}
	k, err := feature.AppendKey(nil, vals...)
	if err != nil {
		t.Fatal(err)
	}
	return string(online.AppendKey(nil, project, v.Entity.Name, k))
}

// put publishes the state of an entity after the events.
func (s *memStore) put(t testing.TB, p *config.Plane, view string, key []any, events ...event) {
	t.Helper()
	var v *config.View
	for _, x := range p.Views {
		if x.Name == view {
			v = x
		}
	}
	var e feature.Entity
	for i, ev := range events {
		in := make([]*feature.Value, len(v.Features))
		for j := range in {
			if _, skip := ev.in[j].(absent); !skip {
				x := valueOf(t, ev.in[j])
				in[j] = &x
			}
		}
		v.Layout.Apply(&e, &feature.Order{Time: ev.at, Ordinal: 1, Offset: int64(i)}, in, ev.at)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offset++
	version := feature.MakeVersion(7, 2, s.offset, 0)
	head, tail := online.Fields(v.Name, v.Fingerprint)
	k := storeKey(t, p.Project, v, key...)
	if s.hashes[k] == nil {
		s.hashes[k] = make(map[string][]byte)
	}
	s.hashes[k][head] = v.Layout.AppendHead(nil, &e, version, version)
	s.hashes[k][tail] = v.Layout.AppendTail(nil, &e, version)
}

// setup returns lookups over a store with some flights.
func setup(t testing.TB, opts Options) (*Lookups, *memStore, *config.Plane) {
	t.Helper()
	p, s := flights(t), newStore()
	s.put(t, p, "carrier_delays", []any{"AA"},
		event{at: ago(90 * time.Minute), in: []any{0, 100.0, 0, "JFK"}},
		event{at: ago(30 * time.Minute), in: []any{0, 10.0, 0, "LAX"}},
		event{at: ago(10 * time.Second), in: []any{0, 15.0, 0, "BOS"}})
	s.put(t, p, "carrier_delays", []any{"UA"}, event{at: ago(15 * 24 * time.Hour), in: []any{0, 1.0, 0, "SFO"}})
	s.put(t, p, "route_delays", []any{"JFK", "LAX"}, event{at: ago(time.Minute), in: []any{-4.0, 0}})
	s.put(t, p, "route_delays", []any{"JFK", "BOS"}, event{at: ago(2 * time.Hour), in: []any{3.0, 0}})
	s.put(t, p, "user_profile", []any{1001}, event{at: ago(time.Hour), in: []any{
		1.0, true, 42, now.Add(-1500 * time.Millisecond), []byte{0xff, 0}, []string{"a", "b\"\n"}, 0.5,
	}})
	if opts.Clock == nil {
		opts.Clock = func() time.Time { return now }
	}
	l, err := New(p, s, opts)
	if err != nil {
		t.Fatal(err)
	}
	return l, s, p
}
