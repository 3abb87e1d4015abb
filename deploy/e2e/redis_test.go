package e2e

import (
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/freshet-io/freshet/internal/testenv"
)

// TestRedisLosesEverything empties Redis in the middle of a stream and after it, restarts it empty, and takes it away
// until processing holds back: what is missing comes back without being asked for.
func TestRedisLosesEverything(t *testing.T) {
	t.Parallel()
	kafka, server := testenv.Kafka(t), testenv.StartRedis(t)
	p := newPlane(t, ordersPlane, kafka, kafka, server.Addr(), orderPartitions)
	p.processing = ", max_pending_writes: 20"
	in := p.run("one")
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { client.Close() })
	empty := func() {
		t.Helper()
		if err := client.FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
	}

	events := p.stream(2, 5)
	eventually(t, "at work", in.working)
	time.Sleep(3 * time.Second) // the stream goes on, and canaries are set
	empty()
	time.Sleep(2 * time.Second)
	events.halt()
	checkOrders(t, "after it was emptied in the middle", in, events.sent())

	waitForCanaries(t, client)
	empty()
	checkOrders(t, "after it was emptied, without a new event", in, events.sent())

	waitForCanaries(t, client)
	server.Kill()
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkOrders(t, "after it came back empty, without a new event", in, events.sent())

	events2 := p.stream(3, 5)
	time.Sleep(time.Second)
	server.Kill()
	before, err := in.metric("freshet_backpressure_pauses_total")
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "processing holds back", func() error {
		now, err := in.metric("freshet_backpressure_pauses_total")
		if err == nil && now == before {
			err = errors.New("not yet")
		}
		return err
	})
	if err := in.caughtUp(); err == nil {
		t.Error("it says that it has caught up while Redis is away")
	}
	time.Sleep(2 * time.Second)
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	checkOrders(t, "after it was away", in, append(events.sent(), events2.end()...))
	eventually(t, "caught up", in.caughtUp)
	in.stop()
}

// waitForCanaries waits until Redis holds what its loss is noticed by. Before the first second is over a loss is noticed
// when the next task owner looks, which this test does not wait for.
func waitForCanaries(t *testing.T, client *redis.Client) {
	t.Helper()
	eventually(t, "canaries", func() error {
		keys, err := client.Keys(t.Context(), "*canary*").Result()
		if err == nil && len(keys) == 0 {
			err = errors.New("there is none yet")
		}
		return err
	})
}
