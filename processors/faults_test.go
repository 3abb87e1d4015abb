package processors

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/freshet-io/freshet/ingest"
)

func TestARestartGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.produce(300)
	in := w.run(nil)
	eventually(t, "features", w.check)
	in.stop()
	w.produce(300)
	w.run(nil)
	eventually(t, "features after the restart", w.check)
}

func TestALostLocalStoreIsRebuiltFromTheChangelog(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.produce(400)
	in := w.run(nil)
	eventually(t, "features", w.check)
	in.stop()
	if err := os.RemoveAll(w.dir); err != nil {
		t.Fatal(err)
	}
	w.redis.empty() // so that everything has to come from the changelog
	w.produce(100)
	w.run(nil)
	eventually(t, "features after the loss", w.check)
}

func TestAnEmptiedRedisIsFilledAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.produce(400)
	w.run(nil)
	eventually(t, "features", w.check)
	tasks := map[string]bool{} // that have published: their canaries tell of the loss
	for _, e := range w.events {
		tasks[fmt.Sprint("fr.changelog.orders:", ingest.Partition([]byte(e.User), testPartitions))] = true
		if e.Amount != nil {
			tasks[fmt.Sprint("fr.changelog.orders.shop:", ingest.Partition(fmt.Append(nil, e.Shop), testPartitions))] = true
		}
	}
	eventually(t, "canaries", func() error {
		w.redis.mu.Lock()
		defer w.redis.mu.Unlock()
		for name := range tasks {
			if _, ok := w.redis.canary[name]; !ok {
				return fmt.Errorf("none of %s among %v", name, w.redis.canary)
			}
		}
		return nil
	})
	w.redis.empty()
	eventually(t, "features after the loss, without a new event", w.check)
}

func TestRedisAwayHoldsNothingBackForGood(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.redis.setAway(errors.New("away"))
	in := w.run(func(o *Options) { o.Plane.Processing.MaxPendingWrites = 5 })
	w.produce(400)
	eventually(t, "unready", func() error {
		if err := in.rt.Ready(); err == nil || !strings.Contains(err.Error(), "does not accept writes") {
			return fmt.Errorf("ready says %v", err)
		}
		return nil
	})
	w.redis.setAway(nil)
	eventually(t, "features", w.check)
	in.waitReady()
}

// TestTransactionFaults makes each request of a transaction fail now and then, in every way that the broker has: refused
// before it did anything, and done but answered with an error, so that the outcome is in doubt.
func TestTransactionFaults(t *testing.T) {
	cases := map[string]kfake.Fault{
		"offset commit refused":      {Keys: []kmsg.Key{kmsg.TxnOffsetCommit}, Err: kerr.RebalanceInProgress},
		"offset commit fatal":        {Keys: []kmsg.Key{kmsg.TxnOffsetCommit}, Err: kerr.InvalidCommitOffsetSize},
		"end refused":                {Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.UnknownServerError},
		"end fenced":                 {Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.ProducerFenced},
		"changelog produce refused":  {Keys: []kmsg.Key{kmsg.Produce}, Topic: "fr.changelog.orders", Err: kerr.InvalidRecord},
		"changelog epoch":            {Keys: []kmsg.Key{kmsg.Produce}, Topic: "fr.changelog.orders", Err: kerr.InvalidProducerEpoch},
		"router produce refused":     {Keys: []kmsg.Key{kmsg.Produce}, Topic: "fr.repartition.orders.shop", Err: kerr.InvalidRecord},
		"produced, answer says not":  {Keys: []kmsg.Key{kmsg.Produce}, Topic: "fr.changelog.orders", Err: kerr.NotEnoughReplicasAfterAppend},
		"heartbeat: unknown member":  {Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.UnknownMemberID},
		"heartbeat: rebalance":       {Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.RebalanceInProgress},
		"heartbeat: old generation":  {Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.IllegalGeneration},
		"offset fetch unstable once": {Keys: []kmsg.Key{kmsg.OffsetFetch}, Err: kerr.UnstableOffsetCommit},
	}
	for name, fault := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "")
			w.run(nil)
			w.produce(100)
			eventually(t, "features", w.check)
			for range 3 {
				h := w.cluster.Fault(fault)
				w.produce(60)
				if fault.Keys[0] != kmsg.OffsetFetch {
					eventually(t, "the fault", func() error {
						if h.Hits() == 0 {
							return errors.New("did not happen")
						}
						return nil
					})
				}
				w.produce(60)
				eventually(t, "features", w.check)
				h.Remove()
			}
		})
	}
}

