package processors

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/ingest"
	"github.com/freshet-io/freshet/internal/feature"
)

// logs gives the plane an offline store, so that its views' events are logged.
func (w *world) logs() *world {
	w.plane.Connections.Parquet = &config.Parquet{URL: "file:///nowhere"}
	return w
}

// logRow is a record of a view's log as the offline stores read it.
type logRow struct {
	partition int32
	offset    int64
	at        int64
	key       string
	vals      []feature.Value
}

// readLog reads all that is committed of a view's log, by the reader of its source.
func (w *world) readLog(view string) ([]logRow, error) {
	i := slices.IndexFunc(w.plane.Views, func(v *config.View) bool { return v.Name == view })
	src := w.plane.FeatureLog(w.plane.Views[i])
	rd, err := ingest.NewReader(src)
	if err != nil {
		return nil, err
	}
	parts := map[int32]kgo.Offset{}
	at := map[topicPartition]int64{}
	for p := range int32(testPartitions) {
		parts[p] = kgo.NewOffset().AtStart()
		at[topicPartition{src.Topic, p}] = 0
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.seeds...), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{src.Topic: parts}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	var rows []logRow
	err = readToEnd(w.t.Context(), cl, at, func(r *kgo.Record) error {
		if r.Attrs.IsControl() {
			return nil
		}
		row := make([]feature.Value, len(src.Schema))
		t, unknown, bad := rd.Read(r, row)
		if bad != nil {
			return fmt.Errorf("%s: %w", r.Value, bad)
		}
		if unknown != 0 {
			return fmt.Errorf("%s: %d fields that the log's schema does not have", r.Value, unknown)
		}
		if want := ingest.Partition(r.Key, testPartitions); want != r.Partition {
			return fmt.Errorf("key %s is on partition %d, want %d", r.Key, r.Partition, want)
		}
		rows = append(rows, logRow{r.Partition, r.Offset, t, string(r.Key), row})
		return nil
	}, func(topicPartition) error { return nil })
	return rows, err
}

// checkLogs compares the logs with what the oracle says of each event when it is the last so far.
func (w *world) checkLogs() error {
	rows, err := w.readLog("user_orders")
	if err != nil {
		return err
	}
	got := map[string][]logRow{}
	for _, r := range rows {
		got[r.key] = append(got[r.key], r)
	}
	for user, es := range byUser(w.events) {
		if len(got[user]) != len(es) {
			return fmt.Errorf("%s has %d rows in the log, want one for each of %d events", user, len(got[user]), len(es))
		}
		for i, r := range got[user] { // of one partition, so in the order in which they were processed
			t := es[i].At * 1000
			want := append([]feature.Value{feature.StringValue(user)}, userOracle(es[:i+1], t)...)
			want = append(want, feature.TimestampValue(t))
			for k := range want {
				if !r.vals[k].Equal(&want[k]) {
					return fmt.Errorf("%s, event %d: field %d is %s, want %s", user, i, k, r.vals[k], want[k])
				}
			}
		}
	}
	return w.checkShopLog()
}

// checkShopLog compares how often each shop and time is in the log of the repartitioned view, whose `where` drops events.
func (w *world) checkShopLog() error {
	rows, err := w.readLog("shop_orders")
	if err != nil {
		return err
	}
	left := map[string]int{}
	for _, e := range w.events {
		if e.Amount != nil {
			left[fmt.Sprint(e.Shop, "/", e.At*1000)]++
		}
	}
	ever := map[string]int64{}
	for _, r := range rows {
		left[fmt.Sprint(r.vals[0].Int64(), "/", r.at)]--
		ever[r.key]++
		if n := r.vals[1].Int64(); n != ever[r.key] {
			return fmt.Errorf("shop %s: row %d says that it is event %d", r.key, ever[r.key], n)
		}
	}
	for k, n := range left {
		if n != 0 {
			return fmt.Errorf("shop and time %s: %d rows too few", k, n)
		}
	}
	return nil
}

func TestEachEventIsLoggedOnceWithTheFeaturesOfItsTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "").logs()
	in := w.run(nil)
	w.produce(300)
	eventually(t, "features", w.check)
	in.stop()
	if err := w.checkLogs(); err != nil {
		t.Error(err)
	}
	w.produce(200)
	in = w.run(nil)
	eventually(t, "features after a restart", w.check)
	in.stop()
	if err := w.checkLogs(); err != nil {
		t.Errorf("after a restart: %v", err)
	}
}

func TestTheLogHoldsEachEventOnceWhateverFails(t *testing.T) {
	cases := map[string]kfake.Fault{
		"offset commit refused":     {Keys: []kmsg.Key{kmsg.TxnOffsetCommit}, Err: kerr.RebalanceInProgress},
		"end refused":               {Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.UnknownServerError},
		"commit in doubt":           {Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.RequestTimedOut},
		"end fenced":                {Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.ProducerFenced},
		"log produce refused":       {Keys: []kmsg.Key{kmsg.Produce}, Topic: "fr.features.user_orders", Err: kerr.InvalidRecord},
		"produced, answer says not": {Keys: []kmsg.Key{kmsg.Produce}, Topic: "fr.features.user_orders", Err: kerr.NotEnoughReplicasAfterAppend},
	}
	for name, fault := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "").logs()
			in := w.run(nil)
			for range 3 {
				w.produce(60)
				eventually(t, "features", w.check)
				h := w.cluster.Fault(fault)
				w.produce(120)
				eventually(t, "the fault", func() error {
					if h.Hits() == 0 {
						return fmt.Errorf("did not happen")
					}
					return nil
				})
				eventually(t, "features after the fault", w.check)
				h.Remove()
			}
			eventually(t, "the log", w.checkLogs)
			in.stop()
			if err := w.checkLogs(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A view that is added later counts the past, and logs it: once.
func TestAViewAddedLaterLogsThePastOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "").logs()
	w.produce(200)
	in := w.run(nil)
	eventually(t, "features", w.check)
	in.stop()
	w.plane = w.load(w.text("") + tooView)
	w.logs()
	for range 2 {
		w.produce(50)
		in = w.run(nil)
		eventually(t, "features of the new view", w.checkToo)
		eventually(t, "features of the old views", w.check)
		in.stop()
		if err := w.checkLogs(); err != nil {
			t.Error(err)
		}
		rows, err := w.readLog("user_orders_too")
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) != len(w.events) {
			t.Errorf("%d rows of the new view, want one for each of %d events", len(rows), len(w.events))
		}
	}
}

func TestHistoryNoneWritesNoLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.plane = w.load(strings.Replace(w.text(""), "    source: orders\n    features:", "    source: orders\n    history: none\n    features:", 1))
	w.logs()
	w.produce(50)
	in := w.run(nil)
	eventually(t, "features", w.check)
	in.stop()
	cl := w.client()
	meta := kmsg.NewPtrMetadataRequest()
	resp, err := meta.RequestWith(t.Context(), cl)
	if err != nil {
		t.Fatal(err)
	}
	var logs []string
	for _, topic := range resp.Topics {
		if strings.HasPrefix(*topic.Topic, "fr.features.") {
			logs = append(logs, *topic.Topic)
		}
	}
	if !slices.Equal(logs, []string{"fr.features.shop_orders"}) {
		t.Errorf("log topics %q, want that of shop_orders alone", logs)
	}
}
