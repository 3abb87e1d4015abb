package bench

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/freshet-io/freshet/deploy/embedded"
)

// redisServer is the Redis of a run: one that was named, one that the run starts, or one in this process.
type redisServer struct {
	name, url string
	embedded  bool
	client    *redis.Client // nil where only a single server tells what is asked
	closers   []func() error
}

// openRedis finds the Redis of a run. Without a URL it starts the redis-server on the PATH, and without one an embedded
// one, whose figures are not Redis's.
func openRedis(ctx context.Context, named string) (*redisServer, error) {
	if named != "" {
		s := &redisServer{url: named, name: "named by --redis"}
		if opts, err := redis.ParseURL(named); err == nil {
			s.connect(opts)
		}
		return s, nil
	}
	path, err := exec.LookPath("redis-server")
	if err != nil {
		r, err := embedded.StartRedis()
		if err != nil {
			return nil, err
		}
		return &redisServer{
			url: r.URL(), embedded: true, name: "embedded in the measuring process: no redis-server is on the PATH",
			closers: []func() error{func() error { r.Close(); return nil }},
		}, nil
	}
	return launchRedis(ctx, path)
}

func (s *redisServer) connect(opts *redis.Options) {
	s.client = redis.NewClient(opts)
	s.closers = append(s.closers, s.client.Close)
}

// launchRedis starts a server without persistence on a free port.
func launchRedis(ctx context.Context, path string) (s *redisServer, err error) {
	addr, err := freeAddr(ctx)
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "freshet-bench-redis-")
	if err != nil {
		return nil, err
	}
	s = &redisServer{url: "redis://" + addr, name: path + ", started for this run", closers: []func() error{func() error { return os.RemoveAll(dir) }}}
	cmd := exec.CommandContext(ctx, path, "--port", port, "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--appendonly", "no")
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", path, err), s.close())
	}
	s.closers = append(s.closers, func() error {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait() // ended by a signal
		return nil
	})
	s.connect(&redis.Options{Addr: addr})
	for tries := 0; ; tries++ {
		if err = s.client.Ping(ctx).Err(); err == nil {
			return s, nil
		}
		if tries == 100 || ctx.Err() != nil {
			return nil, errors.Join(fmt.Errorf("%s does not answer: %w", path, err), s.close())
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// freeAddr is an address that nobody listens on.
func freeAddr(ctx context.Context) (string, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}

// close undoes everything, the last first.
func (s *redisServer) close() error {
	var errs []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		errs = append(errs, s.closers[i]())
	}
	return errors.Join(errs...)
}

// cpu is the CPU time that the server has used, 0 where it does not tell.
func (s *redisServer) cpu(ctx context.Context) (sum time.Duration, err error) {
	if s.client == nil {
		return 0, nil
	}
	info, err := s.client.Info(ctx, "cpu").Result()
	if err != nil {
		return 0, fmt.Errorf("what redis has used: %w", err)
	}
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name != "used_cpu_user" && name != "used_cpu_sys" {
			continue
		}
		d, err := time.ParseDuration(value + "s")
		if err != nil {
			return 0, fmt.Errorf("what redis has used: %w", err)
		}
		sum += d
	}
	return sum, nil
}

// redisBenchmark asks for the same bytes with redis-benchmark, which reads one entity again and again: the floor of what
// any client can do. It is nil where there is no redis-benchmark or the server is not one that it reaches by host and
// port.
func (m *measuring) redisBenchmark(ctx context.Context) (*LookupMeasure, error) {
	path, err := exec.LookPath("redis-benchmark")
	u, badURL := url.Parse(m.store.url)
	if err != nil || badURL != nil || u.Scheme != "redis" || u.User != nil || m.store.embedded {
		return nil, nil
	}
	v, err := m.viewOf()
	if err != nil {
		return nil, err
	}
	fields := newViewFields(v, allOf(v))
	run := func(clients, requests int) (benchmarkLine, error) {
		port := u.Port()
		if port == "" {
			port = "6379"
		}
		args := []string{
			"-h", u.Hostname(), "-p", port, "--csv", "-P", strconv.Itoa(m.entities), "-c", strconv.Itoa(clients),
			"-n", strconv.Itoa(requests * m.entities), "HMGET", string(entityKey(m.plane, v, 0)),
		}
		out, err := exec.CommandContext(ctx, path, append(args, fields.at(time.Now())...)...).Output()
		if err != nil {
			return benchmarkLine{}, fmt.Errorf("redis-benchmark: %w", err)
		}
		return parseBenchmark(string(out))
	}
	fmt.Fprintf(m.Out, "%s: redis-benchmark\n", m.name)
	probe, err := run(1, 200)
	if err != nil {
		return nil, err
	}
	perSecond := probe.rate / float64(m.entities)
	one, err := run(1, max(200, int(perSecond*m.Duration.Seconds())))
	if err != nil {
		return nil, err
	}
	before, err := m.store.cpu(ctx)
	if err != nil {
		return nil, err
	}
	n := max(16*m.Clients, int(2*perSecond*m.Duration.Seconds()))
	all, err := run(m.Clients, n)
	if err != nil {
		return nil, err
	}
	after, err := m.store.cpu(ctx)
	if err != nil {
		return nil, err
	}
	return &LookupMeasure{
		Way: "redis-benchmark", P50: one.p50, P99: one.p99, Rate: all.rate / float64(m.entities), RateP99: all.p99,
		RedisCPU: (after - before).Seconds() * 1e3 / float64(n),
	}, nil
}

// benchmarkLine is what redis-benchmark says of one test: commands a second, and milliseconds.
type benchmarkLine struct{ rate, p50, p99 float64 }

// parseBenchmark reads redis-benchmark's CSV: a line of names and a line of values.
func parseBenchmark(out string) (b benchmarkLine, err error) {
	r := csv.NewReader(strings.NewReader(out))
	r.LazyQuotes, r.FieldsPerRecord = true, -1
	lines, err := r.ReadAll()
	if err != nil || len(lines) < 2 {
		return b, fmt.Errorf("redis-benchmark printed %q", out)
	}
	names, values := lines[len(lines)-2], lines[len(lines)-1]
	for _, want := range []struct {
		name string
		to   *float64
	}{{"rps", &b.rate}, {"p50_latency_ms", &b.p50}, {"p99_latency_ms", &b.p99}} {
		found := false
		for i := range min(len(names), len(values)) {
			if names[i] != want.name {
				continue
			}
			found = true
			if *want.to, err = strconv.ParseFloat(values[i], 64); err != nil {
				return b, fmt.Errorf("redis-benchmark: %s of %q", want.name, values[i])
			}
		}
		if !found {
			return b, fmt.Errorf("redis-benchmark printed no %s: %q", want.name, out)
		}
	}
	return b, nil
}
