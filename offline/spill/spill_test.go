package spill

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// collect reads every bucket.
func collect(t interface{ Fatal(...any) }, s *Sorter) [][]string {
	var out [][]string
	r := s.Reader()
	for i := range s.Buckets() {
		if err := r.Open(i); err != nil {
			t.Fatal(err)
		}
		got := []string{}
		for {
			rec, err := r.Next()
			if err != nil {
				t.Fatal(err)
			}
			if rec == nil {
				break
			}
			got = append(got, string(rec))
		}
		out = append(out, got)
	}
	return out
}

// TestSorter: whatever the budget, and whenever a writer is closed, every bucket comes back whole and sorted.
func TestSorter(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		o := Options{
			Dir: dir, Buckets: rapid.IntRange(1, 5).Draw(t, "buckets"), Readers: rapid.IntRange(1, 3).Draw(t, "readers"),
			Memory: rapid.SampledFrom([]int64{1, 20_000, 1 << 20}).Draw(t, "memory"),
		}
		s := New(o)
		defer s.Close()
		want := make([][]string, o.Buckets)
		writers := []*Writer{s.Writer(), s.Writer()}
		long := rapid.IntRange(0, 400).Draw(t, "long")
		closed := rapid.IntRange(0, 3000).Draw(t, "first writer closed") // before the other one has to spill, it may be
		for i := range rapid.IntRange(0, 3000).Draw(t, "records") {
			// Long common beginnings, so that the order is decided late, and a few records larger than a page.
			rec := strings.Repeat("k", i*7%40) + string(binary.BigEndian.AppendUint32(nil, uint32(i*2654435761)))
			if long > 0 && i%long == long-1 {
				rec = strings.Repeat(rec, 9000/len(rec)+1)
			}
			b := i * i % o.Buckets
			want[b] = append(want[b], rec)
			if i == closed {
				if err := writers[0].Close(); err != nil {
					t.Fatal(err)
				}
				writers = writers[1:]
			}
			if err := writers[i%len(writers)].Add(b, []byte(rec)); err != nil {
				t.Fatal(err)
			}
		}
		for _, w := range writers {
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
		}
		for b, got := range collect(t, s) {
			slices.Sort(want[b])
			if !slices.Equal(got, append([]string{}, want[b]...)) {
				t.Fatalf("bucket %d: %d records back of %d, or in another order", b, len(got), len(want[b]))
			}
		}
	})
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestManyRuns: a bucket of more runs than are merged at once.
func TestManyRuns(t *testing.T) {
	s := New(Options{Dir: t.TempDir(), Buckets: 1, Memory: 1})
	defer s.Close()
	w := s.Writer()
	const n = 60_000
	for i := range n {
		if err := w.Add(0, fmt.Appendf(nil, "%020d", i*7919%n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got := collect(t, s)[0]
	if len(got) != n || got[0] != fmt.Sprintf("%020d", 0) || got[n-1] != fmt.Sprintf("%020d", n-1) || !slices.IsSorted(got) {
		t.Errorf("%d records, sorted %v", len(got), slices.IsSorted(got))
	}
}

// TestDamage: bytes that changed on disk are an error.
func TestDamage(t *testing.T) {
	s := New(Options{Dir: t.TempDir(), Buckets: 1, Memory: 1})
	defer s.Close()
	w := s.Writer()
	for range 5000 {
		if err := w.Add(0, bytes.Repeat([]byte("x"), 50)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.file.f.WriteAt([]byte("y"), s.file.end/2); err != nil {
		t.Fatal(err)
	}
	if err := s.Reader().Open(0); err == nil || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("a damaged file was read: %v", err)
	}
}

func TestNoFolder(t *testing.T) {
	s := New(Options{Dir: t.TempDir() + "/none", Buckets: 1, Memory: 1})
	w := s.Writer()
	var err error
	for i := 0; err == nil && i < 5000; i++ {
		err = w.Add(0, bytes.Repeat([]byte("x"), 50))
	}
	if err == nil || !strings.Contains(err.Error(), "temporary file") {
		t.Errorf("error %v", err)
	}
}
