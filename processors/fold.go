package processors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/ingest"
	"github.com/freshet-io/freshet/internal/feature"
)

// fold is the state of one view while it is built: a task for each partition of the view's input, as the processors have,
// over a store of its own. Events come in any order, so nothing is ever late: tiles are trimmed by the time of the event at
// hand, and in the end by the largest of their partition.
type fold struct {
	b      *Builder
	in     *input // with the one view
	rec    ViewRecord
	bound  boundView
	dir    string
	store  *store
	tasks  []*task
	ends   []int64 // stream time of each partition
	reader *ingest.Reader
	row    []feature.Value // of a record of the topic
	key    []byte
	vals   []feature.Value

	events, refused, sinceCheck int64
}

// foldCheckEvery is after how many events the memory of entities is looked at.
const foldCheckEvery = 4096

func newFold(b *Builder, in *input, v *config.View, rec ViewRecord) (f *fold, err error) {
	bound, err := bind(&rec)
	if err != nil {
		return nil, err
	}
	one := *in
	one.views, one.bound = []*config.View{v}, []boundView{bound}
	f = &fold{b: b, in: &one, rec: rec, bound: bound, ends: make([]int64, in.partitions), row: make([]feature.Value, len(in.source.Schema))}
	if f.reader, err = ingest.NewReader(in.source); err != nil {
		return nil, err
	}
	if f.dir, err = os.MkdirTemp(b.opts.Dir, "freshet-build-"); err != nil {
		return nil, fmt.Errorf("make a folder for the build: %w", err)
	}
	if f.store, err = openStore(f.dir, 64<<20, slog.New(slog.DiscardHandler)); err != nil {
		return nil, errors.Join(err, os.RemoveAll(f.dir))
	}
	for p := range in.partitions {
		f.ends[p] = math.MinInt64
		t, err := newTask(f.in, p, f.store, b.rt.met, b.rt.plane, b.opts.Now)
		if err != nil {
			f.close()
			return nil, err
		}
		t.id = uint32(p)
		t.views[0].log = nil // what is counted here was logged when it came, or never
		f.tasks = append(f.tasks, t)
	}
	return f, nil
}

func (f *fold) close() {
	if err := errors.Join(f.store.close(), os.RemoveAll(f.dir)); err != nil {
		f.b.opts.Logger.Warn("the folder of a build was not removed", "folder", f.dir, "err", err)
	}
}

// past folds in the history, then what the topic has of the events up to the boundary.
func (f *fold) past(ctx context.Context, cl *kgo.Client, h History, tell func(BuildProgress)) error {
	tps := map[topicPartition]bool{}
	for p := range f.in.partitions {
		tps[topicPartition{f.in.source.Topic, p}] = true
	}
	starts, err := logStarts(ctx, cl, tps)
	if err != nil {
		return err
	}
	if h != nil {
		below := make([]int64, f.in.partitions)
		for p := range below {
			below[p] = min(starts[topicPartition{f.in.source.Topic, int32(p)}], f.bound.bootstrap.Source[p])
		}
		err := h(ctx, below, func(e *PastEvent) error {
			if f.events%foldCheckEvery == 0 {
				tell(BuildProgress{Stage: "history", Done: f.events})
			}
			return f.event(e.Row, &e.Order, e.Deleted)
		})
		if err != nil {
			return fmt.Errorf("feature view %q: read its source's history: %w", f.rec.View, err)
		}
	}
	return f.topic(ctx, starts, tell)
}

// topic folds in the records of the source topic below the boundary.
func (f *fold) topic(ctx context.Context, starts map[topicPartition]int64, tell func(BuildProgress)) error {
	at, ends := map[topicPartition]int64{}, map[topicPartition]int64{}
	from := map[int32]kgo.Offset{}
	var total int64
	for tp, start := range starts {
		if end := f.bound.bootstrap.Source[tp.partition]; end > start {
			at[tp], ends[tp], from[tp.partition] = start, end, kgo.NoResetOffset().At(start)
			total += end - start
		}
	}
	if len(at) == 0 {
		return f.flush()
	}
	cl, err := kgo.NewClient(append(f.b.opts.Client[:len(f.b.opts.Client):len(f.b.opts.Client)],
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{f.in.source.Topic: from}), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), kgo.FetchMaxBytes(32<<20), kgo.FetchMaxPartitionBytes(4<<20))...)
	if err != nil {
		return fmt.Errorf("read %s: %w", f.in.source.Topic, err)
	}
	defer cl.Close()
	var done int64
	stops := map[int32]int64{}
	for tp, end := range ends {
		stops[tp.partition] = end
	}
	err = readUntil(ctx, cl, at, ends, func(r *kgo.Record) error {
		if r.Offset >= stops[r.Partition] {
			return nil
		}
		if done++; done%foldCheckEvery == 0 {
			tell(BuildProgress{Stage: "topic", Done: done, Total: total, Refused: f.refused})
		}
		if r.Attrs.IsControl() {
			return nil
		}
		return f.record(r)
	}, func(tp topicPartition) error {
		cl.PauseFetchPartitions(map[string][]int32{tp.topic: {tp.partition}})
		return nil
	})
	if err != nil {
		return err
	}
	tell(BuildProgress{Stage: "topic", Done: total, Total: total, Refused: f.refused})
	return f.flush()
}

