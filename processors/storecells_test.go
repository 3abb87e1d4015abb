package processors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/freshet-io/freshet/internal/feature"
)

// A storeKey is any key of the store: of cells and of other things, whole and cut short.
func storeKey(t *rapid.T) []byte {
	entity := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 2, 12, 13, 255}), 0, 140).Draw(t, "entity")
	kind := rapid.SampledFrom([]byte{kindCell, kindMeta, kindCase}).Draw(t, "kind")
	view := [8]byte{rapid.Byte().Draw(t, "view")}
	cell := feature.Cell{Hop: rapid.Uint32Range(0, 2).Draw(t, "hop"), Start: rapid.Int64Range(-2, 2).Draw(t, "start")}
	key := appendData(nil, rapid.Uint32Range(0, 1).Draw(t, "task"), feature.AppendCellKey([]byte{kind}, view, entity, cell))
	return key[:len(key)-rapid.SampledFrom([]int{0, 0, 0, 1, 11, 12, 13, len(key) - 1}).Draw(t, "cut")]
}

// What the store's database asks of a comparer with prefixes: prefixes order keys as the keys themselves are ordered, a
// prefix is its own prefix, and the first prefix after another is one.
func TestPrefixesOrderKeysAsBytesDo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := storeKey(t), storeKey(t)
		pa, pb := a[:splitCell(a)], b[:splitCell(b)]
		if n := splitCell(pa); n != len(pa) {
			t.Fatalf("prefix %x of %x has a prefix of %d bytes", pa, a, n)
		}
		want := bytes.Compare(pa, pb)
		if want == 0 {
			want = bytes.Compare(a[len(pa):], b[len(pb):])
		}
		if got := bytes.Compare(a, b); got != want {
			t.Fatalf("%x and %x are ordered %d, by prefix and suffix %d", a, b, got, want)
		}
		next := storeComparer.ImmediateSuccessor(nil, pa)
		if bytes.Compare(next, pa) <= 0 || splitCell(next) != len(next) || bytes.Compare(pa, pb) < 0 && bytes.Compare(pb, next) < 0 {
			t.Fatalf("after prefix %x comes %x, and not %x", pa, next, pb)
		}
	})
}

