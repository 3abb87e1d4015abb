package processors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/kafka"
	"github.com/freshet-io/freshet/internal/valueskew"
	"github.com/freshet-io/freshet/monitors/alert"
	"github.com/freshet-io/freshet/monitors/topics"
	"github.com/freshet-io/freshet/monitors/watch"
)

// CompareServed draws inferences of the window [start, end) of event time, microseconds, and compares what they were served
// with what the history gives. It returns an error if the history does not reach so far yet, and may be called again.
type CompareServed func(ctx context.Context, m *config.Monitor, start, end int64) (*valueskew.Result, error)

// ValueSkewOptions are what ValueSkew is made of.
type ValueSkewOptions struct {
	Plane      *config.Plane
	Client     []kgo.Opt // to reach Kafka
	Compare    CompareServed
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	Now        func() time.Time // the wall clock: when a window has settled, and the clock of its record
}

// ValueSkew compares served values, window by window: what windows there are it learns from their scores, a settling time
// after which it compares those that do not overlap and tells the evaluator, through the topic of profiles, what came of it.
//
// Processes share the models by the partitions of the scores. A window is committed when its check is written; who takes
// over compares what is not committed again, and draws the same inferences. A check that comes twice counts once (A1).
type ValueSkew struct {
	ValueSkewOptions
	monitors map[string]*config.Monitor
	settle   time.Duration // the longest
	values   *prometheus.CounterVec
	failures *prometheus.CounterVec
	cl       *kgo.Client

	mu      sync.Mutex
	pending []*settling
	last    map[string]int64 // end of the last window that was noted, by monitor
	next    map[int32]int64  // of each partition, the offset below which every record was seen
	told    map[int32]int64  // what was committed
	joined  bool
	failed  map[string]error // by monitor
}

// settling is a window that is to be compared.
type settling struct {
	monitor   *config.Monitor
	window    alert.Window
	partition int32
	offset    int64 // of the first score
	due       time.Time
	tries     int
}

// NewValueSkew returns nil if no monitor of the plane compares values.
func NewValueSkew(o ValueSkewOptions) *ValueSkew {
	if o.Now == nil {
		o.Now = time.Now
	}
	v := &ValueSkew{
		ValueSkewOptions: o, monitors: map[string]*config.Monitor{}, last: map[string]int64{}, next: map[int32]int64{}, told: map[int32]int64{}, failed: map[string]error{},
		values: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "freshet_value_skew_values_total", Help: "Served values that were compared with computed ones, by monitor and outcome.",
		}, []string{"monitor", "outcome"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "freshet_value_skew_failures_total", Help: "Windows whose served values could not be compared and that are tried again, by monitor.",
		}, []string{"monitor"}),
	}
	for _, m := range o.Plane.Monitors {
		if m.ValueSkew != nil {
			v.monitors[m.Name] = m
			v.settle = max(v.settle, m.ValueSkew.Settle)
		}
	}
	if len(v.monitors) == 0 {
		return nil
	}
	o.Registerer.MustRegister(v.values, v.failures)
	return v
}

// Run works until ctx is done. What it had under way is done again by whoever is next.
func (v *ValueSkew) Run(ctx context.Context) error {
	var err error
	v.cl, err = kgo.NewClient(slices.Concat(kafka.GroupOptions(0), v.Client, []kgo.Opt{
		kgo.ConsumerGroup(v.Plane.Prefix + "value_skew"),
		kgo.ConsumeTopics(topics.Name(v.Plane, topics.Scores)),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		// A first start compares the windows that are settling.
		kgo.ConsumeResetOffset(kgo.NewOffset().AfterMilli(v.Now().Add(-v.settle - time.Minute).UnixMilli())),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchMaxBytes(topics.MaxRecordBytes),
		kgo.OnPartitionsAssigned(func(context.Context, *kgo.Client, map[string][]int32) { v.assigned() }),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, parts map[string][]int32) { v.gone(parts) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, parts map[string][]int32) { v.gone(parts) }),
	})...)
	if err != nil {
		return fmt.Errorf("value skew: connect to kafka: %w", err)
	}
	defer v.cl.CloseAllowingRebalance()
	for ctx.Err() == nil {
		v.poll(ctx)
		if s := v.due(); s != nil {
			v.compare(ctx, s)
		}
		v.commit(ctx)
	}
	return nil
}

func (v *ValueSkew) assigned() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.joined = true
}

// gone forgets what belongs to partitions that are another's now.
func (v *ValueSkew) gone(parts map[string][]int32) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, p := range parts[topics.Name(v.Plane, topics.Scores)] {
		v.pending = slices.DeleteFunc(v.pending, func(s *settling) bool { return s.partition == p })
		for name, m := range v.monitors {
			if modelPartition(m.Model) == p {
				delete(v.last, name)
				delete(v.failed, name)
			}
		}
		delete(v.next, p)
		delete(v.told, p)
	}
}

// poll notes the windows that scores tell of.
func (v *ValueSkew) poll(ctx context.Context) {
	pollCtx, cancel := context.WithTimeout(ctx, v.wait())
	defer cancel()
	fetches := v.cl.PollRecords(pollCtx, maxPoll)
	v.mu.Lock()
	for it := fetches.RecordIter(); !it.Done(); {
		rec := it.Next()
		v.noteLocked(rec)
		v.next[rec.Partition] = rec.Offset + 1
	}
	v.mu.Unlock()
	v.cl.AllowRebalance()
	fetches.EachError(func(topic string, p int32, err error) {
		if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
			v.Logger.Warn("scores are not read", "partition", taskName(topic, p), "err", err)
		}
	})
}

