package processors

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/online"
)

// write puts the finished state where the tasks find it: its cells into the changelog, its entities into the online store.
func (f *fold) write(ctx context.Context, cl *kgo.Client, tell func(BuildProgress)) error {
	began, err := groupOffsets(ctx, kadm.NewClient(cl), f.b.rt.topo.materializeGroup(), f.in.topic)
	if err != nil {
		return err
	}
	w, err := newCellWriter(ctx, f.b, f.rec)
	if err != nil {
		return err
	}
	defer w.close()
	for _, t := range f.tasks {
		stream := f.ends[t.partition]
		f.rec.Bootstrap.Tasks[t.partition].StreamTime = stream
		t.now.streamTime = stream
		t.now.views = []viewMeta{{t.views[0].fp, f.rec.Bootstrap.Tasks[t.partition].Next}}
		// Ids are the task's, not the view's: one that ran has them.
		c, ran := began.Lookup(f.in.topic, t.partition)
		if err := f.writeTask(ctx, w, t, !ran || c.At < 0); err != nil {
			return err
		}
		tell(BuildProgress{Stage: "write", Done: w.written})
	}
	return w.commit(ctx)
}

func (f *fold) writeTask(ctx context.Context, w *cellWriter, t *task, ids bool) error {
	v := t.views[0]
	pub := &publishBatch{}
	var e *entry
	published := func() error {
		if e == nil {
			return nil
		}
		v.layout.Trim(&e.Entity, t.now.streamTime)
		if !e.Empty() {
			v.encode(t, e, pub)
		}
		e = nil
		if len(pub.writes) < 1024 {
			return nil
		}
		return f.b.publish(ctx, pub)
	}
	err := f.store.scan(t.id, nil, nil, func(key, value []byte) error {
		if key[0] == kindEventID {
			if id, ok := parseSeenID(value); ids && ok && !t.ids.expired(id.at, t.now.streamTime) {
				return w.put(ctx, f.in.changelog, t.partition, key, value)
			}
			return nil
		}
		_, entity, cell, err := feature.ParseCellKey(key[1:])
		if err != nil {
			return err
		}
		if v.layout.ExpiredCell(cell, value, t.now.streamTime) {
			return nil
		}
		if e == nil || e.key != string(entity) {
			if err := published(); err != nil {
				return err
			}
			e = &entry{key: string(entity), tailAt: noTail}
		}
		if err := v.layout.Restore(&e.Entity, cell, value); err != nil {
			return err
		}
		return w.put(ctx, f.in.changelog, t.partition, key, value)
	})
	if err == nil {
		err = published()
	}
	if err == nil {
		err = f.b.publish(ctx, pub)
	}
	if err != nil {
		return fmt.Errorf("write the state of feature view %q: %w", f.rec.View, err)
	}
	return nil
}

// publishPatience is how long a build waits for an online store that does not accept writes.
const publishPatience = time.Minute

