package processors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// staleAfter is half of the changelogs' delete.retention.ms: a store that was last current longer ago may miss
// tombstones that compaction has since removed, and is rebuilt.
const staleAfter = 7 * 24 * time.Hour / 2

// restoreBatchBytes bounds what a restore holds in memory before it goes to the store.
const restoreBatchBytes = 8 << 20

// A restored is the outcome of bringing one task's store up to its changelog.
type restored struct {
	t       *task
	id      uint32 // of the task in the store
	pos     position
	meta    meta
	records int
	took    time.Duration
	// committed is the offset that the group has committed for the task, -1 for none.
	committed int64
	erasedTo  int64 // the next request to forget an entity that the task has to look at
	// The input has the offsets from first to before end; views that are new begin at first.
	first, end int64
	err        error // the task cannot be restored, ever; nothing else is set
}

// restorer brings the local store of tasks that are not running up to their changelogs (R6). It works on its own
// goroutine, one group of tasks at a time: a task that is asked for again while it is being restored waits its turn.
type restorer struct {
	store  *store
	client []kgo.Opt
	group  string // whose committed offsets are asked for

	eraseTopic string // of the requests to forget entities; "" if tasks keep none
	logger     *slog.Logger
	now        func() time.Time

	requests chan []*task
	results  chan restored
}

// run serves requests until ctx is done. A group that fails is taken apart, so that a task that cannot be restored holds
// up no other; it is tried again, behind the others, until it can be or its owner lets it go. Bytes that cannot be read
// will not become readable: they end the task.
func (r *restorer) run(ctx context.Context) {
	var queue [][]*task
	for backoff := minBackoff; ; {
		var group []*task
		if len(queue) == 0 {
			select {
			case <-ctx.Done():
				return
			case group = <-r.requests:
			}
		} else {
			group, queue = queue[0], queue[1:]
		}
		group = slices.DeleteFunc(group, func(t *task) bool { return t.released.Load() })
		err := r.restore(ctx, group)
		group = slices.DeleteFunc(group, func(t *task) bool { return t.delivered })
		var bad *badStateError
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			backoff = minBackoff
		case errors.As(err, &bad):
			r.deliver(ctx, restored{t: bad.t, err: err})
			if rest := slices.DeleteFunc(group, func(t *task) bool { return t == bad.t }); len(rest) > 0 {
				queue = append(queue, rest)
			}
		default:
			r.logger.Warn("restore failed, will be tried again", "tasks", len(group), "retry_in", backoff, "err", err)
			for _, t := range group {
				queue = append(queue, []*task{t})
			}
			select {
			case <-time.After(backoff):
			case <-ctx.Done():
				return
			}
			backoff = min(2*backoff, 5*time.Second)
		}
		select { // new requests do not wait for those that fail
		case g := <-r.requests:
			queue = append([][]*task{g}, queue...)
		default:
		}
	}
}

// deliver hands a task's outcome to the loop.
func (r *restorer) deliver(ctx context.Context, d restored) {
	d.t.delivered = true
	select {
	case r.results <- d:
	case <-ctx.Done():
	}
}

const minBackoff = 100 * time.Millisecond

// badStateError says that a task's state cannot be read.
type badStateError struct {
	t   *task
	err error
}

func (e *badStateError) Error() string { return fmt.Sprintf("changelog of %s: %v", e.t.name(), e.err) }
func (e *badStateError) Unwrap() error { return e.err }

// restore brings the stores of a group of tasks up to their changelogs, and delivers each task as it is there: one whose
// changelog has a transaction in flight waits for its end, the others do not.
func (r *restorer) restore(ctx context.Context, group []*task) error {
	if len(group) == 0 {
		return nil
	}
	for _, t := range group {
		t.delivered = false
	}
	began := time.Now()
	cl, byLog, at, err := r.open(ctx, group)
	if err != nil {
		return err
	}
	defer cl.Close()
	w := restoreWriter{store: r.store, batch: r.store.batch(0), touched: map[*restored]bool{}}
	defer func() { w.batch.discard() }()
	delivered := map[topicPartition]bool{}
	apply := func(rec *kgo.Record) error {
		tp := topicPartition{rec.Topic, rec.Partition}
		if delivered[tp] {
			return nil // of the task at work, which writes the store itself and may be ahead of this
		}
		return w.add(byLog[tp], rec)
	}
	reached := func(tp topicPartition) error {
		delivered[tp] = true
		cl.PauseFetchPartitions(map[string][]int32{tp.topic: {tp.partition}})
		d := byLog[tp]
		d.pos.offset, d.pos.at = at[tp], r.now().Unix() // past holes that no record spoke of
		w.touched[d] = true
		if err := w.takenUp(d); err != nil {
			return err
		}
		if err := w.flush(); err != nil {
			return err
		}
		if err := r.finish(ctx, cl, d); err != nil {
			return err
		}
		d.took = time.Since(began)
		r.deliver(ctx, *d)
		return nil
	}
	return readToEnd(ctx, cl, at, apply, reached)
}

