package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/freshet-io/freshet/internal/testenv"
)

// nobody returns an address that nothing listens on: of a port that no client and no other test is given by the system meanwhile.
func nobody(t *testing.T) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", 20_000+rand.IntN(10_000)))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no port is free")
	return ""
}

// says waits until the process has logged all the texts in one line.
func (in *instance) says(texts ...string) {
	in.p.t.Helper()
	eventually(in.p.t, fmt.Sprintf("%s says %q", in.name, texts), func() error {
	lines:
		for line := range strings.Lines(in.tail()) {
			for _, text := range texts {
				if !strings.Contains(line, text) {
					continue lines
				}
			}
			return nil
		}
		return errors.New(in.tail())
	})
}

// TestAStartWaitsForKafka: a process that is started before its brokers says whom it waits for, and goes on when they are there.
func TestAStartWaitsForKafka(t *testing.T) {
	t.Parallel()
	kafka, front := testenv.Kafka(t), nobody(t)
	p := newPlane(t, ordersPlane, front, kafka, testenv.Redis(t), orderPartitions)
	in := p.launch("one")
	in.says("waiting for Kafka", front, "connection refused", "is it running?")
	listening := startProxyAt(t, front)
	listening.set(func() { listening.target = kafka })
	in.awaitStart()
	eventually(t, "caught up", in.caughtUp)
	in.stop()
}

// TestAStartGoesOnWithoutRedis starts a process while Redis is away: lookups are refused, /readyz says why, and what was
// sent meanwhile is there when Redis is.
func TestAStartGoesOnWithoutRedis(t *testing.T) {
	t.Parallel()
	kafka, server := testenv.Kafka(t), testenv.StartRedis(t)
	server.Kill()
	p := newPlane(t, ordersPlane, kafka, kafka, server.Addr(), orderPartitions)
	in := p.run("one")
	in.says("redis cannot be used yet; going on without it", server.Addr())
	events := p.sendOrders(12, 1000)
	if err := in.caughtUp(); err == nil || !strings.Contains(err.Error(), "redis") {
		t.Errorf("/readyz says %v, want redis in it", err)
	}
	resp, err := httpClient.Post(in.http+"/get-online-features", "application/json",
		strings.NewReader(`{"features":["user_orders:ever"],"entities":{"user":["u1"]}}`))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a lookup is answered with %d, want 503", resp.StatusCode)
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkOrders(t, "after Redis came", in, events)
	eventually(t, "caught up", in.caughtUp)
	in.stop()
}
