package parquet

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/offline"
)

func TestWhatIsWrittenIsRead(t *testing.T) {
	table := testTable()
	s := openDisk(t, fastDir(t))
	var want []row
	for _, r := range []offline.Range{orders(0, 0, 3000), orders(0, 3000, 3500), orders(3, 70, 900), {Topic: "backfill/2019 é", Partition: 2, First: 0, End: 400}} {
		b := rowsOf(r, 3)
		mustWrite(t, s, table, r, b)
		want = append(want, rowsIn(b)...)
	}
	want = sortedRows(want)
	for _, parallel := range []int{0, 1, 3} {
		same(t, scanAll(t, s, table, offline.Query{Columns: allColumns(table), Parallel: parallel}), want)
	}
}

func TestScanByTimeAndOffset(t *testing.T) {
	s, table := openDisk(t, fastDir(t)), testTable()
	var all []row
	for p := range int32(2) {
		for _, r := range []offline.Range{orders(p, 0, 2500), orders(p, 2500, 2600)} {
			b := rowsOf(r, 3)
			mustWrite(t, s, table, r, b)
			all = append(all, rowsIn(b)...)
		}
	}
	back := offline.Range{Topic: "backfill/old", First: 0, End: 100}
	b := rowsOf(back, 1)
	mustWrite(t, s, table, back, b)
	all = sortedRows(append(rowsIn(b), all...))
	check := func(q offline.Query) {
		t.Helper()
		q.Columns = allColumns(table)
		var want []row
		for _, r := range all {
			below, named := q.Below[r.meta.Partition]
			if q.Below != nil && r.meta.Topic == "shop.orders" && (!named || r.meta.Offset >= below) {
				continue
			}
			if !q.Bounded() || r.meta.Time >= q.From && r.meta.Time < q.To {
				want = append(want, r)
			}
		}
		if len(want) == len(all) {
			t.Error("the query leaves nothing out")
		}
		same(t, scanAll(t, s, table, q), want)
	}
	queries := func() {
		check(offline.Query{From: testTime + aDay/3, To: testTime + aDay/2})
		check(offline.Query{From: testTime + aDay, To: testTime + 2*aDay, Parallel: 2})
		check(offline.Query{From: testTime - 10*aDay, To: testTime})
		check(offline.Query{Below: map[int32]int64{0: 1000}})
		check(offline.Query{Below: map[int32]int64{}})
		check(offline.Query{Below: map[int32]int64{0: 2550, 1: 7}, From: testTime, To: testTime + aDay})
	}
	queries()
	if _, err := s.Compact(t.Context(), table.Name, CompactOptions{}); err != nil {
		t.Fatal(err)
	}
	queries()
}

func TestTimesAtTheEdges(t *testing.T) {
	s, table := openDisk(t, fastDir(t)), testTable()
	r := orders(0, 0, 6)
	b := rowsOf(orders(0, 0, 100), 1)
	b.Meta, b.Values = b.Meta[:5], b.Values[:5*b.Width]
	for i, at := range []int64{feature.MinTime, -1, 0, microsADay - 1, feature.MaxTime} {
		b.Meta[i].Time, b.Meta[i].Offset = at, int64(i)
	}
	mustWrite(t, s, table, r, b)
	files, err := s.Files(t.Context(), table.Name)
	if err != nil {
		t.Fatal(err)
	}
	var days []string
	for _, f := range files {
		days = append(days, f.Day)
	}
	if got := strings.Join(days, " "); got != "0001-01-01 1969-12-31 1970-01-01 9999-12-31" {
		t.Errorf("days %s", got)
	}
	for i, want := range []int{1, 1, 2, 1} {
		q := [][2]int64{{feature.MinTime, feature.MinTime + 1}, {-5, 0}, {0, microsADay}, {feature.MaxTime, feature.MaxTime + 1}}[i]
		if n := len(scanAll(t, s, table, offline.Query{From: q[0], To: q[1]})); n != want {
			t.Errorf("%d rows of [%d, %d), want %d", n, q[0], q[1], want)
		}
	}
}

