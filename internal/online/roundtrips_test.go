package online

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"
)

// trips counts what is sent to a node and waited for.
type trips struct{ n atomic.Int64 }

func (h *trips) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (h *trips) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		h.n.Add(1)
		return next(ctx, cmd)
	}
}

func (h *trips) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		h.n.Add(1)
		return next(ctx, cmds)
	}
}

// A lookup of as many entities as a request may have waits for each node once.
func fetchIsOneRoundTripANode(t *testing.T, c *Client, project string) {
	var reqs []FetchRequest
	for _, key := range keysOf(project, 1000) {
		reqs = append(reqs, FetchRequest{Key: key, Fields: []string{"h", "t"}})
	}
	out := make([][][]byte, len(reqs))
	fetch := func() {
		t.Helper()
		if err := c.Fetch(t.Context(), reqs, out); err != nil {
			t.Fatal(err)
		}
	}
	fetch()           // connections are there from now on
	var mu sync.Mutex // shards are visited side by side
	var nodes []*trips
	watch := func(_ context.Context, node *redis.Client) error {
		h := &trips{}
		node.AddHook(h)
		mu.Lock()
		defer mu.Unlock()
		nodes = append(nodes, h)
		return nil
	}
	if c.cluster == nil {
		_ = watch(t.Context(), c.redis.(*redis.Client))
	} else if err := c.cluster.ForEachMaster(t.Context(), watch); err != nil {
		t.Fatal(err)
	}
	fetch()
	for i, node := range nodes {
		if n := node.n.Load(); n != 1 {
			t.Errorf("node %d of %d was waited for %d times", i, len(nodes), n)
		}
	}
}