// noteLocked takes up a window: of those that overlap the ones that end at a whole number of their lengths, for only
// disjoint windows count.
func (v *ValueSkew) noteLocked(rec *kgo.Record) {
	m := v.monitors[string(rec.Key)]
	if m == nil {
		return
	}
	s, err := watch.DecodeScore(rec.Value)
	if err != nil {
		v.Logger.Error("a score is left out", "record", taskName(rec.Topic, rec.Partition), "offset", rec.Offset, "err", err)
		return
	}
	if s.Kind == alert.ValueSkew || s.Window.End <= v.last[m.Name] || s.Window.End%m.Size.Microseconds() != 0 {
		return
	}
	v.last[m.Name] = s.Window.End
	v.pending = append(v.pending, &settling{
		monitor: m, window: alert.Window{Start: s.Window.End - m.Size.Microseconds(), End: s.Window.End}, partition: rec.Partition, offset: rec.Offset,
		due: rec.Timestamp.Add(m.ValueSkew.Settle),
	})
}

// earliestLocked is the window that is due first. A monitor's windows stay in their order.
func (v *ValueSkew) earliestLocked() (first *settling) {
	begun := map[*config.Monitor]bool{}
	for _, s := range v.pending {
		if !begun[s.monitor] && (first == nil || s.due.Before(first.due)) {
			first = s
		}
		begun[s.monitor] = true
	}
	return first
}

// wait is how long a poll may take.
func (v *ValueSkew) wait() time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	wait := time.Second
	if s := v.earliestLocked(); s != nil {
		wait = min(wait, s.due.Sub(v.Now()))
	}
	return max(wait, time.Millisecond)
}

// due returns a window that has settled.
func (v *ValueSkew) due() *settling {
	v.mu.Lock()
	defer v.mu.Unlock()
	if s := v.earliestLocked(); s != nil && !s.due.After(v.Now()) {
		return s
	}
	return nil
}

// compare does a window, or has it tried again.
func (v *ValueSkew) compare(ctx context.Context, s *settling) {
	began := v.Now()
	r, err := v.Compare(ctx, s.monitor, s.window.Start, s.window.End)
	if err == nil {
		err = v.tell(ctx, s, r)
	}
	if ctx.Err() != nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if err != nil {
		s.tries++
		s.due = v.Now().Add(min(time.Second<<min(s.tries-1, 6), time.Minute))
		v.failed[s.monitor.Name] = err
		v.failures.WithLabelValues(s.monitor.Name).Inc()
		v.Logger.Warn("the served values of a window are not compared yet", "monitor", s.monitor.Name, "end", time.UnixMicro(s.window.End).UTC(), "err", err)
		return
	}
	delete(v.failed, s.monitor.Name)
	v.pending = slices.DeleteFunc(v.pending, func(o *settling) bool { return o == s })
	for i := range r.Features {
		for o, n := range r.Features[i].Counts {
			v.values.WithLabelValues(s.monitor.Name, valueskew.Outcome(o).String()).Add(float64(n))
		}
	}
	v.Logger.Debug("served values compared", "monitor", s.monitor.Name, "end", time.UnixMicro(s.window.End).UTC(), "inferences", r.Rows, "took", v.Now().Sub(began))
}

// tell writes a window's check.
func (v *ValueSkew) tell(ctx context.Context, s *settling, r *valueskew.Result) error {
	check, err := watch.ValueSkew(s.monitor, s.window, r)
	if err != nil {
		return err
	}
	d := watch.Delta{Clock: v.Now().UnixMicro(), Checks: []watch.Check{check}}
	text, err := d.AppendBinary(nil)
	if err != nil {
		return err
	}
	rec := &kgo.Record{
		Topic: topics.Name(v.Plane, topics.Profiles), Partition: modelPartition(s.monitor.Model), Key: []byte(s.monitor.Model.Name), Value: text,
	}
	if err := v.cl.ProduceSync(ctx, rec).FirstErr(); err != nil {
		return fmt.Errorf("write the check: %w", err)
	}
	return nil
}

// commit moves the group to the first score of a window that is not done.
func (v *ValueSkew) commit(ctx context.Context) {
	v.mu.Lock()
	marks := map[int32]kgo.EpochOffset{}
	for p, at := range v.next {
		for _, s := range v.pending {
			if s.partition == p {
				at = min(at, s.offset)
			}
		}
		if v.told[p] != at {
			marks[p] = kgo.EpochOffset{Epoch: -1, Offset: at}
		}
	}
	v.mu.Unlock()
	if len(marks) == 0 {
		return
	}
	topic := topics.Name(v.Plane, topics.Scores)
	v.cl.CommitOffsetsSync(ctx, map[string]map[int32]kgo.EpochOffset{topic: marks}, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		v.mu.Lock()
		defer v.mu.Unlock()
		if err != nil { // the next commit says it again
			v.Logger.Debug("the scores that were taken up are not committed", "err", err)
			return
		}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				if _, ours := v.next[p.Partition]; ours && p.ErrorCode == 0 {
					v.told[p.Partition] = marks[p.Partition].Offset
				}
			}
		}
	})
}

// Ready tells why windows are not compared; nil if they are.
func (v *ValueSkew) Ready() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	var errs []error
	if !v.joined {
		errs = append(errs, errors.New("value skew: has not joined its group yet"))
	}
	for name, err := range v.failed {
		errs = append(errs, fmt.Errorf("value skew of monitor %s: %w", name, err))
	}
	return errors.Join(errs...)
}
