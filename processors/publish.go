package processors

import (
	"context"
	"time"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/online"
)

// OnlineStore is what the materializer needs of Redis.
type OnlineStore interface {
	// Write sends a batch and reports for each write what became of it. The error tells why writes failed; the
	// outcomes are valid with it.
	Write(ctx context.Context, batch []online.Write, out []online.Outcome) error
}

// maxBatch bounds the entities in one batch, so that encoding does not hold the loop up for long.
const maxBatch = 4096

// writeTimeout bounds one batch: a Redis that answers nothing is away.
const writeTimeout = 5 * time.Second

// A publishBatch is entities encoded as of one moment, on their way to Redis.
type publishBatch struct {
	writes   []online.Write
	outcomes []online.Outcome
	refs     []publishRef
	arena    []byte
	err      error
	took     time.Duration
	marks    []taskMark
}

// publishRef says whose write it is. The entity is named by key: when the answer comes it may have left memory.
type publishRef struct {
	t   *task
	v   *viewState
	key string
	// since is the event time of the first event that it was waiting to show, microseconds; 0 for none.
	since int64
	txn   uint32 // the transaction that event was of
}

// unshown returns since, for an entity whose write failed. An event that has been rolled back meanwhile comes again.
func (r *publishRef) unshown() int64 {
	if r.v.undone <= r.txn && r.txn < r.v.redone {
		return 0
	}
	return r.since
}

// taskMark is the input offset as of which everything of a task will have been published when a batch has been
// acknowledged whole, for its canaries.
type taskMark struct {
	t    *task
	next int64
}

// slowestPublish bounds how far the publish interval grows while the loop is behind.
const slowestPublish = 100 * time.Millisecond

// pace is how often entities are published. While the loop is behind the input the interval grows, so that more changes of an
// entity become one write: what is published then is old by more than that anyway, and the loop catches up sooner.
type pace struct {
	interval time.Duration // the definition's
	grown    time.Duration // 0: not at all
}

func (p *pace) every() time.Duration { return max(p.interval, p.grown) }

// published takes up that a batch was sent, while the loop was behind or not.
func (p *pace) published(behind bool) {
	if !behind {
		p.grown = 0
		return
	}
	p.grown = min(2*p.every(), slowestPublish)
}

// publisher sends one batch at a time: an entity's writes reach Redis in order, and what changes meanwhile coalesces.
type publisher struct {
	store   OnlineStore
	in      chan *publishBatch
	out     chan *publishBatch
	spare   *publishBatch
	turn    int
	sending bool
}

func newPublisher(s OnlineStore) *publisher {
	return &publisher{store: s, in: make(chan *publishBatch, 1), out: make(chan *publishBatch, 1), spare: &publishBatch{}}
}

// run sends batches until ctx is done.
func (p *publisher) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case b := <-p.in:
			began := time.Now()
			writeCtx, cancel := context.WithTimeout(ctx, writeTimeout)
			b.err = p.store.Write(writeCtx, b.writes, b.outcomes)
			cancel()
			b.took = time.Since(began)
			p.out <- b
		}
	}
}

// collect encodes up to maxBatch waiting entities of the running tasks into a batch, or returns nil when none waits.
func (p *publisher) collect(tasks []*task) (*publishBatch, error) {
	b := p.spare
	b.reset()
	p.turn++
	for i := range tasks {
		// Another task is first each time: when Redis is slower than the events, all fall behind alike.
		t := tasks[(i+p.turn)%len(tasks)]
		if t.state != taskRunning || !t.online.checked {
			continue
		}
		if err := t.encodeWaiting(b); err != nil {
			return nil, err
		}
		if t.waiting() > 0 {
			continue
		}
		if !t.catchingUp {
			b.marks = append(b.marks, taskMark{t, t.now.next})
		}
	}
	if len(b.writes) == 0 {
		return nil, nil
	}
	p.spare = nil
	b.outcomes = append(b.outcomes[:0], make([]online.Outcome, len(b.writes))...)
	return b, nil
}

func (b *publishBatch) reset() {
	clear(b.refs)
	b.writes, b.refs, b.marks, b.arena, b.err = b.writes[:0], b.refs[:0], b.marks[:0], b.arena[:0], nil
}

// encodeWaiting moves entities of all views from waiting into the batch.
func (t *task) encodeWaiting(b *publishBatch) error {
	t.cells.hold()
	for _, v := range t.views {
		if err := v.encodeWaiting(t, b); err != nil {
			return err
		}
	}
	return nil
}

// encodeWaiting moves entities of one view from waiting into the batch.
func (v *viewState) encodeWaiting(t *task, b *publishBatch) error {
	for len(v.lookFor) > 0 && len(v.pending) < maxBatch-len(b.writes) { // what is loaded goes with this batch, and may leave memory
		s := v.lookFor[len(v.lookFor)-1]
		v.lookFor = v.lookFor[:len(v.lookFor)-1]
		e, err := v.get(t, []byte(s.key))
		if err != nil {
			return err
		}
		if s.since != 0 {
			e.since, e.sinceTxn = s.since, 0
		}
		e.resend, e.used = true, false
		v.toPublish(e)
	}
	n := min(len(v.pending), max(0, maxBatch-len(b.writes)))
	if n == 0 {
		return nil
	}
	for _, e := range v.pending[:n] {
		e.pending = false
		v.waits -= int(e.size)
		v.encode(t, e, b)
	}
	v.sent += uint64(n)
	rest := copy(v.pending, v.pending[n:])
	clear(v.pending[rest:])
	v.pending = v.pending[:rest]
	return nil
}

