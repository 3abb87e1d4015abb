package embedded_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/deploy/embedded"
)

// childDir makes the test binary a broker over that folder, so that a test can kill it.
const childDir = "EMBEDDED_TEST_CHILD_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		k, err := embedded.StartKafka(embedded.KafkaOptions{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		fmt.Println(k.Brokers()[0])
		select {} // until it is killed
	}
	os.Exit(m.Run())
}

func startKafka(t *testing.T, dir, addr string) *embedded.Kafka {
	t.Helper()
	k, err := embedded.StartKafka(embedded.KafkaOptions{Dir: dir, Addr: addr, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func client(t *testing.T, addr string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(addr))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

const records = 1000

// fill writes records, the first half in one transaction, and commits the group's position in the middle of them.
func fill(t *testing.T, addr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cl := client(t, addr, kgo.TransactionalID("writer"), kgo.DefaultProduceTopic("events"))
	adm := kadm.NewClient(cl)
	if _, err := adm.CreateTopic(ctx, 2, 1, nil, "events"); err != nil {
		t.Fatal(err)
	}
	for first := range 2 {
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for i := range records / 2 {
			n := first*records/2 + i
			cl.Produce(ctx, &kgo.Record{Key: fmt.Append(nil, n%7), Value: fmt.Append(nil, n)}, nil)
		}
		if err := cl.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		if err := cl.EndTransaction(ctx, kgo.TryCommit); err != nil {
			t.Fatal(err)
		}
	}
	var at kadm.Offsets
	at.AddOffset("events", 0, 7, -1)
	at.AddOffset("events", 1, 11, -1)
	if err := adm.CommitAllOffsets(ctx, "readers", at); err != nil {
		t.Fatal(err)
	}
}

// verify reads back what fill wrote, each record once, and the group's position.
func verify(t *testing.T, addr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cl := client(t, addr, kgo.ConsumeTopics("events"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	seen := map[string]int{}
	for len(seen) < records {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("after %d records: %v", len(seen), err)
		}
		fetches.EachRecord(func(r *kgo.Record) { seen[string(r.Value)]++ })
	}
	for n := range records {
		if got := seen[fmt.Sprint(n)]; got != 1 {
			t.Errorf("record %d was read %d times", n, got)
		}
	}
	committed, err := kadm.NewClient(cl).FetchOffsets(ctx, "readers")
	if err != nil {
		t.Fatal(err)
	}
	for p, want := range map[int32]int64{0: 7, 1: 11} {
		if o, ok := committed.Lookup("events", p); !ok || o.At != want {
			t.Errorf("the group's position in partition %d is %d, want %d", p, o.At, want)
		}
	}
}

func TestKafkaKeepsItsDataOverRestart(t *testing.T) {
	dir := t.TempDir()
	k := startKafka(t, dir, "")
	addr := k.Brokers()[0]
	fill(t, addr)
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	k = startKafka(t, dir, addr)
	defer k.Close()
	if got := k.Brokers()[0]; got != addr {
		t.Errorf("listens on %s, want %s", got, addr)
	}
	verify(t, addr)
}

func TestKafkaKeepsItsDataOverKill(t *testing.T) {
	dir := t.TempDir()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childDir+"="+dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = child.Process.Kill() }()
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	fill(t, strings.TrimSpace(addr))
	_ = child.Process.Kill()
	_ = child.Wait()
	k := startKafka(t, dir, "")
	defer k.Close()
	verify(t, k.Brokers()[0])
}

func TestKafkaFolderHasOneOwner(t *testing.T) {
	dir := t.TempDir()
	k := startKafka(t, dir, "")
	_, err := embedded.StartKafka(embedded.KafkaOptions{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("a second broker over the folder: %v", err)
	}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	k = startKafka(t, dir, "")
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestKafkaCreatesNoTopicByMention(t *testing.T) {
	k := startKafka(t, "", "")
	defer k.Close()
	cl := client(t, k.Brokers()[0], kgo.UnknownTopicRetries(0), kgo.AllowAutoTopicCreation())
	err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "typo", Value: []byte("v")}).FirstErr()
	if err != kerr.UnknownTopicOrPartition {
		t.Errorf("got %v, want %v", err, kerr.UnknownTopicOrPartition)
	}
}

func TestKafkaRefusesAddresses(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for addr, want := range map[string]string{
		"0.0.0.0:9092":     "127.0.0.1 alone",
		"127.0.0.1":        "missing port",
		"127.0.0.1:x":      "not a port",
		ln.Addr().String(): "in use",
	} {
		if _, err := embedded.StartKafka(embedded.KafkaOptions{Addr: addr, Logger: slog.New(slog.DiscardHandler)}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %q", addr, err, want)
		}
	}
}

func TestRedisExpiresKeys(t *testing.T) {
	r, err := embedded.StartRedis()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	opts, err := redis.ParseURL(r.URL())
	if err != nil {
		t.Fatal(err)
	}
	cl := redis.NewClient(opts)
	defer cl.Close()
	if err := cl.HSet(t.Context(), "stays", "f", "v").Err(); err != nil {
		t.Fatal(err)
	}
	if err := cl.Set(t.Context(), "goes", "v", 500*time.Millisecond).Err(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); cl.Exists(t.Context(), "goes").Val() == 1; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the key outlived its time")
		}
	}
	if got := cl.HGet(t.Context(), "stays", "f").Val(); got != "v" {
		t.Errorf("the key without a time to live reads %q", got)
	}
}

// A folder that takes nothing more is told of once, not for each record that is refused for it.
func TestKafkaTellsWhenItsFolderFails(t *testing.T) {
	dir := t.TempDir()
	var log bytes.Buffer
	k, err := embedded.StartKafka(embedded.KafkaOptions{Dir: dir, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	cl := client(t, k.Brokers()[0], kgo.RecordRetries(1))
	if _, err := kadm.NewClient(cl).CreateTopic(t.Context(), 1, 1, nil, "t"); err != nil {
		t.Fatal(err)
	}
	// A file where the partitions' folders belong is as good as a full disk.
	partitions := filepath.Join(dir, "partitions")
	if err := errors.Join(os.RemoveAll(partitions), os.WriteFile(partitions, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for range 3 {
		if err := cl.ProduceSync(ctx, &kgo.Record{Topic: "t", Value: []byte("x")}).FirstErr(); err == nil {
			t.Error("a record was acknowledged that is not kept")
		}
	}
	cl.Close()
	_ = k.Close()
	if n := strings.Count(log.String(), "level=WARN msg=\"embedded kafka: persist batch"); n != 1 {
		t.Errorf("told %d times:\n%s", n, log.String())
	}
}
