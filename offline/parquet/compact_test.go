package parquet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/offline"
)

// errKilled is what a place that has been killed answers.
var errKilled = errors.New("killed")

// mortal is a place that dies after some more changes: the last one may have happened or not, nothing happens after it.
type mortal struct {
	place
	left atomic.Int64
	done bool // the last change happens
}

func (m *mortal) change(do func() error) error {
	n := m.left.Add(-1)
	if n < 0 && !(n == -1 && m.done) {
		return errKilled
	}
	err := do()
	if n < 0 {
		return errKilled
	}
	return err
}

func (m *mortal) create(ctx context.Context, name string, write func(io.Writer) error) error {
	return m.change(func() error { return m.place.create(ctx, name, write) })
}

func (m *mortal) createNew(ctx context.Context, name string, content []byte) error {
	return m.change(func() error { return m.place.createNew(ctx, name, content) })
}

func (m *mortal) remove(ctx context.Context, name string) error {
	return m.change(func() error { return m.place.remove(ctx, name) })
}

func (m *mortal) move(ctx context.Context, from, to string) error {
	return m.change(func() error { return m.place.move(ctx, from, to) })
}

// fill writes many small ranges of two partitions, and one without rows, and returns their rows.
func fill(tb testing.TB, s *Store, t *offline.Table) []row {
	tb.Helper()
	var want []row
	for p := range int32(2) {
		for i := range int64(3) {
			r := orders(p, i*100, (i+1)*100)
			b := rowsOf(r, 2)
			mustWrite(tb, s, t, r, b)
			want = append(want, rowsIn(b)...)
		}
		mustWrite(tb, s, t, orders(p, 300, 320), &offline.Batch{})
	}
	return sortedRows(want)
}

// checkFilled holds a store to what fill wrote.
func checkFilled(tb testing.TB, s *Store, t *offline.Table, want []row) {
	tb.Helper()
	same(tb, scanAll(tb, s, t, offline.Query{Columns: allColumns(t)}), want)
	covered, err := s.Covered(tb.Context(), t)
	if got := fmt.Sprint(covered); err != nil || got != "[shop.orders/0 [0, 320) shop.orders/1 [0, 320)]" {
		tb.Fatalf("covers %s, %v", got, err)
	}
	for p := range int32(2) {
		next, pending, known, err := resumeOne(tb.Context(), s, t, "shop.orders", p)
		if next != 320 || pending != nil || !known || err != nil {
			tb.Fatalf("partition %d goes on at %d, pending %v, known %v, %v", p, next, pending, known, err)
		}
	}
}

func dataFiles(tb testing.TB, dir string) []string {
	tb.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "events_orders", "dt=*", "*.parquet"))
	if err != nil {
		tb.Fatal(err)
	}
	return names
}

func TestCompactionMergesTheFilesOfADay(t *testing.T) {
	dir := fastDir(t)
	s, table := openDisk(t, dir), testTable()
	want := fill(t, s, table)
	if n := len(dataFiles(t, dir)); n != 12 {
		t.Fatalf("%d files before", n)
	}
	done, err := s.Compact(t.Context(), table.Name, CompactOptions{})
	if err != nil || done.Replaced != 12 || done.Merged != 2 || int(done.Rows) != len(want) {
		t.Fatalf("%+v, %v", done, err)
	}
	if n := len(dataFiles(t, dir)); n != 2 {
		t.Errorf("a glob finds %d files after, want 2", n)
	}
	checkFilled(t, s, table, want)
	checkFilled(t, openDisk(t, dir), table, want)

	// New ranges are merged with what is merged already.
	more := orders(0, 320, 400)
	b := rowsOf(more, 2)
	mustWrite(t, s, table, more, b)
	if done, err = s.Compact(t.Context(), table.Name, CompactOptions{Grace: -1}); err != nil || done.Replaced != 4 || done.Merged != 2 {
		t.Fatalf("%+v, %v", done, err)
	}
	same(t, scanAll(t, s, table, offline.Query{Columns: allColumns(table)}), sortedRows(append(rowsIn(b), want...)))
	if retired, _ := filepath.Glob(filepath.Join(dir, "events_orders", retiredDir, "*", "*")); len(retired) > 0 {
		t.Errorf("without a grace period %d replaced files are left", len(retired))
	}
	if done, err = s.Compact(t.Context(), table.Name, CompactOptions{}); err != nil || done != (Compacted{}) {
		t.Errorf("nothing is left to do, and it did %+v, %v", done, err)
	}
}

