package processors

import (
	"context"
	"slices"
	"time"

	"github.com/freshet-io/freshet/internal/feature"
)

// The loop has time to spare when a poll returns fewer records than quietPoll. What has changed is then produced four times
// in a transaction, earlyFlush apart at most, so that it is not held up for long by what there is to produce at the end. More often
// would cost Kafka and this process more than it spares: an entity that changes many times in a transaction is better written once,
// and under load it is.
const (
	quietPoll  = 1000
	earlyFlush = 250 * time.Millisecond
)

// flushEarly produces the changelog records of what the open transaction has changed so far.
func (m *materializer) flushEarly(ctx context.Context) {
	now := m.now()
	if !m.inTxn || m.doomed || m.polled >= quietPoll || now.Sub(m.lastFlush) < min(earlyFlush, m.plane.Processing.CommitInterval/4) {
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
// record after them. It returns where those tasks are in their inputs.
func (m *materializer) flush(ctx context.Context) map[topicPartition]int64 {
	at := map[topicPartition]int64{}
	for tp, t := range m.tasks {
		if !t.touched || t.state != taskRunning {
			continue
		}
		at[tp] = t.read
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
	return at
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
