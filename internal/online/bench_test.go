package online

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/freshet-io/freshet/internal/testenv"
)

// BenchmarkWrite stores heads of 150 bytes over one connection, an operation being one entity. server-ns is the processor
// time of redis-server, client-ns that of this process; on a busy machine they tell more than the wall clock.
func BenchmarkWrite(b *testing.B) {
	const batch = 1024
	b.Run("PlainHSET", func(b *testing.B) {
		c := benchClient(b)
		writes, _ := benchBatch(b, c, batch, 0)
		measure(b, c, func() {
			for from := 0; from < b.N; from += batch {
				bump(writes, from)
				pipe := c.redis.Pipeline()
				for i := range writes {
					_ = pipe.Process(b.Context(), redis.NewIntCmd(b.Context(), "hset", writes[i].Key, &writes[i].HeadField, writes[i].Head))
				}
				if _, err := pipe.Exec(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
	for _, expire := range []time.Duration{0, time.Hour} {
		b.Run(fmt.Sprintf("Guarded/expire=%v", expire), func(b *testing.B) {
			c := benchClient(b)
			writes, out := benchBatch(b, c, batch, expire)
			measure(b, c, func() { writeAll(b, c, writes, out) })
		})
	}
	b.Run("Cluster", func(b *testing.B) {
		c := open(b, clusterURL(testenv.StartRedisCluster(b))+"?pool_size=1", Options{})
		writes, out := benchBatch(b, c, batch, 0)
		b.ReportAllocs()
		b.ResetTimer()
		writeAll(b, c, writes, out)
	})
	b.Run("Embedded", func(b *testing.B) {
		c, _ := embedded(b)
		writes, out := benchBatch(b, c, batch, 0)
		b.ReportAllocs()
		b.ResetTimer()
		writeAll(b, c, writes, out)
	})
}

// BenchmarkFetch reads two views of an entity, 150 and 3,000 bytes each, an operation being one entity.
func BenchmarkFetch(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("entities=%d", n), func(b *testing.B) {
			c := benchClient(b)
			reqs, got := make([]FetchRequest, n), make([][][]byte, n)
			for i, key := range keysOf("bench", n) {
				reqs[i] = FetchRequest{Key: key, Fields: []string{"a:h", "a:t", "b:h", "b:t"}}
				head, tail := headBlob(version(1), version(1), strings.Repeat("h", 101)), tailBlob(version(1), strings.Repeat("t", 2975))
				if err := c.redis.HSet(b.Context(), key, "a:h", head, "a:t", tail, "b:h", head, "b:t", tail).Err(); err != nil {
					b.Fatal(err)
				}
			}
			measure(b, c, func() {
				for from := 0; from < b.N; from += n {
					if err := c.Fetch(b.Context(), reqs, got); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

func benchClient(b *testing.B) *Client {
	return open(b, "redis://"+testenv.StartRedis(b).Addr(), Options{PoolSize: 1})
}

// benchBatch returns entities that are stored with a tail of 3,000 bytes, and the heads to be written to them.
func benchBatch(b *testing.B, c *Client, n int, expire time.Duration) ([]Write, []Outcome) {
	writes, out := make([]Write, n), make([]Outcome, n)
	for i, key := range keysOf("bench", n) {
		writes[i] = newEntity(b, c, "bench", "").of(headBlob(version(1), version(1), strings.Repeat("h", 101)), nil, expire)
		writes[i].Key = []byte(key)
		writes[i].Tail = tailBlob(version(1), strings.Repeat("t", 2975))
	}
	if err := c.Write(b.Context(), writes, out); err != nil {
		b.Fatal(err)
	}
	for i := range writes {
		writes[i].Tail = nil
	}
	return writes, out
}

func writeAll(b *testing.B, c *Client, writes []Write, out []Outcome) {
	for from := 0; from < b.N; from += len(writes) {
		bump(writes, from)
		if err := c.Write(b.Context(), writes, out); err != nil {
			b.Fatal(err)
		}
	}
	for i, o := range out {
		if o != Accepted {
			b.Fatalf("write %d: %v", i, o)
		}
	}
}

func bump(writes []Write, n int) {
	v := version(uint64(n + 2))
	for i := range writes {
		copy(writes[i].Head[versionAt:], v[:])
	}
}

// measure runs the whole benchmark in f and reports both sides' processor time for each operation.
func measure(b *testing.B, c *Client, f func()) {
	b.ReportAllocs()
	server, client := serverTime(b, c), clientTime(b)
	b.ResetTimer()
	f()
	b.StopTimer()
	b.ReportMetric(float64(serverTime(b, c)-server)/float64(b.N), "server-ns/op")
	b.ReportMetric(float64(clientTime(b)-client)/float64(b.N), "client-ns/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "entities/s")
}

func serverTime(b *testing.B, c *Client) time.Duration {
	info, err := c.redis.Info(b.Context(), "cpu").Result()
	if err != nil {
		b.Fatal(err)
	}
	var sum time.Duration
	for _, field := range []string{"used_cpu_user", "used_cpu_sys"} {
		d, err := time.ParseDuration(infoField(info, field) + "s")
		if err != nil {
			b.Fatal(err)
		}
		sum += d
	}
	return sum
}

func clientTime(b *testing.B) time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
