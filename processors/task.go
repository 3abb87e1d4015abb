package processors

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/ingest"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/inputs"
)

// sourceOrdinal is the ordinal of live records in feature.Order; backfilled rows have 0.
const sourceOrdinal = 1

// taskState is where a task is in its life.
type taskState uint8

const (
	taskRestoring taskState = iota // not read; its store is being brought up to its changelog
	taskRunning                    // its records are applied
	taskFailed                     // not read any more, with the reason in task.failure (R13)
)

// A task is one partition of an input and the state of that input's views for the keys of that partition (R1).
type task struct {
	in        *input
	partition int32
	id        uint32 // in the store
	state     taskState
	failure   error
	delivered bool        // the restorer's: the outcome of the restore asked for last has been handed over
	released  atomic.Bool // the loop has let the task go: nobody waits for its restore

	reader *ingest.Reader
	views  []*viewState
	store  *store
	cells  cellReader
	met    *metrics
	clock  func() time.Time // for what people read; never for a result

	// now is what has been applied in memory; committed is what the last committed transaction says (R4, R7). While no
	// transaction is open, or ends, they are equal.
	now        meta // its views are in the order of task.views
	committed  meta
	catchingUp bool
	read       int64    // the next input offset to take; below now.next while a view that was added later catches up
	pos        position // of the store in the changelog
	touched    bool     // by the open transaction
	starting   bool     // where its first start begins is not committed yet
	outOfRange bool     // its next record does not exist: it is not read until a restore has found out what is missing
	ids        *eventIDs

	erasedTo  int64 // the next request to forget an entity that is to be looked at
	erasedNow int64 // where the requests that the open transaction honours end; 0: it honours none

	erased [][]byte      // changelog keys to delete in the open transaction, before anything else
	ending []*kgo.Record // changelog records of the transaction that ends: the store does not have them
	dead   []*kgo.Record // dead letters of the open transaction that are not produced yet
	logged loggedRows    // records of the views' logs that are not produced yet

	assignedAt     int64     // where the client would have begun to read: the group's offset, else that of a first start
	swept          []byte    // where the next sweep of the store goes on
	partitionLabel string    // of metrics
	lastEvent      time.Time // wall clock, for idleness only
	row            []feature.Value
	recordKey      []byte
	keys           []entityKey
	counts         taskCounts
	online         onlineState
}

// An entityKey is the key of one entity that the task's rows describe, as of the current row.
type entityKey struct {
	entity *config.Entity
	fields []int
	bytes  []byte
}

// taskCounts are the events of one batch by outcome, added to the metrics once a batch.
type taskCounts struct {
	applied, skipped, late, unknownFields, evalErrors, notFinite, tooLong, duplicates int
	dead                                                                              map[ingest.Class]int
}

// A viewState is the state of one view for the keys of one task.
type viewState struct {
	project  string
	view     *config.View
	key      int // index into task.keys
	index    int // into task.views, and the views of its meta
	layout   *feature.Layout
	epoch    uint64
	fp       [8]byte // the id of its state: see config.Fingerprint.State
	entities map[string]*entry
	dirty    []*entry // changed by the open transaction
	ending   []*entry // changed by the transaction that ends
	// Those of dirty whose last changes are not in the changelog yet, and the cells of those that were produced early.
	unflushed []*entry
	produced  map[*entry][]feature.Cell
	pending   []*entry // not yet published; each is in entities
	lookFor   []sought // to publish; they may not be in memory, and are loaded when their turn comes
	bytes     int      // of entities, about
	waits     int      // of those in pending, about
	added     uint64   // entities ever put into pending
	sent      uint64   // entities ever taken out of it
	// Transactions are numbered: txn is the open one, unsettled the first whose outcome is not known, which is the one before if that
	// one ends. Those from undone up to redone, without it, are what was rolled back last.
	txn, unsettled uint32
	undone, redone uint32

	bootstrap            *Bootstrap          // what the state had counted when it was built out of band; nil if it was not
	log                  *featureLog         // nil: the view keeps none
	fresh                prometheus.Observer // of what is published
	headField, tailField string
	expire               time.Duration
	inputs               *inputs.Evaluator
	flushing, loading    []byte // scratch: a cell that is flushed, and the prefix of those that are loaded
}

