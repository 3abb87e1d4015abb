package processors

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/freshet-io/freshet/monitors/alert"
	"github.com/freshet-io/freshet/monitors/topics"
	"github.com/freshet-io/freshet/monitors/watch"
)

// withFeeds is the monitored plane with orders by region and other monitors.
func withFeeds(monitors string) string {
	head, _, _ := strings.Cut(monitoredPlane, "\nmonitors:\n")
	head = strings.Replace(head, "{name: amount, type: float64}", "{name: amount, type: float64}, {name: region, type: string}", 1)
	return head + "\nmonitors:\n" + monitors
}

// order is an event of a region in a partition, at a time in microseconds.
func order(partition int32, region string, at int64) *kgo.Record {
	return &kgo.Record{
		Topic: "orders", Partition: partition, Key: []byte("u"), Timestamp: time.UnixMicro(at),
		Value: []byte(`{"user":"u","amount":1,"region":"` + region + `"}`),
	}
}

// judgedFresh waits until the freshness of orders has been judged at a tick that is not before end, and returns the
// last score of each slice.
func (s *scored) judgedFresh(end int64) map[string]watch.Score {
	s.t.Helper()
	var last map[string]watch.Score
	eventually(s.t, "freshness", func() error {
		last = map[string]watch.Score{}
		at := int64(0)
		for _, rec := range s.ofModel(topics.Scores) {
			sc, err := watch.DecodeScore(rec.Value)
			if err != nil {
				return err
			}
			if sc.Kind == alert.Freshness && sc.Column == "orders" {
				last[sc.Slice], at = sc, max(at, sc.Window.End)
			}
		}
		if at < end {
			return fmt.Errorf("judged as of %s, want %s", time.UnixMicro(at).UTC(), time.UnixMicro(end).UTC())
		}
		return nil
	})
	return last
}

// told returns the delivered messages of a class, each with the slices that it names.
func (s *scored) told(class alert.Class) []string {
	s.t.Helper()
	var out []string
	for _, rec := range s.read(topics.Alerts, 1) {
		m, err := alert.ParseEvent(rec.Value)
		if err != nil {
			s.t.Fatal(err)
		}
		if m.Type.Delivered() && m.Class == class {
			var of []string
			for _, f := range m.Features {
				of = append(of, string(f.Kind)+" "+f.Slice)
			}
			slices.Sort(of)
			out = append(out, fmt.Sprintf("%s %s %q", m.Status, m.Group, slices.Compact(of)))
		}
	}
	return out
}

// One region's orders stop for an hour of the stream's own time, hours before the clock's, and all values shift while they are away:
// the region is told as stale, and of the shift all but what is of the region.
func TestAStaleSliceIsToldAndMutesWhatIsOfIt(t *testing.T) {
	t.Parallel()
	s := newScoredOf(t, withFeeds(`
  - name: inputs
    model: scorer
    window: {size: 10m, every: 5m, grace: 0s}
    skew: {baseline: scorer_1}
    min_sample: 150
    freshness: [{source: orders, by: region, max_age: 30m, as_of: stream}]
`))
	m, stop := s.run("one")
	s.createBaseline()
	eventually(t, "ready", m.Ready)
	eventually(t, "the baseline", func() error { return m.follower.sync(t.Context()) })
	tick := (3 * time.Minute).Microseconds()
	for k := range 13 {
		var recs []*kgo.Record
		for i := range int64(10) {
			at, p := s.at+i*time.Minute.Microseconds(), int32(i%2)
			recs = append(recs, order(p, "us", at))
			if k < 3 || k >= 9 {
				recs = append(recs, order(p, "eu", at))
			}
		}
		if err := s.client.ProduceSync(t.Context(), recs...).FirstErr(); err != nil {
			t.Fatal(err)
		}
		stream := s.at + (8 * time.Minute).Microseconds() // both partitions have come so far
		s.produce(10*time.Minute, map[bool]float64{true: 9}[k >= 6 && k < 9])
		last := s.judgedFresh(stream / tick * tick)
		if e := float64(last["region=us"].Effect); e > 0.1 {
			t.Errorf("step %d: orders of the region us come, and are %v of max_age old", k, e)
		}
		if k == 4 || k == 8 { // before it is told, and while it fires
			stop()
			m, stop = s.run("one")
			eventually(t, "ready", m.Ready)
		}
	}
	s.settled()
	stop()
	if got, want := s.told(alert.Availability), []string{`firing orders ["freshness region=eu"]`, `resolved orders ["freshness region=eu"]`}; !slices.Equal(got, want) {
		t.Errorf("messages of availability %q, want %q", got, want)
	}
	// What is of the region may join once it is fresh again.
	if got, want := s.told(alert.Values), `firing orders ["skew " "skew region=us"]`; len(got) != 2 || got[0] != want || !strings.HasPrefix(got[1], "resolved orders ") {
		t.Errorf("messages of values %q, want %q and that it is resolved", got, want)
	}
}