// TestResumeFinishesAHalfWrittenRange ends a write before each of its files, and checks what is read, what Resume says, and
// that the same write finishes it.
func TestResumeFinishesAHalfWrittenRange(t *testing.T) {
	for _, done := range []bool{false, true} {
		for files := range int64(4) {
			dir := fastDir(t)
			s, table := openDisk(t, dir), testTable()
			first, second := orders(1, 10, 60), orders(1, 60, 130)
			mustWrite(t, s, table, first, rowsOf(first, 2))
			m := &mortal{place: s.place, done: done}
			m.left.Store(files)
			err := newStore(m, Options{}).Write(t.Context(), table, second, rowsOf(second, 4))
			if !errors.Is(err, errKilled) {
				t.Fatalf("killed before file %d: %v", files, err)
			}
			there := files
			if done {
				there++
			}
			s = openDisk(t, dir)
			rows := rowsIn(rowsOf(first, 2))
			wantNext, wantPending := int64(60), fmt.Sprint(&second)
			switch there {
			case 0:
				wantPending = "<nil>"
			case 4: // the answer was lost, not the file
				wantNext, wantPending = 130, "<nil>"
				rows = append(rows, rowsIn(rowsOf(second, 4))...)
			}
			same(t, scanAll(t, s, table, offline.Query{Columns: allColumns(table)}), sortedRows(rows))
			next, pending, known, err := resumeOne(t.Context(), s, table, "shop.orders", 1)
			if next != wantNext || fmt.Sprint(pending) != wantPending || !known || err != nil {
				t.Fatalf("with %d files of 4: goes on at %d, pending %v, known %v, %v", there, next, pending, known, err)
			}
			if _, err := s.Compact(t.Context(), table.Name, CompactOptions{}); err != nil {
				t.Fatal(err)
			}
			mustWrite(t, s, table, second, rowsOf(second, 4))
			same(t, scanAll(t, s, table, offline.Query{Columns: allColumns(table)}), sortedRows(append(rowsIn(rowsOf(first, 2)), rowsIn(rowsOf(second, 4))...)))
			if next, pending, _, err := resumeOne(t.Context(), s, table, "shop.orders", 1); next != 130 || pending != nil || err != nil {
				t.Fatalf("finished: goes on at %d, pending %v, %v", next, pending, err)
			}
		}
	}
	s := openDisk(t, fastDir(t))
	if next, pending, known, err := resumeOne(t.Context(), s, testTable(), "shop.orders", 9); next != 0 || pending != nil || known || err != nil {
		t.Errorf("of a partition without files: %d, %v, %v, %v", next, pending, known, err)
	}
}

func TestCompactedAndForgottenFilesStayComplete(t *testing.T) {
	table := testTable()
	clock := time.Now()
	dir := fastDir(t)
	s := newStore(openDisk(t, dir).place, Options{Now: func() time.Time { return clock }})
	want := fill(t, s, table)
	if _, err := s.Compact(t.Context(), table.Name, CompactOptions{Target: 20 << 10}); err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ {
		clock = clock.Add(3 * forgetAfter)
		if _, err := s.Compact(t.Context(), table.Name, CompactOptions{Target: 20 << 10}); err != nil {
			t.Fatal(err)
		}
		m, err := s.loadManifest(t.Context(), table.Name)
		if err != nil {
			t.Fatal(err)
		}
		checkFilled(t, openDisk(t, dir), table, want)
		if len(m.Replaced) == 0 {
			break
		}
		if i == 5 {
			t.Fatalf("after weeks the manifest still names %d replaced files", len(m.Replaced))
		}
	}
	if retired, _ := filepath.Glob(filepath.Join(dir, "events_orders", retiredDir, "*", "*")); len(retired) > 0 {
		t.Errorf("%d replaced files are left", len(retired))
	}
	checkFilled(t, openDisk(t, dir), table, want)
}

