package processors

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/freshet-io/freshet/ingest"
)

// heldEnd is the end of a transaction of the materializer that the broker keeps waiting.
type heldEnd struct {
	came    chan struct{} // closed when the request has come
	release func()        // may be called again
}

// holdEnd has the broker hold the next request of the materializer to commit offsets, the first one of those that end a transaction.
func (w *world) holdEnd() *heldEnd {
	came, released := make(chan struct{}), make(chan struct{})
	h := &heldEnd{came: came, release: sync.OnceFunc(func() { close(released) })}
	w.t.Cleanup(h.release)
	var held atomic.Bool
	w.cluster.ControlKey(int16(kmsg.TxnOffsetCommit), func(req kmsg.Request) (kmsg.Response, error, bool) {
		if !strings.Contains(req.(*kmsg.TxnOffsetCommitRequest).TransactionalID, "materialize") {
			w.cluster.KeepControl()
			return nil, nil, false
		}
		if held.CompareAndSwap(false, true) {
			close(came)
			w.cluster.SleepControl(func() { <-released })
		}
		return nil, nil, false
	})
	return h
}

// begin produces until a transaction ends that the broker holds.
func (h *heldEnd) begin(w *world) {
	w.t.Helper()
	w.produce(20)
	select {
	case <-h.came:
	case <-time.After(30 * time.Second):
		w.t.Fatal("no transaction ended")
	}
}

// anew replaces an instance by one that has nothing but Kafka.
func (in *instance) anew() {
	w := in.w
	in.stop()
	w.dir = w.t.TempDir()
	w.plane.Processing.StateDir = w.dir
	w.redis = newMemoryRedis()
	w.run(nil)
}

// checkDurable compares with the oracle what another instance serves that has nothing but Kafka.
func (w *world) checkDurable(in *instance) {
	w.t.Helper()
	in.anew()
	eventually(w.t, "features from the changelog", w.check)
}

// TestEventsAreTakenInWhileATransactionEnds: a broker that takes its time to commit makes no feature old, and what came meanwhile
// counts once: the events, the dead letters and the rows of the logs.
func TestEventsAreTakenInWhileATransactionEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "").logs()
	in := w.run(nil)
	w.produce(100)
	eventually(t, "features", w.check)
	for range 3 {
		held := w.holdEnd()
		held.begin(w)
		w.produce(30)
		bad := &kgo.Record{Topic: w.topic, Key: []byte("u1"), Value: []byte("{"), Partition: ingest.Partition([]byte("u1"), testPartitions)}
		if err := w.client().ProduceSync(t.Context(), bad).FirstErr(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the users' features while the end is held", w.checkUsers)
		held.release()
		eventually(t, "all features", w.check)
	}
	eventually(t, "the logs", w.checkLogs)
	eventually(t, "an end without a next", in.idle)
	letters := 0
	for _, err := range ingest.List(t.Context(), w.client(ingest.DeadLetterOptions()...), "fr.dlq.orders", ingest.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		letters++
	}
	if letters != 3 {
		t.Errorf("%d dead letters, want 3", letters)
	}
	w.checkDurable(in)
}

// checkUsers compares every user's features with the oracle.
func (w *world) checkUsers() error {
	for u, es := range byUser(w.events) {
		if err := w.compareUser(u, es); err != nil {
			return err
		}
	}
	return nil
}

// TestWhatCameWhileATransactionEndedThatFailed: it is dropped with that transaction, and counted once when it comes again.
func TestWhatCameWhileATransactionEndedThatFailed(t *testing.T) {
	ends := map[string]kfake.Fault{
		"refused":                  {Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.UnknownServerError},
		"fenced":                   {Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.ProducerFenced},
		"done, the answer is lost": {Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.RequestTimedOut},
		"the offsets are refused":  {Keys: []kmsg.Key{kmsg.TxnOffsetCommit}, Err: kerr.IllegalGeneration},
	}
	for name, fault := range ends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "").logs()
			in := w.run(nil)
			w.produce(100)
			eventually(t, "features", w.check)
			for range 3 {
				held := w.holdEnd()
				held.begin(w)
				w.produce(30)
				eventually(t, "the users' features while the end is held", w.checkUsers)
				h := w.cluster.Fault(fault)
				held.release()
				eventually(t, "features", w.check)
				h.Remove()
			}
			eventually(t, "the logs", w.checkLogs)
			w.checkDurable(in)
		})
	}
}