// A monitor that only watches feeds needs no baseline and no inferences. By the clock, a source is judged once all is
// read that it has, to the end of what transactions have left in its log.
func TestFreshnessAloneIsJudgedByTheClock(t *testing.T) {
	t.Parallel()
	s := newScoredOf(t, withFeeds("  - {name: feed, model: scorer, window: {size: 1h}, freshness: [{source: orders, by: region, max_age: 1h}]}\n"))
	var ahead atomic.Int64 // of the clock that the monitors see
	began := time.Now().Add(-12 * time.Hour)
	now := func() time.Time { return began.Add(time.Since(began) - 12*time.Hour + time.Duration(ahead.Load())) }
	m, stop := s.run("one", func(o *MonitorOptions) { o.Now = now })
	eventually(t, "ready", m.Ready)
	sender, err := kgo.NewClient(kgo.SeedBrokers(s.seeds...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionalID("orders"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sender.Close)
	send := func(commit kgo.TransactionEndTry, regions ...string) {
		t.Helper()
		if err := sender.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for _, region := range regions {
			if err := sender.ProduceSync(t.Context(), order(1, region, now().UnixMicro())).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		if err := sender.EndTransaction(t.Context(), commit); err != nil {
			t.Fatal(err)
		}
	}
	tick := (6 * time.Minute).Microseconds()
	step := func(commit kgo.TransactionEndTry, regions ...string) map[string]watch.Score {
		t.Helper()
		ahead.Add(int64(10 * time.Minute))
		send(commit, regions...)
		return s.judgedFresh(now().UnixMicro() / tick * tick)
	}
	send(kgo.TryCommit, "eu", "us")
	eventually(t, "both regions", func() error { // a tick at which nothing has been seen yet says nothing
		if st := s.state("scorer/source/orders"); !strings.Contains(st, "region=eu") || !strings.Contains(st, "region=us") {
			return fmt.Errorf("state %s", st)
		}
		return nil
	})
	for range 8 {
		step(kgo.TryCommit, "us")
	}
	want := []string{`firing orders ["freshness region=eu"]`}
	if got := s.told(alert.Availability); !slices.Equal(got, want) {
		t.Errorf("one region has stopped: %q, want %q", got, want)
	}
	stop()
	m, _ = s.run("one", func(o *MonitorOptions) { o.Now = now })
	eventually(t, "ready", m.Ready)
	for range 3 {
		step(kgo.TryCommit, "eu", "us")
	}
	want = append(want, `resolved orders ["freshness region=eu"]`)
	if got := s.told(alert.Availability); !slices.Equal(got, want) {
		t.Errorf("it has come back: %q, want %q", got, want)
	}
	var last map[string]watch.Score
	for range 8 {
		last = step(kgo.TryAbort, "eu", "us") // which no reader sees
	}
	want = append(want, `firing orders ["freshness "]`)
	if got := s.told(alert.Availability); !slices.Equal(got, want) {
		t.Errorf("all of it has stopped: %q, want %q", got, want)
	}
	if sc := last[""]; sc.Against != "max_age 1h0m0s" || sc.Method != "age" || sc.Score < 4800 || sc.Outcome != "exceeded" {
		t.Errorf("score %+v", sc)
	}
}

// A first start sees how old a source is and does not read its history. Records that are deleted before they are read are
// no loss: what comes after them says how old the source is.
func TestOnlyTheNewestOfASourceIsRead(t *testing.T) {
	t.Parallel()
	s := newScoredOf(t, withFeeds("  - {name: feed, model: scorer, window: {size: 1h}, freshness: [{source: orders, by: region, max_age: 1h}]}\n"))
	if err := s.cluster.CreateTopic("orders", 2, nil); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	send := func(n int, region string) {
		t.Helper()
		var recs []*kgo.Record
		for range n {
			recs = append(recs, order(0, region, now.UnixMicro()))
		}
		if err := s.client.ProduceSync(t.Context(), recs...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	send(1, "history")
	send(sourceTail, "known")
	m, _ := s.run("one")
	eventually(t, "ready", m.Ready)
	eventually(t, "the newest", func() error {
		if st := s.state("scorer/source/orders"); !strings.Contains(st, "region=known") {
			return fmt.Errorf("state %s", st)
		}
		return nil
	})
	if strings.Contains(s.state("scorer/source/orders"), "region=history") {
		t.Error("the history of the source was read")
	}
	fault := s.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: "orders", Err: kerr.KafkaStorageError, Count: -1})
	eventually(t, "fetches that fail", func() error { // those that wait in the broker have been answered
		if fault.Hits() < 4 {
			return errors.New("none yet")
		}
		return nil
	})
	send(5, "lost")
	if err := s.cluster.DeleteRecords("orders", 0, -1); err != nil {
		t.Fatal(err)
	}
	fault.Remove()
	send(1, "new")
	eventually(t, "what is new", func() error {
		st := s.state("scorer/source/orders")
		if !strings.Contains(st, "region=new") || strings.Contains(st, "region=lost") {
			return fmt.Errorf("state %s", st)
		}
		return nil
	})
	if err := m.Ready(); err != nil {
		t.Error(err)
	}
}

// ofModel returns the committed records of the model in a topic.
func (s *scored) ofModel(topic string) (out []*kgo.Record) {
	s.t.Helper()
	err := readTopic(s.t.Context(), []kgo.Opt{kgo.SeedBrokers(s.seeds...)}, topics.Name(s.plane, topic), modelPartition(s.plane.Models[0]), func(rec *kgo.Record) error {
		out = append(out, rec)
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// state returns the newest record of the evaluators' state under a key.
func (s *scored) state(key string) (value string) {
	s.t.Helper()
	for _, rec := range s.ofModel(topics.State) {
		if string(rec.Key) == key {
			value = string(rec.Value)
		}
	}
	return value
}
