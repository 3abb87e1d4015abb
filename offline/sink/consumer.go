package sink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/freshet-io/freshet/ingest"
	"github.com/freshet-io/freshet/internal/kafka"
	"github.com/freshet-io/freshet/offline"
)

const (
	pollRecords   = 20_000
	pollWithin    = time.Second      // how long a poll may hold up a rebalance
	commitWithin  = 10 * time.Second // well under the session timeout's rebalance
	landWithin    = 5 * time.Second  // how long a partition that is taken away, or a stop, waits for its range
	commitRetry   = 200 * time.Millisecond
	maxValues     = 1 << 20 // of a batch, which bounds its memory in the forms of a row
	maxBatchBytes = 24 << 20
)

// consumer fills one table. One goroutine polls, launches ranges and settles them; a goroutine for each range writes it; the
// client's callbacks come between polls.
type consumer struct {
	*Sink
	t       *offline.Table
	group   string
	limits  limits
	judges  bool   // it puts aside what it refuses
	letters string // the topic for that
	floor   int64  // it may hold so much whatever the others hold
	readers chan *ingest.Reader

	cl   *kgo.Client   // set before made is closed
	made chan struct{} // callbacks may come before the client's constructor returns

	flights sync.WaitGroup

	mu struct {
		sync.Mutex
		parts    map[int32]*part
		problems map[string]error // by what failed, until it works again
		wake     func()           // ends the poll under way
		landed   bool             // a range has ended since the last settling
		held     int64            // bytes of the budget that are this table's
		retryAt  time.Time        // no commit before
	}
	paused bool // fetching, for the budget
}

func newConsumer(s *Sink, t *offline.Table) (*consumer, error) {
	o := s.Plane.Offline
	c := &consumer{
		Sink: s, t: t, group: Group(s.Plane, s.Name, t), made: make(chan struct{}), readers: make(chan *ingest.Reader, writers),
		limits:  limits{rows: max(1, min(o.FlushRows, maxValues/max(1, len(t.Columns)))), bytes: min(maxBatchBytes, o.Memory/4), age: o.FlushInterval},
		floor:   s.Budget.limit / int64(2*max(1, len(s.Tables))),
		letters: ingest.DeadLetterTopic(s.Plane, t.Source.Name),
	}
	c.judges = s.DeadLetters && slices.Contains(s.Plane.Intakes(), t.Source) && !s.Plane.Reads(t.Source)
	for range writers {
		r, err := ingest.NewReader(t.Source)
		if err != nil {
			return nil, err
		}
		c.readers <- r
	}
	c.mu.parts, c.mu.problems = map[int32]*part{}, map[string]error{"start": errNotYet}
	return c, nil
}

// errNotYet is why a table is not ready before its group has assigned anything.
var errNotYet = errors.New("starting")

// run fills the table until ctx ends.
func (c *consumer) run(ctx context.Context) {
	if !c.prepare(ctx) {
		return
	}
	cl, err := kgo.NewClient(c.options()...)
	if err != nil {
		c.fail("start", err)
		c.Logger.Error("a table is not filled", "store", c.Name, "table", c.t.Name, "error", err)
		return
	}
	c.cl = cl
	close(c.made)
	writing, cancel := context.WithCancel(context.WithoutCancel(ctx))
	for ctx.Err() == nil {
		c.poll(ctx)
		c.launch(writing)
		c.cl.AllowRebalance()
	}
	// The callback for partitions that are given up waits for what is under way and commits it.
	c.cl.CloseAllowingRebalance()
	cancel()
	c.flights.Wait()
}

// prepare returns false if ctx ended first.
func (c *consumer) prepare(ctx context.Context) bool {
	for try := 1; ; try++ {
		err := c.Store.Prepare(ctx, c.t)
		if err == nil {
			c.works("prepare")
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		c.fail("prepare", fmt.Errorf("prepare the table: %w", err))
		if !sleep(ctx, backoff(try)) {
			return false
		}
	}
}

func (c *consumer) options() []kgo.Opt {
	return slices.Concat(kafka.GroupOptions(0), c.Client, []kgo.Opt{
		kgo.ConsumerGroup(c.group),
		kgo.ConsumeTopics(c.t.Source.Topic),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // a log ends with one: without it nobody could tell that nothing is left
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchMaxBytes(8 << 20),
		kgo.FetchMaxPartitionBytes(2 << 20),
		kgo.FetchMaxWait(time.Second),
		kgo.MaxConcurrentFetches(2),
		kgo.ProducerBatchMaxBytes(ingest.MaxLetterBytes),
		kgo.AdjustFetchOffsetsFn(c.place),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, parts map[string][]int32) { c.assigned(parts) }),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, parts map[string][]int32) { c.giveUp(parts, true) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, parts map[string][]int32) { c.giveUp(parts, false) }),
	})
}

// assigned notes that the group has decided. What has come is placed next.
func (c *consumer) assigned(parts map[string][]int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.mu.problems, "start")
	if len(parts[c.t.Source.Topic]) > 0 {
		c.mu.problems["resume"] = errNotYet
	}
}

