package online

import (
	"context"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/freshet-io/freshet/internal/testenv"
)

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// TestServerRestartsEmpty: it asks for tails again, and the canary tells.
func TestServerRestartsEmpty(t *testing.T) {
	s := testenv.StartRedis(t)
	c := open(t, "redis://"+s.Addr(), Options{})
	e, loss := newEntity(t, c, "p", "x"), NewLoss(c)
	wantLost := func(n int) []Node {
		t.Helper()
		lost, err := loss.Check(t.Context(), "task", zero)
		if err != nil || len(lost) != n {
			t.Fatalf("lost %v, error %v; want %d", lost, err, n)
		}
		return lost
	}
	wantLost(0)
	tail := tailBlob(version(1), "t")
	wantOutcome(t, e.write(headBlob(version(1), version(1), ""), tail, 0), Accepted)
	if err := loss.Advance(t.Context(), "task", version(1)); err != nil {
		t.Fatal(err)
	}

	s.Kill()
	out := []Outcome{Accepted}
	head := headBlob(version(2), version(1), "")
	if err := c.Write(t.Context(), []Write{e.of(head, nil, 0)}, out); err == nil || out[0] != Failed {
		t.Fatalf("outcome %v, error %v while the server is down", out[0], err)
	}
	if lost, err := loss.Check(t.Context(), "task", zero); err == nil || len(lost) > 0 {
		t.Fatalf("lost %v, error %v while the server is down", lost, err)
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}

	wantOutcome(t, e.write(head, nil, 0), NeedTail)
	if err := loss.Advance(t.Context(), "task", version(2)); err != nil { // must not hide the loss
		t.Fatal(err)
	}
	lost := wantLost(1)
	wantOutcome(t, e.write(head, tail, 0), Accepted)
	if err := loss.Vouch(t.Context(), "task", lost[0], version(2)); err != nil {
		t.Fatal(err)
	}
	wantLost(0)
	if err := c.redis.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if err := loss.Advance(t.Context(), "task", version(3)); err != nil {
		t.Fatal(err)
	}
	wantLost(1)
}

