package processors

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/freshet-io/freshet/ingest"
	"github.com/freshet-io/freshet/internal/feature"
)

// tooView is user_orders once more, as a view that is added later.
const tooView = `
  - name: user_orders_too
    entity: user
    source: orders
    features:
      - {name: ever, aggregate: count}
      - {name: sum_1h, aggregate: sum, of: n, window: 1h}
      - {name: count_1m, aggregate: count, window: 1m}
      - {name: last_shop, of: shop}
      - {name: shops, aggregate: approx_distinct, of: shop, window: 1h}
`

func (w *world) text(extraSource string) string {
	return fmt.Sprintf(testPlane, "fr.", w.topic, extraSource)
}

func (w *world) checkToo() error {
	for u, es := range byUser(w.events) {
		if err := w.compareIn("user_orders_too", u, es); err != nil {
			return err
		}
	}
	return nil
}

func TestAViewAddedLaterCountsFromTheBeginning(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.produce(300)
	in := w.run(nil)
	eventually(t, "features", w.check)
	in.stop()
	w.plane = w.load(w.text("") + tooView)
	w.produce(300)
	w.run(nil)
	eventually(t, "features of the old views", w.check)
	eventually(t, "features of the new view", w.checkToo)
}

// incomplete runs an instance until it is ready and returns what it says of views that begin incomplete, sorted.
func (w *world) incomplete() (said []string) {
	w.t.Helper()
	var log lockedBuffer
	in := w.run(func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	in.waitReady()
	in.stop()
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, "begins incomplete") {
			_, fields, _ := strings.Cut(strings.TrimSpace(line), " view=")
			said = append(said, fields)
		}
	}
	slices.Sort(said)
	return said
}

// TestAViewThatBeginsIncompleteSaysSo: a view that is added when the topic has lost its first records counts the others, and the log
// names it and what is missing; a restart does not say it again, also where nothing comes of a partition. That the source was begun at its
// end the first time is no excuse.
func TestAViewThatBeginsIncompleteSaysSo(t *testing.T) {
	for _, startAt := range []string{"earliest", "latest"} {
		t.Run(startAt, func(t *testing.T) {
			t.Parallel()
			source := "    start_at: " + startAt + "\n"
			w := newWorld(t, source)
			in := w.run(nil)
			in.waitReady()
			w.produce(300)
			eventually(t, "features", w.check)
			in.stop()
			if err := w.cluster.DeleteRecords(w.topic, 0, 20); err != nil {
				t.Fatal(err)
			}
			if err := w.cluster.DeleteRecords(w.topic, 1, -1); err != nil {
				t.Fatal(err)
			}
			w.plane = w.load(w.text(source) + tooView)
			for _, want := range [][]string{{
				"user_orders_too task=orders[0] missing_from=0 missing_to=20",
				fmt.Sprintf("user_orders_too task=orders[1] missing_from=0 missing_to=%d", w.onPartition(1)),
			}, nil} {
				if said := w.incomplete(); !slices.Equal(said, want) {
					t.Errorf("said %q, want %q", said, want)
				}
			}
		})
	}
}

// TestAFirstStartOnATruncatedTopicSaysSo: both readers of the topic say which views miss what. A start at the end misses nothing.
func TestAFirstStartOnATruncatedTopicSaysSo(t *testing.T) {
	for startAt, want := range map[string][]string{
		"earliest": {"shop_orders router=orders.shop partition=0 missing_from=0 missing_to=20", "user_orders task=orders[0] missing_from=0 missing_to=20"},
		"latest":   nil,
	} {
		t.Run(startAt, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "    start_at: "+startAt+"\n")
			w.produce(300)
			if err := w.cluster.DeleteRecords(w.topic, 0, 20); err != nil {
				t.Fatal(err)
			}
			if said := w.incomplete(); !slices.Equal(said, want) {
				t.Errorf("said %q, want %q", said, want)
			}
		})
	}
}

