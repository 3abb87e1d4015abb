package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"time"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/online"
)

// LookupOptions say what is looked up, how long, and in which Redis.
type LookupOptions struct {
	Redis    string        // URL; "": a server of the run's own
	Duration time.Duration // of each measurement
	Clients  int           // for the highest rate
	Entities int           // of each view
	Dir      string        // for the definition; it is left empty
	Server   []string      // the command line of a process that runs ServeLookups, without its options
	Logger   *slog.Logger
	Out      io.Writer // progress, for people
}

// LookupResult is what lookups cost. The server is a process of its own; the clients are in this one.
type LookupResult struct {
	Redis      string       `json:"redis"`
	CPUs       int          `json:"cpus"`
	Clients    int          `json:"clients"`
	LoadBefore string       `json:"load_before"`
	LoadAfter  string       `json:"load_after"`
	Cases      []LookupCase `json:"cases"`
}

// LookupCase is one kind of request, measured in several ways.
type LookupCase struct {
	Name     string          `json:"name"`
	Entities int             `json:"entities"`     // of a request
	Features int             `json:"features"`     // of an entity
	Stored   int             `json:"stored_bytes"` // read from Redis for a request
	Measured []LookupMeasure `json:"measured"`
}

// LookupMeasure is one way of asking: a face of the server, or one of the bare ceilings.
type LookupMeasure struct {
	Way       string  `json:"way"`
	P50       float64 `json:"one_client_p50_ms"`
	P99       float64 `json:"one_client_p99_ms"`
	Rate      float64 `json:"requests_per_second"` // of all clients
	RateP99   float64 `json:"all_clients_p99_ms"`
	ServerCPU float64 `json:"server_cpu_ms"` // of a request, at the highest rate; 0 where there is no server
	RedisCPU  float64 `json:"redis_cpu_ms"`  // 0 where Redis does not tell
	ClientCPU float64 `json:"client_cpu_ms"`
}

// lookupCase is a kind of request before it is measured.
type lookupCase struct {
	name     string
	service  string
	view     string
	entities int
}

// lookupCases are measured in this order.
func lookupCases() []lookupCase {
	return []lookupCase{
		{"1 entity x 50 features", "wide", "wide", 1},
		{"100 entities x 8 features", "eight", "eight", 100},
		{"1 entity x 2 sketches", "sketches", "sketches", 1},
		{"100 entities x 2 sketches", "sketches", "sketches", 100},
	}
}

// Lookup fills a Redis as processors would, starts a server and measures lookups over both faces, each beside a bare
// server and the bare reading of the same bytes.
func Lookup(ctx context.Context, o LookupOptions) (res LookupResult, err error) {
	res = LookupResult{CPUs: runtime.NumCPU(), Clients: o.Clients, LoadBefore: Load()}
	store, err := openRedis(ctx, o.Redis)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, store.close()) }()
	res.Redis = store.name
	fmt.Fprintln(o.Out, "redis:", store.name)
	plane, file, remove, err := lookupPlane(o.Dir)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	rdb, err := online.Open(ctx, config.Redis{URL: config.Secret(store.url)}, online.Options{Logger: o.Logger, Embedded: store.embedded, PoolSize: o.Clients})
	if err != nil {
		return res, err
	}
	defer rdb.Close()
	fmt.Fprintf(o.Out, "filling: %d entities in each of %d views\n", o.Entities, len(plane.Views))
	if err := fillViews(ctx, rdb, plane, o.Entities); err != nil {
		return res, err
	}
	srv, err := startServer(ctx, o.Server, file, store, os.Stderr)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, srv.stop()) }()
	for _, c := range lookupCases() {
		m := measuring{LookupOptions: o, plane: plane, rdb: rdb, store: store, srv: srv, lookupCase: c}
		done, err := m.run(ctx)
		if err != nil {
			return res, fmt.Errorf("%s: %w", c.name, err)
		}
		res.Cases = append(res.Cases, done)
	}
	res.LoadAfter = Load()
	return res, nil
}

// measuring is one case on its way.
type measuring struct {
	LookupOptions
	lookupCase
	plane *config.Plane
	rdb   *online.Client
	store *redisServer
	srv   *lookupServer
}

func (m *measuring) run(ctx context.Context) (LookupCase, error) {
	v, err := m.viewOf()
	if err != nil {
		return LookupCase{}, err
	}
	c := LookupCase{Name: m.name, Entities: m.entities, Features: len(v.Features)}
	if c.Stored, err = m.storedBytes(ctx); err != nil {
		return c, err
	}
	ways := []struct {
		name string
		dial func(context.Context) (caller, error)
	}{
		{"http", m.dialHTTP}, {"grpc", m.dialGRPC}, {"bare net/http", m.dialBare}, {"bare HMGET", m.dialStore},
	}
	for _, way := range ways {
		fmt.Fprintf(m.Out, "%s: %s\n", m.name, way.name)
		got, err := m.measure(ctx, way.dial)
		if err != nil {
			return c, fmt.Errorf("%s: %w", way.name, err)
		}
		got.Way = way.name
		if way.name == "bare HMGET" {
			got.ServerCPU = 0
		}
		c.Measured = append(c.Measured, got)
	}
	bench, err := m.redisBenchmark(ctx)
	if err != nil || bench == nil {
		return c, err
	}
	c.Measured = append(c.Measured, *bench)
	return c, nil
}

// measure asks with one client and then with all.
func (m *measuring) measure(ctx context.Context, dial func(context.Context) (caller, error)) (LookupMeasure, error) {
	one, err := askFor(ctx, dial, 1, m.Duration/5) // warms plans, pools and caches
	if err == nil {
		one, err = askFor(ctx, dial, 1, m.Duration)
	}
	if err != nil {
		return LookupMeasure{}, err
	}
	latency := latencyOf(one)
	before, err := m.usage(ctx)
	if err != nil {
		return LookupMeasure{}, err
	}
	started := time.Now()
	all, err := askFor(ctx, dial, m.Clients, m.Duration)
	if err != nil {
		return LookupMeasure{}, err
	}
	took := time.Since(started)
	after, err := m.usage(ctx)
	if err != nil {
		return LookupMeasure{}, err
	}
	n := float64(len(all))
	perRequest := func(d time.Duration) float64 { return d.Seconds() * 1e3 / n }
	return LookupMeasure{
		P50: latency.P50, P99: latency.P99, Rate: n / took.Seconds(), RateP99: latencyOf(all).P99,
		ServerCPU: perRequest(after.server - before.server), RedisCPU: perRequest(after.redis - before.redis),
		ClientCPU: perRequest(after.client - before.client),
	}, nil
}

// usage is the CPU time that each process has used so far.
type usage struct{ server, redis, client time.Duration }

func (m *measuring) usage(ctx context.Context) (u usage, err error) {
	if u.server, err = m.srv.cpu(ctx); err != nil {
		return u, err
	}
	if u.redis, err = m.store.cpu(ctx); err != nil {
		return u, err
	}
	u.client = cpuTime()
	return u, nil
}
