package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/freshet-io/freshet/internal/testenv"
)

// TestNetworkAndBrokerFaults puts a proxy between two processes and their Kafka. While events flow it loses requests that
// end a transaction, and the answers to them, so that nobody knows the outcome; it cuts every connection again and again;
// it refuses them for a while; and the broker is killed and comes back. A process is killed in the worst of it.
func TestNetworkAndBrokerFaults(t *testing.T) {
	t.Parallel()
	front := startProxy(t)
	broker := testenv.StartKafkaBehind(t, front.addr())
	front.set(func() { front.target = broker.Second() })
	p := newPlane(t, ordersPlane, front.addr(), broker.Addr(), testenv.Redis(t), orderPartitions)
	p.processing = ", commit_interval: 200ms"
	rng := rand.New(rand.NewPCG(5, 5))
	one, two := p.run("one"), p.run("two")
	events := p.stream(6, 4)
	eventually(t, "at work", one.working)

	for i := range 8 {
		whose := [2]string{[]string{".materialize.", ".route."}[i%2], []string{".one", ".two"}[i/2%2]}
		before := front.faults()
		front.set(func() { front.whose, front.lost, front.unheard = whose, 1-i/4, i/4 })
		eventually(t, fmt.Sprintf("the end of a transaction of %v is in doubt", whose), func() error {
			if n := front.faults(); n == before {
				return errors.New("none has ended yet")
			}
			return nil
		})
		time.Sleep(time.Duration(rng.IntN(1000)) * time.Millisecond)
	}
	for range 8 {
		time.Sleep(time.Duration(100+rng.IntN(900)) * time.Millisecond)
		front.cut()
	}
	front.set(func() { front.whose, front.lost = [2]string{}, 2 })
	two.kill()
	broker.Kill()
	if err := broker.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Second)
	two = p.run("two")
	front.set(func() { front.down = true })
	front.cut()
	time.Sleep(2 * time.Second)
	front.set(func() { front.down, front.unheard = false, 1 })
	time.Sleep(2 * time.Second)

	es := events.end()
	checkOrders(t, "every feature after all that", one, es)
	eventually(t, "one has caught up", one.caughtUp)
	eventually(t, "two has caught up", two.caughtUp)
	two.stop()
	checkOrders(t, "every feature after one of them has left", one, es)
	t.Logf("%d ends of transactions were in doubt", front.faults())
	one.stop()
}
