package processors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
)

// maxPoll bounds the records of one batch: while it is processed nothing is published and no rebalance goes on.
const maxPoll = 20_000

// materializer folds events into the state of feature views and publishes entities. It owns its tasks, its session and
// the entities in memory from one goroutine; see the package comment for the others.
type materializer struct {
	plane  *config.Plane
	topo   *topology
	client []kgo.Opt
	logger *slog.Logger
	now    func() time.Time
	met    *metrics
	gaps   bool // continue after a gap instead of stopping

	store    *store
	restorer *restorer
	pub      *publisher
	canaries *canaries

	inputs  map[string]*input
	tasks   map[topicPartition]*task
	running []*task // in no order; a cache of tasks for batches
	sess    *session

	inTxn      bool
	doomed     bool // the open transaction must be aborted
	began      time.Time
	lastPub    time.Time
	pubErr     error
	pubErrAt   time.Time
	txn        txnRecords
	lastHouse  time.Time
	lastCanary time.Time
	forgotten  []string // canary names of released tasks

	taken       int64 // records taken up since the start
	deadLetters int64

	status   atomic.Pointer[status]
	progress atomic.Pointer[Progress]
}

// status is what readiness and metrics are told of the loop; it is replaced, never changed.
type status struct {
	restoring []string
	failed    []string
	tasks     int
	publish   error
	joined    bool
}

