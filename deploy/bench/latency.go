package bench

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"
)

// Latency sums up a number of measured times, in milliseconds.
type Latency struct {
	Count int     `json:"count"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	Max   float64 `json:"max_ms"`
}

// latencyOf sums times up. It sorts them.
func latencyOf(times []time.Duration) Latency {
	slices.Sort(times)
	return Latency{
		Count: len(times), P50: millis(percentile(times, 50)), P90: millis(percentile(times, 90)),
		P99: millis(percentile(times, 99)), Max: millis(percentile(times, 100)),
	}
}

// percentile returns the smallest of the sorted times that at least p percent of them do not exceed; 0 of none.
func percentile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(math.Ceil(p / 100 * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

func millis(d time.Duration) float64 { return math.Round(float64(d)/1e4) / 100 }

// String is the summary in a line.
func (l Latency) String() string {
	return fmt.Sprintf("p50 %.1f  p90 %.1f  p99 %.1f  max %.1f ms (%d probes)", l.P50, l.P90, l.P99, l.Max, l.Count)
}

// pacer spreads events evenly over time: it says how many are due, so that a producer that was held up catches up
// instead of sending fewer.
type pacer struct {
	rate float64 // a second
	made int
}

// due returns how many events to make now, elapsed after the start.
func (p *pacer) due(elapsed time.Duration) int {
	n := int(p.rate*elapsed.Seconds()) - p.made
	if n <= 0 {
		return 0
	}
	p.made += n
	return n
}

// spread calls fn for n events, the first i of them before event i, each when it is due after begin or as soon as it can be. It returns
// how many it made: fewer where ctx ends.
func (p *pacer) spread(ctx context.Context, begin time.Time, n int, fn func(i int, now time.Time)) int {
	every := time.NewTicker(time.Millisecond)
	defer every.Stop()
	for p.made < n && ctx.Err() == nil {
		now := <-every.C
		first := p.made
		for i := range min(p.due(now.Sub(begin)), n-first) {
			fn(first+i, now)
		}
	}
	return min(p.made, n)
}
