package testenv_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/internal/testenv"
)

func TestSharedRedisAnswers(t *testing.T) {
	cl := redis.NewClient(&redis.Options{Addr: testenv.Redis(t)})
	defer cl.Close()
	key := testenv.Prefix(t) + "key"
	if err := cl.Set(t.Context(), key, "v", time.Minute).Err(); err != nil {
		t.Fatal(err)
	}
	if got := cl.Get(t.Context(), key).Val(); got != "v" {
		t.Errorf("read %q, want v", got)
	}
}

func TestKafkaKeepsRecordsOverKill(t *testing.T) {
	server := testenv.StartKafka(t)
	cl, err := kgo.NewClient(kgo.SeedBrokers(server.Addr()), kgo.ConsumeTopics("kept"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if _, err := kadm.NewClient(cl).CreateTopic(t.Context(), 1, 1, nil, "kept"); err != nil {
		t.Fatal(err)
	}
	if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "kept", Value: []byte("v")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	if conn, err := net.DialTimeout("tcp", server.Addr(), time.Second); err == nil {
		conn.Close()
		t.Error("the broker still accepts connections after it was killed")
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	fetches := cl.PollFetches(ctx)
	if err := fetches.Err(); err != nil {
		t.Fatal(err)
	}
	if r := fetches.Records(); len(r) != 1 || string(r[0].Value) != "v" {
		t.Errorf("read %d records, want the one that was written", len(r))
	}
}

func TestRedisRestarts(t *testing.T) {
	for _, tc := range []struct {
		name string
		args []string
		want string
	}{
		{"empty without a log", nil, ""},
		{"with its data with one", []string{"--appendonly", "yes", "--appendfsync", "always"}, "v"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server := testenv.StartRedis(t, tc.args...)
			cl := redis.NewClient(&redis.Options{Addr: server.Addr()})
			defer cl.Close()
			if err := cl.Set(t.Context(), "k", "v", 0).Err(); err != nil {
				t.Fatal(err)
			}
			server.Kill()
			if err := server.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := cl.Get(t.Context(), "k").Val(); got != tc.want {
				t.Errorf("read %q after a restart, want %q", got, tc.want)
			}
		})
	}
}

func TestClickHouseKeepsRowsOverKill(t *testing.T) {
	server := testenv.StartClickHouse(t)
	ask := func(sql string) string {
		_, web, _ := strings.Cut(server.Addr(), ",")
		resp, err := http.Post("http://"+web, "text/plain", strings.NewReader(sql))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s %v", sql, body, err)
		}
		return strings.TrimSpace(string(body))
	}
	ask("CREATE TABLE kept (a UInt64) ENGINE = MergeTree ORDER BY a")
	ask("INSERT INTO kept SELECT number FROM numbers(1000)")
	server.Kill()
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := ask("SELECT sum(a) FROM kept"); got != "499500" {
		t.Errorf("sum %s after a kill, want 499500", got)
	}
}

func TestRedisClusterServesEverySlot(t *testing.T) {
	nodes := testenv.StartRedisCluster(t)
	cl := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{nodes[0].Addr()}})
	defer cl.Close()
	for _, key := range []string{"a", "b", "c", "d", "e", "f"} {
		if err := cl.Set(t.Context(), key, key, 0).Err(); err != nil {
			t.Errorf("set %s: %v", key, err)
		}
	}
}

func TestRedisSentinelFailsOver(t *testing.T) {
	s := testenv.StartRedisSentinel(t)
	cl := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: s.MasterName, SentinelAddrs: []string{s.Sentinel.Addr()}})
	defer cl.Close()
	if err := cl.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := cl.Wait(t.Context(), 1, 5*time.Second).Err(); err != nil {
		t.Fatal(err)
	}
	s.Master.Kill()
	deadline := time.Now().Add(20 * time.Second)
	for {
		got, err := cl.Get(t.Context(), "k").Result()
		if err == nil && got == "v" && cl.Set(t.Context(), "k", "w", 0).Err() == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the replica was not promoted: read %q, %v", got, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func TestPrefixIsUniqueAndPlain(t *testing.T) {
	t.Run("Some/Name with spaces_and.dots", func(t *testing.T) {
		a, b := testenv.Prefix(t), testenv.Prefix(t)
		if a == b {
			t.Errorf("the same prefix twice: %s", a)
		}
		if strings.Trim(a, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || len(a) > 60 || !strings.HasSuffix(a, "-") {
			t.Errorf("prefix %q", a)
		}
	})
}