// TestCommitInDoubt loses the answer to the request that commits: the connection dies after the broker has done it, or
// before. The client cannot know which.
func TestCommitInDoubt(t *testing.T) {
	for _, done := range []bool{true, false} {
		t.Run(fmt.Sprintf("done=%v", done), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "")
			w.run(nil)
			w.produce(100)
			eventually(t, "features", w.check)
			for range 4 {
				if done {
					w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.RequestTimedOut})
				} else {
					w.cluster.ControlKey(int16(kmsg.EndTxn), func(kmsg.Request) (kmsg.Response, error, bool) {
						return nil, errors.New("connection lost"), true
					})
				}
				w.produce(80)
				eventually(t, "features", w.check)
			}
		})
	}
}

func TestInstancesJoinAndLeave(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	one := w.run(nil)
	w.produce(200)
	second := func(name string) *instance {
		return w.run(func(o *Options) { o.Plane.Processing.InstanceID = name })
	}
	two := second("two")
	for range 5 {
		w.produce(100)
		time.Sleep(30 * time.Millisecond)
	}
	one.stop()
	w.produce(200)
	three := second("three")
	for range 5 {
		w.produce(100)
		time.Sleep(30 * time.Millisecond)
	}
	eventually(t, "features", w.check)
	two.stop()
	w.produce(100)
	eventually(t, "features in the end", w.check)
	three.waitReady()
}

func TestBadRecordsAreDeadLetteredOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.run(nil)
	w.produce(100)
	good := len(w.events)
	cl := w.client()
	bad := map[ingest.Class][]byte{
		ingest.Malformed:    []byte(`{"user":`),
		ingest.MissingField: []byte(`{"user":"u1","n":1,"at":1}`),
		ingest.WrongType:    []byte(`{"user":"u1","shop":"one","at":1}`),
		ingest.TooFarAhead:  fmt.Appendf(nil, `{"user":"u1","shop":1,"at":%d}`, time.Now().Add(time.Hour).UnixMilli()),
		ingest.NullValue:    nil,
	}
	for _, v := range bad {
		r := &kgo.Record{Topic: w.topic, Key: []byte("u1"), Value: v, Partition: ingest.Partition([]byte("u1"), testPartitions), Headers: []kgo.RecordHeader{{Key: "trace", Value: []byte("7")}}}
		if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	w.produce(50)
	eventually(t, "features", w.check)
	rd := w.client(append(ingest.DeadLetterOptions(), kgo.ConsumeTopics("fr.dlq.orders"), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	found := map[string]int{}
	deadline := time.Now().Add(20 * time.Second)
	for n := 0; n < len(bad) && time.Now().Before(deadline); {
		rd.PollFetches(t.Context()).EachRecord(func(r *kgo.Record) {
			if r.Attrs.IsControl() {
				return
			}
			n++
			class := header(r, "freshet.class")
			found[class]++
			want := bad[ingest.Class(class)]
			if string(r.Value) != string(want) || string(r.Key) != "u1" || header(r, "trace") != "7" {
				t.Errorf("%s: dead letter %q %q %v is not the original", class, r.Key, r.Value, r.Headers)
			}
			if header(r, "freshet.topic") != w.topic {
				t.Errorf("%s: coordinates %v", class, r.Headers)
			}
		})
	}
	for class := range bad {
		if found[string(class)] != 1 {
			t.Errorf("%s: %d dead letters, want 1", class, found[string(class)])
		}
	}
	if good == len(w.events) {
		t.Error("no events after the bad ones")
	}
}

// TestARecordTooLargeForADeadLetterIsCut: it holds up nothing, and what is put aside says how large it was.
func TestARecordTooLargeForADeadLetterIsCut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	big := "20000000"
	cl := w.client(kgo.ProducerBatchMaxBytes(20_000_000))
	if _, err := kadm.NewClient(cl).AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Name: "max.message.bytes", Value: &big}}, w.topic); err != nil {
		t.Fatal(err)
	}
	w.run(nil)
	w.produce(50)
	huge := make([]byte, ingest.MaxLetterBytes+1)
	for i := range huge { // as it comes, it does not compress below the limit
		huge[i] = byte(w.rng.IntN(256))
	}
	p := ingest.Partition([]byte("u1"), testPartitions)
	if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: w.topic, Key: []byte("u1"), Value: huge, Partition: p}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	w.produce(50)
	eventually(t, "features", w.check)
	eventually(t, "a dead letter", func() error { // which its transaction's end shows
		for l, err := range ingest.List(t.Context(), w.client(ingest.DeadLetterOptions()...), "fr.dlq.orders", ingest.Filter{}) {
			if err != nil || l.Class != ingest.TooLarge || l.Cut != "key=2 value=16777217 headers=0" || string(l.Original.Value) != string(huge[:1<<20]) {
				return fmt.Errorf("%s %q with %d bytes, %v", l.Class, l.Cut, len(l.Original.Value), err)
			}
			return nil
		}
		return errors.New("there is none")
	})
}

