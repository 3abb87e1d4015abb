package watch

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshet-io/freshet/internal/feature"
)

func FuzzDecodeParts(f *testing.F) {
	f.Add(encodeParts([][]uint64{{0, 0, 3}, {1 << 40, 0, 0}}), 3)
	f.Add([]byte{0, 11}, 3)
	f.Add([]byte{}, 0)
	f.Fuzz(func(t *testing.T, data []byte, bins int) {
		if bins > 1000 {
			return
		}
		parts, err := decodeParts(data, max(0, bins))
		if err != nil {
			return
		}
		again, err := decodeParts(encodeParts(parts), bins)
		if err != nil || fmt.Sprint(again) != fmt.Sprint(parts) {
			t.Errorf("%v comes back as %v: %v", parts, again, err)
		}
	})
}

func TestPartsAreWhole(t *testing.T) {
	for _, tc := range []struct {
		data []byte
		bins int
	}{{[]byte{1, 2}, 3}, {[]byte{0, 200, 1}, 3}, {[]byte{1}, 0}, {[]byte{0}, 1}, {slices.Repeat([]byte{1}, 13), 3}} {
		if parts, err := decodeParts(tc.data, tc.bins); err == nil {
			t.Errorf("%x of %d bins is %v", tc.data, tc.bins, parts)
		}
	}
	got := joinParts([][]uint64{{1, 0}, {2, 1}, {3, 5}}, []int{0, 5, 23}, 24)
	if fmt.Sprint(got) != "[[3 1] [0 0] [0 0] [3 5]]" {
		t.Errorf("parts %v", got)
	}
}

// What is remembered of how a series varies is bounded, and is of windows in which it had not changed.
func TestSpreadIsLearntFromCleanWindows(t *testing.T) {
	p := loadPlane(t, "5m", "skew: {baseline: scorer_1}")
	s := newStream(p, 21)
	b := s.baseline(t, 5000)
	x := newPlant(t, p, b)
	x.run(s, 0, time.Hour, nil)
	m := x.watch.monitor("inputs")
	at := b.Column("spend_1d")
	before := *m.spread(b, "", at)
	x.run(s, time.Hour, 3*time.Hour, shifted)
	if after := *m.spread(b, "", at); after.Effect > 1.5 || before.Effect > 1.5 { // with the shift it would be 30 and more
		t.Errorf("%+v after windows that had changed, %+v before", after, before)
	}
	x.run(s, 3*time.Hour, 8*time.Hour, nil)
	x.restart()
	m = x.watch.monitor("inputs")
	for _, slice := range []string{"", "region=eu"} {
		if n := len(m.ends[slice]); n != spreadWindows {
			t.Errorf("%d windows of slice %q are kept", n, slice)
		}
	}
	records := 0
	for k := range x.kept {
		if strings.Contains(k, "/spread/") {
			records++
		}
	}
	if records != 3*spreadWindows {
		t.Errorf("%d records", records)
	}
	if d := m.spread(b, "", at); d == nil || d.DF < 40 || d.Effect > 1.5 {
		t.Errorf("of %d windows: %+v", spreadWindows, d)
	}
}

// A window of a slice that has too few rows to be judged teaches nothing: it may be one that had changed.
func TestWindowsThatAreNotJudgedTeachNothing(t *testing.T) {
	p := loadPlane(t, "5m", "skew: {baseline: scorer_1}")
	s := newStream(p, 100) // its slices have about min_sample rows in a window
	b := s.baseline(t, 5000)
	x := newPlant(t, p, b)
	x.run(s, 0, time.Hour, nil)
	x.run(s, time.Hour, 2*time.Hour, shifted)
	for _, j := range x.out {
		for _, sc := range j.Scores {
			if late := j.Window.End > start+70*time.Minute.Microseconds(); late && sc.Column == "spend_1d" && sc.Outcome == "stable" {
				t.Errorf("slice %q is stable on %g of %d rows", sc.Slice, sc.NEffCur, sc.NCur)
			}
		}
	}
}

// A step to a new normal is no variation: the next one is seen as well.
func TestANewNormalIsLearntAnew(t *testing.T) {
	p := loadPlane(t, "10m", "drift: {against: 10m}")
	s := newStream(p, 22)
	x := newPlant(t, p, s.baseline(t, 5000))
	x.run(s, 0, 2*time.Hour, nil)
	x.run(s, 2*time.Hour, 6*time.Hour, shifted)
	if got := delivered(x.messages()); len(got) != 2 {
		t.Fatalf("messages %q", got)
	}
	x.run(s, 6*time.Hour, 7*time.Hour, func(at int64, row []feature.Value) { row[5] = feature.Float64Value(row[5].Float64() + 16) })
	if got := delivered(x.messages()); len(got) != 3 {
		t.Errorf("messages %q: the second step is not seen", got)
	}
}