// An entry is an entity in memory.
type entry struct {
	feature.Entity
	key string
	// tailAt is the input offset in the version of the tail that Redis was sent for this entity (R11); noTail if none was.
	tailAt    int64
	since     int64  // event time of the first event that is not published, microseconds; 0: there is none
	sinceTxn  uint32 // the transaction that event is of: when it is rolled back, the event comes again
	size      int32  // as last counted in viewState.bytes
	dirty     bool   // in viewState.dirty
	ending    bool   // in viewState.ending
	unflushed bool   // in viewState.unflushed
	pending   bool   // in viewState.pending
	used      bool   // since the last eviction pass
	resend    bool   // what Redis holds is not known: the tail goes with the next publish
}

const noTail = -1

// A sought is an entity that waits to be published and may have left memory.
type sought struct {
	key   string
	since int64 // as in entry, of a committed event; 0: there is none
}

// appeared takes up an event of the open transaction that Redis does not show yet.
func (v *viewState) appeared(e *entry, order *feature.Order) {
	if e.since == 0 {
		e.since, e.sinceTxn = order.Time, v.txn
	}
}

// entryOverhead is the memory of an entry and its place in the map beside its Entity's own.
const entryOverhead = 160

func newTask(in *input, partition int32, st *store, met *metrics, p *config.Plane, clock func() time.Time) (*task, error) {
	rd, err := ingest.NewReader(in.source)
	if err != nil {
		return nil, err
	}
	t := &task{
		in: in, partition: partition, store: st, met: met, clock: clock, reader: rd,
		now: noMeta(), committed: noMeta(),
		row: make([]feature.Value, len(in.source.Schema)),
	}
	t.partitionLabel = strconv.Itoa(int(partition))
	t.online.next = -1
	t.counts.dead = map[ingest.Class]int{}
	for i, v := range in.views {
		s := newViewState(p.Project, v, in.bound[i], expiry(p, v.Entity))
		s.key = slices.IndexFunc(t.keys, func(k entityKey) bool { return k.entity == v.Entity })
		if s.key < 0 {
			s.key = len(t.keys)
			t.keys = append(t.keys, entityKey{entity: v.Entity, fields: v.KeyFields})
		}
		s.index = i
		s.log = newFeatureLog(p, v)
		s.fresh = met.freshness.WithLabelValues(v.Name)
		t.views = append(t.views, s)
	}
	if in.source.EventID >= 0 {
		t.ids = newEventIDs(in.source)
	}
	return t, nil
}

func (t *task) name() string { return taskName(t.in.topic, t.partition) }

// restoredTo puts a task that has been restored into service. Views that the meta record does not know begin at `first`,
// the beginning of the input; it returns where to read on.
func (t *task) restoredTo(d restored, first int64) int64 {
	t.id, t.pos, t.state = d.id, d.pos, taskRunning
	if d.meta.none() {
		d.meta = t.firstMeta(first)
	}
	t.committed = meta{next: d.meta.next, streamTime: d.meta.streamTime, views: make([]viewMeta, len(t.views))}
	for i, v := range t.views {
		next, ok := d.meta.of(v.fp)
		if !ok {
			next = v.beginning(t.partition, min(first, d.meta.next))
		}
		t.committed.views[i] = viewMeta{v.fp, next}
	}
	// What is known of views that are not defined now is kept: should they come back, their cells are still there.
	for _, v := range d.meta.views {
		if t.viewOf(v.fp) < 0 {
			t.committed.views = append(t.committed.views, v)
		}
	}
	t.toCommitted()
	return t.read
}

// toCommitted sets what has been applied to what the last committed transaction says.
func (t *task) toCommitted() {
	t.now = t.committed
	t.now.views = slices.Clone(t.committed.views)
	t.read = t.now.next
	for i := range t.views {
		t.read = min(t.read, t.now.views[i].next)
	}
	t.catchingUp = t.catchingUp || t.read < t.now.next
}