// add takes a partition up.
func (c *consumer) add(p *part) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.mu.parts[p.id]; old != nil { // assigned anew without having been taken away
		c.dropLocked(old)
	}
	c.mu.parts[p.id] = p
	c.lag(p)
}

// poll waits for records, for a range to end or for a batch to become due, whatever is first. From its return until
// rebalances are allowed the partitions are this member's (O4).
func (c *consumer) poll(ctx context.Context) {
	c.mu.Lock()
	pollCtx, cancel := context.WithTimeout(ctx, c.waitLocked(time.Now()))
	c.mu.wake = cancel
	full := c.Budget.used.Load() >= c.Budget.limit && c.mu.held >= c.floor && !c.redoingLocked()
	c.mu.Unlock()
	defer cancel()
	if full != c.paused {
		c.paused = full
		if full {
			c.cl.PauseFetchTopics(c.t.Source.Topic)
		} else {
			c.cl.ResumeFetchTopics(c.t.Source.Topic)
		}
	}
	fetches := c.cl.PollRecords(pollCtx, pollRecords)
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	fetches.EachPartition(func(f kgo.FetchTopicPartition) {
		p := c.mu.parts[f.Partition]
		if p == nil || f.Topic != c.t.Source.Topic {
			c.pollError(f.Err)
			return
		}
		switch {
		case errors.Is(f.Err, kerr.OffsetOutOfRange):
			c.stopLocked(p, f.Err)
		case f.Err != nil:
			c.pollError(f.Err)
		case len(f.Records) > 0:
			delete(c.mu.problems, "fetch")
		}
		if f.LastStableOffset > 0 {
			p.high = f.LastStableOffset
		}
		c.holdLocked(p.push(f.Records, now))
		c.lag(p)
	})
}

// pollError notes what is wrong with the topic as a whole; that a poll's time was over is nothing.
func (c *consumer) pollError(err error) {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, kgo.ErrClientClosed) {
		return
	}
	c.mu.problems["fetch"] = err
}

// stopLocked stops a partition that has lost what comes next (O5).
func (c *consumer) stopLocked(p *part, err error) {
	if p.stopped == nil {
		p.stopped = fmt.Errorf("fetch: %w", err)
		c.Logger.Error("a partition is not read", "store", c.Name, "table", c.t.Name, "topic", c.t.Source.Topic, "partition", p.id, "error", err)
	}
}

// waitLocked is how long a poll may take.
func (c *consumer) waitLocked(now time.Time) time.Duration {
	if c.mu.landed {
		return 0
	}
	wait := pollWithin
	for _, p := range c.mu.parts {
		if p.flight == nil && len(p.recs) > 0 && p.redo == nil {
			wait = min(wait, c.limits.age-now.Sub(p.since))
		}
	}
	return max(wait, c.mu.retryAt.Sub(now), time.Millisecond)
}

func (c *consumer) redoingLocked() bool {
	for _, p := range c.mu.parts {
		if p.redo != nil {
			return true
		}
	}
	return false
}

func (c *consumer) holdLocked(bytes int64) {
	c.mu.held += bytes
	c.Metrics.waiting.Set(float64(c.Budget.used.Add(bytes)))
}

// launch settles what has ended, records the ranges that are due (O1), and begins to write them.
func (c *consumer) launch(ctx context.Context) {
	c.mu.Lock()
	now := time.Now()
	c.mu.landed = false
	var due []*flight
	changed := map[int32]mark{}
	hurry := c.pressedLocked()
	for _, p := range c.mu.parts {
		if p.ended() {
			p.settle()
		}
		if p.flight == nil && now.After(c.mu.retryAt) {
			if n, end, ok := p.cut(c.limits, now, p == hurry); ok {
				due = append(due, p.take(c.t.Source.Topic, n, end, now))
			}
		}
		if m := p.wants(); m != p.told {
			changed[p.id] = m
		}
		c.lag(p)
	}
	c.mu.Unlock()
	if len(changed) > 0 {
		if err := c.commit(ctx, changed); err != nil {
			c.fail("commit", err)
			c.takeBack(due)
			return
		}
		c.works("commit")
	}
	for _, f := range due {
		flying, cancel := context.WithCancel(ctx)
		f.cancel = cancel
		c.flights.Go(func() { c.fly(flying, f) })
	}
}

// pressedLocked is the partition whose batch is cut short because memory is running out: the one that waits with most.
func (c *consumer) pressedLocked() (largest *part) {
	if c.Budget.used.Load() < c.Budget.limit/4*3 {
		return nil
	}
	flights := 0
	for _, p := range c.mu.parts {
		switch {
		case p.flight != nil:
			flights++
		case largest == nil || p.bytes > largest.bytes:
			largest = p
		}
	}
	if flights >= writers { // what they free may be enough
		return nil
	}
	return largest
}

// takeBack undoes the taking of ranges that could not be recorded.
func (c *consumer) takeBack(due []*flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.retryAt = time.Now().Add(commitRetry)
	for _, f := range due {
		p := c.mu.parts[f.r.Partition]
		if p == nil || p.flight != f {
			c.holdLocked(-f.bytes)
			continue
		}
		p.recs, p.bytes = append(f.recs, p.recs...), p.bytes+f.bytes
		p.flight = nil
	}
}