// TestAnEntityIsErasedWhileATransactionEnds that holds its first events: they are in no store yet, and must not come back out of the
// changelog.
func TestAnEntityIsErasedWhileATransactionEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "    tombstones: delete\n")
	in := w.run(nil)
	in.waitReady()
	const erased, reborn = "erased", "reborn"
	held := w.holdEnd()
	old := w.random()
	for _, user := range []string{erased, reborn} {
		old.User, old.At = user, w.start.UnixMilli()
		w.send(old)
	}
	held.begin(w)
	for _, user := range []string{erased, reborn} {
		eventually(t, "the first event", func() error { return w.compareUser(user, []event{old}) })
		r := &kgo.Record{Topic: w.topic, Key: []byte(user), Partition: ingest.Partition([]byte(user), testPartitions)}
		if err := w.client().ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	fresh := w.random()
	fresh.User = reborn
	w.send(fresh)
	eventually(t, "the entity to be gone", func() error { return w.absent(erased) })
	eventually(t, "the other to begin again", func() error { return w.compareUser(reborn, []event{fresh}) })
	held.release()
	eventually(t, "an end", in.idle)
	in.anew()
	eventually(t, "the users from the changelog", w.checkUsers)
	eventually(t, "the one that began again", func() error { return w.compareUser(reborn, []event{fresh}) })
	if err := w.absent(erased); err != nil {
		t.Error(fmt.Errorf("from the changelog: %w", err))
	}
}

// TestAnEventIDThatIsBeingCommittedIsKnown: an event that comes again while the transaction ends that counted it counts once.
func TestAnEventIDThatIsBeingCommittedIsKnown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "      - {name: id, type: string}\n    event_id: {field: id, horizon: 24h}\n")
	in := w.run(nil)
	in.waitReady()
	held := w.holdEnd()
	first := w.random()
	first.User, first.ID = "twice", "1"
	w.events = append(w.events, first)
	w.send(first)
	held.begin(w)
	next := w.random()
	next.User, next.ID = "twice", "2"
	w.events = append(w.events, next)
	w.send(first, next, first)
	eventually(t, "the users' features while the end is held", w.checkUsers)
	held.release()
	eventually(t, "features", w.check)
	w.send(first, next) // and after it
	w.produce(20)
	eventually(t, "features after duplicates", w.check)
	w.checkDurable(in)
}

// What waits for the transaction that ends is bounded: processing pauses then, and goes on after it.
func TestWhatIsTakenInAheadIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	in := w.run(nil)
	in.waitReady()
	held := w.holdEnd()
	held.begin(w)
	before := in.rt.Progress().Events
	burst := make([]event, 2*aheadRecords)
	for i := range burst {
		burst[i] = w.random()
		burst[i].At = w.start.UnixMilli()
	}
	w.events = append(w.events, burst...)
	w.send(burst...)
	eventually(t, "the bound", func() error {
		if n := in.rt.Progress().Events - before; n < aheadRecords {
			return fmt.Errorf("%d records were taken in", n)
		}
		return nil
	})
	time.Sleep(200 * time.Millisecond)
	if n := in.rt.Progress().Events - before; n > aheadRecords+maxPoll {
		t.Errorf("%d records were taken in while a transaction ended, want at most %d and a batch", n, aheadRecords)
	}
	held.release()
	eventually(t, "features", w.check)
}

// So are the bytes that wait to be produced: rows of logs may be large, and dead letters are records as they came.
func TestWhatIsKeptForTheNextTransactionIsBoundedInBytes(t *testing.T) {
	home := make(chan *logChunk, logChunksKept)
	one := &task{}
	m := &materializer{sess: &session{}, running: []*task{one}, ending: &ending{}}
	if !m.mayFold() {
		t.Fatal("nothing is kept, and nothing is folded in")
	}
	row := make([]byte, 1<<20)
	for range aheadBytes/len(row) - 1 {
		one.logged.add(home, "log", 0, row, 8)
	}
	if !m.mayFold() {
		t.Errorf("nothing is folded in at %d bytes", m.keptBytes())
	}
	one.dead = append(one.dead, &kgo.Record{Key: []byte("u"), Value: row})
	if m.mayFold() {
		t.Errorf("events are folded in at %d bytes", m.keptBytes())
	}
	one.logged.drop()
	if n := m.keptBytes(); n != len(row)+1 {
		t.Errorf("%d bytes are kept of rows that were dropped", n-len(row)-1)
	}
}
