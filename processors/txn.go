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
	of    map[*task]int // into parts

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
	if len(x.slabs) > 0 {
		clear(x.slabs[0])
		clear(x.slabs[1:]) // a large transaction's records are not kept
		x.slabs = x.slabs[:1]
	}
	x.used = 0
	x.arena = make([]byte, 0, min(cap(x.arena), 8<<20)) // the client may still hold the old one
	clear(x.parts)
	x.parts = x.parts[:0]
	clear(x.of)
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

// part returns what a task contributes. The pointer is valid until another task's part is asked for.
func (x *txnRecords) part(t *task) *txnPart {
	i, ok := x.of[t]
	if !ok {
		if x.of == nil {
			x.of = map[*task]int{}
		}
		i = len(x.parts)
		x.of[t] = i
		x.parts = append(x.parts, txnPart{t: t, metaAt: -1})
	}
	return &x.parts[i]
}

// The loop has time to spare when a poll returns fewer records than quietPoll. What has changed is then produced every
// earlyFlush, so that little is left to do when the transaction ends, for which the loop stands still. Under load it is
// not: an entity that changes many times in a transaction is better written once.
const (
	quietPoll  = 1000
	earlyFlush = 20 * time.Millisecond
)

// flushEarly produces the changelog records of what the open transaction has changed so far.
func (m *materializer) flushEarly(ctx context.Context) {
	now := m.now()
	if !m.inTxn || m.doomed || m.polled >= quietPoll || now.Sub(m.lastFlush) < earlyFlush {
		return
	}
	m.lastFlush = now
	ctx = context.WithoutCancel(ctx) // a stop commits what was produced early
	for _, t := range m.running {
		if t.touched {
			m.flushTask(ctx, t, true)
		}
	}
}

// flush produces the changelog records of everything that the open transaction changed, and each touched task's meta
// record after them.
func (m *materializer) flush(ctx context.Context) {
	for _, t := range m.tasks {
		if !t.touched || t.state != taskRunning {
			continue
		}
		p := m.txn.part(t)
		p.meta = t.now
		p.meta.views = slices.Clone(t.now.views)
		m.sweep(ctx, t, p)
		m.flushTask(ctx, t, false)
		m.flushErased(ctx, t, p)
		if t.ids != nil {
			for k, id := range t.ids.fresh {
				m.txn.add(ctx, m.sess, p, []byte(k), id.append(nil))
			}
		}
	}
	m.txn.produceMetas(ctx, m.sess)
}

// produceMetas produces the meta record of each part, after all its other records.
func (x *txnRecords) produceMetas(ctx context.Context, s *session) {
	// The parts do not move any more: promises may point at them.
	for i := range x.parts {
		p := &x.parts[i]
		r := x.record()
		r.Topic, r.Partition = p.t.in.changelog, p.t.partition
		r.Key, r.Value = []byte{kindMeta}, p.meta.append(nil)
		p.recs = append(p.recs, r)
		s.s.Produce(ctx, r, func(r *kgo.Record, err error) {
			p.metaAt = r.Offset
			x.produced(r, err)
		})
	}
}

// stored adds what has been committed to a batch, with the positions that it brings the tasks to.
func (x *txnRecords) stored(b *storeBatch, now time.Time) error {
	for i := range x.parts {
		p := &x.parts[i]
		if err := b.addRecords(p.t.id, p.recs); err != nil {
			return err
		}
		if p.metaAt >= 0 { // else the broker did not say; a later commit does
			p.t.pos.offset = p.metaAt + 1
		}
		p.t.pos.at = now.Unix()
		if err := b.position(p.t.in.topic, p.t.partition, p.t.id, p.t.pos); err != nil {
			return fmt.Errorf("write the local store: %w", err)
		}
	}
	return nil
}

// flushTask produces the cells of a task that have changed since they were last produced, after the deletions of what was
// erased: a cell in t.erased is older than every change that is not produced yet.
func (m *materializer) flushTask(ctx context.Context, t *task, early bool) {
	p := m.txn.part(t)
	for _, k := range t.erased {
		m.txn.add(ctx, m.sess, p, k, nil)
	}
	t.erased = t.erased[:0]
	for _, v := range t.views {
		m.flushView(ctx, p, v, early)
	}
}

// flushView produces the changed cells of a view's changed entities.
func (m *materializer) flushView(ctx context.Context, p *txnPart, v *viewState, early bool) {
	x := m.txn
	for _, e := range v.unflushed {
		e.unflushed = false
		v.layout.Flush(&e.Entity, &v.flushing, func(c feature.Cell, cell []byte) {
			start := x.begin()
			x.arena = feature.AppendCellKey(append(x.arena, kindCell), v.fp, e.keyBytes(), c)
			x.finish(ctx, m.sess, p, start, cell)
			if early {
				v.produced[e] = append(v.produced[e], c)
			}
		})
	}
	clear(v.unflushed)
	v.unflushed = v.unflushed[:0]
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
	}
	committed, err := m.publishWhile(func() (bool, error) { return m.finish(ctx, commit) })
	m.inTxn, m.doomed = false, false
	m.met.transaction("materialize", committed, err, m.now().Sub(began))
	if err != nil {
		err = errors.Join(err, m.store.wait())
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

// finish waits until the outcome of the transaction's records is known and ends it. It touches nothing but the session.
func (m *materializer) finish(ctx context.Context, how kgo.TransactionEndTry) (committed bool, err error) {
	if how == kgo.TryCommit {
		if err := m.sess.flush(ctx); err != nil {
			return false, err
		}
		if err := m.txn.err(); err != nil {
			m.logger.Warn("a record of the transaction was not produced; the transaction is aborted", "err", err)
			how = kgo.TryAbort
		}
	}
	return m.sess.end(ctx, how)
}

// recover takes the tasks back to their committed state after an abort: memory is dropped, and each task catches up
// from its changelog before it goes on, in case the abort was a commit after all.
func (m *materializer) recover() error {
	if err := m.store.wait(); err != nil {
		return err // entities that are dropped now are loaded again
	}
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

// settleCommitted gives what has been committed to the store, in one batch with the positions. It is written while the
// next transaction is under way; whoever reads the store waits for it.
func (m *materializer) settleCommitted() error {
	defer m.txn.reset()
	if err := m.store.wait(); err != nil {
		return err
	}
	m.evict() // not what this transaction changed: the store does not have it yet
	now := m.now()
	b := m.store.batch(len(m.txn.arena) + len(m.txn.parts)*256)
	if err := m.txn.stored(b, now); err != nil {
		b.discard()
		return err
	}
	if err := m.store.commitLater(b, func() { m.met.storeSeconds.Observe(m.now().Sub(now).Seconds()) }); err != nil {
		return err
	}
	for i := range m.txn.parts {
		t := m.txn.parts[i].t
		t.committed, t.touched, t.starting = m.txn.parts[i].meta, false, false
		for _, v := range t.views {
			v.settled()
		}
		if t.ids != nil {
			t.ids.commit()
		}
	}
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
	if held <= budget || m.store.wait() != nil { // what is dropped may be loaded again; a store that failed says so at the next commit
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
	if err := m.store.wait(); err != nil {
		return err // a position must not be there before what it stands for
	}
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
