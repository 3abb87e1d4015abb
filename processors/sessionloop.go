package processors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/internal/kafka"
)

// pollSession returns what a session has fetched within wait. What passes by itself is no error; a partition whose next
// records do not exist is paused, and its user looks at it when no transaction is open (gaps).
func pollSession(ctx context.Context, s *session, wait time.Duration) (kgo.Fetches, error) {
	pollCtx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	fetches := s.s.PollRecords(pollCtx, maxPoll)
	if fetches.IsClientClosed() {
		return nil, errors.New("the client is closed")
	}
	var failed error
	fetches.EachError(func(topic string, p int32, err error) {
		switch {
		case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), kerr.IsRetriable(err):
		case cannotRead(err):
			tp := topicPartition{topic, p}
			s.pause(tp)
			s.missing[tp] = err
		default:
			failed = errors.Join(failed, fmt.Errorf("fetch %s: %w", taskName(topic, p), err))
		}
	})
	return fetches, failed
}

// A sessionLoop runs one session of a group after the other.
type sessionLoop struct {
	group    string
	logger   *slog.Logger
	now      func() time.Time
	failed   *atomic.Pointer[error] // what ended the last session
	replaced prometheus.Counter
}

// run goes on until ctx is done. A session that fails is replaced.
func (l *sessionLoop) run(ctx context.Context, session func(context.Context) error) error {
	for backoff := 100 * time.Millisecond; ctx.Err() == nil; backoff = min(2*backoff, 5*time.Second) {
		began := l.now()
		err := session(ctx)
		if ctx.Err() != nil {
			if ended(err) != nil { // what it had not committed is done by the next owner
				l.logger.Warn("session failed while it was to end", "group", l.group, "err", err)
			}
			return nil
		}
		l.failed.Store(&err)
		l.logger.Warn("session failed, a new one is opened", "group", l.group, "err", err, "retry_in", backoff)
		l.replaced.Inc()
		if l.now().Sub(began) > time.Minute {
			backoff = 100 * time.Millisecond
		}
		select {
		case <-time.After(backoff):
		case <-ctx.Done():
		}
	}
	return nil
}

// endTransaction commits what has been produced, or aborts if a record was refused.
func endTransaction(ctx context.Context, s *session, out *outcome, logger *slog.Logger) (committed bool, err error) {
	if err := s.flush(ctx); err != nil {
		return false, err
	}
	if err := out.wait(ctx); err != nil {
		return false, err
	}
	try := kgo.TryCommit
	if err := out.first(); err != nil {
		logger.Warn("a record was not produced; the transaction is aborted", "err", err)
		try = kgo.TryAbort
	}
	return s.end(ctx, try)
}

// readTopic reads a partition read-committed from its beginning to the end that it has now, transactions in flight
// included.
func readTopic(ctx context.Context, client []kgo.Opt, topic string, partition int32, fn func(*kgo.Record) error) error {
	cl, err := kgo.NewClient(client...)
	if err != nil {
		return fmt.Errorf("read %s: %w", taskName(topic, partition), err)
	}
	defer cl.Close()
	tp := topicPartition{topic, partition}
	of := map[topicPartition]bool{tp: true}
	starts, err := logStarts(ctx, cl, of)
	if err != nil {
		return err
	}
	ends, err := highWatermarks(ctx, cl, of)
	if err != nil {
		return err
	}
	return kafka.ReadSpans(ctx, client, topic, map[int32]kafka.Span{partition: {From: starts[tp], To: ends[tp]}}, fn)
}