// caughtUp reports, once, that views that were added later have counted what the others had.
func (t *task) caughtUp() bool {
	done := t.catchingUp && t.read >= t.now.next
	if done {
		t.catchingUp = false
	}
	return done
}

// skipTo moves the task past records that are gone.
func (t *task) skipTo(first int64) {
	for i := range t.views {
		v := &t.committed.views[i]
		v.next = max(v.next, first)
	}
	t.committed.next = max(t.committed.next, first)
	t.toCommitted()
}

// addedLater returns the first view that the meta record of a restored task does not know and that was not built out of
// band, nil if there is none.
func (t *task) addedLater(m meta) *viewState {
	for _, v := range t.views {
		if _, ok := m.of(v.fp); !ok && v.bootstrap == nil {
			return v
		}
	}
	return nil
}

// fail stops the task for good (R13).
func (t *task) fail(err error) {
	t.state, t.failure = taskFailed, err
}

// seal makes what the open transaction has changed that of the one that ends, with these changelog records; there is no other.
// What is applied from now on is of the next.
func (t *task) seal(recs []*kgo.Record) {
	t.touched, t.ending = false, recs
	for _, v := range t.views {
		v.seal()
	}
	if t.ids != nil {
		t.ids.seal()
	}
}

// settle takes up that the transaction that ended has committed m.
func (t *task) settle(m meta) {
	t.committed, t.starting, t.ending = m, false, nil
	for _, v := range t.views {
		v.settle()
	}
	if t.ids != nil {
		t.ids.commit()
	}
}

// rollback drops everything that is not committed (R5), of the open transaction and of one that ends: changed entities leave
// memory, what was to be published is looked up again, in its committed state, when its turn comes.
func (t *task) rollback() {
	if t.committed.views == nil {
		return // it has not been restored yet: nothing has been applied
	}
	t.toCommitted()
	t.touched = t.starting
	t.dead, t.erased, t.ending = t.dead[:0], t.erased[:0], nil
	t.logged.drop()
	t.online.republish.target = nil
	for _, v := range t.views {
		v.rollback()
	}
	if t.ids != nil {
		t.ids.rollback()
	}
}

// apply folds one record into the state of the task's views. An error stops the task; a record that cannot be used is a
// dead letter, not an error.
func (t *task) apply(rec *kgo.Record) error {
	if rec.Offset < t.read {
		t.counts.skipped++
		return nil
	}
	t.read = rec.Offset + 1
	t.touched = true
	again := rec.Offset < t.now.next // a view that was added later catches up
	t.now.next = max(t.now.next, t.read)
	if err := t.take(rec, again); err != nil {
		return err
	}
	for i := range t.views {
		v := &t.now.views[i]
		v.next = max(v.next, t.read)
	}
	return nil
}

// take decodes a record and folds it into the views that have not counted it.
func (t *task) take(rec *kgo.Record, again bool) error {
	order := feature.Order{Ordinal: sourceOrdinal, Partition: rec.Partition, Offset: rec.Offset}
	if t.in.repartitioned() {
		o, err := parseOrigin(rec.Headers)
		if err != nil {
			return fmt.Errorf("%s offset %d: %w", t.name(), rec.Offset, err)
		}
		order.Ordinal, order.Partition, order.Offset = o.ordinal, o.partition, o.offset
		rec.Timestamp = time.UnixMilli(o.millis)
	}
	at, unknown, bad := t.reader.Read(rec, t.row)
	t.counts.unknownFields += unknown
	for i := range t.keys {
		if bad != nil {
			break
		}
		k := &t.keys[i]
		k.bytes, bad = t.reader.AppendEntityKey(k.bytes[:0], t.row, k.fields)
	}
	if bad != nil {
		if again {
			return nil // it was dead-lettered the first time
		}
		t.deadLetter(rec, &order, bad)
		return nil
	}
	if !t.in.repartitioned() {
		if err := t.checkPartition(rec); err != nil {
			return err
		}
	}
	if t.reader.Tombstone(rec) {
		return t.erase(rec.Offset)
	}
	order.Time = at
	return t.applyRow(rec, &order)
}

