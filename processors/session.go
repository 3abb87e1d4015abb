package processors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/freshet-io/freshet/internal/kafka"
)

// transactionTimeout is after how long the broker aborts a dead instance's open transaction, unless the instance comes back
// under its name before.
const transactionTimeout = 30 * time.Second

// session is a transactional group session whose callbacks only pause and set flags (R8). Its user calls everything
// from one goroutine at a time (R2).
type session struct {
	s         *kgo.GroupTransactSession
	cl        *kgo.Client
	rebalance atomic.Bool // partitions came or went since the flag was last cleared
	blocked   atomic.Bool // a rebalance waits for the poll to be released
	assigned  atomic.Bool // the group has decided what is this member's, if anything, at least once
	// member is the id under which what is assigned was. A client that is thrown out while it joins joins anew under another one, and
	// its callbacks have not run yet then.
	member atomic.Pointer[string]
	// missing are partitions whose next records the last polls have found not to exist; they are paused.
	missing map[topicPartition]error

	mu struct {
		sync.Mutex
		gained map[topicPartition]bool // assigned since they were last taken
		// Assigned, and the client has not said yet where they begin: since when. Until then they are no tasks.
		awaited map[topicPartition]time.Time
	}
}

// sessionOptions are what a session of either processor is made of.
type sessionOptions struct {
	client []kgo.Opt
	group  string
	txnID  string
	topics []string
	// startAtEnd names the topics whose first start is at the end of the log instead of its beginning.
	startAtEnd map[string]bool
	// tails names the topics of which only the newest is of use: a first start, or one whose offset is lost, reads so many
	// records of each partition.
	tails map[string]int64
	// keepControl returns control records too, so that the position reaches the end of a partition.
	keepControl bool
	// batchBytes is the largest batch of each topic that is produced to; a topic that is not in it has Kafka's default.
	batchBytes map[string]int32
	// incomplete, if not nil, is told of first starts at the beginning of what is left of a partition, which is at offset first.
	// It is called on the client's goroutines.
	incomplete func(tp topicPartition, first int64)
	// pauseNew keeps newly assigned partitions from being fetched until they are resumed, for good where the user reads them with
	// a client of its own.
	pauseNew bool
}

// openSession joins the group and fences any predecessor under the same transactional id: its transaction in flight is
// ended before this returns.
func openSession(ctx context.Context, o sessionOptions) (*session, error) {
	s := &session{missing: map[topicPartition]error{}}
	s.mu.gained, s.mu.awaited = map[topicPartition]bool{}, map[topicPartition]time.Time{}
	made := make(chan struct{}) // s.cl is set; callbacks may come before the constructor returns
	opts := slices.Concat(readerOptions(), kafka.GroupOptions(0), o.client)
	opts = append(opts,
		kgo.ConsumerGroup(o.group),
		kgo.ConsumeTopics(o.topics...),
		kgo.TransactionalID(o.txnID),
		kgo.TransactionTimeout(transactionTimeout),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.BlockRebalanceOnPoll(),
		kgo.MaxBufferedRecords(200_000),
		kgo.ProducerBatchMaxBytesFn(func(topic string) int32 {
			if n, ok := o.batchBytes[topic]; ok {
				return n
			}
			return defaultBatchBytes - 64<<10
		}),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.Lz4Compression()),
		kgo.OnPartitionsAssigned(func(_ context.Context, cl *kgo.Client, parts map[string][]int32) {
			if o.pauseNew {
				cl.PauseFetchPartitions(parts)
			}
			id, _ := cl.GroupMetadata()
			s.member.Store(&id)
			s.gain(parts, time.Now())
			s.assigned.Store(true)
			s.rebalance.Store(true)
		}),
		kgo.OnPartitionsRevoked(s.lose),
		kgo.OnPartitionsLost(s.lose),
		kgo.OnPartitionsCallbackBlocked(func(context.Context, *kgo.Client) { s.blocked.Store(true) }),
		kgo.AdjustFetchOffsetsFn(func(ctx context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
			<-made
			return firstOffsets(ctx, s.cl, offsets, o)
		}),
	)
	if o.keepControl {
		opts = append(opts, kgo.KeepControlRecords())
	}
	var err error
	if s.s, err = kgo.NewGroupTransactSession(opts...); err != nil {
		return nil, fmt.Errorf("join group %s: %w", o.group, err)
	}
	s.cl = s.s.Client()
	close(made)
	initCtx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	if _, _, err := s.cl.ProducerID(initCtx); err != nil {
		s.close()
		return nil, fmt.Errorf("initialise transactional id %s: %w", o.txnID, err)
	}
	return s, nil
}

