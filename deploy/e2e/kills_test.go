package e2e

import (
	"errors"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/freshet-io/freshet/internal/testenv"
)

// working is nil when the process has counted events.
func (in *instance) working() error {
	n, err := in.metric("freshet_events_total", `result="applied"`)
	if err == nil && n == 0 {
		err = errors.New("it has counted nothing yet")
	}
	return err
}

// TestKills kills a process ten times while events flow: every other time as soon as it has got to work and a little, the
// other times at any moment, often before it has the partitions that its predecessor died with. Meanwhile a second
// process joins, shares the work and leaves, and once the local state is gone.
func TestKills(t *testing.T) {
	t.Parallel()
	kafka := testenv.Kafka(t)
	p := newPlane(t, ordersPlane, kafka, kafka, testenv.Redis(t), orderPartitions)
	rng := rand.New(rand.NewPCG(9, 9))
	events := p.stream(1, 4)
	var second *instance
	for kill := range 10 {
		in := p.run("one")
		moment := time.Duration(rng.Int64N(int64(4 * time.Second)))
		if kill%2 == 0 {
			eventually(t, "at work", in.working)
			moment /= 2
		}
		time.Sleep(moment)
		in.kill()
		switch kill {
		case 3:
			second = p.run("two")
		case 5:
			if err := os.RemoveAll(p.stateDir("one")); err != nil {
				t.Fatal(err)
			}
		case 7:
			second.stop()
		}
	}
	in := p.run("one")
	checkOrders(t, "every feature after ten kills", in, events.end())
	eventually(t, "caught up", in.caughtUp)
	in.stop()
	if letters := p.records(t, p.prefix+"dlq.orders"); len(letters) > 0 {
		t.Errorf("%d dead letters, the first %v", len(letters), letters[0])
	}
}