// applyRow folds a decoded row into every view.
func (t *task) applyRow(rec *kgo.Record, order *feature.Order) error {
	if t.ids != nil {
		seen, err := t.seenBefore(order)
		if err != nil {
			return err
		}
		if seen {
			t.counts.duplicates++
			return nil
		}
	}
	t.now.streamTime = max(t.now.streamTime, order.Time)
	t.counts.applied++
	for i, v := range t.views {
		if rec.Offset < t.now.views[i].next || v.bootstrap != nil && v.bootstrap.counted(order) {
			continue
		}
		if err := t.applyView(v, order); err != nil {
			return fmt.Errorf("%s offset %d: feature view %s: %w", t.name(), rec.Offset, v.view.Name, err)
		}
	}
	return nil
}

// checkPartition refuses a record that its producer put on another partition than murmur2 of its key says: the state of
// its entity would be split over tasks.
func (t *task) checkPartition(rec *kgo.Record) error {
	var bad *ingest.FieldError
	if t.recordKey, bad = t.reader.AppendRecordKey(t.recordKey[:0], t.row); bad != nil {
		return fmt.Errorf("%s offset %d: %w", t.name(), rec.Offset, bad)
	}
	if want := ingest.Partition(t.recordKey, t.in.partitions); want != t.partition {
		return fmt.Errorf("%s offset %d: the record's key fields %q belong on partition %d of %d (murmur2): its producer partitions otherwise; "+
			"state `partitioning: unknown` for source %q, and Freshet repartitions it", t.name(), rec.Offset, t.recordKey, want, t.in.partitions, t.in.source.Name)
	}
	return nil
}

func (t *task) applyView(v *viewState, order *feature.Order) error {
	if !v.inputs.Accepts(t.row) {
		t.counts.note(v.inputs.TakeCounts())
		return nil
	}
	e, err := v.get(t, t.keys[v.key].bytes)
	if err != nil {
		return err
	}
	in := v.inputs.Evaluate(t.row)
	t.counts.note(v.inputs.TakeCounts())
	t.counts.late += v.layout.Apply(&e.Entity, order, in, t.now.streamTime)
	v.appeared(e, order)
	v.changed(e)
	if v.log != nil {
		return v.log.append(t, v, e, order)
	}
	return nil
}

// note adds what an evaluator counted.
func (c *taskCounts) note(n inputs.Counts) {
	c.evalErrors += n.EvalErrors
	c.notFinite += n.NotFinite
	c.tooLong += n.TooLong
}

// deadLetter puts a record aside, with the coordinates of the original.
func (t *task) deadLetter(rec *kgo.Record, order *feature.Order, why *ingest.FieldError) {
	t.counts.dead[why.Class]++
	orig := *rec
	orig.Topic, orig.Partition, orig.Offset = t.in.source.Topic, order.Partition, order.Offset
	if t.in.repartitioned() {
		orig.Headers = withoutOrigin(rec.Headers)
	}
	d := ingest.DeadLetter(t.in.deadLetters, t.in.source.Name, &orig, why, t.clock())
	d.Partition = order.Partition
	t.dead = append(t.dead, d)
}

func withoutOrigin(hs []kgo.RecordHeader) []kgo.RecordHeader {
	kept := make([]kgo.RecordHeader, 0, len(hs))
	for _, h := range hs {
		if h.Key != originHeader {
			kept = append(kept, h)
		}
	}
	return kept
}

// idle says whether the task has had no record for d, so that it does not hold back watermarks.
func (t *task) idle(now time.Time, d time.Duration) bool {
	return t.lastEvent.IsZero() || now.Sub(t.lastEvent) > d
}

// watermarkDelay returns how far the task's stream time is behind the clock; ok is false before its first event.
func (t *task) watermarkDelay(now time.Time) (d time.Duration, ok bool) {
	if t.now.streamTime == math.MinInt64 {
		return 0, false
	}
	return now.Sub(time.UnixMicro(t.now.streamTime)), true
}
