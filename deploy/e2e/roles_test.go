package e2e

import (
	"sync"
	"testing"

	"github.com/freshet-io/freshet/internal/testenv"
)

// TestRolesAreProcessesOfTheirOwn runs a gateway, two processors and a server of lookups, and stops a processor while
// events flow: the other takes over what it had, and every event counts once.
func TestRolesAreProcessesOfTheirOwn(t *testing.T) {
	t.Parallel()
	const partitions = 4
	kafka := testenv.Kafka(t)
	p := newPlane(t, clicksPlane, kafka, kafka, testenv.Redis(t), partitions)
	p.topic += "-taps"
	p.createTopic(partitions)
	gateway := p.run("gateway", "--roles", "ingest")
	one, two := p.run("one", "--roles", "process"), p.run("two", "--roles", "process")
	lookups := p.run("lookups", "--roles", "serve")
	c := &clickers{}
	c.server.Store(gateway)
	post := func(from, to int) { // as clients of these numbers, which their events' ids begin with
		var wg sync.WaitGroup
		for i := from; i < to; i++ {
			wg.Go(func() {
				if err := c.post(i, 15); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	eventually(t, "one has joined", one.caughtUp)
	eventually(t, "two has joined", two.caughtUp)
	post(0, 4)
	eventually(t, "both processors share the work", func() error {
		if err := one.working(); err != nil {
			return err
		}
		return two.working()
	})
	var posting sync.WaitGroup
	posting.Go(func() { post(4, 8) })
	two.stop()
	posting.Wait()
	eventually(t, "every click counts once", func() error { return countOf(lookups, "user_clicks:clicks", c.tried) })
	eventually(t, "and every tap that was acknowledged", func() error { return checkBetween(lookups, c.acked, c.tried) })
	for _, in := range []*instance{gateway, one, lookups} {
		eventually(t, in.name+" is ready", in.caughtUp)
		in.stop()
	}
}
