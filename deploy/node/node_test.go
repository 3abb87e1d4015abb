package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/deploy/embedded"
)

const definition = `
project: shop
entities:
  - name: store
    join_keys: [{name: store, type: string}]
  - name: item
    join_keys: [{name: item, type: int64}]
sources:
  - name: sales
    topic: shop.sales
    key: [store]
    schema: [{name: store, type: string, required: true}, {name: item, type: int64, required: true}]
feature_views:
  - {name: stores, entity: store, source: sales, features: [{name: sales, aggregate: count}]}
  - {name: items, entity: item, source: sales, features: [{name: item_sales, aggregate: count}]}
feature_services:
  - {name: restock, features: [stores, items]}
`

// parse returns a plane whose listeners take free ports.
func parse(t *testing.T) *config.Plane {
	t.Helper()
	p, err := config.Parse([]config.File{{Name: "plane.yaml", Data: []byte(definition)}}, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	p.Listen.HTTP, p.Listen.GRPC, p.Listen.Admin = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	p.Processing.StateDir = t.TempDir()
	return p
}

// connect gives the plane services in this process.
func connect(t *testing.T, p *config.Plane) {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	k, err := embedded.StartKafka(embedded.KafkaOptions{Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	r, err := embedded.StartRedis()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	p.Connections.Kafka = &config.Kafka{Brokers: k.Brokers()}
	p.Connections.Redis = &config.Redis{URL: config.Secret(r.URL())}
}

// running is a process under test.
type running struct {
	at   Addresses
	stop func() error // ends it and returns what Run returned
}

func start(t *testing.T, o Options) running {
	t.Helper()
	o.Logger, o.Version = slog.New(slog.NewTextHandler(testWriter{t}, nil)), "test"
	ready, done := make(chan Addresses, 1), make(chan error, 1)
	o.Ready = func(a Addresses) { ready <- a }
	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- Run(ctx, o) }()
	var once error
	stopped := false
	stop := func() error {
		if cancel(); !stopped {
			once, stopped = <-done, true
		}
		return once
	}
	t.Cleanup(func() { _ = stop() })
	select {
	case at := <-ready:
		return running{at, stop}
	case err := <-done:
		t.Fatalf("it ended before it was ready: %v", err)
	case <-time.After(30 * time.Second):
		t.Fatal("it is not ready after 30 s")
	}
	return running{}
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

// post returns the status and body of a request.
func post(t *testing.T, url, token, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	req.Header.Set("Content-Type", "application/json")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

// values looks one store and item up.
func values(t *testing.T, at Addresses, token string) string {
	t.Helper()
	code, body := post(t, "http://"+at.HTTP+"/get-online-features", token, `{"feature_service":"restock","entities":{"store":["south"],"item":[7]}}`)
	if code == http.StatusServiceUnavailable {
		return body // it has just started
	}
	if code != http.StatusOK {
		t.Fatalf("lookup answers %d: %s", code, body)
	}
	var answer struct {
		Results []struct{ Values []json.RawMessage }
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || len(answer.Results) != 4 {
		t.Fatalf("lookup answers %s (%v)", body, err)
	}
	return string(bytes.Join([][]byte{answer.Results[2].Values[0], answer.Results[3].Values[0]}, []byte(" ")))
}

func TestEventsBecomeFeaturesAndOutliveTheProcess(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	plane := parse(t)
	t.Run("process", func(t *testing.T) { // its cleanups run before the check for leaks
		connect(t, plane)
		o := Options{Plane: plane, Roles: DefaultRoles(plane), EmbeddedRedis: true, CreateSources: 2}
		first := start(t, o)
		for range 3 {
			if code, body := post(t, "http://"+first.at.HTTP+"/v1/events/sales", "", `{"store":"south","item":7}`); code/100 != 2 {
				t.Fatalf("the gateway answers %d: %s", code, body)
			}
		}
		await(t, func() (string, bool) { v := values(t, first.at, ""); return v, v == "3 3" })
		await(t, func() (string, bool) {
			resp, err := http.Get("http://" + first.at.Admin + "/readyz")
			if err != nil {
				return err.Error(), false
			}
			defer resp.Body.Close()
			b, _ := io.ReadAll(resp.Body)
			return string(b), resp.StatusCode == http.StatusOK
		})
		if err := first.stop(); err != nil {
			t.Fatalf("it stops with %v", err)
		}
		if _, err := net.DialTimeout("tcp", first.at.HTTP, time.Second); err == nil {
			t.Error("the HTTP listener outlives the process")
		}
		second := start(t, o)
		if code, body := post(t, "http://"+second.at.HTTP+"/v1/events/sales", "", `{"store":"south","item":7}`); code/100 != 2 {
			t.Fatalf("the gateway answers %d: %s", code, body)
		}
		await(t, func() (string, bool) { v := values(t, second.at, ""); return v, v == "4 4" })
		if err := second.stop(); err != nil {
			t.Fatalf("it stops with %v", err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
}

// await calls what until it is done, and says what it last was when that takes too long.
func await(t *testing.T, what func() (is string, done bool)) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		is, done := what()
		if done {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after 30 s it is still %s", is)
		}
	}
}

func TestTokensGuardBothFacesOfHTTP(t *testing.T) {
	plane := parse(t)
	connect(t, plane)
	plane.Listen.TokensFile = filepath.Join(t.TempDir(), "tokens")
	tokens := "till 0123456789abcdef-till sources=sales\nmodel 0123456789abcdef-model services=restock\n"
	if err := os.WriteFile(plane.Listen.TokensFile, []byte(tokens), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, Options{Plane: plane, Roles: DefaultRoles(plane), EmbeddedRedis: true, CreateSources: 1})
	const byName = `{"features":["stores:sales"],"entities":{"store":["south"]}}`
	const event, lookup = `{"store":"south","item":7}`, `{"feature_service":"restock","entities":{"store":["south"],"item":[7]}}`
	await(t, func() (string, bool) { // a process that has just started does not know yet which views are whole
		code, body := post(t, "http://"+p.at.HTTP+"/get-online-features", "0123456789abcdef-model", lookup)
		return fmt.Sprint(code, " ", body), code != http.StatusServiceUnavailable
	})
	for _, c := range []struct {
		path, token, body string
		want              int
	}{
		{"/v1/events/sales", "", event, 401},
		{"/v1/events/sales", "0123456789abcdef-model", event, 403},
		{"/get-online-features", "", lookup, 401},
		{"/get-online-features", "0123456789abcdef-other", lookup, 401},
		{"/get-online-features", "0123456789abcdef-model", lookup, 200},
		{"/get-online-features", "0123456789abcdef-till", lookup, 403},
		{"/get-online-features", "0123456789abcdef-model", byName, 403},
	} {
		if code, body := post(t, "http://"+p.at.HTTP+c.path, c.token, c.body); code != c.want {
			t.Errorf("POST %s with token %q: %d (%s), want %d", c.path, c.token, code, body, c.want)
		}
	}
	if code, body := post(t, "http://"+p.at.HTTP+"/v1/events/sales", "0123456789abcdef-till", event); code/100 != 2 {
		t.Errorf("the till's event: %d %s", code, body)
	}
	if resp, err := http.Get("http://" + p.at.HTTP + "/health"); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("a probe without a token: %v %v", resp, err)
	}
	if code, body := post(t, "http://"+p.at.HTTP+"/v1/event/sales", "", event); code != 404 || !strings.Contains(body, `"POST /v1/events/{source}"`) {
		t.Errorf("a path that nothing is at: %d %s", code, body)
	}
	if err := p.stop(); err != nil {
		t.Error(err)
	}
}

// TestReadyzNamesTheKafkaThatIsWaitedFor, before anything else has started.
func TestReadyzNamesTheKafkaThatIsWaitedFor(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := parse(t)
	p.Connections = config.Connections{Kafka: &config.Kafka{Brokers: []string{"127.0.0.1:1"}}, Redis: &config.Redis{URL: "redis://127.0.0.1:1"}}
	p.Listen.Admin = free.Addr().String()
	free.Close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- Run(ctx, Options{Plane: p, Roles: Process, Logger: slog.New(slog.DiscardHandler), Version: "test"})
	}()
	await(t, func() (string, bool) {
		resp, err := http.Get("http://" + p.Listen.Admin + "/readyz")
		if err != nil {
			return err.Error(), false
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return fmt.Sprint(string(body), err), strings.Contains(string(body), "kafka at 127.0.0.1:1 does not answer")
	})
	cancel()
	if err := <-done; err == nil || !strings.Contains(err.Error(), "no Kafka at 127.0.0.1:1") {
		t.Errorf("it ends with %v", err)
	}
}

func TestRolesNeedTheirServices(t *testing.T) {
	kafka, redis := &config.Kafka{Brokers: []string{"127.0.0.1:1"}}, &config.Redis{URL: "redis://127.0.0.1:1"}
	for _, c := range []struct {
		roles Roles
		conn  config.Connections
		want  string
	}{
		{Ingest, config.Connections{Redis: redis}, "connections.kafka"},
		{Process, config.Connections{Redis: redis}, "connections.kafka"},
		{Process, config.Connections{Kafka: kafka}, "connections.redis"},
		{Serve, config.Connections{Kafka: kafka}, "connections.redis"},
		{Offline, config.Connections{Redis: redis, Parquet: &config.Parquet{URL: "file:///nowhere"}}, "connections.kafka"},
		{Offline, config.Connections{Kafka: kafka}, "connections.clickhouse or connections.parquet"},
		{0, config.Connections{Kafka: kafka, Redis: redis}, "no such roles"},
	} {
		p := parse(t)
		p.Connections = c.conn
		err := Run(t.Context(), Options{Plane: p, Roles: c.roles, Logger: slog.New(slog.DiscardHandler)})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("roles %q: %v, want %q", c.roles, err, c.want)
		}
	}
}

func TestATakenPortIsNamed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := parse(t)
	connect(t, p)
	p.Listen.HTTP = l.Addr().String()
	err = Run(t.Context(), Options{Plane: p, Roles: Serve, Logger: slog.New(slog.DiscardHandler), Version: "test"})
	var op *net.OpError
	if !errors.As(err, &op) || !strings.Contains(err.Error(), "listen.http") || !strings.Contains(err.Error(), p.Listen.HTTP) {
		t.Errorf("got %v", err)
	}
}

// TestOpenListenersAreWarnedOf, each by its name, before they open: here one cannot.
func TestOpenListenersAreWarnedOf(t *testing.T) {
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := parse(t)
	connect(t, p)
	p.Listen.HTTP, p.Listen.GRPC, p.Listen.Admin = l.Addr().String(), "0.0.0.0:0", "0.0.0.0:0"
	var log bytes.Buffer
	err = Run(t.Context(), Options{Plane: p, Roles: Serve, Logger: slog.New(slog.NewTextHandler(&log, nil)), Version: "test"})
	if err == nil {
		t.Error("it ran on a port that is taken")
	}
	for _, face := range []string{"http", "grpc", "admin"} {
		if !strings.Contains(log.String(), `level=WARN msg="`+face+" listens on ") {
			t.Errorf("nothing is said of %s:\n%s", face, log.String())
		}
	}
}

func TestRolesAreNamed(t *testing.T) {
	r, err := ParseRoles([]string{"serve", "ingest"})
	if err != nil || r != Ingest|Serve || r.String() != "ingest,serve" {
		t.Errorf("got %v, %v", r, err)
	}
	if r := DefaultRoles(&config.Plane{}); r.String() != "ingest,process,serve" {
		t.Errorf("without a store a process has the roles %s", r)
	}
	if r := DefaultRoles(&config.Plane{Connections: config.Connections{Parquet: &config.Parquet{}}}); r != AllRoles&^Monitor {
		t.Errorf("with a store a process has the roles %s", r)
	}
	if r := DefaultRoles(&config.Plane{Monitors: []*config.Monitor{{}}}); r != AllRoles&^Offline {
		t.Errorf("with a monitor a process has the roles %s", r)
	}
	for _, names := range [][]string{{}, {"serve", "srve"}} {
		if _, err := ParseRoles(names); err == nil || !strings.Contains(err.Error(), "roles are ingest, process, serve, offline, monitor") {
			t.Errorf("ParseRoles(%q) = %v", names, err)
		}
	}
}