// firstOffsets replaces "no committed offset" by the offset that a first start begins at, so that every assigned
// partition has an exact position to return to after an abort.
func firstOffsets(ctx context.Context, cl *kgo.Client, offsets map[string]map[int32]kgo.Offset, so sessionOptions) (map[string]map[int32]kgo.Offset, error) {
	for topic, parts := range offsets {
		if n, ok := so.tails[topic]; ok {
			if err := tailOffsets(ctx, kadm.NewClient(cl), topic, parts, n); err != nil {
				return nil, err
			}
			continue
		}
		var listed kadm.ListedOffsets
		for p, o := range parts {
			if o.EpochOffset().Offset >= 0 {
				continue
			}
			if listed == nil {
				var err error
				adm := kadm.NewClient(cl)
				if so.startAtEnd[topic] {
					listed, err = adm.ListEndOffsets(ctx, topic)
				} else {
					listed, err = adm.ListStartOffsets(ctx, topic)
				}
				if err != nil {
					return nil, fmt.Errorf("list offsets of %s: %w", topic, err)
				}
			}
			l, ok := listed.Lookup(topic, p)
			if !ok || l.Err != nil {
				return nil, fmt.Errorf("list offsets of %s: %w", taskName(topic, p), errors.Join(l.Err, missing(ok)))
			}
			parts[p] = kgo.NewOffset().At(l.Offset).WithEpoch(-1)
			if so.incomplete != nil && l.Offset > 0 && !so.startAtEnd[topic] {
				so.incomplete(topicPartition{topic, p}, l.Offset)
			}
		}
	}
	return offsets, nil
}

// tailOffsets replaces offsets that there are none of, or that are outside of the log, by those of the last n records.
func tailOffsets(ctx context.Context, adm *kadm.Client, topic string, parts map[int32]kgo.Offset, n int64) error {
	starts, err := adm.ListStartOffsets(ctx, topic)
	if err != nil {
		return fmt.Errorf("list offsets of %s: %w", topic, err)
	}
	ends, err := adm.ListEndOffsets(ctx, topic)
	if err != nil {
		return fmt.Errorf("list offsets of %s: %w", topic, err)
	}
	for p, o := range parts {
		first, ok1 := starts.Lookup(topic, p)
		last, ok2 := ends.Lookup(topic, p)
		if !ok1 || !ok2 || first.Err != nil || last.Err != nil {
			return fmt.Errorf("list offsets of %s: %w", taskName(topic, p), errors.Join(first.Err, last.Err, missing(ok1 && ok2)))
		}
		if at := o.EpochOffset().Offset; at < first.Offset || at > last.Offset {
			parts[p] = kgo.NewOffset().At(max(first.Offset, last.Offset-n)).WithEpoch(-1)
		}
	}
	return nil
}

func (s *session) gain(parts map[string][]int32, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for topic, ps := range parts {
		for _, p := range ps {
			s.mu.gained[topicPartition{topic, p}] = true
			s.mu.awaited[topicPartition{topic, p}] = now
		}
	}
}

// lose is told of partitions that went.
func (s *session) lose(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
	s.rebalance.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	for topic, ps := range parts {
		for _, p := range ps {
			delete(s.mu.awaited, topicPartition{topic, p})
		}
	}
}

// positioned notes that the positions of these partitions have been taken up.
func (s *session) positioned(tps map[topicPartition]int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for tp := range tps {
		delete(s.mu.awaited, tp)
	}
}

// positionTimeout is how long a partition counts as on its way. The wrapped session does not tell of every revocation,
// and a client that cannot learn a position says so in its polls, or in hold, long before.
const positionTimeout = time.Minute

// awaiting returns how many partitions were assigned whose positions have not been taken up yet.
func (s *session) awaiting(now time.Time) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for tp, since := range s.mu.awaited {
		if now.Sub(since) > positionTimeout {
			delete(s.mu.awaited, tp)
		}
	}
	return len(s.mu.awaited)
}

// takeGained returns the partitions that were assigned since the last call.
func (s *session) takeGained() map[topicPartition]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.mu.gained
	s.mu.gained = map[topicPartition]bool{}
	return g
}

// assignment is what the client is assigned now and each partition's position. A partition appears once its offsets
// have been fetched.
func (s *session) assignment() map[topicPartition]int64 {
	a := map[topicPartition]int64{}
	for topic, parts := range s.cl.CommittedOffsets() {
		for p, o := range parts {
			a[topicPartition{topic, p}] = o.Offset
		}
	}
	return a
}

// seek sets where a partition is read from next.
func (s *session) seek(tp topicPartition, offset int64) {
	s.cl.SetOffsets(map[string]map[int32]kgo.EpochOffset{tp.topic: {tp.partition: {Epoch: -1, Offset: offset}}})
}

// commitOffset commits where a partition is read from next, while no transaction is open.
func (s *session) commitOffset(ctx context.Context, tp topicPartition, offset int64) error {
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	var failed error
	at := map[string]map[int32]kgo.EpochOffset{tp.topic: {tp.partition: {Epoch: -1, Offset: offset}}}
	s.cl.CommitOffsetsSync(ctx, at, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		if failed = err; err != nil {
			return
		}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				failed = errors.Join(failed, kerr.ErrorForCode(p.ErrorCode))
			}
		}
	})
	if failed != nil {
		return fmt.Errorf("commit offset %d of %s: %w", offset, taskName(tp.topic, tp.partition), failed)
	}
	return nil
}