func TestColumnsThatChange(t *testing.T) {
	dir := fastDir(t)
	s, table := openDisk(t, dir), testTable()
	r := orders(0, 0, 100)
	mustWrite(t, s, table, r, rowsOf(r, 1))

	// A column is added: null in old rows.
	wider := testTable()
	wider.Columns = append(wider.Columns, offline.Column{Name: "country", Type: feature.String, Nullable: true})
	if err := s.Prepare(t.Context(), wider); err != nil {
		t.Fatal(err)
	}
	more := orders(0, 100, 200)
	old, b := rowsOf(more, 1), &offline.Batch{Width: 10}
	for i := range old.Meta {
		b.Values = append(append(b.Values, old.Row(i)...), feature.StringValue("CH"))
	}
	b.Meta = old.Meta
	mustWrite(t, s, wider, more, b)
	var want []row
	for _, r := range rowsIn(rowsOf(r, 1)) {
		r.values = append(r.values, feature.Value{})
		want = append(want, r)
	}
	want = append(want, rowsIn(b)...)
	same(t, scanAll(t, s, wider, offline.Query{Columns: allColumns(wider)}), want)
	if _, err := s.Compact(t.Context(), table.Name, CompactOptions{}); err != nil {
		t.Fatal(err)
	}
	same(t, scanAll(t, s, wider, offline.Query{Columns: allColumns(wider)}), want)

	// One that left the definition is kept by a compaction that does not know it.
	narrow := testTable()
	last := orders(0, 200, 210)
	mustWrite(t, s, narrow, last, rowsOf(last, 1))
	if _, err := s.Compact(t.Context(), table.Name, CompactOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, r := range rowsIn(rowsOf(last, 1)) {
		r.values = append(r.values, feature.Value{})
		want = append(want, r)
	}
	same(t, scanAll(t, s, wider, offline.Query{Columns: allColumns(wider)}), want)

	// A column that changes its type is refused, by who prepares and by who reads.
	changed := testTable()
	changed.Columns[2].Type = feature.Float64
	text := `column "items" is int64 in files that are there and float64 in the table`
	if err := s.Prepare(t.Context(), changed); err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("prepare: %v", err)
	}
	if _, err := tryScan(t.Context(), s, changed, offline.Query{Columns: []int{2}}); err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("scan: %v", err)
	}
}

func TestWriteRefuses(t *testing.T) {
	s, table := openDisk(t, fastDir(t)), testTable()
	for _, tc := range []struct {
		name   string
		change func(*offline.Range, *offline.Batch)
		want   string
	}{
		{"a row outside the range", func(r *offline.Range, _ *offline.Batch) { r.End = 50 }, "is not of the range"},
		{"a range that ends before it begins", func(r *offline.Range, _ *offline.Batch) { r.End = -1 }, "is no range"},
		{"rows out of order", func(_ *offline.Range, b *offline.Batch) { b.Meta[0], b.Meta[1] = b.Meta[1], b.Meta[0] }, "not in the order"},
		{"rows of another width", func(_ *offline.Range, b *offline.Batch) { b.Width = 3 }, "rows of 3 columns; the table has 9"},
		{"null where none can be", func(_ *offline.Range, b *offline.Batch) { b.Values[0] = feature.Value{} }, `column "user" of shop.orders/0 offset`},
		{"a value of another type", func(_ *offline.Range, b *offline.Batch) { b.Values[1] = feature.Int64Value(1) }, "is int64, not float64"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := orders(0, 0, 100)
			b := rowsOf(r, 1)
			tc.change(&r, b)
			if err := s.Write(t.Context(), table, r, b); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
	if files, err := s.Files(t.Context(), table.Name); len(files) > 0 || err != nil {
		t.Errorf("what was refused left %v, %v", files, err)
	}
}

func TestBloomFiltersKnowEveryKey(t *testing.T) {
	s, table := openDisk(t, fastDir(t)), testTable()
	r := orders(0, 0, 3000)
	b := rowsOf(r, 1)
	for i := range b.Meta {
		b.Values[i*b.Width] = feature.StringValue(fmt.Sprint("unique", i)) // no dictionary
	}
	mustWrite(t, s, table, r, b)
	sn, err := s.snapshot(t.Context(), table.Name)
	if err != nil {
		t.Fatal(err)
	}
	wrong := 0
	for i := range 3000 {
		may, err := s.mayHold(t.Context(), table, sn.files[0], Match{Columns: []int{0}, Values: []feature.Value{feature.StringValue(fmt.Sprint("unique", i))}})
		if err != nil || !may && i < b.Len() {
			t.Fatalf("key %d of %d: %v, %v", i, b.Len(), may, err)
		}
		if may && i >= b.Len() {
			wrong++
		}
	}
	if wrong > 30 {
		t.Errorf("%d of %d keys that are not there may be", wrong, 3000-b.Len())
	}
}