func newMaterializer(r *Runtime, st *store) (*materializer, error) {
	m := &materializer{
		plane: r.plane, topo: r.topo, client: r.client, logger: r.logger, now: r.now, met: r.met, gaps: r.opts.AcceptGap,
		store: st, pub: newPublisher(r.opts.Online), inputs: map[string]*input{}, tasks: map[topicPartition]*task{},
		restorer: &restorer{
			store: st, client: r.client, group: r.topo.materializeGroup(), logger: r.logger, now: r.now,
			requests: make(chan []*task, 64), results: make(chan restored, 1024),
		},
	}
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
		if ctx.Err() != nil {
			return errors.Join(err, m.rememberPositions())
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
	m.tasks, m.running = map[topicPartition]*task{}, nil
	m.inTxn, m.doomed = false, false
	m.txn.reset()
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
	for ctx.Err() == nil {
		if err := m.step(ctx); err != nil {
			return err
		}
	}
	return m.drain(context.WithoutCancel(ctx))
}

// step is one round: take up what has changed, poll, process, publish, and commit when it is time.
func (m *materializer) step(ctx context.Context) error {
	if !m.inTxn {
		m.sess.allowRebalance()
		if err := m.between(ctx); err != nil {
			return err
		}
	}
	if err := m.collectAnswers(); err != nil {
		return err
	}
	if m.waiting() >= m.plane.Processing.MaxPendingWrites {
		// Redis is away or slower than the events (R12). The session stays alive without polls.
		m.met.paused.Inc()
		m.sleep(ctx, 5*time.Millisecond)
	} else if err := m.pollAndApply(ctx); err != nil {
		return err
	}
	if err := m.publish(); err != nil {
		return err
	}
	m.tendCanaries(m.now())
	m.housekeeping()
	m.report()
	if m.inTxn && (m.doomed || m.sess.blocked.Load() || m.now().Sub(m.began) >= m.plane.Processing.CommitInterval) {
		return m.end(ctx)
	}
	return nil
}

// between does what may only be done while no transaction is open.
func (m *materializer) between(ctx context.Context) error {
	if _, err := m.sess.settle(ctx); err != nil {
		return err
	}
	if err := m.reconcile(); err != nil {
		return err
	}
	m.takeRestored()
	m.setStatus()
	return nil
}

// reconcile makes the set of tasks equal to what the client is assigned (R8).
func (m *materializer) reconcile() error {
	assigned := m.sess.assignment()
	changed := false
	for tp, t := range m.tasks {
		if _, ok := assigned[tp]; !ok {
			m.logger.Info("task released", "task", t.name())
			delete(m.tasks, tp)
			m.met.forget(t)
			m.forgotten = append(m.forgotten, t.canaryName())
			changed = true
		}
	}
	var fresh []*task
	for tp, committed := range assigned {
		if m.tasks[tp] != nil {
			continue
		}
		in := m.inputs[tp.topic]
		t, err := newTask(in, tp.partition, m.store, m.met, m.plane, m.now)
		if err != nil {
			return err
		}
		m.tasks[tp] = t
		changed = true
		m.sess.pause(tp)
		t.groupOffset = committed
		if tp.partition >= in.partitions {
			m.stop(t, fmt.Errorf("%s: the topic had %d partitions when this plane was started: keys have moved between partitions; restart to see what to do", t.name(), in.partitions))
			continue
		}
		fresh = append(fresh, t)
	}
	if changed {
		m.listRunning()
	}
	return m.requestRestore(fresh)
}

// requestRestore hands tasks to the restorer; they stay paused until it answers.
func (m *materializer) requestRestore(group []*task) error {
	if len(group) == 0 {
		return nil
	}
	for _, t := range group {
		t.state = taskRestoring
		m.sess.pause(topicPartition{t.in.topic, t.partition})
	}
	select {
	case m.restorer.requests <- group:
		return nil
	default:
		return fmt.Errorf("%d restores are waiting already", cap(m.restorer.requests))
	}
}

func (m *materializer) listRunning() {
	m.running = m.running[:0]
	for _, t := range m.tasks {
		if t.state == taskRunning {
			m.running = append(m.running, t)
		}
	}
}

// takeRestored puts tasks whose stores have caught up into service, at the positions of their states (R7).
func (m *materializer) takeRestored() {
	for {
		select {
		case d := <-m.restorer.results:
			tp := topicPartition{d.t.in.topic, d.t.partition}
			if m.tasks[tp] != d.t || d.t.state != taskRestoring {
				continue // released meanwhile
			}
			m.start(tp, d)
			m.listRunning()
		default:
			return
		}
	}
}

// start resumes a restored task at the position of its state (R7).
func (m *materializer) start(tp topicPartition, d restored) {
	t := d.t
	added := t.addedLater(d.meta)
	if d.meta.none() {
		added = nil
	}
	switch {
	case d.meta.none() && d.committed:
		m.stop(t, fmt.Errorf("%s: the group has committed offset %d and the changelog %s holds nothing: the state is lost. "+
			"Restore the changelog, or give the views new names to build them anew", t.name(), t.groupOffset, t.in.changelog))
		return
	case added != nil && t.in.repartitioned() && d.first > 0:
		m.stop(t, fmt.Errorf("%s: feature view %s was added later, and the repartition topic no longer has the records from its beginning: its numbers would be wrong",
			t.name(), added.view.Name))
		return
	}
	first := d.first
	if d.meta.none() {
		first = t.groupOffset // what a first start begins at
	}
	at := t.restoredTo(d, first)
	if at < d.first && !m.acceptGap(t, at, d.first) {
		return
	}
	at = t.read
	if !d.meta.none() {
		t.online.want = t.version(t.committed.next)
	}
	if t.groupOffset > at && !t.catchingUp {
		m.stop(t, fmt.Errorf("%s: the group has committed offset %d and the state has counted up to %d only: state is lost", t.name(), t.groupOffset, at))
		return
	}
	m.sess.seek(tp, at)
	m.sess.resume(tp)
	m.lastCanary = time.Time{}
	m.met.restored(d)
	m.logger.Info("task restored", "task", t.name(), "records", d.records, "took", d.took.Round(time.Millisecond), "next", at)
}

// acceptGap decides about records that were deleted before they were processed: the task stops and says so, or, where
// the operator has said so, goes on after them.
func (m *materializer) acceptGap(t *task, at, first int64) bool {
	gap := fmt.Errorf("%s: records [%d, %d) were deleted before they were processed (retention); --accept-gap goes on without them", t.name(), at, first)
	if !m.gaps {
		m.stop(t, gap)
		return false
	}
	m.logger.Warn("a gap is accepted", "task", t.name(), "from", at, "to", first)
	m.met.gapRecords.Add(float64(first - at))
	t.skipTo(first)
	return true
}

// stop takes a task out of service for good (R13).
func (m *materializer) stop(t *task, err error) {
	m.logger.Error("task stopped", "task", t.name(), "err", err)
	t.fail(err)
	m.met.taskFailures.Inc()
	m.sess.pause(topicPartition{t.in.topic, t.partition})
}

// pollAndApply reads a batch and folds it into the tasks.
func (m *materializer) pollAndApply(ctx context.Context) error {
	pollCtx, cancel := context.WithTimeout(ctx, m.pollWait())
	fetches := m.sess.s.PollRecords(pollCtx, maxPoll)
	cancel()
	if fetches.IsClientClosed() {
		return errors.New("the client is closed")
	}
	if err := m.fetchErrors(fetches); err != nil {
		return err
	}
	if fetches.NumRecords() == 0 {
		return nil
	}
	if !m.inTxn {
		if m.sess.rebalance.Load() {
			// Partitions went while the poll waited. Settling rewinds what was polled.
			_, err := m.sess.settle(ctx)
			return err
		}
		if err := m.sess.s.Begin(); err != nil {
			return fmt.Errorf("begin a transaction: %w", err)
		}
		m.inTxn, m.began = true, m.now()
	}
	m.apply(ctx, fetches)
	return nil
}

// pollWait is how long a poll may wait for records: less when something has to be done soon.
func (m *materializer) pollWait() time.Duration {
	wait := 100 * time.Millisecond
	if m.inTxn {
		wait = min(wait, m.plane.Processing.CommitInterval-m.now().Sub(m.began))
	}
	if m.waiting() > 0 || m.pub.sending {
		wait = min(wait, m.plane.Processing.PublishInterval-m.now().Sub(m.lastPub), 2*time.Millisecond)
	}
	return max(wait, 500*time.Microsecond)
}

// fetchErrors stops tasks whose offsets are lost; what is worth a new session is returned.
func (m *materializer) fetchErrors(fetches kgo.Fetches) error {
	var failed error
	fetches.EachError(func(topic string, p int32, err error) {
		var lost *kgo.ErrDataLoss
		switch {
		case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		case errors.Is(err, kerr.OffsetOutOfRange), errors.As(err, &lost):
			t := m.tasks[topicPartition{topic, p}]
			if t == nil || t.state == taskFailed {
				return
			}
			m.doomed = m.inTxn
			m.stop(t, fmt.Errorf("%s: records from offset %d on were deleted before they were processed: %w", t.name(), t.now.next, err))
			m.listRunning()
		case kerr.IsRetriable(err):
		default:
			failed = errors.Join(failed, fmt.Errorf("fetch %s: %w", taskName(topic, p), err))
		}
	})
	return failed
}

// apply folds a batch into the tasks, one worker a core, one task a worker at a time. The first error of a task stops
// the task and dooms the transaction.
func (m *materializer) apply(ctx context.Context, fetches kgo.Fetches) {
	type part struct {
		t    *task
		recs []*kgo.Record
		err  error
	}
	var parts []*part
	now := m.now()
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		if len(p.Records) == 0 {
			return
		}
		t := m.tasks[topicPartition{p.Topic, p.Partition}]
		if t == nil || t.state != taskRunning {
			// A record of a task that is not in service was counted as polled: its offset must not be committed.
			m.doomed = true
			return
		}
		t.lastEvent = now
		t.lag = p.HighWatermark - p.Records[len(p.Records)-1].Offset - 1
		parts = append(parts, &part{t: t, recs: p.Records})
	})
	work := func(pt *part) {
		for _, r := range pt.recs {
			if pt.err = pt.t.apply(r); pt.err != nil {
				return
			}
		}
	}
	if workers := min(runtime.GOMAXPROCS(0), len(parts)); workers > 1 {
		var next atomic.Int64
		var wg sync.WaitGroup
		for range workers {
			wg.Go(func() {
				for i := next.Add(1) - 1; int(i) < len(parts); i = next.Add(1) - 1 {
					work(parts[i])
				}
			})
		}
		wg.Wait()
	} else {
		for _, pt := range parts {
			work(pt)
		}
	}
	for _, pt := range parts {
		if pt.err != nil {
			m.doomed = true
			m.stop(pt.t, pt.err)
			m.listRunning()
		}
		for _, d := range pt.t.dead {
			m.txn.produce(ctx, m.sess, d)
		}
		pt.t.dead = pt.t.dead[:0]
		if pt.t.caughtUp() {
			pt.t.startRepublish(nil, nil)
		}
		m.taken += int64(len(pt.recs))
		for _, n := range pt.t.counts.dead {
			m.deadLetters += int64(n)
		}
		m.met.applied(pt.t)
	}
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