// TestCompactionSurvivesDeathAtEachStep ends a compaction before and after each of its changes, and checks what readers
// see then, and after the compaction that follows.
func TestCompactionSurvivesDeathAtEachStep(t *testing.T) {
	for _, done := range []bool{false, true} {
		for steps := int64(0); ; steps++ {
			dir := fastDir(t)
			s, table := openDisk(t, dir), testTable()
			want := fill(t, s, table)
			m := &mortal{place: s.place, done: done}
			m.left.Store(steps)
			_, err := newStore(m, Options{}).Compact(t.Context(), table.Name, CompactOptions{Grace: -1})
			checkFilled(t, openDisk(t, dir), table, want)
			if err == nil {
				if steps < 15 {
					t.Fatalf("a compaction has only %d steps", steps)
				}
				break
			}
			if !errors.Is(err, errKilled) {
				t.Fatalf("killed after %d steps: %v", steps, err)
			}
			again := openDisk(t, dir)
			if _, err := again.Compact(t.Context(), table.Name, CompactOptions{Grace: -1}); err != nil {
				t.Fatalf("again after a death after %d steps: %v", steps, err)
			}
			checkFilled(t, again, table, want)
			if names := dataFiles(t, dir); len(names) != 2 {
				t.Fatalf("a death after %d steps leaves %d data files after the next compaction: %v", steps, len(names), names)
			}
		}
	}
}

// TestReadersSeeEachRowOnceDuringCompaction reads all the time, with two stores, while a third writes and compacts.
func TestReadersSeeEachRowOnceDuringCompaction(t *testing.T) {
	dir := fastDir(t)
	table := testTable()
	writer := openDisk(t, dir)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var written atomic.Int64 // offsets below are durable
	reads := make(chan error, 2)
	var count atomic.Int64
	for range 2 {
		s := openDisk(t, dir)
		go func() {
			for ctx.Err() == nil {
				below := written.Load()
				rows, err := tryScan(ctx, s, table, offline.Query{Columns: []int{0, 8}, Parallel: 2})
				if ctx.Err() != nil {
					break
				}
				if err == nil {
					err = eachOnce(rows, below)
				}
				if err != nil {
					reads <- err
					return
				}
				count.Add(1)
			}
			reads <- nil
		}()
	}
	for end := int64(0); end < 1500; end += 25 {
		r := orders(0, end, end+25)
		mustWrite(t, writer, table, r, rowsOf(r, 2))
		written.Store(end + 25)
		if end%100 == 75 {
			if _, err := writer.Compact(t.Context(), table.Name, CompactOptions{Target: 64 << 10}); err != nil {
				t.Fatal(err)
			}
		}
	}
	stop()
	for range 2 {
		if err := <-reads; err != nil {
			t.Error(err)
		}
	}
	if count.Load() < 10 {
		t.Errorf("only %d reads meanwhile", count.Load())
	}
}

// eachOnce checks that rows are those of a prefix of the offsets, each once, and at least of those below.
func eachOnce(rows []row, below int64) error {
	end := below
	if n := len(rows); n > 0 {
		end = max(below, rows[n-1].meta.Offset+1)
	}
	want := rowsIn(rowsOf(orders(0, 0, end), 2))
	if len(rows) != len(want) {
		return fmt.Errorf("%d rows of offsets below %d, want %d", len(rows), end, len(want))
	}
	for i := range want {
		if rows[i].meta != want[i].meta {
			return fmt.Errorf("row %d is %v, want %v", i, rows[i].meta, want[i].meta)
		}
	}
	return nil
}

