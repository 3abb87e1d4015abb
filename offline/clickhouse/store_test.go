package clickhouse_test

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/testenv"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/clickhouse"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("os/exec.(*Cmd).Start.func2"), // the services' own processes
		goleak.IgnoreAnyFunction("github.com/freshet-io/freshet/internal/testenv.start.func1"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"))
}

const march = 1_772_323_200_000_000 // 2026-03-01, microseconds

// table has a column of every type, null or not.
func table(name string) *offline.Table {
	t := &offline.Table{
		Name:   name,
		Source: &config.Source{Name: "trips", Topic: "trips", Description: "Taxi trips; the driver's \"own\" \\ data", EventID: 2},
		Key:    []int{0, 1},
		Columns: []offline.Column{
			{Name: "driver", Type: feature.String, Description: "who drove"},
			{Name: "shift", Type: feature.Int64},
			{Name: "trip id", Type: feature.String, Nullable: true, Description: "`quoted` 'name' \\ of a trip"},
		},
	}
	for _, typ := range []feature.Type{feature.Bool, feature.Int64, feature.Float64, feature.String, feature.Bytes, feature.Timestamp} {
		t.Columns = append(t.Columns,
			offline.Column{Name: "req_" + typ.String(), Type: typ},
			offline.Column{Name: "opt_" + typ.String(), Type: typ, Nullable: true},
			offline.Column{Name: "list_" + typ.String(), Type: feature.ListOf(typ), Nullable: true},
		)
	}
	return t
}

