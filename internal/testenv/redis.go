package testenv

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// RedisServer is a server of its own, for tests that stop and start it.
type RedisServer struct {
	addr, dir string
	argv      []string
	process   *process // nil while it is down
}

// LaunchRedis starts a server that keeps nothing on disk, unless args (`--appendonly yes`) say otherwise; the caller
// must Stop it.
func LaunchRedis(ctx context.Context, args ...string) (*RedisServer, error) {
	if err := lookPaths("redis-server"); err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		s, err := launchRedis(ctx, args)
		if err == nil || try == 3 || ctx.Err() != nil {
			return s, err
		}
	}
}

func launchRedis(ctx context.Context, args []string) (*RedisServer, error) {
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "freshet-redis-")
	if err != nil {
		return nil, err
	}
	s := &RedisServer{addr: loopback(ports[0]), dir: dir}
	s.argv = append([]string{
		"redis-server", "--port", strconv.Itoa(ports[0]), "--cluster-port", strconv.Itoa(ports[1]),
		"--bind", "127.0.0.1", "--dir", dir, "--save", "", "--appendonly", "no",
	}, args...)
	if err := s.Restart(ctx); err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	return s, nil
}

// launchSentinel starts a Sentinel with the settings in conf.
func launchSentinel(ctx context.Context, conf string) (*RedisServer, error) {
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "freshet-sentinel-")
	if err != nil {
		return nil, err
	}
	s := &RedisServer{addr: loopback(ports[0]), dir: dir}
	s.argv = []string{"redis-server", conf, "--sentinel", "--port", strconv.Itoa(ports[0]), "--bind", "127.0.0.1", "--dir", dir}
	if err := s.Restart(ctx); err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	return s, nil
}

// inSync succeeds when a replica has its master's data and follows it.
func (s *RedisServer) inSync(ctx context.Context) error {
	cl := redis.NewClient(&redis.Options{Addr: s.addr, DisableIdentity: true})
	defer cl.Close()
	info, err := cl.Info(ctx, "replication").Result()
	if err == nil && !strings.Contains(info, "master_link_status:up") {
		err = fmt.Errorf("the replica has not copied its master yet")
	}
	return err
}

// Addr is the server's address; it stays the same over restarts.
func (s *RedisServer) Addr() string { return s.addr }

// Kill ends the server as a crash does.
func (s *RedisServer) Kill() { s.down(syscall.SIGKILL) }

// Restart starts a server that is down. A server that is up is stopped first.
func (s *RedisServer) Restart(ctx context.Context) error {
	s.down(syscall.SIGTERM)
	p, err := start(s.dir, s.argv...)
	if err != nil {
		return err
	}
	if err := p.awaitReady(ctx, func(ctx context.Context) error { return pingRedis(ctx, s.addr) }); err != nil {
		p.end(syscall.SIGKILL)
		return err
	}
	s.process = p
	return nil
}

// Stop ends the server and removes its data.
func (s *RedisServer) Stop() {
	s.down(syscall.SIGKILL)
	_ = os.RemoveAll(s.dir)
}

func (s *RedisServer) down(sig syscall.Signal) {
	if s.process != nil {
		s.process.end(sig)
		s.process = nil
	}
}

func pingRedis(ctx context.Context, addr string) error {
	cl := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1, DialTimeout: time.Second, DisableIdentity: true})
	defer cl.Close()
	return cl.Ping(ctx).Err()
}

// LaunchRedisCluster starts a cluster of three masters without replicas.
func LaunchRedisCluster(ctx context.Context) (nodes []*RedisServer, err error) {
	defer func() {
		if err != nil {
			stopAll(nodes)
			nodes = nil
		}
	}()
	const masters, slots = 3, 16384
	for i := range masters {
		s, err := LaunchRedis(ctx, "--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
		if err != nil {
			return nodes, err
		}
		nodes = append(nodes, s)
		err = s.do(ctx, "CLUSTER", "ADDSLOTSRANGE", i*slots/masters, (i+1)*slots/masters-1)
		if err == nil {
			err = s.do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+1)
		}
		if err != nil {
			return nodes, err
		}
	}
	for _, s := range nodes[1:] {
		first := nodes[0]
		if err := s.do(ctx, "CLUSTER", "MEET", "127.0.0.1", first.port(), first.clusterPort()); err != nil {
			return nodes, err
		}
	}
	for _, s := range nodes {
		if err := s.process.awaitReady(ctx, s.clusterReady); err != nil {
			return nodes, err
		}
	}
	return nodes, nil
}

func (s *RedisServer) port() string        { return s.argv[2] }
func (s *RedisServer) clusterPort() string { return s.argv[4] }

// clusterReady succeeds when the node sees every slot served.
func (s *RedisServer) clusterReady(ctx context.Context) error {
	cl := redis.NewClient(&redis.Options{Addr: s.addr, DisableIdentity: true})
	defer cl.Close()
	info, err := cl.ClusterInfo(ctx).Result()
	if err != nil {
		return err
	}
	if !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, "cluster_known_nodes:3") {
		return fmt.Errorf("%s is not ready:\n%s", s.addr, info)
	}
	return nil
}

func (s *RedisServer) do(ctx context.Context, args ...any) error {
	cl := redis.NewClient(&redis.Options{Addr: s.addr, DisableIdentity: true})
	defer cl.Close()
	if err := cl.Do(ctx, args...).Err(); err != nil {
		return fmt.Errorf("%v at %s: %w", args, s.addr, err)
	}
	return nil
}

func stopAll(servers []*RedisServer) {
	for _, s := range servers {
		s.Stop()
	}
}