func TestTwoCompactionsAtOnceDoNotBothCount(t *testing.T) {
	dir := fastDir(t)
	s, table := openDisk(t, dir), testTable()
	want := fill(t, s, table)
	sn, err := s.snapshot(t.Context(), table.Name)
	if err != nil {
		t.Fatal(err)
	}
	slow := &compaction{store: s, table: table.Name, options: CompactOptions{Grace: time.Hour}, current: sn.manifest, done: &Compacted{}}
	if _, err := openDisk(t, dir).Compact(t.Context(), table.Name, CompactOptions{}); err != nil {
		t.Fatal(err)
	}
	// The slow one's files are there still, among the retired; its manifest is the other's.
	if err := errors.Join(slow.merge(t.Context(), groups(sn.files, defaultTarget)[0]), slow.publish(t.Context())); !errors.Is(err, errChanged) {
		t.Fatalf("the slower compaction: %v", err)
	}
	checkFilled(t, s, table, want)
	if _, err := s.Compact(t.Context(), table.Name, CompactOptions{Grace: -1}); err != nil {
		t.Fatal(err)
	}
	checkFilled(t, s, table, want)
	if n := len(dataFiles(t, dir)); n != 2 {
		t.Errorf("%d data files, want 2: what the slower one merged is deleted", n)
	}
}

// TestOverlappingRanges writes ranges as writers do that go on after they lost the partition: whatever overlaps, in whatever
// order it is written, compacted or half there, an offset is read once.
func TestOverlappingRanges(t *testing.T) {
	for seed := range uint64(12) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		dir := fastDir(t)
		s, table := openDisk(t, dir), testTable()
		have := map[int64]bool{}
		var wrote []offline.Range
		for range 8 {
			first := rnd.Int64N(200)
			r := orders(0, first, first+1+rnd.Int64N(100))
			if rnd.IntN(4) == 0 {
				if _, err := s.Compact(t.Context(), table.Name, CompactOptions{Target: 1 << 20}); err != nil {
					t.Fatal(err)
				}
			}
			mustWrite(t, s, table, r, rowsOf(r, 3))
			wrote = append(wrote, r)
			for off := r.First; off < r.End; off++ {
				have[off] = true
			}
			var want []row
			for _, row := range rowsIn(rowsOf(orders(0, 0, 300), 3)) {
				if have[row.meta.Offset] {
					want = append(want, row)
				}
			}
			got := scanAll(t, openDisk(t, dir), table, offline.Query{Columns: allColumns(table)})
			if len(got) != len(want) {
				t.Fatalf("seed %d after %v: %d rows, want %d", seed, wrote, len(got), len(want))
			}
			same(t, got, want)
		}
	}
}

