package sink_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/testenv"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/clickhouse"
	"github.com/freshet-io/freshet/offline/sink"
)

// helperEnv has this test binary be a sink instead: Kafka's address, ClickHouse's URL and the definition's file.
const helperEnv = "FRESHET_SINK_HELPER"

// announced is a store that says when a write begins.
type announced struct{ sink.Store }

func (a announced) Write(ctx context.Context, t *offline.Table, r offline.Range, b *offline.Batch) error {
	fmt.Println("write", r)
	return a.Store.Write(ctx, t, r, b)
}

// help fills the plane's tables until it is killed.
func help(args string) error {
	kafka, rest, _ := strings.Cut(args, " ")
	url, file, _ := strings.Cut(rest, " ")
	plane, err := config.Load(file)
	if err != nil {
		return err
	}
	store, err := clickhouse.Open(config.ClickHouse{URL: config.Secret(url)}, clickhouse.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	s, err := sink.New(sink.Options{
		Plane: plane, Name: "clickhouse", Store: announced{store}, Tables: offline.Tables(plane),
		Client: []kgo.Opt{kgo.SeedBrokers(kafka), kgo.SessionTimeout(500 * time.Millisecond), kgo.HeartbeatInterval(100 * time.Millisecond)},
		Budget: sink.NewBudget(plane.Offline.Memory), Metrics: sink.NewMetrics(prometheus.NewRegistry()),
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		return err
	}
	return s.Run(context.Background())
}

// helper is a running sink process.
type helper struct {
	cmd  *exec.Cmd
	says *bufio.Reader
}

func startHelper(t *testing.T, args string) *helper {
	t.Helper()
	h := &helper{cmd: exec.Command(os.Args[0])}
	h.cmd.Env = append(os.Environ(), helperEnv+"="+args)
	h.cmd.Stderr = os.Stderr
	if testing.Short() || !testing.Verbose() {
		h.cmd.Stderr = nil
	}
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	h.says = bufio.NewReader(out)
	return h
}

func (h *helper) kill() {
	_ = h.cmd.Process.Kill()
	_, _ = io.Copy(io.Discard, h.says)
	_ = h.cmd.Wait()
}

// TestKilledInTheMiddleOfInserts: a sink that is killed twenty times while it inserts, and a ClickHouse that is killed and
// started again meanwhile, leave one row a record in the published view.
func TestKilledInTheMiddleOfInserts(t *testing.T) {
	kafka, server := testenv.StartKafka(t), testenv.StartClickHouse(t)
	text := strings.Replace(fmt.Sprintf(planeText, "orders"), "flush_rows: 40", "flush_rows: 700", 1)
	plane := loadPlane(t, text)
	file := plane.Project + ".yaml"
	file = t.TempDir() + "/" + file
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(kafka.Addr()), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if _, err := kadm.NewClient(cl).CreateTopic(t.Context(), partitions, 1, nil, "orders"); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(11, 11))
	var count, sum int64
	produce := func(n int) {
		var recs []*kgo.Record
		for range n {
			at := time.Now().Add(-time.Duration(rng.IntN(90*24)) * time.Hour).UnixMilli()
			amount := rng.Int64N(1000)
			count, sum = count+1, sum+amount
			recs = append(recs, &kgo.Record{
				Topic: "orders", Partition: int32(rng.IntN(partitions)), Value: fmt.Appendf(nil, `{"user":"u%d","amount":%d,"at":%d}`, rng.IntN(50), amount, at),
			})
		}
		if err := cl.ProduceSync(t.Context(), recs...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	args := kafka.Addr() + " " + server.URL("freshet_kills") + " " + file
	produce(20_000)
	for round := range 20 {
		produce(5_000) // there is always enough to be in the middle of
		h := startHelper(t, args)
		for range 1 + rng.IntN(12) { // it is somewhere in the middle
			if _, err := h.says.ReadString('\n'); err != nil {
				t.Fatalf("round %d: the sink does not write: %v", round, err)
			}
		}
		if round%5 == 2 {
			server.Kill()
			if err := server.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Duration(rng.IntN(120)) * time.Millisecond)
		h.kill()
	}
	last := startHelper(t, args)
	read := make(chan struct{}) // its pipe must not fill up
	go func() {
		defer close(read)
		_, _ = io.Copy(io.Discard, last.says)
	}()
	defer func() {
		_ = last.cmd.Process.Kill()
		<-read
		_ = last.cmd.Wait()
	}()
	_, web, _ := strings.Cut(server.Addr(), ",")
	const q = "SELECT count(), toInt64(sum(amount)), uniqExact(_partition, _offset), toInt64(sum(_offset)) FROM freshet_kills.events_orders"
	ask := func(sql string) string {
		resp, err := http.Post("http://"+web, "text/plain", strings.NewReader(sql))
		if err != nil {
			return err.Error()
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return strings.TrimSpace(string(body))
	}
	ends, err := kadm.NewClient(cl).ListEndOffsets(t.Context(), "orders")
	if err != nil {
		t.Fatal(err)
	}
	var offsets int64
	ends.Each(func(o kadm.ListedOffset) { offsets += o.Offset * (o.Offset - 1) / 2 })
	want := fmt.Sprintf("%d\t%d\t%d\t%d", count, sum, count, offsets)
	got := ""
	for deadline := time.Now().Add(60 * time.Second); got != want && time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		got = ask(q)
	}
	if got != want {
		t.Errorf("count, sum of amounts, distinct records, sum of offsets: %s, want %s", got, want)
	}
	t.Logf("rows in the storage: %s of %d", ask("SELECT count() FROM freshet_kills.events_orders_rows"), count)
}