// open returns a store in a database of the test's own.
func open(t *testing.T, url string, o clickhouse.Options) *clickhouse.Store {
	t.Helper()
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s, err := clickhouse.Open(config.ClickHouse{URL: config.Secret(url)}, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// drivers are the ways to reach a server.
func drivers(t *testing.T) map[string]string {
	native, web := testenv.ClickHouse(t)
	return map[string]string{
		"native": native, "native zstd": native + "?compress=zstd",
		"http": web, "http lz4": web + "?compress=lz4",
	}
}

// row is a row of a batch that shares no memory with it.
type row struct {
	meta   offline.Meta
	values []feature.Value
}

func (r row) String() string { return fmt.Sprintf("%+v %v", r.meta, r.values) }

// scan reads a table's rows in the order of their topics, partitions and offsets.
func scan(t testing.TB, s *clickhouse.Store, tbl *offline.Table, q offline.Query) []row {
	t.Helper()
	if q.Columns == nil {
		for i := range tbl.Columns {
			q.Columns = append(q.Columns, i)
		}
	}
	var mu sync.Mutex
	var out []row
	err := s.Scan(t.Context(), tbl, q, func(worker int, b *offline.Batch) error {
		mu.Lock()
		defer mu.Unlock()
		if worker < 0 || worker >= max(q.Parallel, 1) {
			return fmt.Errorf("worker %d of %d", worker, q.Parallel)
		}
		for i := range b.Len() {
			r := row{meta: b.Meta[i]}
			r.meta.Topic = strings.Clone(r.meta.Topic)
			for _, v := range b.Row(i) {
				r.values = append(r.values, v.Clone())
			}
			out = append(out, r)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(out, func(a, b row) int {
		return strings.Compare(fmt.Sprintf("%s %5d %9d", a.meta.Topic, a.meta.Partition, a.meta.Offset), fmt.Sprintf("%s %5d %9d", b.meta.Topic, b.meta.Partition, b.meta.Offset))
	})
	return out
}

// extremes are values of each type that are easily damaged.
var extremes = map[feature.Type][]feature.Value{
	feature.Bool:      {feature.BoolValue(false), feature.BoolValue(true)},
	feature.Int64:     {feature.Int64Value(0), feature.Int64Value(math.MinInt64), feature.Int64Value(math.MaxInt64)},
	feature.Float64:   {feature.Float64Value(math.NaN()), feature.Float64Value(math.Inf(1)), feature.Float64Value(math.Inf(-1)), feature.Float64Value(math.Copysign(0, -1)), feature.Float64Value(math.SmallestNonzeroFloat64), feature.Float64Value(0.1)},
	feature.String:    {feature.StringValue(""), feature.StringValue("it's \\ a\t\"test\"\n\x00"), feature.StringValue("žluťoučký 🐎"), feature.StringValue(strings.Repeat("long", 5000))},
	feature.Bytes:     {feature.BytesValue(""), feature.BytesValue("\x00\xff\xfe"), feature.BytesValue("plain")},
	feature.Timestamp: {feature.TimestampValue(0), feature.TimestampValue(march + 1), feature.TimestampValue(-1), feature.TimestampValue(253_402_300_799_999_999), feature.TimestampValue(-62_135_596_800_000_000)},
}

func valueOf(rng *rand.Rand, c offline.Column) feature.Value {
	scalar := func() feature.Value {
		e := extremes[c.Type.Elem()]
		return e[rng.IntN(len(e))]
	}
	if c.Nullable && rng.IntN(3) == 0 {
		return feature.Value{}
	}
	if !c.Type.IsList() {
		return scalar()
	}
	var vs []feature.Value
	for range 1 + rng.IntN(3) {
		vs = append(vs, scalar())
	}
	return feature.ListValue(c.Type.Elem(), vs)
}

// TestEveryTypeRoundTrips: what is written is read, by each way to reach a server.
func TestEveryTypeRoundTrips(t *testing.T) {
	for name, url := range drivers(t) {
		t.Run(name, func(t *testing.T) {
			s := open(t, url, clickhouse.Options{})
			tbl := table("events_" + strings.ReplaceAll(name, " ", "_"))
			if err := s.Prepare(t.Context(), tbl); err != nil {
				t.Fatal(err)
			}
			rng := rand.New(rand.NewPCG(7, 7))
			var want []row
			next := int64(0)
			for _, n := range []int{0, 1, 800} {
				b := &offline.Batch{}
				b.Reset(len(tbl.Columns))
				r := offline.Range{Topic: "trips", Partition: 3, First: next, End: next + int64(n)}
				for range n {
					w := row{meta: offline.Meta{
						Time: march + rng.Int64N(20*86400e6), Arrived: march + 5, Offset: next, Topic: "trips", Partition: 3, Ordinal: 1,
						Deleted: rng.IntN(2) == 0,
					}}
					for _, c := range tbl.Columns {
						w.values = append(w.values, valueOf(rng, c))
					}
					b.Values, b.Meta = append(b.Values, w.values...), append(b.Meta, w.meta)
					want = append(want, w)
					next++
				}
				if err := s.Write(t.Context(), tbl, r, b); err != nil {
					t.Fatal(err)
				}
			}
			got := scan(t, s, tbl, offline.Query{})
			if len(got) != len(want) {
				t.Fatalf("%d rows, want %d", len(got), len(want))
			}
			for i := range want {
				if got[i].meta != want[i].meta || !slices.EqualFunc(got[i].values, want[i].values, func(a, b feature.Value) bool { return a.Equal(&b) }) {
					t.Fatalf("row %d is\n%v, want\n%v", i, got[i], want[i])
				}
			}
		})
	}
}

// small is a table of few columns.
func small(name string) *offline.Table {
	t := table(name)
	t.Columns = t.Columns[:6]
	return t
}

// rows returns a batch of rows at the offsets [first, end), step of event time each, with plain values.
func rows(tbl *offline.Table, first, end, step int64) (offline.Range, *offline.Batch) {
	b := &offline.Batch{}
	b.Reset(len(tbl.Columns))
	for o := first; o < end; o++ {
		for _, c := range tbl.Columns {
			v := extremes[c.Type.Elem()][1]
			switch {
			case c.Type.IsList():
				v = feature.ListValue(c.Type.Elem(), []feature.Value{v})
			case c.Type == feature.Int64:
				v = feature.Int64Value(o)
			}
			b.Values = append(b.Values, v)
		}
		b.Meta = append(b.Meta, offline.Meta{Time: march + o*step, Arrived: march, Offset: o, Topic: "trips", Partition: 1, Ordinal: 1})
	}
	return offline.Range{Topic: "trips", Partition: 1, First: first, End: end}, b
}

// TestRangeIsWrittenOnce: the same range again adds nothing to the view, also when its rows fill more months than one insert
// may, nor does another range with the same records.
func TestRangeIsWrittenOnce(t *testing.T) {
	native, web := testenv.ClickHouse(t)
	for name, url := range map[string]string{"native": native, "http": web} {
		t.Run(name, func(t *testing.T) {
			s := open(t, url, clickhouse.Options{})
			tbl := small("events_" + name)
			if err := s.Prepare(t.Context(), tbl); err != nil {
				t.Fatal(err)
			}
			const day = int64(86400e6)
			r, b := rows(tbl, 0, 53*31, day) // more than fifty months
			for write := range 3 {
				if write == 2 {
					r.End++ // another range, as one of a sink that lost its record of the first
				}
				if err := s.Write(t.Context(), tbl, r, b); err != nil {
					t.Fatal(err)
				}
				if got := count(t, s, "SELECT count() FROM db."+tbl.Name); got != b.Len() {
					t.Errorf("the view has %d rows after write %d, want %d", got, write+1, b.Len())
				}
			}
			if got := count(t, s, "SELECT uniqExact(_partition, _offset) FROM db."+tbl.Name+"_rows"); got != b.Len() {
				t.Errorf("the storage has %d records, want %d", got, b.Len())
			}
		})
	}
}

func TestScanKeepsToItsQuery(t *testing.T) {
	url, _ := testenv.ClickHouse(t)
	s := open(t, url, clickhouse.Options{})
	tbl := small("events_trips")
	if err := s.Prepare(t.Context(), tbl); err != nil {
		t.Fatal(err)
	}
	const hour = int64(3600e6)
	live, b := rows(tbl, 0, 1000, hour)
	if err := s.Write(t.Context(), tbl, live, b); err != nil {
		t.Fatal(err)
	}
	filled, b := rows(tbl, 0, 10, hour)
	filled.Topic = "backfill/old"
	for i := range b.Meta {
		b.Meta[i].Topic, b.Meta[i].Ordinal = "backfill/old", 0
	}
	if err := s.Write(t.Context(), tbl, filled, b); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		q                offline.Query
		live, backfilled int
	}{
		"everything":               {offline.Query{}, 1000, 10},
		"parallel":                 {offline.Query{Parallel: 4}, 1000, 10},
		"a time":                   {offline.Query{From: march + 5*hour, To: march + 100*hour}, 95, 5},
		"a time, parallel":         {offline.Query{From: march + 5*hour, To: march + 100*hour, Parallel: 3}, 95, 5},
		"a time without rows":      {offline.Query{From: 1, To: 2, Parallel: 3}, 0, 0},
		"below an offset":          {offline.Query{Below: map[int32]int64{0: 5000, 1: 700, 2: 9}}, 700, 10},
		"no partition":             {offline.Query{Below: map[int32]int64{}}, 0, 10},
		"another partition":        {offline.Query{Below: map[int32]int64{0: 1000}}, 0, 10},
		"a time, below and a half": {offline.Query{From: march, To: march + 20*hour, Below: map[int32]int64{1: 15}, Parallel: 2}, 15, 10},
	} {
		t.Run(name, func(t *testing.T) {
			tc.q.Columns = []int{4, 1}
			var got [2]int
			for _, r := range scan(t, s, tbl, tc.q) {
				i := 0
				if r.meta.Topic != "trips" {
					i = 1
				}
				got[i]++
				if len(r.values) != 2 || r.values[1].Int64() != r.meta.Offset {
					t.Fatalf("row %v: shift is not the offset", r)
				}
			}
			if got != [2]int{tc.live, tc.backfilled} {
				t.Errorf("read %d rows of the topic and %d of the backfill, want %d and %d", got[0], got[1], tc.live, tc.backfilled)
			}
		})
	}
	want := []offline.Range{{Topic: "backfill/old", Partition: 1, End: 10}, {Topic: "trips", Partition: 1, End: 1000}}
	if got, err := s.Covered(t.Context(), tbl); err != nil || !slices.Equal(got, want) {
		t.Errorf("covered %v, %v; want %v", got, err, want)
	}
	stop := errors.New("enough")
	if err := s.Scan(t.Context(), tbl, offline.Query{}, func(int, *offline.Batch) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("a scan that is stopped returns %v, want its reason", err)
	}
}

// count runs a statement whose answer is one number.
func count(t testing.TB, s *clickhouse.Store, sql string) int {
	t.Helper()
	n, err := s.Number(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}
