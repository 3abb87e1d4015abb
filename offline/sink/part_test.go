package sink

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"

	"github.com/freshet-io/freshet/offline"
)

// TestPartitionIsCutIntoRanges: whatever comes in whatever pieces, with gaps between offsets and with a recorded range before
// it, the ranges follow each other, hold each record once, keep to the limits, and wait no longer than they may.
func TestPartitionIsCutIntoRanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := limits{
			rows: rapid.IntRange(1, 20).Draw(t, "rows"), bytes: int64(rapid.IntRange(200, 3000).Draw(t, "bytes")),
			age: time.Duration(rapid.IntRange(1, 10).Draw(t, "age")) * time.Second,
		}
		now := time.Unix(0, 0)
		p := &part{id: 1, next: rapid.Int64Range(0, 5).Draw(t, "first")}
		offset, first := p.next, p.next
		var pushed, written []int64
		if redo := rapid.Int64Range(0, 30).Draw(t, "recorded"); redo > 0 {
			p.redo = &offline.Range{First: p.next, End: p.next + redo}
		}
		fly := func() {
			n, end, ok := p.cut(l, now, rapid.Bool().Draw(t, "pressed"))
			if !ok {
				if p.redo == nil && len(p.recs) > 0 && now.Sub(p.since) >= l.age {
					t.Fatalf("a batch of %d records is %s old and not due", len(p.recs), now.Sub(p.since))
				}
				return
			}
			redo := p.redo
			f := p.take("t", n, end, now)
			size := int64(0)
			for i, r := range f.recs {
				if size >= l.bytes && redo == nil || i >= l.rows && redo == nil {
					t.Fatalf("a batch of %d records, %d bytes", len(f.recs), f.bytes)
				}
				size += cost(r)
				written = append(written, r.Offset)
			}
			if redo != nil && f.r.End != redo.End {
				t.Fatalf("the range is %s, recorded was %s", f.r, redo)
			}
			if f.r.First != p.next || f.r.End <= f.r.First {
				t.Fatalf("the range is %s after %d", f.r, p.next)
			}
			if w := p.wants(); w.offset != f.r.First || w.end != f.r.End {
				t.Fatalf("the group is told %+v of %s", w, f.r)
			}
			f.ok = true
			close(f.done)
			if !p.ended() {
				t.Fatal("a range that was written has not ended")
			}
			p.settle()
			if p.next != f.r.End {
				t.Fatalf("after %s comes %d", f.r, p.next)
			}
		}
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			var recs []*kgo.Record
			for range rapid.IntRange(0, 8).Draw(t, "records") {
				offset += rapid.Int64Range(0, 3).Draw(t, "gap") // of control records, and what was compacted
				recs = append(recs, &kgo.Record{Offset: offset, Value: make([]byte, rapid.IntRange(0, 300).Draw(t, "size"))})
				pushed = append(pushed, offset)
				offset++
			}
			p.push(recs, now)
			if rapid.Bool().Draw(t, "again") {
				p.push(recs, now) // a fetch that began before a seek
			}
			now = now.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "ms")) * time.Millisecond)
			fly()
		}
		for range len(pushed) {
			now = now.Add(l.age)
			fly()
		}
		if p.redo != nil && (len(pushed) == 0 || pushed[len(pushed)-1] < p.redo.End-1) {
			if len(written) > 0 {
				t.Fatalf("records %v are written of a recorded range that is not here whole", written)
			}
			return
		}
		if len(written) != len(pushed) || p.bytes != 0 || len(p.recs) != 0 {
			t.Fatalf("%d of %d records written, %d bytes left", len(written), len(pushed), p.bytes)
		}
		for i := range written {
			if written[i] != pushed[i] || written[i] < first {
				t.Fatalf("record %d is at %d, want %d", i, written[i], pushed[i])
			}
		}
	})
}

func TestMarkReadsBack(t *testing.T) {
	for _, m := range []mark{{offset: 0}, {offset: 5}, {offset: 5, end: 6}, {offset: 0, end: 1 << 60}} {
		if got, err := parseMark(m.offset, m.metadata()); err != nil || got != m {
			t.Errorf("%+v reads back as %+v, %v", m, got, err)
		}
	}
	for _, bad := range []string{"writing to", "writing to x", "writing to 5", "writing to 4", "writing to 9999999999999999999"} {
		if m, err := parseMark(5, bad); err == nil && bad != "writing to" {
			t.Errorf("%q at 5 reads as %+v", bad, m)
		}
	}
	if m, err := parseMark(5, "somebody's note"); err != nil || m != (mark{offset: 5}) {
		t.Errorf("foreign metadata reads as %+v, %v", m, err)
	}
}
