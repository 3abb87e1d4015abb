package replay_test

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"os"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/offlinetest"
	"github.com/freshet-io/freshet/offline/replay"
)

const testPlane = `
project: test
connections: {kafka: {brokers: ["127.0.0.1:1"]}, redis: {url: "redis://127.0.0.1:1"}}
entities:
  - {name: user, join_keys: [{name: user, type: string}]}
sources:
  - name: orders
    topic: orders
    format: json
    key: [user]
    tombstones: delete
    event_id: {field: id, horizon: 10s}
    event_time: {field: at, format: unix_us}
    schema:
      - {name: user, type: string, required: true}
      - {name: id, type: string}
      - {name: n, type: int64}
      - {name: at, type: int64, required: true}
feature_views:
  - name: user_orders
    entity: user
    source: orders
    where: n != 3 && n >= 0
    features:
      - {name: ever, aggregate: count}
      - {name: last_n, of: n}
      - {name: sum_1m, aggregate: sum, of: n, window: 1m}
      - {name: last_10, aggregate: last_n, n: 10, of: n, window: 1h}
`

func loadPlane(tb testing.TB) *config.Plane {
	tb.Helper()
	p, err := config.Parse([]config.File{{Name: "plane.yaml", Data: []byte(testPlane)}}, func(string) (string, bool) { return "", false })
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

const second = int64(1_000_000)

// world is a source's past, as drawn.
type world struct {
	table   *offline.Table
	rows    []offlinetest.Row // in the order of arrival, so far as there is one
	direct  bool
	ids     bool
	arrival bool
}

const partitions = 3

// draw draws a past with ties, late events, duplicates, tombstones and rows of a backfill.
func draw(t *rapid.T, p *config.Plane, arrival bool) *world {
	src := *p.Sources[0]
	w := &world{direct: rapid.Bool().Draw(t, "direct"), ids: rapid.Bool().Draw(t, "ids"), arrival: arrival}
	if !w.ids {
		src.EventID = -1
	}
	w.table = offline.EventsTable(&src)
	w.table.Source = &src
	var offsets [partitions]int64
	now := 1000 * second
	for i := range rapid.IntRange(0, 120).Draw(t, "rows") {
		now += int64(rapid.IntRange(0, 3).Draw(t, "step")) * second
		user := rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}).Draw(t, "user")
		part := int32(i % partitions)
		if w.direct {
			part = int32(user[0]) % partitions
		}
		m := offline.Meta{Time: now - int64(rapid.IntRange(-2, 30).Draw(t, "late"))*second, Arrived: now, Ordinal: 1, Topic: "orders", Partition: part, Offset: offsets[part]}
		offsets[part]++
		id := feature.Value{}
		if k := rapid.IntRange(0, 8).Draw(t, "id"); k > 0 {
			id = feature.StringValue(fmt.Sprint("id", k))
		}
		n := feature.Int64Value(int64(rapid.IntRange(0, 5).Draw(t, "n")))
		if rapid.IntRange(0, 9).Draw(t, "null") == 0 {
			n = feature.Value{}
		}
		switch rapid.IntRange(0, 12).Draw(t, "kind") {
		case 0:
			m.Deleted = true
			id, n = feature.Value{}, feature.Value{}
			m.Time = m.Arrived - int64(rapid.IntRange(0, 5).Draw(t, "clock"))*second
		case 1:
			m.Ordinal, m.Topic, m.Partition, m.Offset = 0, offline.BackfillPrefix+"x", 7, int64(i)
		}
		w.rows = append(w.rows, offlinetest.Row{Meta: m, Values: []feature.Value{feature.StringValue(user), id, n, feature.Int64Value(m.Time)}})
	}
	return w
}

