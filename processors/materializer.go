package processors

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
)

// materializer folds events into the state of feature views and publishes entities. It owns its tasks, its session and
// the entities in memory from one goroutine; see the package comment for the others.
type materializer struct {
	plane  *config.Plane
	topo   *topology
	client []kgo.Opt
	logger *slog.Logger
	now    func() time.Time
	met    *metrics
	aside  *asideLog
	gaps   bool // continue after a gap instead of stopping

	store    *store
	restorer *restorer
	erasures erasures
	pub      *publisher
	canaries *canaries

	inputs  map[string]*input
	tasks   map[topicPartition]*task
	running []*task // in no order; a cache of tasks for batches
	sess    *session
	reader  *taskReader

	inTxn         bool    // a transaction is open in Kafka
	ending        *ending // nil: none ends
	ahead         int     // records that have been folded in since that one began to end; they are of the next one
	standing      bool    // nothing is folded in until it has ended
	doomed        bool    // what has been folded in must not be committed
	began         time.Time
	polled        int   // records of the last poll
	behind        int64 // records of the inputs that were there and the last poll did not bring
	pace          pace
	lastFlush     time.Time
	lastPub       time.Time
	pubErr        error
	pubErrAt      time.Time
	fullEvery     time.Duration // between two publications of everything
	txn           *txnRecords   // of the open transaction
	spareTxn      *txnRecords   // for the next one; nil while one ends
	lastHouse     time.Time
	lastPositions time.Time
	turned        atomic.Int64 // when the last round began, Unix nanoseconds
	lastCanary    time.Time
	forgotten     []string                    // canary names of released tasks
	rebound       atomic.Pointer[[]boundView] // other states of the views, which the next session takes up

	taken       int64 // records taken up since the start
	deadLetters int64

	status   atomic.Pointer[status]
	position readerPosition
	progress atomic.Pointer[Progress]
}

func newMaterializer(r *Runtime, st *store) (*materializer, error) {
	m := &materializer{
		plane: r.plane, topo: r.topo, client: r.client, logger: r.logger, now: r.now, met: r.met, aside: r.aside, gaps: r.opts.AcceptGap,
		store: st, pub: newPublisher(r.opts.Online), inputs: map[string]*input{}, tasks: map[topicPartition]*task{},
		restorer: &restorer{
			store: st, client: r.client, group: r.topo.materializeGroup(), eraseTopic: r.topo.eraseTopic(), logger: r.logger, now: r.now,
			requests: make(chan []*task, 64), results: make(chan restored, 1024),
		},
	}
	m.position.reader = "materialize"
	m.fullEvery = cmp.Or(r.opts.fullEvery, fullSweepEvery)
	m.pace.interval = r.plane.Processing.PublishInterval
	m.canaries = newCanaries(r.opts.Loss, r.logger)
	for _, in := range r.topo.inputs {
		m.inputs[in.topic] = in
	}
	m.status.Store(&status{})
	m.progress.Store(&Progress{})
	return m, nil
}

// run processes until ctx is done, then ends its transaction with a commit. A session that fails is replaced (R5); the
// error returned is one that trying again would not mend.
func (m *materializer) run(ctx context.Context) error {
	var wg sync.WaitGroup
	// Publishing and restoring outlive ctx until the last commit has been made.
	bg, stop := context.WithCancel(context.WithoutCancel(ctx))
	wg.Go(func() { m.restorer.run(bg) })
	wg.Go(func() { m.pub.run(bg) })
	wg.Go(func() { m.canaries.run(bg) })
	defer func() {
		stop()
		wg.Wait()
	}()
	for backoff := 100 * time.Millisecond; ; backoff = min(2*backoff, 5*time.Second) {
		joined := m.now()
		err := m.session(ctx)
		m.releaseCells()
		if ctx.Err() != nil {
			return errors.Join(ended(err), m.rememberPositions())
		}
		if errors.Is(err, errRebound) {
			m.logger.Info("a view's state was built anew; its tasks go on with it")
			continue
		}
		m.logger.Warn("session failed, a new one is opened", "group", m.topo.materializeGroup(), "err", err, "retry_in", backoff)
		m.met.sessions.Inc()
		if m.now().Sub(joined) > time.Minute {
			backoff = 100 * time.Millisecond
		}
		select {
		case <-time.After(backoff):
		case <-ctx.Done():
			return nil
		}
	}
}

