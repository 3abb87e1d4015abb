package processors

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A transaction ends while the loop goes on (R2): what is folded in meanwhile is of the next one, which begins when the outcome is
// known, and what it is to produce waits for that. An outcome other than a commit drops both (R5).

// ending is a transaction that ends.
type ending struct {
	x         *txnRecords
	doomed    bool // it is aborted
	at        map[topicPartition]int64
	began     time.Time
	done      chan struct{} // closed when what follows is set
	committed bool
	err       error
}

// end begins to end the open transaction: with a commit, unless it is doomed.
func (m *materializer) end(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	e := &ending{x: m.txn, doomed: m.doomed, began: m.now(), done: make(chan struct{})}
	m.inTxn, m.ending, m.began = false, e, e.began
	m.ahead, m.standing = 0, m.doomed || m.hasToStand()
	produced, cancel := context.WithTimeout(ctx, endTimeout) // until their outcome is known
	if !e.doomed {
		e.at = m.flush(produced)
		for i := range e.x.parts {
			e.x.parts[i].t.seal(e.x.parts[i].recs)
		}
		m.txn, m.spareTxn = m.spareTxn, nil
	}
	go func() {
		defer close(e.done)
		defer cancel()
		e.committed, e.err = m.finish(ctx, e)
	}()
}

// finish waits until the outcome of a transaction's records is known and ends it. It touches nothing but the session and the transaction.
func (m *materializer) finish(ctx context.Context, e *ending) (committed bool, err error) {
	if e.doomed || len(e.at) == 0 { // of the latter nothing was folded in, and nothing produced
		return !e.doomed, m.abort(ctx, e.x)
	}
	if err := errors.Join(m.sess.flush(ctx), e.x.wait(ctx)); err != nil {
		return false, err
	}
	if err := e.x.first(); err != nil {
		m.logger.Warn("a record of the transaction was not produced; the transaction is aborted", "err", err)
		return false, m.abort(ctx, e.x)
	}
	return m.sess.commitReading(ctx, e.at)
}

func (m *materializer) abort(ctx context.Context, x *txnRecords) error {
	return errors.Join(m.sess.abort(ctx), x.wait(ctx))
}

// ended takes up how the transaction has ended. What did not commit is in doubt (R5).
func (m *materializer) ended() error {
	e := m.ending
	m.ending = nil
	m.met.transaction("materialize", e.committed, e.err, m.now().Sub(e.began))
	if e.err != nil {
		err := errors.Join(e.err, m.store.wait())
		for _, t := range m.tasks {
			t.rollback()
		}
		return err
	}
	if e.committed {
		if err := m.settleCommitted(e.x); err != nil {
			return err
		}
	}
	e.x.reset()
	if !e.doomed {
		m.spareTxn = e.x
	}
	if !e.committed || m.doomed {
		return m.recover()
	}
	if m.ahead == 0 {
		return nil
	}
	m.ahead = 0
	if err := m.begin(); err != nil {
		return err
	}
	for _, t := range m.running {
		m.produceKept(t)
	}
	return nil
}

// What is folded in while a transaction ends is bounded, to a batch, by records and by the bytes that wait to be produced.
const (
	aheadRecords = 2 * maxPoll
	aheadBytes   = 64 << 20
)

// mayFold reports whether records are read and folded in now: not if what waits for the transaction that ends is enough, or
// something waits for a time without one.
func (m *materializer) mayFold() bool {
	if m.ending == nil {
		return true
	}
	return !m.standing && !m.doomed && !m.sess.blocked.Load() && m.ahead < aheadRecords && m.keptBytes() < aheadBytes
}

// keptBytes is how much the tasks keep to be produced in the next transaction.
func (m *materializer) keptBytes() (n int) {
	for _, t := range m.running {
		n += t.logged.bytes
		for _, d := range t.dead {
			n += len(d.Key) + len(d.Value)
		}
	}
	return n
}

// hasToStand reports whether something is to be done that may only be done while no transaction is open: see between.
func (m *materializer) hasToStand() bool {
	if m.rebound.Load() != nil || m.sess.blocked.Load() || m.sess.rebalance.Load() || m.sess.awaiting(m.now()) > 0 || len(m.restorer.results) > 0 {
		return true
	}
	for _, t := range m.running {
		if t.outOfRange || !t.catchingUp && m.erasures.beyond(t.erasedTo) {
			return true
		}
	}
	return false
}

// awaitEnd waits until the transaction has ended, and goes on publishing meanwhile.
func (m *materializer) awaitEnd() error {
	every := time.NewTicker(time.Millisecond)
	defer every.Stop()
	for {
		select {
		case <-m.ending.done:
			return m.ended()
		case <-every.C:
		}
		m.turned.Store(m.now().UnixNano())
		if err := m.collectAnswers(); err != nil {
			return err
		}
		if err := m.publish(); err != nil {
			return err
		}
	}
}

// recover takes the tasks back to their committed state after an abort: memory is dropped, and each task catches up
// from its changelog before it goes on, in case the abort was a commit after all.
func (m *materializer) recover() error {
	m.doomed, m.ahead = false, 0
	if err := m.store.wait(); err != nil {
		return err // entities that are dropped now are loaded again
	}
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
func (m *materializer) settleCommitted(x *txnRecords) error {
	if err := m.store.wait(); err != nil {
		return err
	}
	m.evict() // not what this transaction changed: the store does not have it yet
	now := m.now()
	b := m.store.batch(x.storeBytes())
	if err := x.stored(b, now); err != nil {
		b.discard()
		return err
	}
	if err := m.store.commitLater(b, func() { m.met.storeSeconds.Observe(m.now().Sub(now).Seconds()) }); err != nil {
		return err
	}
	for i := range x.parts {
		x.parts[i].t.settle(x.parts[i].meta)
	}
	return nil
}

// releaseCells has the tasks look at the store anew when they next read it.
func (m *materializer) releaseCells() {
	for _, t := range m.tasks {
		t.cells.release()
	}
}

// evict keeps the entities in memory within the budget (R12). What tasks see of the store may be older than what leaves memory, and
// while they see it the store keeps what it has since written anew: so they look anew, whether anything leaves or not.
func (m *materializer) evict() {
	m.releaseCells()
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
	for m.inTxn || m.ending != nil {
		if m.ending == nil {
			m.end(ctx)
		}
		if err := m.awaitEnd(); err != nil {
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