func TestForgetRemovesAnEntity(t *testing.T) {
	dir := fastDir(t)
	s, table := openDisk(t, dir), testTable()
	all := fill(t, s, table)
	if _, err := s.Compact(t.Context(), table.Name, CompactOptions{}); err != nil {
		t.Fatal(err)
	}
	r := orders(0, 320, 500)
	b := rowsOf(r, 2)
	mustWrite(t, s, table, r, b)
	all = sortedRows(append(rowsIn(b), all...))
	user := feature.StringValue("user7")
	var want []row
	for _, r := range all {
		if !r.values[0].Equal(&user) {
			want = append(want, r)
		}
	}
	n, err := s.Forget(t.Context(), table, Match{Columns: []int{0}, Values: []feature.Value{user}})
	if err != nil || int(n) != len(all)-len(want) || n == 0 {
		t.Fatalf("forgot %d rows of %d, %v", n, len(all)-len(want), err)
	}
	same(t, scanAll(t, s, table, offline.Query{Columns: allColumns(table)}), want)
	err = filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && strings.Contains(path, retiredDir+string(os.PathSeparator)) && strings.HasSuffix(path, extension) {
			t.Errorf("%s is still there", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := s.Forget(t.Context(), table, Match{Columns: []int{0}, Values: []feature.Value{user}}); n != 0 || err != nil {
		t.Errorf("again: %d rows, %v", n, err)
	}
	next, pending, _, err := resumeOne(t.Context(), s, table, "shop.orders", 0)
	if next != 500 || pending != nil || err != nil {
		t.Errorf("goes on at %d, %v, %v", next, pending, err)
	}
	if _, err := s.Forget(t.Context(), table, Match{Columns: []int{0}, Values: []feature.Value{feature.Int64Value(7)}}); err == nil {
		t.Error("a value of another type is taken")
	}
}

// TestForgetInWhatIsHalfWritten: of a table that nobody writes any more an entity is erased where its last writer stopped, and whoever
// writes it again after all loses nothing else.
func TestForgetInWhatIsHalfWritten(t *testing.T) {
	dir := fastDir(t)
	s, table := openDisk(t, dir), testTable()
	whole, half := orders(0, 0, 50), orders(0, 50, 250)
	mustWrite(t, s, table, whole, rowsOf(whole, 3))
	mustWrite(t, s, table, half, rowsOf(half, 3))
	days := dataFiles(t, dir)
	if err := os.Remove(days[len(days)-1]); err != nil { // of the last day of the second range
		t.Fatal(err)
	}
	user := feature.StringValue("user7")
	matches := func(rows []row) (n int, others []row) {
		for _, r := range rows {
			if r.values[0].Equal(&user) {
				n++
			} else {
				others = append(others, r)
			}
		}
		return n, others
	}
	inFiles := func() (n int) {
		t.Helper()
		sn, err := s.snapshot(t.Context(), table.Name)
		if err != nil {
			t.Fatal(err)
		}
		for _, st := range sn.ranges {
			for _, f := range st.files {
				_, dropped, err := s.rewrite(t.Context(), table.Name, -1, []*dataFile{f}, func(_ *layout, b *offline.Batch, row int) bool { return b.Row(row)[0].Equal(&user) })
				if err != nil {
					t.Fatal(err)
				}
				n += int(dropped)
			}
		}
		return n
	}
	there := inFiles()
	m := Match{Columns: []int{0}, Values: []feature.Value{user}}
	if _, err := s.Forget(t.Context(), table, m); err == nil || !strings.Contains(err.Error(), "[50, 250) is half written and may hold such rows; let its sink finish it") {
		t.Errorf("with a sink: %v", err)
	}
	m.Abandoned = true
	if n, err := s.Forget(t.Context(), table, m); err != nil || int(n) != there || there == 0 {
		t.Fatalf("forgot %d rows of %d, %v", n, there, err)
	}
	if n := inFiles(); n > 0 {
		t.Errorf("%d rows are left", n)
	}
	_, want := matches(rowsIn(rowsOf(whole, 3)))
	same(t, scanAll(t, s, table, offline.Query{Columns: allColumns(table)}), sortedRows(want))
	next, pending, _, err := resumeOne(t.Context(), s, table, "shop.orders", 0)
	if next != 50 || pending == nil || *pending != half || err != nil {
		t.Fatalf("goes on at %d, %v, %v", next, pending, err)
	}
	mustWrite(t, s, table, half, rowsOf(half, 3))
	_, want = matches(rowsIn(rowsOf(orders(0, 0, 250), 3)))
	if _, got := matches(scanAll(t, s, table, offline.Query{Columns: allColumns(table)})); len(got) != len(want) {
		t.Errorf("then there are %d other rows, want %d", len(got), len(want))
	}
}
