package processors

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestLagGrowsWhileNothingIsRead: a task that must not read, because the online store takes nothing, shows what waits for it;
// its router, which goes on, shows nothing.
func TestLagGrowsWhileNothingIsRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	in := w.run(func(o *Options) { o.Plane.Processing.MaxPendingWrites = 5 })
	in.waitReady()
	w.produce(100)
	eventually(t, "features", w.check)
	w.redis.setAway(errors.New("away"))
	w.produce(300) // by now more than five entities wait
	eventually(t, "back-pressure", func() error {
		if testutil.ToFloat64(in.rt.met.paused) == 0 {
			return errors.New("none")
		}
		return nil
	})
	w.produce(1000)
	lag := func(reader string) (total float64) {
		for p := range testPartitions {
			total += testutil.ToFloat64(in.rt.met.lag.WithLabelValues(reader, w.topic, fmt.Sprint(p)))
		}
		return total
	}
	eventually(t, "lag of the tasks", func() error {
		if n := lag("materialize"); n < 1000 || n > 1300 {
			return fmt.Errorf("%v records", n)
		}
		return nil
	})
	eventually(t, "no lag of the router", func() error {
		if n := lag("route.orders.shop"); n != 0 {
			return fmt.Errorf("%v records", n)
		}
		return nil
	})
	w.redis.setAway(nil)
	eventually(t, "features", w.check)
	eventually(t, "no lag in the end", func() error {
		if n := lag("materialize"); n != 0 {
			return fmt.Errorf("%v records", n)
		}
		return nil
	})
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