// publish sends a batch and empties it. A write that meets a newer version is left: then a task has the state already.
func (b *Builder) publish(ctx context.Context, p *publishBatch) error {
	if len(p.writes) == 0 {
		return nil
	}
	if err := b.opts.Step("publish"); err != nil {
		return err
	}
	for until := b.opts.Now().Add(publishPatience); ; {
		out := make([]online.Outcome, len(p.writes))
		err := b.opts.Online.Write(ctx, p.writes, out)
		if err == nil && !slices.Contains(out, online.Failed) && !slices.Contains(out, online.NeedTail) {
			p.reset()
			return nil
		}
		if ctx.Err() != nil || b.opts.Now().After(until) {
			return fmt.Errorf("the online store does not accept what was built: %w", errors.Join(ctx.Err(), err))
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// cellWriter writes changelog records in transactions of bounded size. Its transactional id is that of the state: two
// builders of a state fence each other, those of different ones do not meet.
type cellWriter struct {
	b       *Builder
	cl      *kgo.Client
	open    int
	bytes   int
	written int64
	outcome *kgo.FirstErrPromise // of the open transaction's records
}

const (
	writerTxnRecords = 10_000
	writerTxnBytes   = 8 << 20
)

func newCellWriter(ctx context.Context, b *Builder, rec ViewRecord) (*cellWriter, error) {
	state, err := rec.State()
	if err != nil {
		return nil, err
	}
	cl, err := kgo.NewClient(append(b.opts.Client[:len(b.opts.Client):len(b.opts.Client)],
		kgo.TransactionalID(b.rt.topo.prefix+"build."+hex.EncodeToString(state[:])), kgo.TransactionTimeout(transactionTimeout),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.Lz4Compression()))...)
	if err != nil {
		return nil, fmt.Errorf("connect to kafka: %w", err)
	}
	if _, _, err := cl.ProducerID(ctx); err != nil {
		cl.Close()
		return nil, fmt.Errorf("open a transaction for the state of view %q: %w", rec.View, err)
	}
	return &cellWriter{b: b, cl: cl}, nil
}

func (w *cellWriter) close() { w.cl.Close() }

// put writes one record; key and value are copied, a nil value deletes.
func (w *cellWriter) put(ctx context.Context, topic string, partition int32, key, value []byte) error {
	if w.open == 0 {
		if err := w.cl.BeginTransaction(); err != nil {
			return fmt.Errorf("write to the changelog: %w", err)
		}
		w.outcome = kgo.AbortingFirstErrPromise(w.cl)
	}
	w.open++
	w.written++
	w.bytes += len(key) + len(value)
	w.cl.Produce(ctx, &kgo.Record{Topic: topic, Partition: partition, Key: bytes.Clone(key), Value: bytes.Clone(value)}, w.outcome.Promise())
	if w.open < writerTxnRecords && w.bytes < writerTxnBytes {
		return nil
	}
	return w.commit(ctx)
}

// commit ends the open transaction.
func (w *cellWriter) commit(ctx context.Context) error {
	if w.open == 0 {
		return nil
	}
	if err := w.b.opts.Step("commit"); err != nil {
		return err
	}
	w.open, w.bytes = 0, 0
	if err := errors.Join(w.cl.Flush(ctx), w.outcome.Err()); err != nil {
		return fmt.Errorf("write to the changelog: %w", err)
	}
	if err := w.cl.EndTransaction(ctx, kgo.TryCommit); err != nil {
		return fmt.Errorf("write to the changelog: %w", err)
	}
	return nil
}

// OnlineFields deletes fields of entities' hashes.
type OnlineFields interface {
	DeleteView(ctx context.Context, keys [][]byte, headField, tailField string) error
}

// sweepState deletes every cell of a state from its changelog, and what is online of it.
func (b *Builder) sweepState(ctx context.Context, rec *ViewRecord) error {
	if err := b.opts.Step("sweep"); err != nil {
		return err
	}
	state, err := rec.State()
	if err != nil {
		return err
	}
	changelog, entity, err := b.placesOf(rec)
	if err != nil {
		return err
	}
	live, err := b.cellsOf(ctx, changelog, rec.Partitions, state)
	if err != nil || len(live) == 0 {
		return err
	}
	w, err := newCellWriter(ctx, b, *rec)
	if err != nil {
		return err
	}
	defer w.close()
	head, tail := online.Fields(strings.TrimPrefix(rec.View, buildingPrefix), state)
	var gone [][]byte
	last := ""
	for _, c := range live {
		_, key, _, err := feature.ParseCellKey(c.key[1:])
		if err != nil {
			return fmt.Errorf("changelog %s: %w", changelog, err)
		}
		if string(key) != last {
			last = string(key)
			gone = append(gone, online.AppendKey(nil, b.rt.plane.Project, entity, key))
		}
		if err := w.put(ctx, changelog, c.partition, c.key, nil); err != nil {
			return err
		}
	}
	for part := range slices.Chunk(gone, 1000) {
		if err := b.opts.Fields.DeleteView(ctx, part, head, tail); err != nil {
			return err
		}
	}
	return w.commit(ctx)
}

type liveCell struct {
	partition int32
	key       []byte
}

// cellsOf returns the keys of a state's cells that a changelog holds, sorted.
func (b *Builder) cellsOf(ctx context.Context, changelog string, partitions int32, state config.Fingerprint) ([]liveCell, error) {
	from, at := map[int32]kgo.Offset{}, map[topicPartition]int64{}
	for p := range partitions {
		at[topicPartition{changelog, p}] = 0
	}
	probe, err := kgo.NewClient(b.opts.Client...)
	if err != nil {
		return nil, fmt.Errorf("connect to kafka: %w", err)
	}
	defer probe.Close()
	if at, err = logStarts(ctx, probe, at); err != nil {
		return nil, err
	}
	for tp, start := range at {
		from[tp.partition] = kgo.NoResetOffset().At(start)
	}
	cl, err := kgo.NewClient(append(b.opts.Client[:len(b.opts.Client):len(b.opts.Client)], kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{changelog: from}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())...)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", changelog, err)
	}
	defer cl.Close()
	live := map[string]int32{}
	err = readToEnd(ctx, cl, at, func(r *kgo.Record) error {
		if r.Attrs.IsControl() || len(r.Key) == 0 || r.Key[0] != kindCell {
			return nil
		}
		fp, _, _, err := feature.ParseCellKey(r.Key[1:])
		if err != nil || fp != state {
			return err
		}
		if r.Value == nil {
			delete(live, string(r.Key))
		} else {
			live[string(r.Key)] = r.Partition
		}
		return nil
	}, func(topicPartition) error { return nil })
	if err != nil {
		return nil, err
	}
	var out []liveCell
	for k, p := range live {
		out = append(out, liveCell{p, []byte(k)})
	}
	slices.SortFunc(out, func(a, b liveCell) int { return bytes.Compare(a.key, b.key) })
	return out, nil
}