// session runs one transactional session until it fails or ctx is done.
func (m *materializer) session(ctx context.Context) error {
	for _, t := range m.tasks {
		t.released.Store(true)
	}
	m.rebind()
	m.tasks, m.running = map[topicPartition]*task{}, nil
	m.inTxn, m.doomed, m.ahead = false, false, 0
	m.txn, m.spareTxn = &txnRecords{}, &txnRecords{} // a client that was given up may still write to the old ones
	o := sessionOptions{
		client: m.client, group: m.topo.materializeGroup(), txnID: m.topo.materializeGroup() + "." + m.plane.Processing.InstanceID,
		startAtEnd: map[string]bool{}, batchBytes: m.topo.maxBatchBytes(), pauseNew: true,
	}
	for _, in := range m.topo.inputs {
		o.topics = append(o.topics, in.topic)
		o.startAtEnd[in.topic] = !in.repartitioned() && in.source.StartAt == "latest"
	}
	var err error
	if m.sess, err = openSession(ctx, o); err != nil {
		return err
	}
	defer m.sess.close()
	if m.reader, err = newTaskReader(m.client); err != nil {
		return err
	}
	defer m.reader.close()
	defer func() {
		if m.ending != nil { // it failed meanwhile
			<-m.ending.done
			m.ending = nil
		}
	}()
	for ctx.Err() == nil {
		if err := m.step(ctx); err != nil {
			return err
		}
	}
	return m.drain(context.WithoutCancel(ctx))
}

// step is one round: take up what has changed, poll, process, publish, and commit when it is time.
func (m *materializer) step(ctx context.Context) error {
	m.turned.Store(m.now().UnixNano())
	if m.ending != nil {
		select {
		case <-m.ending.done:
			if err := m.ended(); err != nil {
				return err
			}
		default:
		}
	}
	if !m.inTxn && m.ending == nil {
		if again, err := m.stand(ctx); again || err != nil {
			return err
		}
	}
	if err := m.collectAnswers(); err != nil {
		return err
	}
	if err := m.takeIn(ctx); err != nil {
		return err
	}
	if err := m.publish(); err != nil {
		return err
	}
	m.flushEarly(ctx)
	m.tendCanaries(m.now())
	m.housekeeping()
	m.report()
	if m.inTxn && (m.doomed || m.sess.blocked.Load() || m.now().Sub(m.began) >= m.plane.Processing.CommitInterval) {
		m.end(ctx)
	}
	return nil
}

// stand does what may only be done while no transaction is open or ends, and lets rebalances go on for that time. It reports
// whether it is to be called again before anything else.
func (m *materializer) stand(ctx context.Context) (again bool, err error) {
	if m.rebound.Load() != nil {
		return false, errRebound
	}
	m.sess.allowRebalance()
	if err := m.between(ctx); err != nil {
		return false, err
	}
	if err := m.sess.hold(ctx); err != nil {
		return false, err
	}
	if m.sess.rebalance.Load() {
		return true, nil // partitions came or went before it was held
	}
	for _, t := range m.running {
		if t.touched { // where its first start began is recorded, records or not
			m.began = m.now()
			return false, m.begin()
		}
	}
	return false, nil
}

// between takes up what has changed while no transaction is open.
func (m *materializer) between(ctx context.Context) error {
	if _, err := m.sess.settle(ctx); err != nil {
		return err
	}
	if err := m.reconcile(); err != nil {
		return err
	}
	m.takeRestored()
	if err := m.restoreOutOfRange(); err != nil {
		return err
	}
	if err := m.forgetRequested(); err != nil {
		return err
	}
	m.setStatus()
	return nil
}

// takeIn reads records and folds them in, or waits for what keeps it from that.
func (m *materializer) takeIn(ctx context.Context) error {
	switch {
	case m.tooMuchWaits():
		// Redis is away or slower than the events (R12). The session stays alive without polls.
		m.met.paused.Inc()
		m.sleep(ctx, 5*time.Millisecond)
	case !m.mayFold():
		select {
		case <-m.ending.done:
		case <-time.After(time.Millisecond):
		}
	default:
		return m.pollAndApply(ctx)
	}
	return nil
}

// begin opens a transaction.
func (m *materializer) begin() error {
	if err := m.sess.s.Begin(); err != nil {
		return fmt.Errorf("begin a transaction: %w", err)
	}
	m.inTxn = true
	return nil
}

func (m *materializer) sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