// finish learns what is needed to take a task whose store has caught up into service.
func (r *restorer) finish(ctx context.Context, cl *kgo.Client, d *restored) error {
	v, err := r.store.get(d.id, []byte{kindMeta})
	if err != nil {
		return err
	}
	d.meta = noMeta()
	if v != nil {
		if d.meta, err = parseMeta(v); err != nil {
			return &badStateError{d.t, err}
		}
	}
	switch {
	case r.eraseTopic == "":
	case d.meta.none():
		// What is asked for already is of a time before the task's.
		d.erasedTo, err = endOf(ctx, cl, r.eraseTopic)
	default:
		d.erasedTo, err = r.store.erasedUpTo(d.id)
	}
	if err != nil {
		return err
	}
	if d.committed, err = committedOffset(ctx, cl, r.group, d.t); err != nil {
		return err
	}
	tp := topicPartition{d.t.in.topic, d.t.partition}
	starts, err := logStarts(ctx, cl, map[topicPartition]bool{tp: true})
	if err != nil {
		return err
	}
	ends, err := highWatermarks(ctx, cl, map[topicPartition]bool{tp: true})
	d.first, d.end = starts[tp], ends[tp]
	return err
}

// committedOffset returns the offset that the group has committed for a task, -1 if none.
func committedOffset(ctx context.Context, cl *kgo.Client, group string, t *task) (int64, error) {
	offsets, err := groupOffsets(ctx, kadm.NewClient(cl), group, t.in.topic)
	if err != nil {
		return 0, err
	}
	o, ok := offsets.Lookup(t.in.topic, t.partition)
	if !ok {
		return -1, nil
	}
	if o.Err != nil {
		return 0, fmt.Errorf("fetch the offset of group %s for %s: %w", group, t.name(), o.Err)
	}
	return o.At, nil
}

// groupOffsets returns what a group has committed for a topic; a group that does not exist has committed nothing. Asked
// for stable offsets, a broker refuses while a transaction that moves them is being committed: it is asked again.
func groupOffsets(ctx context.Context, adm *kadm.Client, group, topic string) (kadm.OffsetResponses, error) {
	offsets, err := adm.FetchOffsetsForTopics(ctx, group, topic)
	for began := time.Now(); errors.Is(err, kerr.UnstableOffsetCommit) && time.Since(began) < 2*transactionTimeout; {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		offsets, err = adm.FetchOffsetsForTopics(ctx, group, topic)
	}
	if errors.Is(err, kerr.GroupIDNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("fetch the offsets of group %s: %w", group, err)
	}
	return offsets, nil
}

// open decides where in each changelog to go on from and returns a client that consumes from there.
func (r *restorer) open(ctx context.Context, group []*task) (*kgo.Client, map[topicPartition]*restored, map[topicPartition]int64, error) {
	byLog := make(map[topicPartition]*restored, len(group))
	at := make(map[topicPartition]int64, len(group))
	for _, t := range group {
		id, pos, err := r.store.task(t.in.topic, t.partition)
		if err != nil {
			return nil, nil, nil, err
		}
		byLog[topicPartition{t.in.changelog, t.partition}] = &restored{t: t, id: id, pos: pos}
	}
	probe, err := kgo.NewClient(r.client...)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("restore: %w", err)
	}
	defer probe.Close()
	starts, err := logStarts(ctx, probe, byLog)
	if err != nil {
		return nil, nil, nil, err
	}
	ends, err := highWatermarks(ctx, probe, byLog)
	if err != nil {
		return nil, nil, nil, err
	}
	from := map[string]map[int32]kgo.Offset{}
	for tp, d := range byLog {
		if why := d.pos.stale(d.t.in.changelogID, starts[tp], ends[tp], r.now(), staleAfter); why != "" {
			if d.pos.at != 0 {
				r.logger.Info("local store is rebuilt", "task", d.t.name(), "why", why)
			}
			if err := r.store.wipe(d.t.in.topic, d.t.partition, d.id); err != nil {
				return nil, nil, nil, err
			}
			d.pos = position{topicID: d.t.in.changelogID, offset: starts[tp], at: r.now().Unix()}
		}
		if err := r.rewind(d, starts[tp]); err != nil {
			return nil, nil, nil, err
		}
		at[tp] = d.pos.offset
		if from[tp.topic] == nil {
			from[tp.topic] = map[int32]kgo.Offset{}
		}
		from[tp.topic][tp.partition] = kgo.NoResetOffset().At(d.pos.offset)
	}
	cl, err := kgo.NewClient(append(r.client[:len(r.client):len(r.client)],
		kgo.ConsumePartitions(from), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.FetchMaxBytes(32<<20), kgo.FetchMaxPartitionBytes(8<<20))...)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("restore: %w", err)
	}
	return cl, byLog, at, nil
}

// restoreWriter copies changelog records into the store in bounded batches.
type restoreWriter struct {
	store   *store
	batch   *storeBatch
	bytes   int
	touched map[*restored]bool
}

func (w *restoreWriter) add(d *restored, rec *kgo.Record) error {
	d.pos.offset = rec.Offset + 1
	w.touched[d] = true
	if rec.Attrs.IsControl() {
		return nil
	}
	d.records++
	if err := w.batch.put(d.id, rec.Key, rec.Value); err != nil {
		return err
	}
	if w.bytes += len(rec.Key) + len(rec.Value); w.bytes < restoreBatchBytes {
		return nil
	}
	return w.flush()
}

// flush writes the batch with the positions it brings the tasks to.
func (w *restoreWriter) flush() error {
	for d := range w.touched {
		if err := w.batch.position(d.t.in.topic, d.t.partition, d.id, d.pos); err != nil {
			return fmt.Errorf("write the local store: %w", err)
		}
	}
	if err := w.batch.commit(); err != nil {
		return err
	}
	w.batch, w.bytes = w.store.batch(0), 0
	clear(w.touched)
	return nil
}