// TestAGapThatStopsATaskIsAllThatIsSaid: a view that does not begin does not begin incomplete.
func TestAGapThatStopsATaskIsAllThatIsSaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.produce(200)
	in := w.run(nil)
	eventually(t, "features", w.check)
	in.stop()
	first := w.onPartition(0)
	w.produce(100)
	lost := w.onPartition(0) - first
	if err := w.cluster.DeleteRecords(w.topic, 0, -1); err != nil {
		t.Fatal(err)
	}
	w.plane = w.load(w.text("") + tooView)
	var log lockedBuffer
	in = w.run(func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	in.stoppedAt(first, lost)
	in.stop()
	if strings.Contains(log.String(), "begins incomplete") {
		t.Errorf("it says:\n%s", log.String())
	}
}

// lockedBuffer keeps a log that several goroutines write.
type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// As in a rolling restart that adds a view: old and new definitions run in turn.
func TestAViewThatIsTakenOutAndPutBackCountsWhatItMissed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	without, with := w.plane, w.load(w.text("")+tooView)
	for i, p := range []struct {
		has bool
	}{{true}, {false}, {true}, {false}, {true}} {
		w.plane = without
		if p.has {
			w.plane = with
		}
		w.produce(60)
		in := w.run(nil)
		eventually(t, fmt.Sprintf("old views, run %d", i), w.check)
		if p.has {
			eventually(t, fmt.Sprintf("the view, run %d", i), w.checkToo)
		}
		in.stop()
	}
}

func TestAnEntityAddedLaterCountsFromTheBeginning(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.produce(100)
	in := w.run(nil)
	eventually(t, "features", w.check)
	in.stop()
	w.plane = w.load(strings.Replace(w.text(""), "  - {name: shop, join_keys", "  - {name: bucket, join_keys: [{name: n, type: int64}]}\n  - {name: shop, join_keys", 1) + `
  - name: n_orders
    entity: bucket
    source: orders
    features:
      - {name: ever, aggregate: count}
`)
	w.run(nil)
	counts := map[int64]int64{}
	for _, e := range w.events {
		counts[e.N]++
	}
	eventually(t, "the new entity", func() error {
		for n, c := range counts {
			if err := w.compare("n_orders", feature.Int64Value(n), time.Now().UnixMicro(), []feature.Value{feature.Int64Value(c)}); err != nil {
				return err
			}
		}
		return nil
	})
}

func TestATombstoneErasesOnceForEachView(t *testing.T) {
	t.Parallel()
	const tombstones = "    tombstones: delete\n"
	w := newWorld(t, tombstones)
	in := w.run(nil)
	w.produce(100)
	eventually(t, "features", w.check)
	gone := w.events[0].User
	r := &kgo.Record{Topic: w.topic, Key: []byte(gone), Partition: ingest.Partition([]byte(gone), testPartitions)}
	if err := w.client().ProduceSync(t.Context(), r).FirstErr(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the entity to be gone", func() error { return w.absent(gone) })
	var after []event
	for range 5 {
		e := w.random()
		e.User = gone
		after = append(after, e)
	}
	w.send(after...)
	eventually(t, "the entity to begin again", func() error { return w.compareUser(gone, after) })
	in.stop()
	// The new view reads the tombstone; the old one must not heed it again.
	w.plane = w.load(w.text(tombstones) + tooView)
	w.run(nil)
	eventually(t, "the new view", func() error { return w.compareIn("user_orders_too", gone, after) })
	eventually(t, "the old view", func() error { return w.compareUser(gone, after) })
}

func TestAViewAddedToASourceWithEventIDsIsRefused(t *testing.T) {
	t.Parallel()
	const ids = "      - {name: id, type: string}\n    event_id: {field: id, horizon: 1m}\n"
	w := newWorld(t, ids)
	in := w.run(nil)
	in.waitReady()
	in.stop()
	_, err := New(t.Context(), w.options(w.load(w.text(ids)+tooView)))
	if err == nil || !strings.Contains(err.Error(), `"user_orders_too" is new on source "orders"`) {
		t.Fatalf("got %v, want a refusal that names the view and the source", err)
	}
}

func TestAChangedDefinitionIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	in := w.run(nil)
	in.waitReady()
	in.stop()
	_, err := New(t.Context(), w.options(w.load(strings.Replace(w.text(""), "window: 10m", "window: 20m", 1))))
	if err == nil || !strings.Contains(err.Error(), `feature view "shop_orders"`) || !strings.Contains(err.Error(), "max_10m") {
		t.Fatalf("got %v, want a refusal that shows the difference", err)
	}
}

func TestARecreatedSourceTopicIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	in := w.run(nil)
	in.waitReady()
	in.stop()
	if err := w.cluster.DeleteTopic(w.topic); err != nil {
		t.Fatal(err)
	}
	if err := w.cluster.CreateTopic(w.topic, testPartitions, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := New(t.Context(), w.options(w.plane)); err == nil || !strings.Contains(err.Error(), "was deleted and created again") {
		t.Fatalf("got %v, want a refusal", err)
	}
}

func TestStartAtLatestChoosesOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "    start_at: latest\n")
	before := w.random()
	w.send(before) // not among w.events: it must not be counted
	in := w.run(nil)
	in.waitReady()
	in.stop()
	w.produce(50) // while nobody runs
	in = w.run(nil)
	eventually(t, "features", w.check)
	in.stop()
	w.produce(50)
	w.forgetGroup("fr.materialize")
	w.run(nil)
	eventually(t, "features after the group's offsets expired", w.check)
}

func (w *world) forgetGroup(group string) {
	w.t.Helper()
	req := kmsg.NewPtrDeleteGroupsRequest()
	req.Groups = []string{group}
	resp, err := req.RequestWith(w.t.Context(), w.client())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, g := range resp.Groups {
		if err := kerr.ErrorForCode(g.ErrorCode); err != nil {
			w.t.Fatal(err)
		}
	}
}

func TestRecordsAsLargeAsKafkaTakes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.run(nil)
	w.produce(50)
	eventually(t, "features", w.check)
	cl := w.client(kgo.ProducerBatchMaxBytes(1_048_576))
	noise := make([]byte, 1_040_000)
	const letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"
	for i := range noise {
		noise[i] = letters[w.rng.IntN(len(letters))]
	}
	e := w.random()
	good, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	good = append(append(append(good[:len(good)-1], `,"pad":"`...), noise...), `"}`...)
	for _, v := range [][]byte{noise, good} {
		r := &kgo.Record{Topic: w.topic, Key: []byte(e.User), Value: v, Partition: ingest.Partition([]byte(e.User), testPartitions)}
		if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	w.events = append(w.events, e)
	w.produce(50)
	eventually(t, "features after a large dead letter and a large event", w.check)
}

func TestARestartPublishesNothingAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	in := w.run(nil)
	w.produce(300)
	eventually(t, "features", w.check)
	in.stop()
	before := w.redis.writes
	in = w.run(nil)
	in.waitReady()
	time.Sleep(2 * canaryEvery)
	in.stop()
	if n := w.redis.writes - before; n > 0 {
		t.Errorf("%d entities were published again", n)
	}
}

// TestAGrownSourceIsRefusedForItsKeys: what is wrong are the keys, not the topics whose partition counts follow the source's; and
// what the refusal advises counts everything right.
func TestAGrownSourceIsRefusedForItsKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.produce(200)
	in := w.run(nil)
	eventually(t, "features", w.check)
	in.stop()
	if _, err := kadm.NewClient(w.client()).CreatePartitions(t.Context(), 2, w.topic); err != nil {
		t.Fatal(err)
	}
	p := *w.plane
	_, err := New(t.Context(), w.options(&p))
	if err == nil || !strings.Contains(err.Error(), `feature view "user_orders": topic orders had 4 partitions when its state was built and has 6: keys have moved`) ||
		strings.Contains(err.Error(), "existing topics differ") {
		t.Fatalf("got %v", err)
	}
	anew := strings.NewReplacer("name: orders\n", "name: orders_anew\n", "source: orders\n", "source: orders_anew\n",
		"name: user_orders\n", "name: user_orders_anew\n", "name: shop_orders\n", "name: shop_orders_anew\n")
	w.plane = w.load(anew.Replace(w.text("    partitioning: unknown\n")))
	w.run(nil)
	eventually(t, "features of the new views", func() error {
		for u, es := range byUser(w.events) {
			if err := w.compareIn("user_orders_anew", u, es); err != nil {
				return err
			}
		}
		return nil
	})
}
