package processors

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestLagGrowsWhileNothingIsRead: readers whose fetches bring nothing show what waits for them, and nothing when they have caught up.
func TestLagGrowsWhileNothingIsRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	in := w.run(nil)
	w.produce(100)
	eventually(t, "features", w.check)
	resume := w.failFetches()
	w.produce(300)
	w.lagOf(in, 300)
	resume()
	eventually(t, "features", w.check)
	w.lagOf(in, 0)
}

// lagOf waits until each reader of the source shows a lag.
func (w *world) lagOf(in *instance, want float64) {
	w.t.Helper()
	for _, reader := range []string{"materialize", "route.orders.shop"} {
		eventually(w.t, "lag of "+reader, func() error {
			total := 0.0
			for p := range testPartitions {
				total += testutil.ToFloat64(in.rt.met.lag.WithLabelValues(reader, w.topic, fmt.Sprint(p)))
			}
			if total != want {
				return fmt.Errorf("%v records, want %v", total, want)
			}
			return nil
		})
	}
}

// TestPublishingSlowsDownOnlyWhileBehind: the interval doubles up to its bound, and is the definition's as soon as the loop has
// caught up.
func TestPublishingSlowsDownOnlyWhileBehind(t *testing.T) {
	p := pace{interval: 10 * time.Millisecond}
	for i, c := range []struct {
		behind bool
		want   time.Duration
	}{{false, 10}, {true, 20}, {true, 40}, {true, 80}, {true, 100}, {true, 100}, {false, 10}, {true, 20}} {
		p.published(c.behind)
		if p.every() != c.want*time.Millisecond {
			t.Errorf("step %d: every %s, want %d ms", i, p.every(), c.want)
		}
	}
	slow := pace{interval: time.Second}
	if slow.published(true); slow.every() != time.Second {
		t.Errorf("a definition's %s became %s", slow.interval, slow.every())
	}
}