func (s *session) pause(tp topicPartition) {
	s.cl.PauseFetchPartitions(map[string][]int32{tp.topic: {tp.partition}})
}

func (s *session) resume(tp topicPartition) {
	s.cl.ResumeFetchPartitions(map[string][]int32{tp.topic: {tp.partition}})
}

// allowRebalance lets waiting rebalances go on; the caller has no transaction open (R9). When partitions went, the
// wrapped session would abort the next transaction for it: an empty one takes that up.
func (s *session) allowRebalance() {
	s.blocked.Store(false)
	s.s.AllowRebalance()
}

// hold keeps rebalances from going on until allowRebalance, for a user that does not poll: a poll does, though it brings nothing. It waits
// for callbacks that are at work. What the client could not do for the group is returned.
func (s *session) hold(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Millisecond)
	defer cancel()
	var failed error
	s.cl.PollRecords(ctx, 1).EachError(func(topic string, p int32, err error) {
		switch {
		case errors.Is(err, context.DeadlineExceeded), kerr.IsRetriable(err), cannotRead(err): // whoever reads sees the last
		default:
			failed = errors.Join(failed, fmt.Errorf("fetch %s: %w", taskName(topic, p), err))
		}
	})
	return failed
}

// commitReading ends the open transaction with a commit of where its user, which reads with a client of its own, is in each
// partition. Unlike end it may be called while rebalances are held up: the session has polled nothing, so that End waits for
// no heartbeat, and the broker refuses the offsets of a member that was thrown out, which the id tells under which the partitions were assigned.
func (s *session) commitReading(ctx context.Context, at map[topicPartition]int64) (committed bool, err error) {
	return s.endHeld(kgo.PreTxnCommitFnContext(ctx, func(req *kmsg.TxnOffsetCommitRequest) error {
		req.MemberID = *s.member.Load()
		req.Topics = offsetsOf(at, &req.MemberID)
		return nil
	}), kgo.TryCommit)
}

// offsetsOf is the body of a request to commit offsets.
func offsetsOf(at map[topicPartition]int64, metadata *string) []kmsg.TxnOffsetCommitRequestTopic {
	var topics []kmsg.TxnOffsetCommitRequestTopic
	of := map[string]int{}
	for tp, offset := range at {
		i, ok := of[tp.topic]
		if !ok {
			i = len(topics)
			of[tp.topic] = i
			t := kmsg.NewTxnOffsetCommitRequestTopic()
			t.Topic = tp.topic
			topics = append(topics, t)
		}
		p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset, p.LeaderEpoch, p.Metadata = tp.partition, offset, -1, metadata
		topics[i].Partitions = append(topics[i].Partitions, p)
	}
	return topics
}

// abort ends the open transaction without a commit, while rebalances may be held up.
func (s *session) abort(ctx context.Context) error {
	_, err := s.endHeld(ctx, kgo.TryAbort)
	return err
}

// endTimeout bounds the end of a transaction. A session whose transaction could not be ended is of no more use.
const endTimeout = time.Minute

// end ends the open transaction. Rebalances are let go on first (R9): End waits for a heartbeat, and a member that was
// thrown out sends none before its callback has run.
func (s *session) end(ctx context.Context, how kgo.TransactionEndTry) (committed bool, err error) {
	s.allowRebalance()
	return s.endHeld(ctx, how)
}

// endHeld ends the open transaction and lets no rebalance go on for it.
func (s *session) endHeld(ctx context.Context, how kgo.TransactionEndTry) (committed bool, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	if committed, err = s.s.End(ctx, how); err != nil {
		return committed, fmt.Errorf("end a transaction: %w", err)
	}
	return committed, nil
}

// flush waits until the outcome of every record of the open transaction is known.
func (s *session) flush(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	if err := s.cl.Flush(ctx); err != nil {
		return fmt.Errorf("flush a transaction: %w", err)
	}
	return nil
}

// settle takes up a rebalance that has happened between transactions. It reports whether there was one.
func (s *session) settle(ctx context.Context) (bool, error) {
	if !s.rebalance.CompareAndSwap(true, false) {
		return false, nil
	}
	if err := s.s.Begin(); err != nil {
		return true, fmt.Errorf("begin a transaction: %w", err)
	}
	_, err := s.end(ctx, kgo.TryAbort)
	return true, err
}

// ended is what a session's error comes to when the session was to end anyway: a start that was cut short is no failure.
func ended(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// closeTimeout bounds the wait for a client to leave its group and close.
const closeTimeout = 15 * time.Second

// close leaves the group. A client that does not come to an end, its broker gone in the middle of a request, is not
// waited for: the group forgets it after the session timeout, and the next session fences its producer.
func (s *session) close() {
	done := make(chan struct{})
	go func() {
		s.s.CloseAllowingRebalance()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(closeTimeout):
	}
}
