package e2e

import (
	"errors"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/freshet-io/freshet/internal/testenv"
)

// TestRedisClusterLosesANode spreads a plane's entities over a cluster. A node that comes back empty is filled again.
func TestRedisClusterLosesANode(t *testing.T) {
	t.Parallel()
	kafka, nodes := testenv.Kafka(t), testenv.StartRedisCluster(t)
	p := newPlane(t, ordersPlane, kafka, kafka, "", orderPartitions)
	var addrs []string
	for _, n := range nodes {
		addrs = append(addrs, n.Addr())
	}
	p.redisURL = "redis-cluster://" + strings.Join(addrs, ",")
	in := p.run("one")
	events := p.sendOrders(31, 1000)
	checkOrders(t, "in the cluster", in, events)
	for _, n := range nodes {
		client := redis.NewClient(&redis.Options{Addr: n.Addr()})
		defer client.Close()
		if size, err := client.DBSize(t.Context()).Result(); err != nil || size < 10 {
			t.Errorf("node %s has %d keys, error %v", n.Addr(), size, err)
		}
		waitForCanaries(t, client)
	}
	nodes[1].Kill()
	if err := nodes[1].Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkOrders(t, "after a node came back empty, without a new event", in, events)
	eventually(t, "caught up", in.caughtUp)
	in.stop()
}

// TestSentinelFailsOver: the master dies while events flow, and the replica takes over with what it has.
func TestSentinelFailsOver(t *testing.T) {
	t.Parallel()
	kafka, s := testenv.Kafka(t), testenv.StartRedisSentinel(t)
	p := newPlane(t, ordersPlane, kafka, kafka, "", orderPartitions)
	p.redisURL = "redis-sentinel://" + s.Sentinel.Addr() + "/" + s.MasterName
	in := p.run("one")
	events := p.stream(41, 3)
	eventually(t, "lookups before", func() error {
		a, _, err := lookup(in.http, []string{"user_orders:ever"}, map[string][]any{"user": {"u1"}})
		if err == nil && a.Results[1].Statuses[0] != "PRESENT" {
			err = errors.New(a.Results[1].Statuses[0])
		}
		return err
	})
	s.Master.Kill()
	client := redis.NewClient(&redis.Options{Addr: s.Replica.Addr()})
	defer client.Close()
	eventually(t, "the replica is master", func() error {
		role, err := client.Do(t.Context(), "ROLE").Slice()
		if err == nil && role[0] != "master" {
			err = errors.New("it is not yet")
		}
		return err
	})
	checkOrders(t, "after the failover", in, events.end())
	eventually(t, "caught up", in.caughtUp)
	in.stop()
}