// publish sends waiting entities once a publish interval, if the last batch has been answered.
func (m *materializer) publish() error {
	now := m.now()
	if m.pub.sending || now.Sub(m.lastPub) < m.plane.Processing.PublishInterval {
		return nil
	}
	if m.pubErr != nil && now.Sub(m.pubErrAt) < 200*time.Millisecond {
		return nil // Redis is away; it is tried again at intervals
	}
	for _, t := range m.running {
		if n, err := t.continueRepublish(m.pub.sending); err != nil {
			return err
		} else if n > 0 {
			m.met.republished.Add(float64(n))
		}
	}
	b, err := m.pub.collect(m.running)
	if err != nil || b == nil {
		return err
	}
	m.lastPub = now
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

// housekeeping is done once a second, with or without events.
func (m *materializer) housekeeping() {
	now := m.now()
	if now.Sub(m.lastHouse) < time.Second {
		return
	}
	m.lastHouse = now
	m.met.watermarks(m.running, now)
	if !m.inTxn {
		m.evict()
	}
	for _, t := range m.running {
		if !t.online.republish.active && now.Sub(t.online.lastFull) > fullSweepEvery {
			t.online.lastFull = now
			t.startRepublish(nil, nil)
		}
	}
}

// fullSweepEvery is how often everything is published again, whether or not a loss was noticed.
const fullSweepEvery = 24 * time.Hour

// setStatus tells readiness how things stand.
func (m *materializer) setStatus() {
	s := &status{tasks: len(m.tasks), publish: m.pubErr, joined: len(m.tasks) > 0}
	for _, t := range m.tasks {
		switch t.state {
		case taskRestoring:
			s.restoring = append(s.restoring, t.name())
		case taskFailed:
			s.failed = append(s.failed, t.failure.Error())
		case taskRunning:
			if !t.online.checked && s.publish == nil {
				s.publish = m.canaries.problem()
			}
			if t.online.refusals > 0 && m.now().Sub(t.online.refusedAt) > refusedTooLong {
				s.failed = append(s.failed, fmt.Sprintf("%s: the online store holds newer versions than this task's, and has for %s", t.name(), refusedTooLong))
			}
		}
	}
	slices.Sort(s.restoring)
	slices.Sort(s.failed)
	m.status.Store(s)
}

// refusedTooLong is how long refusals of a task that goes on committing are put down to a takeover.
const refusedTooLong = 30 * time.Second

// ready reports why the materializer is not caught up and at work.
func (m *materializer) ready() error {
	s := m.status.Load()
	var errs []error
	if !s.joined {
		errs = append(errs, errors.New("materializer: has no partitions yet"))
	}
	if len(s.restoring) > 0 {
		errs = append(errs, fmt.Errorf("materializer: restoring %s", strings.Join(s.restoring, ", ")))
	}
	for _, f := range s.failed {
		errs = append(errs, fmt.Errorf("materializer: stopped: %s", f))
	}
	if s.publish != nil {
		errs = append(errs, fmt.Errorf("materializer: the online store does not accept writes: %w", s.publish))
	}
	return errors.Join(errs...)
}

func (m *materializer) sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
