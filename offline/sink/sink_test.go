package sink_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/ingest"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/sink"
)

func TestMain(m *testing.M) {
	if args := os.Getenv(helperEnv); args != "" {
		if err := help(args); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"))
}

const planeText = `
project: test
connections:
  kafka: {brokers: ["127.0.0.1:1"]}
  clickhouse: {url: "clickhouse://127.0.0.1:1"}
offline: {flush_interval: 20ms, flush_rows: 40, memory: 16MiB}
entities:
  - {name: user, join_keys: [{name: user, type: string}]}
sources:
  - name: orders
    topic: %s
    key: [user]
    tombstones: delete
    event_time: {field: at, format: unix_ms}
    schema:
      - {name: user, type: string, required: true}
      - {name: amount, type: float64}
      - {name: at, type: int64, required: true}
`

const partitions = 3

func loadPlane(t testing.TB, text string) *config.Plane {
	t.Helper()
	f := filepath.Join(t.TempDir(), "plane.yaml")
	if err := os.WriteFile(f, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := config.Load(f)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// memoryStore keeps ranges as a store does that has no rows in common between two ranges, and tells if it is asked to.
type memoryStore struct {
	mu     sync.Mutex
	ranges map[offline.Range][]string // rows by the range that they were written with
	wrong  []string
	topic  string                             // its id
	script func(r offline.Range, n int) fault // what becomes of the nth write, from 0
	writes int
}

// fault is what goes wrong in a write.
type fault int

const (
	none     fault = iota
	refuse         // an error, nothing is written
	lose           // it is written, and the answer is lost
	hang           // nothing is written and nothing answers
	hangOver       // it is written, and nothing answers
)

func (s *memoryStore) Prepare(context.Context, *offline.Table) error { return nil }

func (s *memoryStore) Resume(context.Context, *offline.Table, string, []int32) (map[int32]offline.Place, error) {
	return nil, nil
}

func (s *memoryStore) Identify(_ context.Context, _ *offline.Table, _, id string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.topic == "" {
		s.topic = id
	}
	return s.topic, nil
}

func (s *memoryStore) Write(ctx context.Context, _ *offline.Table, r offline.Range, b *offline.Batch) error {
	s.mu.Lock()
	how := none
	if s.script != nil {
		how = s.script(r, s.writes)
	}
	s.writes++
	if how == none || how == lose || how == hangOver {
		s.keep(r, b)
	}
	s.mu.Unlock()
	switch how {
	case refuse, lose:
		return errors.New("scripted")
	case hang, hangOver:
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func (s *memoryStore) keep(r offline.Range, b *offline.Batch) {
	var rows []string
	for i := range b.Len() {
		rows = append(rows, fmt.Sprintf("%d %v %+v", b.Meta[i].Offset, b.Row(i), b.Meta[i]))
		if o := b.Meta[i].Offset; o < r.First || o >= r.End {
			s.wrong = append(s.wrong, fmt.Sprintf("row %d in %s", o, r))
		}
	}
	for old, had := range s.ranges {
		if old == r {
			if !slices.Equal(had, rows) {
				s.wrong = append(s.wrong, fmt.Sprintf("%s was written with %d rows, then with others: %d", r, len(had), len(rows)))
			}
		} else if old.Partition == r.Partition && old.First < r.End && r.First < old.End {
			s.wrong = append(s.wrong, fmt.Sprintf("%s was written, then %s", old, r))
		}
	}
	s.ranges[r] = rows
}

// offsets returns the offsets of a partition's rows, sorted; one that is there twice comes twice.
func (s *memoryStore) offsets(partition int32) (out []int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for r, rows := range s.ranges {
		if r.Partition != partition {
			continue
		}
		for _, text := range rows {
			var o int64
			fmt.Sscanf(text, "%d", &o)
			out = append(out, o)
		}
	}
	slices.Sort(out)
	return out
}

// world is a Kafka with a topic of orders, and what its rows should be.
type world struct {
	t       *testing.T
	cluster *kfake.Cluster
	plane   *config.Plane
	store   *memoryStore
	cl      *kgo.Client
	want    [partitions][]int64
	letters int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, "orders"), kfake.GroupMinSessionTimeout(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	w := &world{t: t, cluster: c, plane: loadPlane(t, fmt.Sprintf(planeText, "orders")), store: &memoryStore{ranges: map[offline.Range][]string{}}}
	if err := c.CreateTopic(ingest.DeadLetterTopic(w.plane, "orders"), 1, nil); err != nil {
		t.Fatal(err)
	}
	w.cl, err = kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.cl.Close)
	return w
}

// produce writes n records, some of them no orders and some tombstones.
func (w *world) produce(rng *rand.Rand, n int) {
	w.t.Helper()
	for range n {
		r := &kgo.Record{Topic: "orders", Partition: int32(rng.IntN(partitions)), Key: []byte("u1"), Timestamp: time.Now()}
		bad := rng.IntN(10) == 0
		switch {
		case bad:
			r.Value = []byte("{no order")
		case rng.IntN(10) > 0:
			r.Value = fmt.Appendf(nil, `{"user":"u%d","amount":%d,"at":%d}`, rng.IntN(5), rng.IntN(100), time.Now().UnixMilli())
		}
		if err := w.cl.ProduceSync(w.t.Context(), r).FirstErr(); err != nil {
			w.t.Fatal(err)
		}
		if bad {
			w.letters++
		} else {
			w.want[r.Partition] = append(w.want[r.Partition], r.Offset)
		}
	}
}

// instance is a sink that runs until it is stopped.
type instance struct {
	*sink.Sink
	registry *prometheus.Registry
	stop     func()
}

func (w *world) start() *instance {
	w.t.Helper()
	return w.startOn("memory", w.store, slog.New(slog.DiscardHandler))
}

// startOn starts a sink on a store.
func (w *world) startOn(name string, store sink.Store, logger *slog.Logger) *instance {
	w.t.Helper()
	reg := prometheus.NewRegistry()
	s, err := sink.New(sink.Options{
		Plane: w.plane, Name: name, Store: store, Tables: offline.Tables(w.plane), DeadLetters: true,
		Client: []kgo.Opt{kgo.SeedBrokers(w.cluster.ListenAddrs()...), kgo.SessionTimeout(time.Second), kgo.HeartbeatInterval(50 * time.Millisecond)},
		Budget: sink.NewBudget(w.plane.Offline.Memory), Metrics: sink.NewMetrics(reg), Logger: logger,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Run(ctx)
	}()
	i := &instance{Sink: s, registry: reg, stop: sync.OnceFunc(func() {
		cancel()
		<-done
	})}
	w.t.Cleanup(i.stop)
	return i
}

// until waits for something to be so.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// complete tells whether the store has as many rows as there should be.
func (w *world) complete() bool {
	for p := range partitions {
		if len(w.store.offsets(int32(p))) < len(w.want[p]) {
			return false
		}
	}
	return true
}

// check compares the rows with the records.
func (w *world) check() {
	w.t.Helper()
	until(w.t, "a row for each record", w.complete)
	for p := range partitions {
		if got := w.store.offsets(int32(p)); !slices.Equal(got, w.want[p]) {
			w.t.Errorf("partition %d has rows of %v, want %v", p, got, w.want[p])
		}
	}
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	for _, wrong := range w.store.wrong {
		w.t.Error(wrong)
	}
}

// TestOneRowARecord: with a store that refuses, loses answers and hangs, and a Kafka that refuses commits or loses the answers
// to them, over restarts in between, each record has one row, and a range that was begun is written as it was recorded.
func TestOneRowARecord(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			rng := rand.New(rand.NewPCG(seed, 1))
			var mu sync.Mutex
			calm := false
			draw := func(n int) int {
				mu.Lock()
				defer mu.Unlock()
				if calm {
					return n
				}
				return rng.IntN(n)
			}
			w.store.script = func(_ offline.Range, _ int) fault {
				return map[int]fault{0: refuse, 1: lose, 2: refuse, 3: lose, 4: hang, 5: hangOver}[draw(24)]
			}
			w.cluster.ControlKey(kmsg.OffsetCommit.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
				w.cluster.KeepControl()
				switch draw(10) {
				case 0: // refused
					resp := req.ResponseKind().(*kmsg.OffsetCommitResponse)
					for _, rt := range req.(*kmsg.OffsetCommitRequest).Topics {
						out := kmsg.NewOffsetCommitResponseTopic()
						out.Topic = rt.Topic
						for _, rp := range rt.Partitions {
							p := kmsg.NewOffsetCommitResponseTopicPartition()
							p.Partition, p.ErrorCode = rp.Partition, kerr.UnknownServerError.Code
							out.Partitions = append(out.Partitions, p)
						}
						resp.Topics = append(resp.Topics, out)
					}
					return resp, nil, true
				case 1: // the connection breaks
					return nil, errors.New("scripted"), true
				}
				return nil, nil, false
			})
			for range 4 {
				mu.Lock()
				n := 1 + rng.IntN(200)
				mu.Unlock()
				i := w.start()
				w.produce(rand.New(rand.NewPCG(seed, uint64(n))), n)
				time.Sleep(time.Duration(draw(150)) * time.Millisecond)
				i.stop()
			}
			mu.Lock()
			calm = true
			mu.Unlock()
			w.start()
			w.check()
		})
	}
}

// TestTwoMembersShare: partitions move between members that come and go, under load.
func TestTwoMembersShare(t *testing.T) {
	w := newWorld(t)
	rng := rand.New(rand.NewPCG(3, 3))
	a := w.start()
	w.produce(rng, 200)
	b := w.start()
	w.produce(rng, 200)
	a.stop()
	w.produce(rng, 200)
	c := w.start()
	w.produce(rng, 100)
	b.stop()
	w.check()
	until(t, "readiness", func() bool { return c.Ready() == nil })
	until(t, "no lag", func() bool { return c.metric(t, "freshet_offline_lag_records") == 0 })
}

// TestMarkersOfTransactionsAreNoLag: behind the last record of a transaction stands its marker, which has no row.
func TestMarkersOfTransactionsAreNoLag(t *testing.T) {
	w := newWorld(t)
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.cluster.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionalID("orders"))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for _, end := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort} {
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for p := range int32(partitions) {
			r := &kgo.Record{Topic: "orders", Partition: p, Value: fmt.Appendf(nil, `{"user":"u1","at":%d}`, time.Now().UnixMilli()), Timestamp: time.Now()}
			if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
			if end == kgo.TryCommit {
				w.want[p] = append(w.want[p], r.Offset)
			}
		}
		if err := cl.EndTransaction(t.Context(), end); err != nil {
			t.Fatal(err)
		}
	}
	i := w.start()
	w.check()
	until(t, "no lag", func() bool { return i.metric(t, "freshet_offline_lag_records") == 0 })
}

