package processors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A gapError says that a partition cannot be read on from where its reader is.
type gapError struct {
	name      string // of the partition's reader
	at        int64  // the next offset to read
	first     int64  // the first offset that the partition still has
	end       int64  // of the partition
	truncated bool   // the partition ends before `at`
}

func (e *gapError) Error() string {
	if e.truncated {
		return fmt.Sprintf("%s: the topic ends at offset %d, and records up to %d have been processed: it has lost records, or another has taken its place", e.name, e.end, e.at)
	}
	return fmt.Sprintf("%s: records [%d, %d) were deleted before they were processed (retention); --accept-gap goes on without them", e.name, e.at, e.first)
}

// outOfRange returns why a partition that has the offsets from first to before end cannot be read on from `at`, nil if it
// can. A partition that was truncated can never be gone on with: its next records take offsets that were counted.
func outOfRange(name string, at, first, end int64) *gapError {
	switch {
	case at > end:
		return &gapError{name: name, at: at, first: first, end: end, truncated: true}
	case at < first:
		return &gapError{name: name, at: at, first: first, end: end}
	}
	return nil
}

// cannotRead reports whether an error of a fetch means that a partition's next records do not exist.
func cannotRead(err error) bool {
	var truncated *kgo.ErrDataLoss
	return errors.Is(err, kerr.OffsetOutOfRange) || errors.As(err, &truncated)
}

// gaps looks after those partitions of a group without state whose next records do not exist. Each stops alone, with the
// bounds of what is missing, or goes on behind it where the operator has said so (R13). Its user calls it between
// transactions; err and is may be called at any time.
type gaps struct {
	reader string // in errors, before the partition
	accept bool
	// newest names the topics of which only the newest records are of use: what was deleted of them is no loss.
	newest map[string]bool
	logger *slog.Logger
	passed func(tp topicPartition, records int64) // counts what was passed over
	fails  func()                                 // counts partitions that stop

	mu struct {
		sync.Mutex
		stopped map[topicPartition]error
	}
}

// begin forgets what an earlier session has found out: the next one finds it again.
func (g *gaps) begin() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mu.stopped = map[topicPartition]error{}
}

// tend takes up what the session's polls have found missing. Partitions that went, or came anew (gained), are looked at
// again when they are read.
func (g *gaps) tend(ctx context.Context, s *session, gained map[topicPartition]bool) error {
	assigned := s.assignment()
	g.release(s, assigned, gained)
	for tp := range s.missing {
		if _, ours := assigned[tp]; !ours {
			delete(s.missing, tp)
			s.resume(tp) // should it come back
		}
	}
	if len(s.missing) == 0 {
		return nil
	}
	starts, err := logStarts(ctx, s.cl, s.missing)
	if err != nil {
		return err
	}
	ends, err := highWatermarks(ctx, s.cl, s.missing)
	if err != nil {
		return err
	}
	for tp, cause := range s.missing {
		if err := g.decide(ctx, s, tp, cause, outOfRange(g.name(tp), assigned[tp], starts[tp], ends[tp])); err != nil {
			return err
		}
		delete(s.missing, tp)
	}
	return nil
}

func (g *gaps) name(tp topicPartition) string {
	return g.reader + ": " + taskName(tp.topic, tp.partition)
}

// decide stops a partition or has it go on.
func (g *gaps) decide(ctx context.Context, s *session, tp topicPartition, cause error, gap *gapError) error {
	var truncated *kgo.ErrDataLoss
	switch {
	case errors.As(cause, &truncated):
		g.stop(tp, fmt.Errorf("%s: the topic has lost records: %w", g.name(tp), cause))
		return nil
	case gap == nil: // it has moved meanwhile, or a replica that was behind has answered
		s.resume(tp)
		return nil
	case gap.truncated || !g.accept && !g.newest[tp.topic]:
		g.stop(tp, gap)
		return nil
	}
	g.logger.Warn("a gap is accepted", "partition", g.name(tp), "from", gap.at, "to", gap.first)
	if err := s.commitOffset(ctx, tp, gap.first); err != nil {
		return err
	}
	g.passed(tp, gap.first-gap.at)
	s.seek(tp, gap.first)
	s.resume(tp)
	return nil
}

func (g *gaps) stop(tp topicPartition, err error) {
	g.logger.Error("partition stopped", "err", err)
	g.fails()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mu.stopped[tp] = err
}

// release forgets partitions that are not this instance's any more, or have been another's in between.
func (g *gaps) release(s *session, assigned map[topicPartition]int64, gained map[topicPartition]bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for tp := range g.mu.stopped {
		if _, ours := assigned[tp]; !ours || gained[tp] {
			delete(g.mu.stopped, tp)
			s.resume(tp)
		}
	}
}

// is reports whether a partition has stopped.
func (g *gaps) is(tp topicPartition) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mu.stopped[tp] != nil
}

// err reports which partitions have stopped, and why.
func (g *gaps) err() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	var errs []error
	for _, err := range g.mu.stopped {
		errs = append(errs, err)
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}
