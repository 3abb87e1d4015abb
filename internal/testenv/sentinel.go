package testenv

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/redis/go-redis/v9"
)

// SentinelSetup is a master with a replica that a Sentinel promotes within about a second of the master's death.
type SentinelSetup struct {
	MasterName                string
	Sentinel, Master, Replica *RedisServer
}

// StartRedisSentinel starts a setup for this test alone.
func StartRedisSentinel(t testing.TB) SentinelSetup {
	t.Helper()
	ctx := startContext(t)
	s := SentinelSetup{MasterName: "primary", Master: StartRedis(t)}
	host, port, err := net.SplitHostPort(s.Master.Addr())
	if err != nil {
		t.Fatal(err)
	}
	// The first write starts a full copy at once, not after the wait for further replicas.
	if err := s.Master.do(ctx, "CONFIG", "SET", "repl-diskless-sync-delay", "0"); err != nil {
		t.Fatal(err)
	}
	s.Replica = StartRedis(t, "--replicaof", host+" "+port)
	if err := s.Replica.process.awaitReady(ctx, s.Replica.inSync); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(t.TempDir(), "sentinel.conf") // Sentinel rewrites it
	text := fmt.Sprintf("sentinel monitor %[1]s %[2]s %[3]s 1\nsentinel down-after-milliseconds %[1]s 500\nsentinel failover-timeout %[1]s 2000\n",
		s.MasterName, host, port)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Sentinel, err = launchSentinel(ctx, conf)
	need(t, "Redis Sentinel", RedisEnv, err)
	t.Cleanup(s.Sentinel.Stop)
	if err := s.Sentinel.process.awaitReady(ctx, s.seesReplica); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s SentinelSetup) seesReplica(ctx context.Context) error {
	cl := redis.NewSentinelClient(&redis.Options{Addr: s.Sentinel.Addr(), DisableIdentity: true})
	defer cl.Close()
	replicas, err := cl.Replicas(ctx, s.MasterName).Result()
	if err == nil && len(replicas) == 0 {
		err = fmt.Errorf("the sentinel knows no replica yet")
	}
	return err
}