// commit tells the group where partitions are. REQUIRES: they are this member's until it returns (O4).
func (c *consumer) commit(ctx context.Context, marks map[int32]mark) error {
	ctx, cancel := context.WithTimeout(ctx, commitWithin)
	defer cancel()
	ctx = kgo.PreCommitFnContext(ctx, func(req *kmsg.OffsetCommitRequest) error {
		for i := range req.Topics {
			for k := range req.Topics[i].Partitions {
				p := &req.Topics[i].Partitions[k]
				if text := marks[p.Partition].metadata(); text != "" {
					p.Metadata = &text
				}
			}
		}
		return nil
	})
	offsets := map[int32]kgo.EpochOffset{}
	for id, m := range marks {
		offsets[id] = kgo.EpochOffset{Epoch: -1, Offset: m.offset}
	}
	err := errors.New("no answer")
	c.cl.CommitOffsetsSync(ctx, map[string]map[int32]kgo.EpochOffset{c.t.Source.Topic: offsets},
		func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, commitErr error) {
			err = c.told(marks, resp, commitErr)
		})
	if err != nil {
		return fmt.Errorf("commit to group %s: %w", c.group, err)
	}
	return nil
}

// giveUp lets partitions go. In an orderly handover their ranges under way may end first, and are committed.
func (c *consumer) giveUp(parts map[string][]int32, orderly bool) {
	ids := parts[c.t.Source.Topic]
	if orderly {
		c.awaitFlights(ids)
	}
	c.mu.Lock()
	marks := map[int32]mark{}
	for _, id := range ids {
		p := c.mu.parts[id]
		if p == nil {
			continue
		}
		if p.ended() {
			p.settle()
		}
		if m := p.wants(); m != p.told {
			marks[id] = m
		}
	}
	c.mu.Unlock()
	if orderly && len(marks) > 0 {
		if err := c.commit(context.Background(), marks); err != nil {
			c.Logger.Warn("the last commit of partitions failed; their ranges are written again", "table", c.t.Name, "error", err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range ids {
		if p := c.mu.parts[id]; p != nil {
			c.dropLocked(p)
		}
	}
}

// awaitFlights waits a while for the ranges of partitions that are under way.
func (c *consumer) awaitFlights(ids []int32) {
	c.mu.Lock()
	var flights []*flight
	for _, id := range ids {
		if p := c.mu.parts[id]; p != nil && p.flight != nil {
			flights = append(flights, p.flight)
		}
	}
	c.mu.Unlock()
	over := time.After(landWithin)
	for _, f := range flights {
		select {
		case <-f.done:
		case <-over:
			return
		}
	}
}

// dropLocked forgets a partition. A range under way is cancelled: it may be written all the same, and again by a successor.
func (c *consumer) dropLocked(p *part) {
	if p.flight != nil && p.flight.cancel != nil {
		p.flight.cancel()
	}
	c.holdLocked(-p.bytes)
	c.Metrics.lag.DeleteLabelValues(c.Name, c.t.Name, strconv.Itoa(int(p.id)))
	delete(c.mu.parts, p.id)
}

// told notes what the group has accepted.
func (c *consumer) told(marks map[int32]mark, resp *kmsg.OffsetCommitResponse, err error) error {
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for _, t := range resp.Topics {
		for _, r := range t.Partitions {
			if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
				errs = append(errs, fmt.Errorf("partition %d: %w", r.Partition, err))
			} else if p := c.mu.parts[r.Partition]; p != nil {
				p.told = marks[r.Partition]
			}
		}
	}
	return errors.Join(errs...)
}

// landed is called when a range's writing has ended.
func (c *consumer) landed(f *flight) {
	f.cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	close(f.done)
	c.holdLocked(-f.bytes)
	c.mu.landed = true
	if c.mu.wake != nil {
		c.mu.wake()
	}
}

func (c *consumer) lag(p *part) {
	c.Metrics.lag.WithLabelValues(c.Name, c.t.Name, strconv.Itoa(int(p.id))).Set(float64(p.lag()))
}

// fail notes why something does not work, and logs the first reason; readiness tells the last.
func (c *consumer) fail(what string, err error) {
	c.mu.Lock()
	known := c.mu.problems[what]
	c.mu.problems[what] = err
	c.mu.Unlock()
	if known == nil || errors.Is(known, errNotYet) {
		c.Logger.Warn("a table waits to be filled", "store", c.Name, "table", c.t.Name, "error", err)
	}
}

func (c *consumer) works(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.mu.problems, what)
}

// ready tells why the table is not being filled.
func (c *consumer) ready() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for _, err := range c.mu.problems {
		errs = append(errs, err)
	}
	for _, p := range c.mu.parts {
		if p.stopped != nil {
			errs = append(errs, fmt.Errorf("partition %d: %w", p.id, p.stopped))
		}
	}
	return errors.Join(errs...)
}
