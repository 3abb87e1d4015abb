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
	"path/filepath"
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
	"github.com/freshet-io/freshet/offline/parquet"
	"github.com/freshet-io/freshet/offline/sink"
)

// helperEnv has this test binary be a sink instead: Kafka's address, a store's URL and the definition's file.
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
	store, err := openStore(url)
	if err != nil {
		return err
	}
	s, err := sink.New(sink.Options{
		Plane: plane, Name: "killed", Store: announced{store}, Tables: offline.Tables(plane),
		Client: []kgo.Opt{kgo.SeedBrokers(kafka), kgo.SessionTimeout(500 * time.Millisecond), kgo.HeartbeatInterval(100 * time.Millisecond)},
		Budget: sink.NewBudget(plane.Offline.Memory), Metrics: sink.NewMetrics(prometheus.NewRegistry()),
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		return err
	}
	return s.Run(context.Background())
}

func openStore(url string) (sink.Store, error) {
	quiet := slog.New(slog.DiscardHandler)
	if strings.HasPrefix(url, "file:") {
		return parquet.Open(context.Background(), config.Secret(url), parquet.Options{Logger: quiet})
	}
	return clickhouse.Open(config.ClickHouse{URL: config.Secret(url)}, clickhouse.Options{Logger: quiet})
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
	server := testenv.StartClickHouse(t)
	o := newOrders(t, "to-clickhouse", 90)
	killTwenty(t, o, server.URL("freshet_kills"), func(round int) {
		if round%5 == 2 {
			server.Kill()
			if err := server.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	})
	_, web, _ := strings.Cut(server.Addr(), ",")
	ask := func(sql string) string {
		resp, err := http.Post("http://"+web, "text/plain", strings.NewReader(sql))
		if err != nil {
			return err.Error()
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return strings.TrimSpace(string(body))
	}
	o.await(func() string {
		return ask("SELECT count(), toInt64(sum(amount)), uniqExact(_partition, _offset), toInt64(sum(_offset)) FROM freshet_kills.events_orders")
	})
	t.Logf("rows in the storage: %s of %d", ask("SELECT count() FROM freshet_kills.events_orders_rows"), o.count)
}

// TestKilledInTheMiddleOfFiles: a sink that is killed twenty times while it writes files leaves one row a record in those that
// count.
func TestKilledInTheMiddleOfFiles(t *testing.T) {
	o := newOrders(t, "to-parquet", 3)
	url := "file://" + t.TempDir()
	killTwenty(t, o, url, func(int) {})
	store, err := parquet.Open(t.Context(), config.Secret(url), parquet.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	o.await(func() string {
		var count, amounts, offsets int64
		places := map[offline.Range]bool{}
		err := store.Scan(t.Context(), offline.Tables(o.plane)[0], offline.Query{Columns: []int{1}}, func(_ int, b *offline.Batch) error {
			for i, m := range b.Meta {
				count, amounts, offsets = count+1, amounts+int64(b.Row(i)[0].Float64()), offsets+m.Offset
				places[offline.Range{Partition: m.Partition, First: m.Offset}] = true
			}
			return nil
		})
		if err != nil {
			return err.Error()
		}
		return fmt.Sprintf("%d\t%d\t%d\t%d", count, amounts, len(places), offsets)
	})
}

// orders is a topic of orders and what a store must have of it.
type orders struct {
	t          *testing.T
	plane      *config.Plane
	kafka      string
	file       string // of the definition
	cl         *kgo.Client
	days       int // of event times
	rng        *rand.Rand
	count, sum int64
}

func newOrders(t *testing.T, topic string, days int) *orders {
	t.Helper()
	text := strings.Replace(fmt.Sprintf(planeText, topic), "flush_rows: 40", "flush_rows: 700", 1)
	o := &orders{
		t: t, plane: loadPlane(t, text), kafka: testenv.StartKafka(t).Addr(), file: filepath.Join(t.TempDir(), "plane.yaml"),
		days: days, rng: rand.New(rand.NewPCG(11, 11)),
	}
	if err := os.WriteFile(o.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if o.cl, err = kgo.NewClient(kgo.SeedBrokers(o.kafka), kgo.RecordPartitioner(kgo.ManualPartitioner())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.cl.Close)
	if _, err := kadm.NewClient(o.cl).CreateTopic(t.Context(), partitions, 1, nil, topic); err != nil {
		t.Fatal(err)
	}
	return o
}

func (o *orders) produce(n int) {
	o.t.Helper()
	var recs []*kgo.Record
	for range n {
		at := time.Now().Add(-time.Duration(o.rng.IntN(24*o.days)) * time.Hour).UnixMilli()
		amount := o.rng.Int64N(1000)
		o.count, o.sum = o.count+1, o.sum+amount
		recs = append(recs, &kgo.Record{
			Topic: o.plane.Sources[0].Topic, Partition: int32(o.rng.IntN(partitions)),
			Value: fmt.Appendf(nil, `{"user":"u%d","amount":%d,"at":%d}`, o.rng.IntN(50), amount, at),
		})
	}
	if err := o.cl.ProduceSync(o.t.Context(), recs...).FirstErr(); err != nil {
		o.t.Fatal(err)
	}
}

// killTwenty fills a store by a process that is killed twenty times while it writes, meanwhile after some writes of each, and
// then by one that is left to finish.
func killTwenty(t *testing.T, o *orders, url string, meanwhile func(round int)) {
	t.Helper()
	args := o.kafka + " " + url + " " + o.file
	o.produce(20_000)
	for round := range 20 {
		o.produce(5_000) // there is always enough to be in the middle of
		h := startHelper(t, args)
		for range 1 + o.rng.IntN(12) { // it is somewhere in the middle
			if _, err := h.says.ReadString('\n'); err != nil {
				t.Fatalf("round %d: the sink does not write: %v", round, err)
			}
		}
		meanwhile(round)
		time.Sleep(time.Duration(o.rng.IntN(120)) * time.Millisecond)
		h.kill()
	}
	last := startHelper(t, args)
	read := make(chan struct{}) // its pipe must not fill up
	go func() {
		defer close(read)
		_, _ = io.Copy(io.Discard, last.says)
	}()
	t.Cleanup(func() {
		_ = last.cmd.Process.Kill()
		<-read
		_ = last.cmd.Wait()
	})
}

// await waits until the store has count, sum of amounts, distinct records and sum of offsets as they were sent.
func (o *orders) await(totals func() string) {
	o.t.Helper()
	ends, err := kadm.NewClient(o.cl).ListEndOffsets(o.t.Context(), o.plane.Sources[0].Topic)
	if err != nil {
		o.t.Fatal(err)
	}
	var offsets int64
	ends.Each(func(e kadm.ListedOffset) { offsets += e.Offset * (e.Offset - 1) / 2 })
	want := fmt.Sprintf("%d\t%d\t%d\t%d", o.count, o.sum, o.count, offsets)
	got := ""
	for deadline := time.Now().Add(60 * time.Second); got != want && time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		got = totals()
	}
	if got != want {
		o.t.Errorf("count, sum of amounts, distinct records, sum of offsets: %s, want %s", got, want)
	}
}
