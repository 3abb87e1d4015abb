package bench

import (
	"context"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestPercentileIsTheSmallestThatCoversItsShare(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		times := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) time.Duration {
			return time.Duration(rapid.IntRange(0, 50).Draw(t, "ms")) * time.Millisecond
		}), 1, 300).Draw(t, "times")
		p := rapid.Float64Range(0.1, 100).Draw(t, "p")
		slices.Sort(times)
		got := percentile(times, p)
		share := func(limit time.Duration) float64 {
			n := 0
			for _, d := range times {
				if d <= limit {
					n++
				}
			}
			return 100 * float64(n) / float64(len(times))
		}
		if !slices.Contains(times, got) || share(got) < p-1e-9 {
			t.Fatalf("percentile %v is %v, which %.1f %% of the times do not exceed", p, got, share(got))
		}
		if got > times[0] && share(got-1) >= p+1e-9 {
			t.Fatalf("percentile %v is %v, and less would do", p, got)
		}
	})
}

func TestLatencySummary(t *testing.T) {
	var times []time.Duration
	for i := 100; i > 0; i-- { // unsorted
		times = append(times, time.Duration(i)*time.Millisecond)
	}
	if got, want := latencyOf(times), (Latency{Count: 100, P50: 50, P90: 90, P99: 99, Max: 100}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := latencyOf(nil); got != (Latency{}) {
		t.Errorf("of nothing: %+v", got)
	}
}

func TestPacerKeepsTheRateOverAStall(t *testing.T) {
	p := pacer{rate: 1500}
	made := 0
	for _, step := range []struct {
		at   time.Duration
		want int
	}{
		{0, 0},
		{time.Millisecond, 1},
		{2 * time.Millisecond, 2},       // 1.5 a millisecond: one more every other time
		{2 * time.Millisecond, 0},       // nothing twice
		{1002 * time.Millisecond, 1500}, // a second's worth after the producer was held up
		{1000 * time.Millisecond, 0},    // a clock that jumps back makes none
	} {
		got := p.due(step.at)
		if got != step.want {
			t.Errorf("after %v: %d are due, want %d", step.at, got, step.want)
		}
		made += got
	}
	if made != p.made {
		t.Errorf("counted %d, made %d", p.made, made)
	}
}

func TestASpreadMakesAllThatIsDueInOrder(t *testing.T) {
	p := pacer{rate: 1000}
	var got []int
	made := p.spread(t.Context(), time.Now().Add(-time.Hour), 70, func(i int, _ time.Time) { got = append(got, i) })
	if made != 70 || len(got) != 70 || got[0] != 0 || got[69] != 69 || !slices.IsSorted(got) {
		t.Errorf("made %d: %v", made, got)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if made := new(pacer).spread(ended, time.Now(), 1, func(int, time.Time) { t.Error("made though it was to end") }); made != 0 {
		t.Errorf("made %d after the end", made)
	}
}
