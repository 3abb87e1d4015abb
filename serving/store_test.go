package serving

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/online"
	"github.com/freshet-io/freshet/internal/testenv"
)

// openRedis returns a client of a Redis server at url that holds what the memory store holds.
func openRedis(t testing.TB, url string, opts online.Options, s *memStore) *online.Client {
	t.Helper()
	c, err := online.Open(t.Context(), config.Redis{URL: config.Secret(url)}, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	var writes []online.Write
	for key, hash := range s.hashes {
		for field, head := range hash {
			if base, ok := strings.CutSuffix(field, ":h"); ok {
				tail := base + ":t"
				writes = append(writes, online.Write{Key: []byte(key), HeadField: field, TailField: tail, Head: head, Tail: hash[tail]})
			}
		}
	}
	out := make([]online.Outcome, len(writes))
	if err := c.Write(t.Context(), writes, out); err != nil {
		t.Fatal(err)
	}
	if i := slices.IndexFunc(out, func(o online.Outcome) bool { return o != online.Accepted }); i >= 0 {
		t.Fatalf("write of %s: %s", writes[i].Key, out[i])
	}
	return c
}

// Lookups over a Redis, embedded or real, answer what they answer over memory.
func TestLookupsOverRedis(t *testing.T) {
	l, s, p := setup(t, Options{})
	p.Project = testenv.Prefix(t)
	renamed := newStore()
	for key, hash := range s.hashes {
		renamed.hashes[strings.Replace(key, "{flights:", "{"+p.Project+":", 1)] = hash
	}
	bodies := []string{
		`{"features":["carrier_delays:mean_delay_1h","carrier_delays:last_dest","route_delays:mean_delay_24h"],` +
			`"entities":{"carrier":["AA","UA","ZZ","AA"],"origin":["JFK","JFK","X","JFK"],"dest":["LAX","BOS","Y","LAX"]}}`,
		`{"features":["user_profile:score","user_profile:tags","user_profile:token"],"entities":{"user_id":[1001,-1]}}`,
	}
	f := func(t *testing.T, url string, opts online.Options) {
		over, err := New(p, openRedis(t, url, opts, renamed), Options{Clock: l.opts.Clock})
		if err != nil {
			t.Fatal(err)
		}
		memory, err := New(p, renamed, Options{Clock: l.opts.Clock})
		if err != nil {
			t.Fatal(err)
		}
		for _, body := range bodies {
			got, want := post(t, over, body), post(t, memory, body)
			if got.Code != 200 || got.Body.String() != want.Body.String() {
				t.Errorf("%s:\n got %d %s\nwant %s", body, got.Code, got.Body, want.Body)
			}
			if !strings.Contains(want.Body.String(), `"PRESENT"],"event_timestamps":["2026-03-01`) && !strings.Contains(want.Body.String(), "NOT_FOUND") {
				t.Errorf("%s: nothing was found: %s", body, want.Body)
			}
		}
	}
	t.Run("Embedded", func(t *testing.T) {
		m := miniredis.RunT(t)
		f(t, "redis://"+m.Addr(), online.Options{Embedded: true})
	})
	t.Run("Real", func(t *testing.T) {
		f(t, "redis://"+testenv.Redis(t), online.Options{})
	})
}

// A Redis that is gone is a 503 within the request's time, and not the client's mistake.
func TestLookupsWhenRedisIsGone(t *testing.T) {
	_, s, p := setup(t, Options{})
	m := miniredis.RunT(t)
	c := openRedis(t, "redis://"+m.Addr(), online.Options{Embedded: true}, s)
	m.Close()
	l, err := New(p, c, Options{Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	w := post(t, l, `{"features":["carrier_delays:last_dest"],"entities":{"carrier":["AA"]}}`)
	if w.Code != http.StatusServiceUnavailable || time.Since(start) > 2500*time.Millisecond {
		t.Errorf("status %d after %v: %s", w.Code, time.Since(start), w.Body)
	}
}

// BenchmarkServer measures whole lookups: a client, the server and a real Redis on this machine.
func BenchmarkServer(b *testing.B) {
	for _, c := range []struct{ entities, views, features, clients int }{{1, 1, 50, 1}, {1, 1, 50, 8}, {100, 1, 8, 1}, {100, 1, 8, 8}} {
		b.Run(fmt.Sprintf("%dx%d_%dclients", c.entities, c.views*c.features, c.clients), func(b *testing.B) {
			p, s := benchPlane(b, c.views, c.features, c.entities)
			l, err := New(p, openRedis(b, "redis://"+testenv.Redis(b), online.Options{}, s), Options{Clock: func() time.Time { return now }})
			if err != nil {
				b.Fatal(err)
			}
			srv := httptest.NewServer(l.Handler())
			defer srv.Close()
			body := benchBody(p, c.entities)
			request := fmt.Sprintf("POST /get-online-features HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			b.ReportAllocs()
			runClients(b, srv.Listener.Addr().String(), []byte(request), c.clients)
		})
	}
}

// runClients sends b.N requests over so many connections and reports the rate and the latencies.
func runClients(b *testing.B, addr string, request []byte, clients int) {
	times := make([][]time.Duration, clients)
	errs := make(chan error, clients)
	b.ResetTimer()
	start, cpu := time.Now(), cpuTime(b)
	for c := range clients {
		go func() {
			var err error
			times[c], err = closedLoop(b.Context(), addr, request, (b.N+c)/clients)
			errs <- err
		}()
	}
	for range clients {
		if err := <-errs; err != nil {
			b.Error(err)
		}
	}
	took := time.Since(start)
	all := slices.Concat(times...)
	slices.Sort(all)
	if len(all) > 0 {
		b.ReportMetric(float64(len(all))/took.Seconds(), "req/s")
		b.ReportMetric(float64((cpuTime(b)-cpu).Microseconds())/float64(len(all)), "cpu-µs/req")
		b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-µs")
		b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
	}
}

// cpuTime returns what this process, server and client, has used: the number that other work on the machine changes
// least.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func closedLoop(ctx context.Context, addr string, request []byte, n int) ([]time.Duration, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	r := bufio.NewReaderSize(conn, 256<<10)
	took := make([]time.Duration, 0, n)
	for range n {
		start := time.Now()
		if _, err := conn.Write(request); err != nil {
			return took, err
		}
		length := 0
		for line := []byte("begin"); len(line) > 2; {
			if line, err = r.ReadSlice('\n'); err != nil {
				return took, err
			}
			if n, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
				if length, err = strconv.Atoi(string(bytes.TrimSpace(n))); err != nil {
					return took, err
				}
			}
			if bytes.HasPrefix(line, []byte("HTTP/1.1")) && !bytes.HasPrefix(line, []byte("HTTP/1.1 200")) {
				return took, fmt.Errorf("%s", line)
			}
		}
		if _, err := r.Discard(length); err != nil {
			return took, err
		}
		took = append(took, time.Since(start))
	}
	return took, nil
}
