package bench

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// serverArgument makes the test binary the server that a run starts.
const serverArgument = "serve-lookups-of-a-test"

func TestMain(m *testing.M) {
	if i := slices.Index(os.Args, serverArgument); i >= 0 {
		os.Exit(serveForTest(os.Args[i+1:]))
	}
	os.Exit(m.Run())
}

// serveForTest takes the options as a run gives them.
func serveForTest(args []string) int {
	o := ServerOptions{Logger: slog.New(slog.DiscardHandler), Stdin: os.Stdin, Stdout: os.Stdout}
	for i := 0; i < len(args); i++ {
		switch args[i] {
		case "--plane":
			i++
			o.Plane = args[i]
		case "--redis":
			i++
			o.Redis = args[i]
		default:
			o.Embedded = args[i] == "--embedded=true"
		}
	}
	if err := ServeLookups(context.Background(), o); err != nil {
		_, _ = io.WriteString(os.Stderr, err.Error())
		return 1
	}
	return 0
}

func lookupOptions(t *testing.T) LookupOptions {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return LookupOptions{
		Duration: 20 * time.Millisecond, Clients: 2, Entities: 150, Dir: t.TempDir(), Server: []string{self, serverArgument},
		Logger: slog.New(slog.DiscardHandler), Out: io.Discard,
	}
}

// checkLookups checks that every case was measured in every way, on values that are there.
func checkLookups(t *testing.T, res LookupResult, ways ...string) {
	t.Helper()
	if len(res.Cases) != 4 {
		t.Fatalf("%d cases", len(res.Cases))
	}
	for _, c := range res.Cases {
		var got []string
		for _, m := range c.Measured {
			got = append(got, m.Way)
			if m.Rate <= 0 || m.P99 < m.P50 {
				t.Errorf("%s over %s: %+v", c.Name, m.Way, m)
			}
			if served := slices.Contains([]string{"http", "grpc", "bare net/http"}, m.Way); served != (m.ServerCPU > 0) {
				t.Errorf("%s over %s: the server used %v ms a request", c.Name, m.Way, m.ServerCPU)
			}
		}
		if !slices.Equal(got, ways) {
			t.Errorf("%s is measured over %v; want %v", c.Name, got, ways)
		}
		// The newest tile and a page of four rows: the eight features' states and a time in each.
		if c.Features == 8 && c.Stored < 100*5*(8+2*(16+24+8+8)) {
			t.Errorf("%s reads %d bytes: the windows are not full", c.Name, c.Stored)
		}
	}
}

// TestLookupEmbedded: where there is no redis-server a run needs nothing but itself.
func TestLookupEmbedded(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	o := lookupOptions(t)
	res, err := Lookup(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(res.Redis, "embedded") {
		t.Errorf("measured on a redis %q", res.Redis)
	}
	checkLookups(t, res, "http", "grpc", "bare net/http", "bare HMGET")
	if left, err := os.ReadDir(o.Dir); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// TestLookupRedis: with the services on the PATH a run starts a Redis and measures redis-benchmark too.
func TestLookupRedis(t *testing.T) {
	for _, program := range []string{"redis-server", "redis-benchmark"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip("no " + program)
		}
	}
	res, err := Lookup(t.Context(), lookupOptions(t))
	if err != nil {
		t.Fatal(err)
	}
	checkLookups(t, res, "http", "grpc", "bare net/http", "bare HMGET", "redis-benchmark")
	for _, c := range res.Cases {
		if last := c.Measured[len(c.Measured)-1]; last.P50 <= 0 {
			t.Errorf("%s: redis-benchmark's %+v", c.Name, last)
		}
	}
}

// TestServerThatFails: a server that cannot start is an error that says so, at once.
func TestServerThatFails(t *testing.T) {
	store := &redisServer{url: "redis://127.0.0.1:1"}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := startServer(t.Context(), []string{self, serverArgument}, "absent.yaml", store, io.Discard); err == nil || !strings.Contains(err.Error(), "addresses") {
		t.Errorf("%v", err)
	}
}

// TestParseBenchmark: redis-benchmark's figures are found by their names.
func TestParseBenchmark(t *testing.T) {
	const names = `"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms"` + "\n"
	b, err := parseBenchmark(names + `"HMGET key field","1250.00","0.5","0.1","0.391","0.6","0.703","2.5"` + "\n")
	if want := (benchmarkLine{1250, 0.391, 0.703}); err != nil || b != want {
		t.Errorf("%+v, %v; want %+v", b, err, want)
	}
	for _, bad := range []string{"", "HMGET: 1250.00\n", names, names + `"a","x","0","0","0","0","0","0"` + "\n", "\"test\",\"rps\"\n\"a\",\"1\"\n"} {
		if _, err := parseBenchmark(bad); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}

// A caller that is answered with anything but values ends the run.
func TestHTTPCallerRefuses(t *testing.T) {
	for answer, want := range map[string]string{
		"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n":             "503",
		"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{\"NOT_FOUND\"}":              "without values",
		"HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\n[\"PRESENT\",\"NULL_VALUE\"]": "without values",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n":            "-1 bytes",
		"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n[\"PRESENT\"]":                "",
		"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n[\"PRESENT\"]":                "EOF",
	} {
		c := &httpCaller{conn: discardConn{}, r: bufio.NewReader(strings.NewReader(answer))}
		if err := c.call(t.Context()); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %q", answer, err, want)
		}
	}
}

// discardConn takes requests and says nothing.
type discardConn struct{ net.Conn }

func (discardConn) Write(b []byte) (int, error) { return len(b), nil }
