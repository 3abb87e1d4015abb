package online

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/testenv"
)

func TestTLSWithClientCertificate(t *testing.T) {
	certs := testenv.NewCerts(t)
	plain := testenv.StartRedis(t)
	admin := open(t, "redis://"+plain.Addr(), Options{})
	port := freePort(t)
	for _, kv := range [][2]string{
		{"tls-ca-cert-file", certs.CA}, {"tls-cert-file", certs.ServerCert}, {"tls-key-file", certs.ServerKey}, {"tls-port", port},
	} {
		if err := admin.redis.ConfigSet(t.Context(), kv[0], kv[1]).Err(); err != nil {
			t.Fatal(kv[0], err)
		}
	}
	url := config.Secret("rediss://localhost:" + port)
	ping := func(files *config.TLS) error {
		t.Helper()
		c, err := Open(t.Context(), config.Redis{URL: url, TLS: files}, Options{DialTimeout: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.Ping(t.Context())
	}
	if err := ping(&config.TLS{CA: certs.CA, Cert: certs.ClientCert, Key: certs.ClientKey}); err != nil {
		t.Error(err)
	}
	if err := ping(&config.TLS{CA: certs.CA}); err == nil {
		t.Error("the server took a client without a certificate")
	}
	if err := ping(nil); err == nil {
		t.Error("the client took a server of an unknown authority")
	}
	for _, bad := range []config.Redis{
		{URL: "redis://h", TLS: &config.TLS{CA: certs.CA}},
		{URL: "rediss://h", TLS: &config.TLS{CA: "/no/such/file"}},
	} {
		if _, err := Open(t.Context(), bad, Options{}); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}

func TestUserAndPassword(t *testing.T) {
	s := testenv.StartRedis(t)
	admin := open(t, "redis://"+s.Addr(), Options{})
	const password = "p@ss/w:rd"
	if err := admin.redis.Do(t.Context(), "ACL", "SETUSER", "feature-writer", "on", ">"+password, "~*", "+@all", "-@dangerous").Err(); err != nil {
		t.Fatal(err)
	}
	c := open(t, "redis://feature-writer:p%40ss%2Fw%3Ard@"+s.Addr(), Options{})
	if err := c.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	e := newEntity(t, c, "p", "x")
	wantOutcome(t, e.write(headBlob(version(1), zero, ""), nil, 0), Accepted)

	// CONFIG and INFO are dangerous to Redis: nothing is said, and canaries alone notice loss.
	if err := c.WarnSettings(t.Context()); err != nil {
		t.Error(err)
	}
	nodes, err := c.Nodes(t.Context())
	if err != nil || len(nodes) != 1 || nodes[0].ID != "" {
		t.Fatalf("nodes %+v, error %v", nodes, err)
	}
	lossIsNoticedAndMended(t, c, testenv.Prefix(t))

	wrong := open(t, "redis://feature-writer:hunter2@"+s.Addr(), Options{})
	err = wrong.Ping(t.Context())
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("wrong password: %v", err)
	}
}

func TestWarnSettings(t *testing.T) {
	s := testenv.StartRedis(t)
	var log bytes.Buffer
	c := open(t, "redis://"+s.Addr(), Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for policy, warned := range map[string]bool{
		"noeviction": false, "volatile-lru": false, "volatile-ttl": false, "allkeys-lru": true, "allkeys-random": true,
	} {
		if err := c.redis.ConfigSet(t.Context(), "maxmemory-policy", policy).Err(); err != nil {
			t.Fatal(err)
		}
		log.Reset()
		if err := c.WarnSettings(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(log.String(), policy); got != warned {
			t.Errorf("%s: %q", policy, log.String())
		}
	}
	mini, _ := embedded(t)
	if err := mini.WarnSettings(t.Context()); err != nil {
		t.Error(err)
	}
	if err := open(t, "redis://127.0.0.1:1", Options{}).WarnSettings(t.Context()); err == nil {
		t.Error("no error from a server that is not there")
	}
}

func TestEverythingIsBounded(t *testing.T) {
	addr := freeze(t)
	byTimeout := open(t, "redis://"+addr+"?read_timeout=50ms&write_timeout=50ms&dial_timeout=50ms", Options{})
	byContext := open(t, "redis://"+addr, Options{})
	byCluster := open(t, "redis-cluster://"+addr+"?read_timeout=50ms&write_timeout=50ms&dial_timeout=50ms", Options{})
	batch := []Write{newEntity(t, byTimeout, "p", "x").of(headBlob(version(1), zero, ""), nil, 0)}
	for name, call := range map[string]func(context.Context, *Client) error{
		"Ping":         func(ctx context.Context, c *Client) error { return c.Ping(ctx) },
		"Write":        func(ctx context.Context, c *Client) error { return c.Write(ctx, batch, make([]Outcome, 1)) },
		"Nodes":        func(ctx context.Context, c *Client) error { _, err := c.Nodes(ctx); return err },
		"WarnSettings": func(ctx context.Context, c *Client) error { return c.WarnSettings(ctx) },
		"Fetch": func(ctx context.Context, c *Client) error {
			return c.Fetch(ctx, []FetchRequest{{Key: "k", Fields: []string{"f"}}}, make([][][]byte, 1))
		},
		"Check": func(ctx context.Context, c *Client) error { _, err := NewLoss(c).Check(ctx, "t", zero); return err },
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			if err := call(t.Context(), byTimeout); err == nil {
				t.Error("no error from a server that never answers")
			}
			if err := call(t.Context(), byCluster); err == nil {
				t.Error("no error from a cluster that never answers")
			}
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if err := call(ctx, byContext); err == nil {
				t.Error("no error after the context's deadline")
			}
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

func TestCancelledContext(t *testing.T) {
	c := open(t, "redis://"+testenv.Redis(t), Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	out := []Outcome{Accepted}
	err := c.Write(ctx, []Write{newEntity(t, c, testenv.Prefix(t), "x").of(headBlob(version(1), zero, ""), nil, 0)}, out)
	if !errors.Is(err, context.Canceled) || out[0] != Failed {
		t.Errorf("outcome %v, error %v", out[0], err)
	}
}

func TestScriptIsLoadedAgain(t *testing.T) {
	s := testenv.StartRedis(t)
	c := open(t, "redis://"+s.Addr(), Options{})
	for i := range uint64(3) {
		if err := c.redis.ScriptFlush(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		batch := make([]Write, 3*callEntities)
		for k, key := range keysOf("p", len(batch)) {
			batch[k] = newEntity(t, c, "p", "").of(headBlob(version(i), zero, ""), nil, 0)
			batch[k].Key = []byte(key)
		}
		out := make([]Outcome, len(batch))
		if err := c.Write(t.Context(), batch, out); err != nil || bytes.ContainsRune([]byte{byte(out[0]), byte(out[len(out)-1])}, rune(Failed)) {
			t.Fatalf("outcomes %v, error %v", out, err)
		}
	}
}

func TestMetrics(t *testing.T) {
	m, _ := embedded(t)
	reg := prometheus.NewPedanticRegistry()
	c := open(t, "redis://"+m.redis.(*redis.Client).Options().Addr, Options{Embedded: true, Registerer: reg})
	e := newEntity(t, c, "p", "x")
	e.write(headBlob(version(2), zero, ""), nil, 0)
	e.write(headBlob(version(1), zero, ""), nil, 0)
	e.write(headBlob(version(3), version(3), ""), nil, 0)
	_ = c.Write(t.Context(), []Write{e.of(nil, nil, 0)}, make([]Outcome, 1))
	e.read()
	err := testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP freshet_online_writes_total Writes of an entity's view to Redis by outcome: accepted, refused (a newer version was stored), need_tail (sent again with the tail), failed.
# TYPE freshet_online_writes_total counter
freshet_online_writes_total{outcome="accepted"} 1
freshet_online_writes_total{outcome="failed"} 1
freshet_online_writes_total{outcome="need_tail"} 1
freshet_online_writes_total{outcome="refused"} 1
# HELP freshet_online_fetched_entities_total Entities asked for.
# TYPE freshet_online_fetched_entities_total counter
freshet_online_fetched_entities_total 1
`), "freshet_online_writes_total", "freshet_online_fetched_entities_total")
	if err != nil {
		t.Error(err)
	}
	if _, err := Open(t.Context(), config.Redis{URL: "redis://h"}, Options{Registerer: reg}); err == nil {
		t.Error("the same metrics were registered twice")
	}
	_ = c.Close()
	again := open(t, "redis://h", Options{Registerer: reg})
	if n, err := testutil.GatherAndCount(reg, "freshet_online_writes_total"); err != nil || n != int(outcomes) {
		t.Errorf("%d series, error %v", n, err)
	}
	_ = again
}
