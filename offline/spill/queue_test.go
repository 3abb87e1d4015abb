package spill

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestQueue: whatever the budget, records come back in their order.
func TestQueue(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		q := NewQueue(dir, rapid.SampledFrom([]int64{0, 600_000, 1 << 30}).Draw(t, "memory"))
		defer q.Close()
		var want []string
		for i := range rapid.IntRange(0, 40).Draw(t, "records") {
			rec := strings.Repeat(string(rune('a'+i%26)), rapid.IntRange(0, 90_000).Draw(t, "length"))
			want = append(want, rec)
			if err := q.Add([]byte(rec)); err != nil {
				t.Fatal(err)
			}
		}
		if q.Len() != int64(len(want)) {
			t.Fatalf("length %d of %d", q.Len(), len(want))
		}
		for i, w := range want {
			if got, err := q.Next(); err != nil || got == nil || string(got) != w {
				t.Fatalf("record %d: %d bytes of %d, %v", i, len(got), len(w), err)
			}
		}
		if got, err := q.Next(); got != nil || err != nil {
			t.Fatalf("after the end: %d bytes, %v", len(got), err)
		}
	})
}