// TestRefusedRecordsArePutAside: no view reads the source, so what the sink refuses goes to the dead letters.
func TestRefusedRecordsArePutAside(t *testing.T) {
	w := newWorld(t)
	w.produce(rand.New(rand.NewPCG(5, 5)), 150)
	i := w.start()
	w.check()
	adm := kadm.NewClient(w.cl)
	until(t, "dead letters", func() bool {
		ends, err := adm.ListEndOffsets(t.Context(), ingest.DeadLetterTopic(w.plane, "orders"))
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		ends.Each(func(o kadm.ListedOffset) { n += int(o.Offset) })
		return n == w.letters
	})
	if n, err := testutil.GatherAndCount(i.registry, "freshet_offline_refused_total"); err != nil || n != 1 {
		t.Errorf("%d counters of refused records, %v", n, err)
	}
}

// TestStoreThatIsAway: nothing is lost and readiness tells why, until the store is back. Meanwhile reading pauses: what waits
// is never more than the budget and one fetch (whose size Kafka counts as the records are compressed: here not at all).
func TestStoreThatIsAway(t *testing.T) {
	w := newWorld(t)
	const budget, perFetch = 4 << 20, partitions * 2 << 20
	w.plane.Offline.Memory = budget
	var away atomic.Bool
	away.Store(true)
	w.store.script = func(offline.Range, int) fault {
		if away.Load() {
			return refuse
		}
		return none
	}
	total := w.produceLarge(40 << 20)
	i := w.start()
	most := 0.0
	until(t, "some tries, beyond the budget", func() bool {
		waiting := i.metric(t, "freshet_offline_waiting_bytes")
		most = max(most, waiting)
		return waiting >= budget && i.metric(t, "freshet_offline_retries_total") >= 6
	})
	if most > budget+perFetch {
		t.Errorf("%.0f bytes waited, the budget is %d and a fetch %d", most, budget, perFetch)
	}
	if lag := i.metric(t, "freshet_offline_lag_records"); lag < float64(total) {
		t.Errorf("%.0f records are told to be missing, of %d", lag, total)
	}
	if err := i.Ready(); err == nil || !strings.Contains(err.Error(), "scripted") {
		t.Errorf("ready: %v", err)
	}
	away.Store(false)
	w.check()
	until(t, "readiness", func() bool { return i.Ready() == nil })
	until(t, "nothing waits", func() bool { return i.metric(t, "freshet_offline_waiting_bytes") == 0 })
}

