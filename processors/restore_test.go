package processors

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestACommitMarkerThatIsLateIsWaitedFor holds R6: below the high watermark of a changelog there are records of a
// transaction whose marker has not come yet. They may count; a task that started without them would have lost them.
func TestACommitMarkerThatIsLateIsWaitedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.produce(200)
	in := w.run(nil)
	eventually(t, "features", w.check)
	in.stop()

	// What the instance did last happens once more, in a transaction that stays open: a later meta record.
	tp := topicPartition{"fr.changelog.orders", 0}
	last := w.lastMeta(tp)
	later := last
	later.streamTime++
	late := w.client(kgo.TransactionalID("late"), kgo.TransactionTimeout(time.Minute))
	if err := late.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	r := &kgo.Record{Topic: tp.topic, Partition: tp.partition, Key: []byte{kindMeta}, Value: later.append(nil)}
	if err := late.ProduceSync(t.Context(), r).FirstErr(); err != nil {
		t.Fatal(err)
	}

	if err := os.RemoveAll(w.dir); err != nil {
		t.Fatal(err)
	}
	in = w.run(nil)
	eventually(t, "the other tasks", func() error {
		err := in.rt.Ready()
		if err == nil {
			return errors.New("ready, although a transaction is open below the changelog's high watermark")
		}
		if !strings.Contains(err.Error(), "restoring orders[0]") {
			return fmt.Errorf("ready says %w", err)
		}
		return nil
	})
	for range 20 {
		if err := in.rt.Ready(); err == nil || !strings.Contains(err.Error(), "orders[0]") {
			t.Fatalf("ready says %v while the transaction is open", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err := late.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	in.waitReady()
	if got := in.rt.mat.store.metaOf(t, tp); got.streamTime != later.streamTime {
		t.Errorf("the restored meta record has stream time %d, want that of the late transaction, %d", got.streamTime, later.streamTime)
	}
	w.produce(100)
	eventually(t, "features", w.check)
}

// A restore writes nothing of a task that it has delivered: the task is at work, and the store ahead of what the restore, which goes
// on for others, would still read of its changelog.
func TestARestoreLeavesTasksAtWorkAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.produce(200)
	in := w.run(nil)
	eventually(t, "features", w.check)
	in.stop()
	changelog := "fr.changelog.orders"
	late := w.client(kgo.TransactionalID("late"), kgo.TransactionTimeout(time.Minute))
	if err := late.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	key := []byte{kindEventID, 'x'}
	produce := func(cl *kgo.Client, partition int32, value string) {
		t.Helper()
		r := &kgo.Record{Topic: changelog, Partition: partition, Key: key, Value: []byte(value)}
		if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	produce(late, 0, "late") // holds up the restore of partition 0

	st, err := openStore(t.TempDir(), 8<<20, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer st.close()
	from := in.rt.mat.restorer
	r := &restorer{store: st, client: from.client, group: from.group, logger: from.logger, now: time.Now, results: make(chan restored, 2)}
	var group []*task
	for p := range int32(2) {
		task, err := newTask(in.rt.mat.inputs[w.topic], p, st, in.rt.mat.met, w.plane, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		group = append(group, task)
	}
	done := make(chan error, 1)
	go func() { done <- r.restore(t.Context(), group) }()
	atWork := <-r.results
	if atWork.t != group[1] {
		t.Fatalf("%s was delivered first", atWork.t.name())
	}
	// The task commits twice, and the store has both before the restore reads the first.
	b := st.batch(0)
	if err := errors.Join(b.put(atWork.id, key, []byte("second")), b.commit()); err != nil {
		t.Fatal(err)
	}
	produce(w.client(), 1, "first")
	produce(late, 0, "last")
	if err := late.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if v, err := st.get(atWork.id, key); err != nil || string(v) != "second" {
		t.Errorf("the store has %q (%v), want what the task wrote last", v, err)
	}
	if d := <-r.results; d.t != group[0] {
		t.Errorf("%s was delivered last", d.t.name())
	} else if v, err := st.get(d.id, key); err != nil || string(v) != "last" {
		t.Errorf("the restored task has %q (%v)", v, err)
	}
}

// lastMeta reads the newest committed meta record of a changelog partition.
func (w *world) lastMeta(tp topicPartition) meta {
	w.t.Helper()
	cl := w.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{tp.topic: {tp.partition: kgo.NewOffset().AtStart()}}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	m := noMeta()
	err := readToEnd(w.t.Context(), cl, map[topicPartition]int64{tp: 0}, func(r *kgo.Record) error {
		if r.Attrs.IsControl() || len(r.Key) != 1 {
			return nil
		}
		var err error
		m, err = parseMeta(r.Value)
		return err
	}, func(topicPartition) error { return nil })
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

// metaOf reads the meta record that the store holds of the task behind a changelog partition of orders.
func (s *store) metaOf(t *testing.T, tp topicPartition) meta {
	t.Helper()
	id, _, err := s.task("orders", tp.partition)
	if err != nil {
		t.Fatal(err)
	}
	v, err := s.get(id, []byte{kindMeta})
	if err != nil {
		t.Fatal(err)
	}
	m, err := parseMeta(v)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func FuzzMeta(f *testing.F) {
	m := meta{next: 7, streamTime: 8, views: []viewMeta{{fp: [8]byte{1}, next: 5}}}
	f.Add(m.append(nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseMeta(b)
		if err == nil && string(m.append(nil)) != string(b) {
			t.Errorf("%x reads as %+v and is written otherwise", b, m)
		}
	})
}

func FuzzOrigin(f *testing.F) {
	f.Add(origin{ordinal: 1, partition: 2, offset: 3, millis: 4}.header().Value)
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := parseOrigin([]kgo.RecordHeader{{Key: originHeader, Value: b}})
		if err == nil && string(o.header().Value) != string(b) {
			t.Errorf("%x reads as %+v and is written otherwise", b, o)
		}
	})
}
