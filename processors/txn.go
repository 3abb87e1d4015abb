package processors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/internal/feature"
)

// txnRecords are the changelog records of the open transaction, kept so that the store can be given the very same bytes
// once the transaction has committed (R4).
type txnRecords struct {
	slabs [][]kgo.Record
	used  int // records of the last slab
	arena []byte
	parts []txnPart

	mu struct {
		sync.Mutex // promises come on the client's goroutines
		err        error
	}
}

// txnPart is what one task contributed: its changelog records, and where its meta record ended up.
type txnPart struct {
	t      *task
	recs   []*kgo.Record
	metaAt int64 // changelog offset of the meta record, set by its promise before End returns
	meta   meta
}

const slabSize = 1024

func (x *txnRecords) reset() {
	for _, s := range x.slabs {
		clear(s)
	}
	x.slabs, x.used = x.slabs[:min(len(x.slabs), 1)], 0
	x.arena = make([]byte, 0, min(cap(x.arena), 8<<20)) // the client may still hold the old one
	clear(x.parts)
	x.parts = x.parts[:0]
	x.mu.Lock()
	x.mu.err = nil
	x.mu.Unlock()
}

// record returns a fresh record that lives until reset.
func (x *txnRecords) record() *kgo.Record {
	if len(x.slabs) == 0 || x.used == slabSize {
		x.slabs = append(x.slabs, make([]kgo.Record, slabSize))
		x.used = 0
	}
	r := &x.slabs[len(x.slabs)-1][x.used]
	x.used++
	return r
}

// produced takes up the outcome of a record; the first failure dooms the transaction.
func (x *txnRecords) produced(_ *kgo.Record, err error) {
	if err == nil {
		return
	}
	x.mu.Lock()
	if x.mu.err == nil {
		x.mu.err = err
	}
	x.mu.Unlock()
}

func (x *txnRecords) err() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.mu.err
}

func (x *txnRecords) produce(ctx context.Context, s *session, r *kgo.Record) {
	s.s.Produce(ctx, r, x.produced)
}

// begin starts a changelog record of a part; its key is what the caller appends to the arena before finish.
func (x *txnRecords) begin() (keyStart int) { return len(x.arena) }

// finish produces the record whose key was begun at keyStart, with a copy of value, or as a deletion when it is nil.
func (x *txnRecords) finish(ctx context.Context, s *session, p *txnPart, keyStart int, value []byte) {
	r := x.record()
	r.Key = x.arena[keyStart:len(x.arena):len(x.arena)]
	if value != nil {
		start := len(x.arena)
		x.arena = append(x.arena, value...)
		r.Value = x.arena[start:len(x.arena):len(x.arena)]
	}
	r.Topic, r.Partition = p.t.in.changelog, p.t.partition
	p.recs = append(p.recs, r)
	x.produce(ctx, s, r)
}

// add produces one changelog record of a part; key and value are copied.
func (x *txnRecords) add(ctx context.Context, s *session, p *txnPart, key, value []byte) {
	start := x.begin()
	x.arena = append(x.arena, key...)
	x.finish(ctx, s, p, start, value)
}

// flush produces the changelog records of everything that the open transaction changed, and each touched task's meta
// record after them.
func (m *materializer) flush(ctx context.Context) {
	for _, t := range m.tasks {
		if !t.touched || t.state != taskRunning {
			continue
		}
		m.txn.parts = append(m.txn.parts, txnPart{t: t, meta: t.now})
		m.txn.parts[len(m.txn.parts)-1].meta.views = slices.Clone(t.now.views)
		p := &m.txn.parts[len(m.txn.parts)-1]
		for _, k := range t.erased {
			m.txn.add(ctx, m.sess, p, k, nil)
		}
		m.sweep(ctx, t, p)
		for _, v := range t.views {
			m.flushView(ctx, p, v)
		}
		if t.ids != nil {
			for k, id := range t.ids.fresh {
				m.txn.add(ctx, m.sess, p, []byte(k), id.append(nil))
			}
		}
	}
	// The parts do not move any more: promises may point at them.
	for i := range m.txn.parts {
		p := &m.txn.parts[i]
		r := m.txn.record()
		r.Topic, r.Partition = p.t.in.changelog, p.t.partition
		r.Key, r.Value = []byte{kindMeta}, p.meta.append(nil)
		p.recs = append(p.recs, r)
		m.sess.s.Produce(ctx, r, func(r *kgo.Record, err error) {
			p.metaAt = r.Offset
			m.txn.produced(r, err)
		})
	}
}

// flushView produces the changed cells of a view's changed entities.
func (m *materializer) flushView(ctx context.Context, p *txnPart, v *viewState) {
	x := m.txn
	for _, e := range v.dirty {
		v.layout.Flush(&e.Entity, &v.cells, func(c feature.Cell, cell []byte) {
			start := x.begin()
			x.arena = feature.AppendCellKey(append(x.arena, kindCell), v.fp, e.keyBytes(), c)
			x.finish(ctx, m.sess, p, start, cell)
		})
	}
}

