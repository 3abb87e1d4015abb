package parquet

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/offline"
)

func TestMain(m *testing.M) {
	if url := os.Getenv(writerEnv); url != "" {
		if err := runWriter(url); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m,
		// The server that testenv starts and its connections serve every test of this binary; they end with it.
		goleak.IgnoreAnyFunction("github.com/freshet-io/freshet/internal/testenv.start.func1"),
		goleak.IgnoreAnyFunction("os/exec.(*Cmd).Start.func2"),
		goleak.IgnoreAnyFunction("os/exec.(*Cmd).watchCtx.func1"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
	)
}

// testTable has a column of every type, some of which can be null.
func testTable() *offline.Table {
	t := &offline.Table{Name: "events_orders", Source: &config.Source{Name: "orders", Topic: "shop.orders"}, Key: []int{0}}
	t.Columns = []offline.Column{
		{Name: "user", Type: feature.String},
		{Name: "amount", Type: feature.Float64, Nullable: true},
		{Name: "items", Type: feature.Int64},
		{Name: "paid", Type: feature.Bool, Nullable: true},
		{Name: "raw", Type: feature.Bytes, Nullable: true},
		{Name: "seen", Type: feature.Timestamp, Nullable: true},
		{Name: "tags", Type: feature.ListOf(feature.String), Nullable: true},
		{Name: "scores", Type: feature.ListOf(feature.Float64)},
		{Name: "id", Type: feature.String, Nullable: true},
	}
	return t
}

// row is a row with its values, free of any store's memory.
type row struct {
	meta   offline.Meta
	values []feature.Value
}

func (r row) String() string { return fmt.Sprint(r.meta, r.values) }

const aDay = microsADay

// testTime is the first moment of the days that tests write.
var testTime = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).UnixMicro()

// rowsOf makes the rows of a range: a function of each offset alone, over a few days, one in ten offsets without a row.
func rowsOf(r offline.Range, days int) *offline.Batch {
	b := &offline.Batch{Width: 9}
	for off := r.First; off < r.End; off++ {
		rnd := rand.New(rand.NewPCG(uint64(off), uint64(r.Partition)))
		if rnd.IntN(10) == 0 {
			continue
		}
		maybe := func(v feature.Value) feature.Value {
			if rnd.IntN(4) == 0 {
				return feature.Value{}
			}
			return v
		}
		var tags, scores []feature.Value
		for range rnd.IntN(4) {
			tags = append(tags, feature.StringValue(fmt.Sprint("tag", rnd.IntN(5))))
			scores = append(scores, feature.Float64Value(rnd.NormFloat64()))
		}
		at := testTime + rnd.Int64N(int64(days)*aDay)
		b.Values = append(b.Values,
			feature.StringValue(fmt.Sprint("user", rnd.IntN(20))), maybe(feature.Float64Value(rnd.Float64())), feature.Int64Value(rnd.Int64()-1<<62),
			maybe(feature.BoolValue(rnd.IntN(2) == 0)), maybe(feature.BytesValue(string([]byte{0, byte(rnd.IntN(256)), 0xff}))),
			maybe(feature.TimestampValue(at-1)), maybe(feature.ListValue(feature.String, tags)), feature.ListValue(feature.Float64, scores),
			maybe(feature.StringValue(fmt.Sprintf("id-%d-%d", r.Partition, off))))
		b.Meta = append(b.Meta, offline.Meta{
			Time: at, Arrived: at + 5, Offset: off, Topic: r.Topic, Partition: r.Partition, Ordinal: 1, Deleted: rnd.IntN(50) == 0,
		})
	}
	return b
}

// rowsIn returns the rows of a batch.
func rowsIn(b *offline.Batch) []row {
	var out []row
	for i := range b.Meta {
		r := row{meta: b.Meta[i]}
		for k := range b.Row(i) {
			r.values = append(r.values, b.Row(i)[k].Clone())
		}
		out = append(out, r)
	}
	return out
}

func sortedRows(rows []row) []row {
	slices.SortFunc(rows, func(a, b row) int {
		return cmp.Or(strings.Compare(a.meta.Topic, b.meta.Topic), cmp.Compare(a.meta.Partition, b.meta.Partition), cmp.Compare(a.meta.Offset, b.meta.Offset))
	})
	return rows
}

// scanAll reads all that a query asks for.
func scanAll(tb testing.TB, s *Store, t *offline.Table, q offline.Query) []row {
	tb.Helper()
	rows, err := tryScan(tb.Context(), s, t, q)
	if err != nil {
		tb.Fatal(err)
	}
	return rows
}

func tryScan(ctx context.Context, s *Store, t *offline.Table, q offline.Query) ([]row, error) {
	var mu sync.Mutex
	var out []row
	err := s.Scan(ctx, t, q, func(_ int, b *offline.Batch) error {
		rows := rowsIn(b)
		mu.Lock()
		defer mu.Unlock()
		out = append(out, rows...)
		return nil
	})
	return sortedRows(out), err
}

func allColumns(t *offline.Table) []int {
	var out []int
	for i := range t.Columns {
		out = append(out, i)
	}
	return out
}

// same compares rows and says where they differ first.
func same(tb testing.TB, got, want []row) {
	tb.Helper()
	if len(got) != len(want) {
		tb.Errorf("%d rows, want %d", len(got), len(want))
	}
	for i := range min(len(got), len(want)) {
		ok := got[i].meta == want[i].meta && len(got[i].values) == len(want[i].values)
		for k := 0; ok && k < len(want[i].values); k++ {
			ok = got[i].values[k].Equal(&want[i].values[k])
		}
		if !ok {
			tb.Fatalf("row %d:\n got %s\nwant %s", i, got[i], want[i])
		}
	}
}

func openDisk(tb testing.TB, dir string) *Store {
	tb.Helper()
	s, err := Open(tb.Context(), config.Secret("file://"+dir), Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	return s
}

func mustWrite(tb testing.TB, s *Store, t *offline.Table, r offline.Range, b *offline.Batch) {
	tb.Helper()
	if err := s.Write(tb.Context(), t, r, b); err != nil {
		tb.Fatal(err)
	}
}

func orders(partition int32, first, end int64) offline.Range {
	return offline.Range{Topic: "shop.orders", Partition: partition, First: first, End: end}
}

// fastDir is a folder of the test's own in memory, where there is such a thing: what these tests are about is the order of
// changes, not the disk.
func fastDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "freshet-parquet-")
	if err != nil {
		return tb.TempDir()
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// resumeOne is Resume of one partition.
func resumeOne(ctx context.Context, s *Store, t *offline.Table, topic string, num int32) (next int64, pending *offline.Range, known bool, err error) {
	places, err := s.Resume(ctx, t, topic, []int32{num})
	p, known := places[num]
	return p.Next, p.Pending, known, err
}

// TestATableKnowsItsTopic: the first id that it is told stays.
func TestATableKnowsItsTopic(t *testing.T) {
	s, err := Open(t.Context(), config.Secret("file://"+t.TempDir()), Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, c := range []struct{ topic, id, want string }{{"shop.orders", "a1", "a1"}, {"shop.orders", "b2", "a1"}, {"other", "b2", "b2"}} {
		if got, err := s.Identify(t.Context(), testTable(), c.topic, c.id); err != nil || got != c.want {
			t.Errorf("%s with id %s: %q, %v; want %q", c.topic, c.id, got, err, c.want)
		}
	}
}