// An entity's cells are found, and no other's, whatever is in memory, in files, or in both.
func TestEntitiesAreReadFromTheStore(t *testing.T) {
	s, err := openStore(t.TempDir(), 8<<20, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	view := [8]byte{7}
	entityKey := func(e int) []byte { return bytes.Repeat([]byte{byte(e)}, e%5) } // each is the beginning of others
	want := map[string][]int64{}
	r := cellReader{}
	defer r.release()
	check := func() {
		t.Helper()
		for task := range uint32(3) {
			for e := range 40 {
				var got []int64
				prefix := feature.AppendEntityPrefix([]byte{kindCell}, view, entityKey(e))
				err := r.entity(s, task, prefix, func(key, _ []byte) error {
					_, _, c, err := feature.ParseCellKey(key[1:])
					got = append(got, c.Start)
					return err
				})
				if name := fmt.Sprint(task, entityKey(e)); err != nil || !slices.Equal(got, want[name]) {
					t.Fatalf("task and entity %s: cells %d, %v; want %d", name, got, err, want[name])
				}
			}
		}
	}
	check() // nothing
	for round := range int64(3) {
		b := s.batch(0)
		for task := range uint32(2) {
			for e := range 30 {
				key := feature.AppendCellKey([]byte{kindCell}, view, entityKey(e), feature.Cell{Hop: 60, Start: round * 60e6})
				if name := fmt.Sprint(task, entityKey(e)); !slices.Contains(want[name], round*60e6) {
					want[name] = append(want[name], round*60e6)
				}
				if err := b.put(task, key, []byte("v")); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := b.commit(); err != nil {
			t.Fatal(err)
		}
		r.hold()
		check()
		r.release()
		if err := s.db.Flush(); err != nil {
			t.Fatal(err)
		}
		check()
	}
	stop := errors.New("enough")
	prefix := feature.AppendEntityPrefix([]byte{kindCell}, view, entityKey(1))
	if err := r.entity(s, 0, prefix, func(_, _ []byte) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("a reader that gives up gets %v", err)
	}
}

// settle writes what is in memory into tables and waits until they are merged.
func settle(tb testing.TB, s *store) {
	tb.Helper()
	if err := s.db.Flush(); err != nil {
		tb.Fatal(err)
	}
	for s.db.Metrics().Compact.NumInProgress > 0 {
		time.Sleep(10 * time.Millisecond)
	}
}

// What was read once is read from memory, however much is being written: the cache has room beside the tables in memory,
// and the cells' values are nowhere else than their keys.
func TestEntitiesReadAgainAreInMemory(t *testing.T) {
	s, err := openStore(t.TempDir(), 8<<20, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	view, entities := [8]byte{7}, 500
	write := func(task uint32, start int64, value []byte) {
		t.Helper()
		b := s.batch(0)
		for e := range entities {
			key := feature.AppendCellKey([]byte{kindCell}, view, fmt.Append(nil, e), feature.Cell{Hop: 60, Start: start})
			if err := b.put(task, key, value); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.commit(); err != nil {
			t.Fatal(err)
		}
	}
	for minute := range int64(12) {
		write(1, minute*60e6, make([]byte, 24))
	}
	for s.db.Metrics().MemTable.Size < 2*memTableBytes { // they begin small, and grow with each that is full
		write(2, 0, make([]byte, 8<<10))
	}
	settle(t, s)
	read := func() (cells int, misses int64) {
		r, before := cellReader{}, s.db.Metrics().BlockCache.Misses
		for e := range entities {
			prefix := feature.AppendEntityPrefix([]byte{kindCell}, view, fmt.Append(nil, e))
			if err := r.entity(s, 1, prefix, func(_, _ []byte) error { cells++; return nil }); err != nil {
				t.Fatal(err)
			}
		}
		return cells, s.db.Metrics().BlockCache.Misses - before
	}
	first, missed := read()
	if again, misses := read(); first != 12*entities || again != first || missed == 0 || misses > 0 {
		t.Errorf("%d cells with %d blocks read from files, then %d with %d; want %d, and none the second time", first, missed, again, misses, 12*entities)
	}
	tables, err := s.db.SSTables(pebble.WithProperties())
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range slices.Concat(tables...) {
		if n := table.Properties.NumValueBlocks; n > 0 {
			t.Errorf("table %s has %d blocks of values apart from their keys", table.FileNum, n)
		}
	}
}

// The store is a copy: one of an earlier form is not read but removed.
func TestAStoreOfAnEarlierFormIsRemoved(t *testing.T) {
	dir := t.TempDir()
	former := filepath.Join(dir, "state")
	if err := os.MkdirAll(filepath.Join(former, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	lock, err := pebble.LockDirectory(former, vfs.Default)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openStore(dir, 8<<20, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "is an instance of that version using it?") {
		t.Errorf("while it is in use: %v", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := openStore(dir, 8<<20, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if _, err := os.Stat(former); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}

// TestStoreOfALaterFormatIsGoneOnWith: a database whose tables are of columns, as an earlier version made them, is read and written.
func TestStoreOfALaterFormatIsGoneOnWith(t *testing.T) {
	dir := t.TempDir()
	db, err := pebble.Open(storeDir(dir), &pebble.Options{Comparer: storeComparer, FormatMajorVersion: pebble.FormatNewest, Logger: &pebbleLogger{l: slog.New(slog.DiscardHandler)}})
	if err != nil {
		t.Fatal(err)
	}
	prefix := feature.AppendEntityPrefix([]byte{kindCell}, [8]byte{7}, []byte("e"))
	key := feature.AppendCellKey([]byte{kindCell}, [8]byte{7}, []byte("e"), feature.Cell{Hop: 60})
	if err := errors.Join(db.Set(appendData(nil, 1, key), []byte("before"), pebble.NoSync), db.Flush(), db.Close()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"before", "after"} {
		s, err := openStore(dir, 1<<20, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if err := new(cellReader).entity(s, 1, prefix, func(_, v []byte) error { got += string(v); return nil }); err != nil || got != want {
			t.Errorf("read %q, %v; want %q", got, err, want)
		}
		b := s.batch(0)
		if err := errors.Join(b.put(1, key, []byte("after")), b.commit(), s.close()); err != nil {
			t.Fatal(err)
		}
	}
}

// BenchmarkReadEntity reads entities of 20 cells out of a store of 100,000: those that are there, and those that are not.
func BenchmarkReadEntity(b *testing.B) {
	const entities, rounds = 100_000, 20
	s, err := openStore(b.TempDir(), 64<<20, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer s.close()
	view := [8]byte{7}
	entityKey := func(e uint64) []byte { return binary.BigEndian.AppendUint64(nil, e*0x9e3779b97f4a7c15) }
	for round := range int64(rounds) {
		batch := s.batch(0)
		for e := range uint64(entities) {
			key := feature.AppendCellKey([]byte{kindCell}, view, entityKey(2*e), feature.Cell{Hop: 60, Start: round * 60e6})
			if err := batch.put(1, key, make([]byte, 24)); err != nil {
				b.Fatal(err)
			}
		}
		if err := batch.commit(); err != nil {
			b.Fatal(err)
		}
	}
	settle(b, s)
	for _, c := range []struct {
		name  string
		plus  uint64
		cells int
		held  bool
	}{{"known", 0, rounds, false}, {"known/held", 0, rounds, true}, {"new", 1, 0, false}, {"new/held", 1, 0, true}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			r := cellReader{}
			if c.held {
				r.hold()
			}
			defer r.release()
			var prefix []byte
			var e uint64
			for b.Loop() {
				e = (e + 7919) % entities
				n := 0
				prefix = feature.AppendEntityPrefix(append(prefix[:0], kindCell), view, entityKey(2*e+c.plus))
				if err := r.entity(s, 1, prefix, func(_, _ []byte) error { n++; return nil }); err != nil || n != c.cells {
					b.Fatalf("%d cells, %v", n, err)
				}
			}
		})
	}
	b.Run("known/scan", func(b *testing.B) { benchScan(b, s, view, entityKey, 0, entities) })
	b.Run("new/scan", func(b *testing.B) { benchScan(b, s, view, entityKey, 1, entities) })
}

func benchScan(b *testing.B, s *store, view [8]byte, entityKey func(uint64) []byte, plus, entities uint64) {
	var prefix []byte
	var e uint64
	b.ReportAllocs()
	for b.Loop() {
		e = (e + 7919) % entities
		prefix = feature.AppendEntityPrefix(append(prefix[:0], kindCell), view, entityKey(2*e+plus))
		if err := s.scan(1, prefix, nil, func(_, _ []byte) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkWriteEntities writes three cells of entities at random, of a million, in batches of 10,000 entities: what the tables
// in memory, flushes and compactions cost together, and how often a byte is written.
func BenchmarkWriteEntities(b *testing.B) {
	const batchSize, before = 10_000, 150
	s, err := openStore(b.TempDir(), 32<<20, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer s.close()
	r := rand.New(rand.NewPCG(1, 2))
	view, value := [8]byte{7}, make([]byte, 24)
	write := func() {
		batch := s.batch(0)
		for range batchSize {
			e := uint64(r.IntN(1_000_000))
			entity := binary.BigEndian.AppendUint64(nil, e*0x9e3779b97f4a7c15)
			for _, hop := range []uint32{60, 3600, 86400} {
				key := feature.AppendCellKey([]byte{kindCell}, view, entity, feature.Cell{Hop: hop, Start: int64(r.IntN(3)) * 60e6})
				if err := batch.put(uint32(e%8), key, value); err != nil {
					b.Fatal(err)
				}
			}
		}
		if err := batch.commit(); err != nil {
			b.Fatal(err)
		}
	}
	for range before {
		write()
	}
	start := s.db.Metrics().Total()
	for b.Loop() {
		write()
	}
	settle(b, s)
	end := s.db.Metrics().Total()
	flushed := float64(end.TableBytesFlushed - start.TableBytesFlushed)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*3*batchSize), "ns/cell")
	b.ReportMetric((flushed+float64(end.TableBytesCompacted-start.TableBytesCompacted))/flushed, "writes/byte")
}