func header(r *kgo.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

func TestAMisplacedRecordStopsItsTaskAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	in := w.run(nil)
	w.produce(100)
	eventually(t, "features", w.check)
	right := ingest.Partition([]byte("stray"), testPartitions)
	stray := &kgo.Record{Topic: w.topic, Key: []byte("stray"), Value: []byte(`{"user":"stray","shop":1,"at":1}`), Partition: (right + 1) % testPartitions}
	if err := w.client().ProduceSync(t.Context(), stray).FirstErr(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the task to stop", func() error {
		err := in.rt.Ready()
		if err == nil || !strings.Contains(err.Error(), "partitioning: unknown") {
			return fmt.Errorf("ready says %v", err)
		}
		return nil
	})
	// The other partitions go on.
	before := len(w.events)
	for len(w.events) < before+50 {
		if e := w.random(); ingest.Partition([]byte(e.User), testPartitions) != stray.Partition {
			w.events = append(w.events, e)
		}
	}
	w.send(w.events[before:]...)
	eventually(t, "features of the others", func() error {
		for u, es := range byUser(w.events) {
			if err := w.compareUserIfOn(u, es, stray.Partition); err != nil {
				return err
			}
		}
		return nil
	})
}

func byUser(es []event) map[string][]event {
	m := map[string][]event{}
	for _, e := range es {
		m[e.User] = append(m[e.User], e)
	}
	return m
}

func TestTombstonesEraseTheirEntity(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "    tombstones: delete\n")
	w.run(nil)
	w.produce(200)
	eventually(t, "features", w.check)
	gone := w.events[0].User
	r := &kgo.Record{Topic: w.topic, Key: []byte(gone), Partition: ingest.Partition([]byte(gone), testPartitions)}
	if err := w.client().ProduceSync(t.Context(), r).FirstErr(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the entity to be gone", func() error { return w.absent(gone) })
	// What comes after counts from nothing.
	e := w.random()
	e.User = gone
	w.send(e)
	eventually(t, "the entity to begin again", func() error { return w.compareUser(gone, []event{e}) })
}

func TestEventIDsAreCountedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "      - {name: id, type: string}\n    event_id: {field: id, horizon: 24h}\n")
	in := w.run(nil)
	var batch []event
	for i := range 200 {
		e := w.random()
		e.ID = fmt.Sprint(i)
		w.events = append(w.events, e)
		if batch = append(batch, e); i%3 == 0 {
			batch = append(batch, e)
		}
		if i%20 == 19 {
			w.send(batch...)
			batch = batch[:0]
		}
	}
	eventually(t, "features", w.check)
	in.stop()
	w.run(nil)
	w.send(w.events...) // all of them again, after a restart
	w.events = append(w.events, w.random())
	w.send(w.events[len(w.events)-1])
	eventually(t, "features after duplicates", w.check)
	time.Sleep(300 * time.Millisecond)
	if err := w.check(); err != nil {
		t.Error(err)
	}
}
