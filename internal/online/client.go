package online

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/security"
)

// Options are what the definition does not say about a connection. The zero value is usable. What the URL sets wins.
type Options struct {
	// Embedded is for a miniredis of this process: writes are plain commands, and this Client is the only writer.
	Embedded bool
	// Name is shown by CLIENT LIST; default "freshet".
	Name string
	// Logger gets warnings about the server's settings; default none.
	Logger *slog.Logger
	// Registerer gets the metrics; nil: none are exported.
	Registerer prometheus.Registerer
	// PoolSize bounds the connections to each node; default 16.
	PoolSize int
	// DialTimeout, ReadTimeout and WriteTimeout bound each step where the context does not end earlier: a batch is written
	// within WriteTimeout and answered within ReadTimeout. Defaults 2s, 3s and 3s.
	DialTimeout, ReadTimeout, WriteTimeout time.Duration
}

// Client talks to one Redis server, cluster, or Sentinel setup. It is safe for concurrent use.
//
// Every call is bounded by the earlier of its context's deadline and the timeouts. A context that is cancelled without a
// deadline stops a call between round trips, not within one.
type Client struct {
	redis    redis.UniversalClient
	cluster  *redis.ClusterClient // nil unless a cluster
	addr     string               // of the one server, or the name of its master
	opts     Options
	timeouts time.Duration // of one exchange: connect, write and read
	metrics  *metrics
	scratch  sync.Pool // of *batchScratch

	embedded sync.Mutex // held by an embedded write from its read to its transaction
}

// Open prepares a client for c. It reads certificate files but connects to nothing: a start without Redis goes on, and
// Ping tells whether Redis is there.
func Open(_ context.Context, c config.Redis, opts Options) (*Client, error) {
	t, err := parseURL(string(c.URL))
	if err != nil {
		return nil, err
	}
	if c.TLS != nil && !t.tls {
		return nil, errors.New("redis url: tls is configured, but the scheme is not rediss, rediss-cluster or rediss-sentinel")
	}
	opts = opts.withDefaults(t)
	u := &redis.UniversalOptions{
		Addrs: t.addrs, ClientName: opts.Name, DB: t.db,
		Username: t.user, Password: t.password, SentinelUsername: t.sentinelUser, SentinelPassword: t.sentinelPassword,
		MasterName: t.master, IsClusterMode: t.topology == cluster,

		DialTimeout: opts.DialTimeout, ReadTimeout: opts.ReadTimeout, WriteTimeout: opts.WriteTimeout,
		ContextTimeoutEnabled: true,
		// One repetition gets over a pooled connection that has died. Everything sent is idempotent: reads, and writes
		// that the guard accepts again. A caller that wants more has a better idea of when.
		DialerRetries: 1, MaxRetries: 1, MinRetryBackoff: 8 * time.Millisecond, MaxRetryBackoff: 64 * time.Millisecond,
		MaxRedirects: 3,

		// Pipelines share the one bounded pool.
		PipelinePoolSize: -1,
		PoolSize:         opts.PoolSize, MaxActiveConns: opts.PoolSize, PoolTimeout: opts.ReadTimeout,
		ConnMaxIdleTime: 5 * time.Minute, ReadBufferSize: 64 << 10, WriteBufferSize: 64 << 10,

		// The third protocol has the client look for notifications before each reply; nothing here subscribes to any.
		Protocol:                 2,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if t.tls {
		var files config.TLS
		if c.TLS != nil {
			files = *c.TLS
		}
		if u.TLSConfig, err = security.ClientTLS(files); err != nil {
			return nil, fmt.Errorf("redis %w", err)
		}
	}
	cl := &Client{redis: redis.NewUniversalClient(u), addr: t.addrs[0], opts: opts}
	cl.timeouts = opts.DialTimeout + opts.WriteTimeout + opts.ReadTimeout
	switch t.topology {
	case cluster:
		cl.cluster = cl.redis.(*redis.ClusterClient)
	case sentinel:
		cl.addr = t.master
	case single:
	}
	if cl.metrics, err = newMetrics(opts.Registerer, cl.redis); err != nil {
		_ = cl.redis.Close()
		return nil, err
	}
	cl.scratch.New = func() any { return new(batchScratch) }
	return cl, nil
}

func (o Options) withDefaults(t target) Options {
	first := func(ds ...time.Duration) time.Duration {
		for _, d := range ds {
			if d > 0 {
				return d
			}
		}
		return 0
	}
	o.DialTimeout = first(t.dial, o.DialTimeout, 2*time.Second)
	o.ReadTimeout = first(t.read, o.ReadTimeout, 3*time.Second)
	o.WriteTimeout = first(t.write, o.WriteTimeout, 3*time.Second)
	if t.poolSize > 0 {
		o.PoolSize = t.poolSize
	}
	if o.PoolSize <= 0 {
		o.PoolSize = 16
	}
	if o.Name == "" {
		o.Name = "freshet"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Close ends all connections. Calls in flight fail.
func (c *Client) Close() error {
	c.metrics.unregister()
	return c.redis.Close()
}

// Ping asks every node whether it is there.
func (c *Client) Ping(ctx context.Context) error {
	return c.eachNode(ctx, func(ctx context.Context, addr string, node *redis.Client) error {
		if err := node.Ping(ctx).Err(); err != nil {
			return fmt.Errorf("ping redis at %s: %w", addr, err)
		}
		return nil
	})
}

// WarnSettings logs a warning for each node that may evict entities although they have not expired. Where CONFIG is
// forbidden or unknown, as with many hosted servers, nothing can be said and nothing is.
func (c *Client) WarnSettings(ctx context.Context) error {
	if c.opts.Embedded {
		return nil
	}
	return c.eachNode(ctx, func(ctx context.Context, addr string, node *redis.Client) error {
		got, err := node.ConfigGet(ctx, "maxmemory-policy").Result()
		var refused redis.Error
		if errors.As(err, &refused) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("maxmemory-policy of redis at %s: %w", addr, err)
		}
		if policy := got["maxmemory-policy"]; evictsAnything(policy) {
			c.opts.Logger.WarnContext(ctx, "redis may evict entities that are in use; set maxmemory-policy to noeviction or a volatile policy",
				"addr", addr, "maxmemory_policy", policy)
		}
		return nil
	})
}

// evictsAnything says whether a policy evicts keys without an expiry: "allkeys-lru" and its like.
func evictsAnything(policy string) bool {
	return policy != "" && policy != "noeviction" && (len(policy) < 9 || policy[:9] != "volatile-")
}

// eachNode calls fn for every master at once and joins the errors. A context without a deadline gets one.
func (c *Client) eachNode(ctx context.Context, fn func(ctx context.Context, addr string, node *redis.Client) error) error {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	if c.cluster == nil {
		return fn(ctx, c.addr, c.redis.(*redis.Client))
	}
	var mu sync.Mutex
	var errs []error
	err := c.cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
		if err := fn(ctx, node.Options().Addr, node); err != nil {
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("nodes of the redis cluster: %w", err)
	}
	return errors.Join(errs...)
}

// bound gives a context without a deadline one that suits an exchange and its repetition.
func (c *Client) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, 2*c.timeouts)
}