// TestRestartWithItsData: the identity tells, for the newest writes may be missing.
func TestRestartWithItsData(t *testing.T) {
	s := testenv.StartRedis(t, "--appendonly", "yes", "--appendfsync", "always")
	c := open(t, "redis://"+s.Addr(), Options{})
	loss := NewLoss(c)
	for _, step := range []func() error{
		func() error { _, err := loss.Check(t.Context(), "task", zero); return err },
		func() error { return loss.Advance(t.Context(), "task", version(1)) },
		func() error { return s.Restart(t.Context()) },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	for name, l := range map[string]*Loss{"this process": loss, "another": NewLoss(c)} {
		if lost, err := l.Check(t.Context(), "task", version(1)); err != nil || len(lost) != 1 {
			t.Errorf("%s: lost %v, error %v", name, lost, err)
		}
	}
}

func TestSlowServer(t *testing.T) {
	s := testenv.StartRedis(t, "--enable-debug-command", "yes")
	c := open(t, "redis://"+s.Addr(), Options{})
	admin := open(t, "redis://"+s.Addr(), Options{})
	e := newEntity(t, c, "p", "x")
	wantOutcome(t, e.write(headBlob(version(1), zero, ""), nil, 0), Accepted)
	slept := make(chan error, 1)
	go func() { slept <- admin.redis.Do(t.Context(), "DEBUG", "SLEEP", "0.6").Err() }()
	eventually(t, 5*time.Second, func(ctx context.Context) error { // until the server sleeps
		ctx, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		defer cancel()
		if c.Ping(ctx) == nil {
			return fmt.Errorf("the server answers")
		}
		return nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began, out := time.Now(), []Outcome{Accepted}
	err := c.Write(ctx, []Write{e.of(headBlob(version(2), zero, ""), nil, 0)}, out)
	if err == nil || out[0] != Failed || time.Since(began) > 400*time.Millisecond {
		t.Fatalf("outcome %v, error %v after %v", out[0], err, time.Since(began))
	}
	if err := <-slept; err != nil {
		t.Fatal(err)
	}
	// The write may have happened. Repeating it is accepted either way, and replies do not get out of step.
	last := headBlob(version(2), zero, "")
	wantOutcome(t, e.write(last, nil, 0), Accepted)
	e.wantStored(last, nil)
}

// TestDeadNodeFailsItsOwnWritesOnly also holds Check to rule C4.
func TestDeadNodeFailsItsOwnWritesOnly(t *testing.T) {
	servers := testenv.StartRedisCluster(t)
	c := open(t, clusterURL(servers)+"?dial_timeout=500ms", Options{})
	nodes, err := c.Nodes(t.Context())
	if err != nil || len(nodes) != 3 {
		t.Fatalf("nodes %v, error %v", nodes, err)
	}
	// Otherwise the survivors stop serving within the node timeout, as a cluster by default does.
	for _, s := range servers {
		admin := open(t, "redis://"+s.Addr(), Options{})
		if err := admin.redis.ConfigSet(t.Context(), "cluster-require-full-coverage", "no").Err(); err != nil {
			t.Fatal(err)
		}
	}
	loss := NewLoss(c)
	if lost, err := loss.Check(t.Context(), "task", zero); err != nil || len(lost) > 0 {
		t.Fatalf("lost %v, error %v", lost, err)
	}
	batch := make([]Write, 300)
	reqs := make([]FetchRequest, len(batch))
	for i, key := range keysOf("p", len(batch)) {
		batch[i] = newEntity(t, c, "p", "").of(headBlob(version(1), zero, key), nil, 0)
		batch[i].Key = []byte(key)
		reqs[i] = FetchRequest{Key: key, Fields: []string{batch[i].HeadField}}
	}
	dead := slices.IndexFunc(nodes, func(n Node) bool { return n.Addr == servers[1].Addr() })
	servers[1].Kill()

	out, got := make([]Outcome, len(batch)), make([][][]byte, len(batch))
	if err := c.Write(t.Context(), batch, out); err == nil {
		t.Fatal("no error although a node is down")
	} else if len(err.Error()) > 4000 {
		t.Errorf("the error repeats itself: %d bytes", len(err.Error()))
	}
	if err := c.Fetch(t.Context(), reqs, got); err == nil {
		t.Fatal("no error although a node is down")
	}
	down := 0
	for i, w := range batch {
		if nodes[dead].Owns(w.Key) {
			down++
			if out[i] != Failed || got[i] != nil {
				t.Fatalf("%s on the dead node: %v, %q", w.Key, out[i], got[i])
			}
		} else if out[i] != Accepted || len(got[i]) != 1 || string(got[i][0]) != string(w.Head) {
			t.Fatalf("%s on a living node: %v, %q", w.Key, out[i], got[i])
		}
	}
	if down < 50 || down > 150 {
		t.Errorf("%d of %d entities are on one of three nodes", down, len(batch))
	}
	if lost, err := loss.Check(t.Context(), "task", zero); err == nil || len(lost) > 0 {
		t.Errorf("lost %v, error %v with a node down", lost, err)
	}
}

// TestMovedSlot moves the slot of an entity and of a canary while a client has them elsewhere.
func TestMovedSlot(t *testing.T) {
	servers := testenv.StartRedisCluster(t)
	c := open(t, clusterURL(servers), Options{})
	loss := NewLoss(c)
	if lost, err := loss.Check(t.Context(), "task", zero); err != nil || len(lost) > 0 {
		t.Fatalf("lost %v, error %v", lost, err)
	}
	if err := loss.Advance(t.Context(), "task", version(1)); err != nil {
		t.Fatal(err)
	}
	nodes, err := c.Nodes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	from, to := nodes[0], nodes[1]
	slot := slotOf(from.tag)
	id := to.client.Do(t.Context(), "CLUSTER", "MYID").Val()
	if err := c.redis.Del(t.Context(), string(canaryKey(from.tag, "task"))).Err(); err != nil { // nodes give empty slots away
		t.Fatal(err)
	}
	for _, n := range []Node{to, from, nodes[2]} {
		if err := n.client.Do(t.Context(), "CLUSTER", "SETSLOT", slot, "NODE", id).Err(); err != nil {
			t.Fatal(err)
		}
	}
	e := entity{t: t, c: c, key: "{" + from.tag + "}", head: "h", tail: "t"}
	head := headBlob(version(1), zero, "moved")
	wantOutcome(t, e.write(head, nil, 0), Accepted)
	e.wantStored(head, nil)
	eventually(t, 10*time.Second, func(ctx context.Context) error {
		lost, err := loss.Check(ctx, "task", zero)
		if err != nil {
			return err
		}
		for _, n := range lost {
			if n.Addr == from.Addr && n.tag != from.tag && !n.Owns([]byte(e.key)) {
				return nil
			}
		}
		return fmt.Errorf("lost %d nodes; %s has not noticed", len(lost), from.Addr)
	})
}

func TestSentinelFailover(t *testing.T) {
	s := testenv.StartRedisSentinel(t)
	c := open(t, "redis-sentinel://"+s.Sentinel.Addr()+"/"+s.MasterName, Options{DialTimeout: 500 * time.Millisecond})
	e, loss := newEntity(t, c, "p", "x"), NewLoss(c)
	if lost, err := loss.Check(t.Context(), "task", zero); err != nil || len(lost) > 0 {
		t.Fatalf("lost %v, error %v", lost, err)
	}
	wantOutcome(t, e.write(headBlob(version(1), zero, ""), nil, 0), Accepted)
	if err := loss.Advance(t.Context(), "task", version(1)); err != nil {
		t.Fatal(err)
	}
	if n, err := c.redis.Do(t.Context(), "WAIT", 1, 5000).Int(); err != nil || n != 1 {
		t.Fatalf("%d replicas have the write, error %v", n, err)
	}
	s.Master.Kill()
	out := make([]Outcome, 1)
	eventually(t, 20*time.Second, func(ctx context.Context) error {
		return c.Write(ctx, []Write{e.of(headBlob(version(2), zero, ""), nil, 0)}, out)
	})
	wantOutcome(t, out[0], Accepted)
	// The replica had everything, the canary too: only its identity is another.
	if lost, err := NewLoss(c).Check(t.Context(), "task", version(1)); err != nil || len(lost) != 1 {
		t.Fatalf("another process: lost %v, error %v", lost, err)
	}
	lost, err := loss.Check(t.Context(), "task", zero)
	if err != nil || len(lost) != 1 {
		t.Fatalf("lost %v, error %v", lost, err)
	}
	if err := loss.Vouch(t.Context(), "task", lost[0], version(2)); err != nil {
		t.Fatal(err)
	}
	if lost, err := loss.Check(t.Context(), "task", zero); err != nil || len(lost) > 0 {
		t.Fatalf("lost %v, error %v after vouching", lost, err)
	}
}