// encode appends one entity's state as of the task's input offset, which is its version (R10).
func (v *viewState) encode(t *task, e *entry, b *publishBatch) {
	next := t.now.views[v.index].next
	version := feature.MakeVersion(v.epoch, uint32(t.partition), uint64(next), 0)
	w := online.Write{HeadField: v.headField, TailField: v.tailField, Expire: v.expire}
	start := len(b.arena)
	b.arena = online.AppendKey(b.arena, v.project, v.view.Entity.Name, []byte(e.key))
	w.Key = b.arena[start:len(b.arena):len(b.arena)]
	if e.TailChanged() || e.resend && e.tailAt != noTail {
		e.tailAt = next
		start = len(b.arena)
		b.arena = v.layout.AppendTail(b.arena, &e.Entity, version)
		w.Tail = b.arena[start:len(b.arena):len(b.arena)]
	}
	var tail feature.Version
	if e.tailAt != noTail {
		tail = feature.MakeVersion(v.epoch, uint32(t.partition), uint64(e.tailAt), 0)
	}
	e.resend = false
	e.ClearTailChanged()
	start = len(b.arena)
	b.arena = v.layout.AppendHead(b.arena, &e.Entity, version, tail)
	w.Head = b.arena[start:len(b.arena):len(b.arena)]
	b.writes = append(b.writes, w)
	b.refs = append(b.refs, publishRef{t: t, v: v, key: e.key, since: e.since, txn: e.sinceTxn})
	e.since = 0
}

// answered handles the outcomes of a batch on the loop's goroutine.
func (p *publisher) answered(b *publishBatch, now time.Time, met *metrics) {
	p.sending, p.spare = false, b
	for i, ref := range b.refs {
		switch b.outcomes[i] {
		case online.Accepted:
			if ref.since != 0 {
				ref.v.fresh.Observe(now.Sub(time.UnixMicro(ref.since)).Seconds())
			}
		case online.Refused:
			ref.t.online.refused(now)
		case online.NeedTail, online.Failed:
			// Under its key, not its entry: the entity may have left memory since. The tail goes with it, since what Redis
			// holds is not known.
			ref.t.online.republish.target, ref.t.online.resending = nil, true
			if e, ok := ref.v.entities[ref.key]; ok {
				e.resend = true
				if since := ref.unshown(); since != 0 { // which is of an earlier event than what has come meanwhile
					e.since, e.sinceTxn = since, ref.txn
				}
				ref.v.toPublish(e)
			} else {
				ref.v.lookFor = append(ref.v.lookFor, sought{ref.key, ref.unshown()})
			}
		}
	}
	for _, m := range b.marks {
		if !m.t.online.resending {
			m.t.online.published(m.next)
		}
	}
	for _, ref := range b.refs {
		ref.t.online.resending = false
	}
	met.published(b)
}

// waiting is how many entities wait to be published.
func (m *materializer) waiting() int {
	n := 0
	for _, t := range m.running {
		for _, v := range t.views {
			n += v.waiting()
		}
	}
	return n
}

// tooMuchWaits says whether processing pauses (R12): as many entities wait as may, or as fill the cache, which none of them can
// leave. It is asked before each batch is read, so that one batch more than that may wait: what maxPoll records change.
func (m *materializer) tooMuchWaits() bool {
	return m.waiting() >= m.plane.Processing.MaxPendingWrites || m.waitingBytes() >= m.plane.Processing.StateCacheBytes
}

// waitingBytes is about how much memory the waiting entities take that are in memory.
func (m *materializer) waitingBytes() (held int64) {
	for _, t := range m.running {
		for _, v := range t.views {
			held += int64(v.waits)
		}
	}
	return held
}

// publish sends waiting entities once a publish interval, if the last batch has been answered.
func (m *materializer) publish() error {
	now := m.now()
	if m.pub.sending || now.Sub(m.lastPub) < m.pace.every() {
		return nil
	}
	if m.pubErr != nil && now.Sub(m.pubErrAt) < 200*time.Millisecond {
		return nil // Redis is away; it is tried again at intervals
	}
	if err := m.continueRepublishing(); err != nil {
		return err
	}
	b, err := m.pub.collect(m.running)
	if err != nil || b == nil {
		return err
	}
	m.lastPub = now
	m.pace.published(m.behind >= maxPoll)
	m.pub.sending = true
	m.pub.in <- b
	return nil
}

// collectAnswers takes up the answer of the batch that was sent.
func (m *materializer) collectAnswers() error {
	select {
	case b := <-m.pub.out:
		now := m.now()
		if b.err != nil {
			if m.pubErr == nil {
				m.logger.Warn("the online store does not accept writes; they wait", "err", b.err)
			}
			m.pubErr, m.pubErrAt = b.err, now
		} else if m.pubErr != nil {
			m.logger.Info("the online store accepts writes again")
			m.pubErr = nil
		}
		m.pub.answered(b, now, m.met)
	default:
	}
	return nil
}
