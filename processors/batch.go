package processors

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// maxPoll bounds the records of one batch: while it is processed nothing is published and no rebalance goes on.
const maxPoll = 20_000

// pollAndApply reads a batch and folds it into the tasks.
func (m *materializer) pollAndApply(ctx context.Context) error {
	fetches := m.reader.poll(ctx, m.pollWait())
	if fetches.IsClientClosed() {
		return errors.New("the client is closed")
	}
	if err := m.fetchErrors(fetches); err != nil {
		return err
	}
	m.behind = 0
	if m.polled = fetches.NumRecords(); m.polled == 0 {
		return nil
	}
	switch {
	case m.inTxn:
	case m.ending == nil:
		m.began = m.now()
		if err := m.begin(); err != nil {
			return err
		}
	default:
		m.ahead += m.polled
	}
	m.apply(fetches)
	return nil
}

// pollWait is how long a poll may wait for records: less when something has to be done soon.
func (m *materializer) pollWait() time.Duration {
	wait := 100 * time.Millisecond
	if m.inTxn {
		wait = min(wait, m.plane.Processing.CommitInterval-m.now().Sub(m.began))
	}
	if m.ending != nil {
		wait = min(wait, 2*time.Millisecond)
	}
	if m.waiting() > 0 || m.pub.sending {
		wait = min(wait, m.pace.every()-m.now().Sub(m.lastPub), 2*time.Millisecond)
	}
	return max(wait, 500*time.Microsecond)
}

// fetchErrors takes up what went wrong with partitions; what is worth a new session is returned.
func (m *materializer) fetchErrors(fetches kgo.Fetches) error {
	var failed error
	fetches.EachError(func(topic string, p int32, err error) {
		var truncated *kgo.ErrDataLoss
		switch {
		case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		case cannotRead(err):
			t := m.tasks[topicPartition{topic, p}]
			switch {
			case t == nil || t.state != taskRunning:
			case errors.As(err, &truncated):
				m.doomed = m.inTxn || m.ahead > 0
				m.stop(t, fmt.Errorf("%s: the topic has lost records: %w", t.name(), err))
				m.listRunning()
			default:
				m.reader.end(topicPartition{topic, p})
				t.outOfRange = true
			}
		case kerr.IsRetriable(err):
		default:
			failed = errors.Join(failed, fmt.Errorf("fetch %s: %w", taskName(topic, p), err))
		}
	})
	return failed
}

// A batchPart is what a batch has of one task.
type batchPart struct {
	t    *task
	recs []*kgo.Record
	err  error
}

func (p *batchPart) apply() {
	p.t.cells.hold()
	for _, r := range p.recs {
		if p.err = p.t.apply(r); p.err != nil {
			break
		}
	}
}

// apply folds a batch into the tasks, one worker a core, one task a worker at a time. The first error of a task stops
// the task and dooms the transaction.
func (m *materializer) apply(fetches kgo.Fetches) {
	var parts []*batchPart
	now := m.now()
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		if len(p.Records) == 0 {
			return
		}
		t := m.tasks[topicPartition{p.Topic, p.Partition}]
		if t == nil || t.state != taskRunning {
			return // it was fetched while the task was in service
		}
		t.lastEvent = now
		m.behind += max(0, p.HighWatermark-p.Records[len(p.Records)-1].Offset-1)
		parts = append(parts, &batchPart{t: t, recs: p.Records})
	})
	if workers := min(runtime.GOMAXPROCS(0), len(parts)); workers > 1 {
		var next atomic.Int64
		var wg sync.WaitGroup
		for range workers {
			wg.Go(func() {
				for i := next.Add(1) - 1; int(i) < len(parts); i = next.Add(1) - 1 {
					parts[i].apply()
				}
			})
		}
		wg.Wait()
	} else {
		for _, pt := range parts {
			pt.apply()
		}
	}
	for _, pt := range parts {
		if pt.err != nil {
			m.doomed = true
			m.stop(pt.t, pt.err)
			m.listRunning()
		}
		if m.inTxn {
			m.produceKept(pt.t)
		}
		if pt.t.caughtUp() {
			pt.t.startRepublish(nil, nil)
		}
		m.taken += int64(len(pt.recs))
		for class, n := range pt.t.counts.dead {
			m.deadLetters += int64(n)
			m.aside.note(pt.t.in.source.Name, class, n)
		}
		m.met.applied(pt.t)
	}
}

// produceKept produces what a task's batches have for other topics than the changelog, in the open transaction. A stop commits it too.
func (m *materializer) produceKept(t *task) {
	ctx := context.Background()
	for _, d := range t.dead {
		m.txn.produce(ctx, m.sess, d)
	}
	t.dead = t.dead[:0]
	m.produceLogged(ctx, t)
}