// record folds in one record of the source topic, judged as the processors judge it.
func (f *fold) record(r *kgo.Record) error {
	at, _, bad := f.reader.Read(r, f.row)
	if bad != nil {
		f.refused++
		return nil
	}
	return f.event(f.row, &feature.Order{Time: at, Ordinal: sourceOrdinal, Partition: r.Partition, Offset: r.Offset}, f.reader.Tombstone(r))
}

// event folds in one event.
func (f *fold) event(row []feature.Value, at *feature.Order, deleted bool) error {
	if deleted && f.in.repartitioned() {
		return nil // it names an entity of the source's own key
	}
	v := f.in.views[0]
	f.vals = f.vals[:0]
	for _, k := range v.KeyFields {
		if row[k].IsNull() {
			return nil // an event of no entity: the router puts it aside, or nobody wants it
		}
		f.vals = append(f.vals, row[k])
	}
	var err error
	if f.key, err = ingest.AppendRecordKey(f.key[:0], f.vals...); err != nil {
		f.refused++
		return nil
	}
	p := ingest.Partition(f.key, f.in.partitions)
	if !f.in.repartitioned() && at.Ordinal == sourceOrdinal && p != at.Partition {
		return fmt.Errorf("%s offset %d: the record's key fields %q belong on partition %d (murmur2); state `partitioning: unknown` for source %q",
			taskName(f.in.topic, at.Partition), at.Offset, f.key, p, f.in.source.Name)
	}
	t := f.tasks[p]
	k := &t.keys[0]
	var bad *ingest.FieldError
	if k.bytes, bad = f.reader.AppendEntityKey(k.bytes[:0], row, k.fields); bad != nil {
		f.refused++
		return nil
	}
	if deleted {
		return f.erase(t, k.bytes)
	}
	return f.apply(t, row, at)
}

func (f *fold) apply(t *task, row []feature.Value, at *feature.Order) error {
	t.row = row
	t.now.streamTime = at.Time
	if t.ids != nil {
		if seen, err := t.seenBefore(at); err != nil || seen {
			return err
		}
	}
	f.ends[t.partition] = max(f.ends[t.partition], at.Time)
	f.events++
	if err := t.applyView(t.views[0], at); err != nil {
		return err
	}
	if f.sinceCheck++; f.sinceCheck < foldCheckEvery {
		return nil
	}
	f.sinceCheck = 0
	var held int64
	for _, t := range f.tasks {
		held += int64(t.views[0].bytes)
	}
	if held < f.b.rt.plane.Processing.StateCacheBytes {
		return nil
	}
	return f.flush()
}

// erase forgets what has been folded in of an entity.
func (f *fold) erase(t *task, key []byte) error {
	v := t.views[0]
	e, err := v.get(t, key)
	if err != nil {
		return err
	}
	b := f.store.batch(0)
	prefix := v.appendPrefix(nil, key)
	if err := f.store.scan(t.id, prefix, nil, func(key, _ []byte) error { return b.put(t.id, key, nil) }); err != nil {
		b.discard()
		return err
	}
	e.Entity = feature.Entity{}
	return b.commit()
}

// flush writes what is in memory to the store and lets it go.
func (f *fold) flush() error {
	b := f.store.batch(0)
	var failed error
	for _, t := range f.tasks {
		v := t.views[0]
		for _, e := range v.dirty {
			v.layout.Flush(&e.Entity, &v.flushing, func(c feature.Cell, cell []byte) {
				key := feature.AppendCellKey([]byte{kindCell}, v.fp, e.keyBytes(), c)
				failed = errors.Join(failed, b.put(t.id, key, cell))
			})
		}
		if t.ids != nil {
			for k, id := range t.ids.fresh {
				failed = errors.Join(failed, b.put(t.id, []byte(k), id.append(nil)))
			}
			clear(t.ids.fresh)
		}
		fresh := newViewState(f.b.rt.plane.Project, v.view, f.bound, v.expire)
		fresh.key, fresh.index = v.key, v.index
		t.views[0] = fresh
	}
	if failed != nil {
		b.discard()
		return failed
	}
	return b.commit()
}