// counted returns the rows that the processors count, and the tombstones, in the order of arrival within an entity.
func (w *world) counted() []offlinetest.Row {
	rows := slices.Clone(w.rows)
	slices.SortStableFunc(rows, func(a, b offlinetest.Row) int {
		byStamp := 0
		if !w.direct {
			byStamp = cmp.Compare(a.Arrived, b.Arrived)
		}
		return cmp.Or(cmp.Compare(a.Ordinal, b.Ordinal), byStamp, cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
	})
	streamTime := func(m *offline.Meta) int64 {
		st := feature.NoTime
		for _, r := range w.rows {
			if r.Ordinal != 0 && m.Ordinal != 0 && !r.Deleted && r.Partition == m.Partition && r.Offset < m.Offset {
				st = max(st, r.Time)
			}
		}
		return st
	}
	seen := map[string]int64{}
	var out []offlinetest.Row
	for _, r := range rows {
		if r.Deleted && !w.direct {
			continue
		}
		if id := r.Values[1]; w.ids && !id.IsNull() && !r.Deleted {
			key := r.Values[0].Str() + "/" + id.Str()
			at, was := seen[key]
			if st := streamTime(&r.Meta); was && (st <= at || st-at <= 10*second) {
				continue
			}
			seen[key] = r.Time
		}
		out = append(out, r)
	}
	return out
}

// at returns the events of a user that count at t, in order.
func (w *world) at(user string, t int64) []feature.Order {
	rows := w.counted()
	if w.arrival {
		slices.SortStableFunc(rows, func(a, b offlinetest.Row) int {
			return cmp.Or(cmp.Compare(a.Arrived, b.Arrived), cmp.Compare(a.Ordinal, b.Ordinal), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
		})
	}
	var out []feature.Order
	for _, r := range rows {
		when := r.Time
		if w.arrival {
			when = r.Arrived
		}
		if r.Values[0].Str() != user || when > t {
			continue
		}
		if r.Deleted {
			out = nil
			continue
		}
		if n := r.Values[2]; n.Int64() != 3 && !n.IsNull() {
			out = append(out, r.Order())
		}
	}
	slices.SortFunc(out, func(a, b feature.Order) int { return a.Compare(&b) })
	return out
}

// witness notes what counts at each probe.
type witness struct {
	mu   *sync.Mutex
	seen map[uint64][]feature.Order
	open []feature.Order
	t    interface{ Errorf(string, ...any) }
}

func (w *witness) Begin() error { w.open = nil; return nil }
func (w *witness) Erase() error { w.open = nil; return nil }
func (w *witness) End() error   { return nil }
func (w *witness) Event(e *replay.Event) error {
	if at := e.Row[3].Int64(); at != e.Order.Time {
		w.t.Errorf("event at %d has the row of %d", e.Order.Time, at)
	}
	w.open = append(w.open, e.Order)
	return nil
}

func (w *witness) Probe(_ int64, row uint64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	got := slices.Clone(w.open)
	slices.SortFunc(got, func(a, b feature.Order) int { return a.Compare(&b) })
	w.seen[row] = got
	return nil
}

func key(tb interface{ Fatal(...any) }, user string) []byte {
	k, err := feature.AppendKey(nil, feature.StringValue(user))
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

// TestProbes: whatever the past and however small the memory, a probe sees what an oracle counts that goes through the
// rows as they arrived.
func TestProbes(t *testing.T) {
	p := loadPlane(t)
	dir := t.TempDir()
	for _, arrival := range []bool{false, true} {
		t.Run(fmt.Sprintf("arrival %v", arrival), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) { checkProbes(t, p, dir, arrival) })
		})
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func checkProbes(t *rapid.T, p *config.Plane, dir string, arrival bool) {
	w := draw(t, p, arrival)
	l, err := replay.New(replay.Options{Dir: dir, Memory: rapid.SampledFrom([]int64{1, 1 << 20}).Draw(t, "memory"), Workers: 2}, replay.Query{
		Table: w.table, Key: []int{0}, Fields: []int{2, 3}, Direct: w.direct, Arrival: arrival,
		Accept: func(_ int, row []feature.Value) bool { return row[2].Int64() != 3 && !row[2].IsNull() },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	type probe struct {
		user string
		at   int64
	}
	var probes []probe
	for i := range rapid.IntRange(0, 30).Draw(t, "probes") {
		pr := probe{rapid.SampledFrom([]string{"a", "b", "c", "nobody"}).Draw(t, "of"), 1000*second + int64(rapid.IntRange(-40, 250).Draw(t, "at"))*second}
		probes = append(probes, pr)
		if err := l.Probe(key(t, pr.user), pr.at, uint64(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Load(t.Context(), &offlinetest.Memory{Rows: w.rows, Twice: 3, BatchRows: 7}); err != nil {
		t.Fatal(err)
	}
	seen := map[uint64][]feature.Order{}
	var mu sync.Mutex
	if err := l.Each(t.Context(), func(int) replay.Visitor { return &witness{mu: &mu, seen: seen, t: t} }); err != nil {
		t.Fatal(err)
	}
	for i, pr := range probes {
		got, ok := seen[uint64(i)]
		if want := w.at(pr.user, pr.at); !ok || !slices.Equal(got, want) {
			t.Fatalf("%s at %d (asked %v):\ngot  %v\nwant %v\nrows %v", pr.user, pr.at, ok, got, want, w.rows)
		}
	}
}

// TestStates: the state of every entity at the end is that of applying what counts to an empty one.
func TestStates(t *testing.T) {
	p := loadPlane(t)
	dir := t.TempDir()
	task := func(row []feature.Value) (int32, error) {
		h := fnv.New32a()
		h.Write([]byte(row[0].Str()))
		return int32(h.Sum32() % partitions), nil
	}
	rapid.Check(t, func(t *rapid.T) {
		w := draw(t, p, false)
		l, err := replay.New(replay.Options{Dir: dir, Memory: 1, Workers: 2}, replay.Query{
			Table: w.table, Key: []int{0}, Fields: []int{0, 2}, Direct: w.direct, All: true, Task: task,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if err := l.Load(t.Context(), &offlinetest.Memory{Rows: w.rows, Twice: 2}); err != nil {
			t.Fatal(err)
		}
		times := map[int32]int64{}
		for _, r := range w.rows {
			if k, _ := task(r.Values); !r.Deleted {
				if was, ok := times[k]; !ok || r.Time > was {
					times[k] = r.Time
				}
			}
		}
		if got := l.StreamTimes(); fmt.Sprint(got) != fmt.Sprint(times) {
			t.Fatalf("stream times %v, want %v", got, times)
		}
		checkStates(t, p.Views[0], w, l, times, task)
	})
}

func checkStates(t *rapid.T, v *config.View, w *world, l *replay.Log, times map[int32]int64, task func([]feature.Value) (int32, error)) {
	got := map[string]*replay.State{}
	var mu sync.Mutex
	err := l.EachState(t.Context(), []*config.View{v}, func(_ int, s *replay.State) error {
		mu.Lock()
		defer mu.Unlock()
		if got[string(s.Key)] != nil {
			t.Errorf("entity %q comes twice", s.Key)
		}
		got[string(s.Key)] = s
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	rows := map[feature.Order]offlinetest.Row{}
	for _, r := range w.rows {
		rows[r.Order()] = r
	}
	want := 0
	for _, user := range []string{"a", "b", "c", "d", "e"} {
		k, _ := task([]feature.Value{feature.StringValue(user)})
		var e feature.Entity
		for _, o := range w.at(user, feature.MaxTime) {
			n := rows[o].Values[2]
			v.Layout.Apply(&e, &o, []*feature.Value{&n, &n, &n, &n}, times[k])
		}
		s := got[string(key(t, user))]
		if e.Empty() {
			if s != nil {
				t.Fatalf("%s has a state and no events", user)
			}
			continue
		}
		want++
		if s == nil || s.Task != k {
			t.Fatalf("%s: state %+v, want one of task %d", user, s, k)
		}
		if a, b := read(v, s.Entity, times[k]), read(v, &e, times[k]); a != b {
			t.Fatalf("%s: %s, want %s\n%v\nof %v direct %v ids %v", user, a, b, w.at(user, feature.MaxTime), w.rows, w.direct, w.ids)
		}
	}
	if len(got) != want {
		t.Fatalf("%d states, want %d", len(got), want)
	}
}

func read(v *config.View, e *feature.Entity, at int64) string {
	var r feature.Reader
	out := make([]feature.Value, 4)
	st, when := r.ReadEntity(v.Layout, e, at, []int{0, 1, 2, 3}, out)
	return fmt.Sprint(st, when, out)
}