// end ends the open transaction: with a commit, unless it is doomed. What did not commit is in doubt (R5).
func (m *materializer) end(ctx context.Context) error {
	began := m.now()
	commit := kgo.TryCommit
	if m.doomed {
		commit = kgo.TryAbort
	} else {
		flushCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
		defer cancel()
		m.flush(flushCtx)
		if err := m.sess.flush(ctx); err != nil {
			return err
		}
		if err := m.txn.err(); err != nil {
			m.logger.Warn("a record of the transaction was not produced; the transaction is aborted", "err", err)
			commit = kgo.TryAbort
		}
	}
	committed, err := m.sess.end(ctx, commit)
	m.inTxn, m.doomed = false, false
	m.met.transaction("materialize", committed, err, m.now().Sub(began))
	if err != nil {
		for _, t := range m.tasks {
			t.rollback()
		}
		return err
	}
	if !committed {
		return m.recover()
	}
	return m.settleCommitted()
}

// recover takes the tasks back to their committed state after an abort: memory is dropped, and each task catches up
// from its changelog before it goes on, in case the abort was a commit after all.
func (m *materializer) recover() error {
	m.txn.reset()
	var group []*task
	for _, t := range m.tasks {
		t.rollback()
		if t.state == taskRunning {
			group = append(group, t)
		}
	}
	err := m.requestRestore(group)
	m.listRunning()
	return err
}

// settleCommitted writes what has been committed to the store, in one batch with the positions.
func (m *materializer) settleCommitted() error {
	defer m.txn.reset()
	now := m.now()
	b := m.store.batch(len(m.txn.arena) + len(m.txn.parts)*256)
	for i := range m.txn.parts {
		p := &m.txn.parts[i]
		if err := b.addRecords(p.t.id, p.recs); err != nil {
			b.discard()
			return err
		}
		if p.metaAt >= 0 { // else the broker did not say; a later commit does
			p.t.pos.offset = p.metaAt + 1
		}
		p.t.pos.at = now.Unix()
		if err := b.position(p.t.in.topic, p.t.partition, p.t.id, p.t.pos); err != nil {
			b.discard()
			return fmt.Errorf("write the local store: %w", err)
		}
	}
	if err := b.commit(); err != nil {
		return err
	}
	m.met.storeSeconds.Observe(m.now().Sub(now).Seconds())
	for i := range m.txn.parts {
		t := m.txn.parts[i].t
		t.committed, t.touched = m.txn.parts[i].meta, false
		t.erased = t.erased[:0]
		for _, v := range t.views {
			v.settled()
		}
		if t.ids != nil {
			clear(t.ids.fresh)
		}
	}
	m.evict()
	return nil
}

// evict keeps the entities in memory within the budget (R12).
func (m *materializer) evict() {
	budget := m.plane.Processing.StateCacheBytes
	var held int64
	for _, t := range m.tasks {
		for _, v := range t.views {
			held += int64(v.bytes)
		}
	}
	m.met.cacheBytes.Set(float64(held))
	if held <= budget {
		return
	}
	// A little more than needed, so that it is not done at every commit.
	for pass := 0; pass < 2 && held > budget; pass++ {
		for _, t := range m.tasks {
			for _, v := range t.views {
				share := int(float64(v.bytes) * float64(held-budget*9/10) / float64(held))
				v.evict(share)
			}
		}
		held = 0
		for _, t := range m.tasks {
			for _, v := range t.views {
				held += int64(v.bytes)
			}
		}
	}
}

// drain ends the open transaction with a commit and publishes what waits, before the session leaves the group.
func (m *materializer) drain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if m.inTxn {
		if err := m.end(ctx); err != nil {
			return err
		}
	}
	m.sess.allowRebalance()
	for _, t := range m.running {
		t.online.republish.active = false // the next owner finds the canary and begins again
	}
	for ctx.Err() == nil && (m.waiting() > 0 || m.pub.sending) && m.pubErr == nil {
		if err := m.collectAnswers(); err != nil {
			return err
		}
		if err := m.publish(); err != nil {
			return err
		}
		m.sleep(ctx, time.Millisecond)
	}
	m.lastCanaries(ctx)
	if n := m.waiting(); n > 0 {
		m.logger.Warn("stopped before everything was published; the next owner publishes it", "entities", n)
	}
	return nil
}

// rememberPositions marks the stores of the tasks at hand as current now, so that a long pause of the instance is
// reckoned from its end and not from the last event.
func (m *materializer) rememberPositions() error {
	b := m.store.batch(0)
	now := m.now().Unix()
	for _, t := range m.tasks {
		if t.state != taskRunning {
			continue
		}
		t.pos.at = now
		if err := b.position(t.in.topic, t.partition, t.id, t.pos); err != nil {
			b.discard()
			return fmt.Errorf("write the local store: %w", err)
		}
	}
	return errors.Join(b.commit())
}