// produceLarge writes orders of about 10 kB, so many bytes of them, and returns how many.
func (w *world) produceLarge(bytes int) (n int) {
	w.t.Helper()
	pad := strings.Repeat("x", 10_000)
	var recs []*kgo.Record
	for ; n*len(pad) < bytes; n++ {
		value := fmt.Appendf(nil, `{"user":"u%d","amount":1,"at":%d,"note":%q}`, n%5, time.Now().UnixMilli(), pad)
		recs = append(recs, &kgo.Record{Topic: "orders", Partition: int32(n % partitions), Key: []byte("u1"), Value: value, Timestamp: time.Now()})
	}
	if err := w.cl.ProduceSync(w.t.Context(), recs...).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
	for _, r := range recs {
		w.want[r.Partition] = append(w.want[r.Partition], r.Offset)
	}
	return n
}

// metric returns the sum of a metric's series.
func (i *instance) metric(t *testing.T, name string) (sum float64) {
	t.Helper()
	families, err := i.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			if f.GetName() == name {
				sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// TestLostOffsetsStopAPartition: a committed position that the topic no longer has is told, with the gap.
func TestLostOffsetsStopAPartition(t *testing.T) {
	w := newWorld(t)
	w.produce(rand.New(rand.NewPCG(5, 5)), 200)
	first := w.start()
	w.check()
	until(t, "commits", func() bool {
		got, err := sink.Committed(t.Context(), kadm.NewClient(w.cl), w.plane, "memory", offline.Tables(w.plane)[0])
		return err == nil && len(got) == partitions && got[0] > 0
	})
	first.stop()
	w.produce(rand.New(rand.NewPCG(6, 6)), 200)
	adm := kadm.NewClient(w.cl)
	ends, err := adm.ListEndOffsets(t.Context(), "orders")
	if err != nil {
		t.Fatal(err)
	}
	end, _ := ends.Lookup("orders", 0)
	del := kadm.Offsets{}
	del.Add(kadm.Offset{Topic: "orders", Partition: 0, At: end.Offset - 1})
	if _, err := adm.DeleteRecords(t.Context(), del); err != nil {
		t.Fatal(err)
	}
	i := w.start()
	until(t, "the gap", func() bool {
		err := i.Ready()
		return err != nil && strings.Contains(err.Error(), "were deleted before they were read") && strings.Contains(err.Error(), fmt.Sprint(end.Offset-2))
	})
	until(t, "the other partitions", func() bool {
		return len(w.store.offsets(1)) == len(w.want[1]) && len(w.store.offsets(2)) == len(w.want[2])
	})
}
