package processors

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/monitors/alert"
	"github.com/freshet-io/freshet/monitors/topics"
	"github.com/freshet-io/freshet/monitors/watch"
)

// evaluator adds up what profilers have counted and judges windows. Its state is in memory, and as records in a
// compacted topic that is written in the same transaction as the offsets it has read, the scores and the alerts: after
// an abort, or when a partition comes from elsewhere, the state is read from there anew. It is small: see watch.Watch.
type evaluator struct {
	*Monitors
	sess     *session
	out      outcome
	tasks    map[int32]*evaluation
	known    baselineView
	silenced map[string]alert.Silence
	more     bool      // windows are due that the last transaction has left
	synced   time.Time // when the follower was last asked for a baseline that was not known
	gaps     gaps
	failed   atomic.Pointer[error]
	joined   atomic.Bool
}

// windowsATime bounds how many windows of a model one transaction judges: a replay may make years of them due at once.
const windowsATime = 50

// evaluation is the models of one partition.
type evaluation struct {
	partition int32
	watches   map[string]*watch.Watch
	late      map[string]uint64
	unknown   map[string]uint64 // checks
}

// errAborted ends a session whose transaction was aborted: the state in memory is ahead of the records.
var errAborted = errors.New("the transaction was aborted; the state is read anew")

func (e *evaluator) run(ctx context.Context) error {
	l := sessionLoop{group: e.plane.Prefix + "evaluate", logger: e.logger, now: e.now, failed: &e.failed, replaced: e.met.sessions.WithLabelValues("evaluate")}
	return l.run(ctx, e.session)
}

func (e *evaluator) session(ctx context.Context) error {
	group, topic := e.plane.Prefix+"evaluate", topics.Name(e.plane, topics.Profiles)
	o := sessionOptions{
		client: e.client, group: group, txnID: group + "." + e.plane.Processing.InstanceID, topics: []string{topic}, pauseNew: true,
		batchBytes: map[string]int32{
			topics.Name(e.plane, topics.State): topics.MaxRecordBytes, topics.Name(e.plane, topics.Scores): topics.MaxRecordBytes,
			topics.Name(e.plane, topics.Windows): topics.MaxRecordBytes, topics.Name(e.plane, topics.Alerts): topics.MaxRecordBytes,
		},
	}
	e.more = false
	for p := range e.tasks { // of a session that failed; the partitions may be another's now
		e.drop(p)
	}
	e.tasks, e.known, e.silenced = map[int32]*evaluation{}, baselineView{}, map[string]alert.Silence{}
	var err error
	if e.sess, err = openSession(ctx, o); err != nil {
		return err
	}
	defer e.sess.close()
	e.gaps.begin()
	for ctx.Err() == nil {
		if err := e.step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// step is one transaction: the records of one commit interval, and the windows that they make due.
func (e *evaluator) step(ctx context.Context) error {
	e.sess.allowRebalance()
	if _, err := e.sess.settle(ctx); err != nil {
		return err
	}
	if err := e.reconcile(ctx); err != nil {
		return err
	}
	e.learn()
	fetches, err := pollSession(ctx, e.sess, 100*time.Millisecond)
	if err != nil {
		return err
	}
	if fetches.NumRecords() == 0 && !e.more {
		return nil
	}
	if e.sess.rebalance.Load() {
		return errAborted // the records that were polled are read again
	}
	if err := e.sess.s.Begin(); err != nil {
		return fmt.Errorf("begin a transaction: %w", err)
	}
	e.out.reset()
	for began := e.now(); ; {
		if err := e.add(ctx, fetches); err != nil {
			return err
		}
		left := e.plane.Processing.CommitInterval/2 - e.now().Sub(began)
		if left <= 0 || e.sess.blocked.Load() || ctx.Err() != nil {
			break
		}
		if fetches, err = pollSession(ctx, e.sess, left); err != nil {
			return err
		}
	}
	return e.judge(ctx)
}

// reconcile makes the tasks equal to what the client is assigned, and restores those that are new.
func (e *evaluator) reconcile(ctx context.Context) error {
	assigned, gained := e.sess.assignment(), e.sess.takeGained()
	for p := range e.tasks {
		tp := topicPartition{topics.Name(e.plane, topics.Profiles), p}
		if _, ok := assigned[tp]; !ok || gained[tp] {
			e.drop(p)
		}
	}
	for tp := range assigned {
		if e.tasks[tp.partition] != nil {
			continue
		}
		t, err := e.restore(ctx, tp.partition)
		if err != nil {
			return err
		}
		e.tasks[tp.partition] = t
		e.known, e.silenced = baselineView{}, map[string]alert.Silence{} // the new watches know none
		e.sess.resume(tp)
	}
	e.sess.positioned(assigned)
	if e.sess.assigned.Load() && e.sess.awaiting(time.Now()) == 0 {
		e.joined.Store(true)
		e.failed.Store(nil)
	}
	return e.gaps.tend(ctx, e.sess, gained)
}

// drop lets go of a partition.
func (e *evaluator) drop(partition int32) {
	for name, w := range e.tasks[partition].watches {
		e.met.lost(name, w)
	}
	delete(e.tasks, partition)
}

// restore makes the watches of a partition's models of the state that is recorded.
func (e *evaluator) restore(ctx context.Context, partition int32) (*evaluation, error) {
	t := &evaluation{partition: partition, watches: map[string]*watch.Watch{}, late: map[string]uint64{}, unknown: map[string]uint64{}}
	for _, m := range e.models {
		if modelPartition(m) != partition {
			continue
		}
		w, err := watch.New(e.plane, m)
		if err != nil {
			return nil, err
		}
		if e.plane.KeepsWindows() {
			w.KeepProfiles()
		}
		t.watches[m.Name] = w
	}
	began, records := e.now(), 0
	last := map[string][]byte{} // of each key, what compaction would leave
	err := readTopic(ctx, e.client, topics.Name(e.plane, topics.State), partition, func(rec *kgo.Record) error {
		records++
		if rec.Value == nil {
			delete(last, string(rec.Key))
		} else if t.watches[watch.Model(rec.Key)] != nil {
			last[string(rec.Key)] = rec.Value
		}
		return nil
	})
	for key, value := range last {
		if err == nil {
			err = t.watches[watch.Model([]byte(key))].Restore([]byte(key), value)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("restore evaluations: %w", err)
	}
	if len(t.watches) > 0 {
		e.logger.Info("evaluations restored", "partition", partition, "records", records, "took", e.now().Sub(began).Round(time.Millisecond))
	}
	return t, nil
}

// learn takes up baselines and silences that have come or gone.
func (e *evaluator) learn() {
	e.known.update(e.follower, func(name string) {
		e.each(func(m *config.Model, w *watch.Watch) { w.SetBaseline(name, e.known.of(e.plane, name, m)) })
	})
	for id, s := range e.follower.silences() {
		if have, ok := e.silenced[id]; ok && reflect.DeepEqual(have, s) || !ok && s.End <= e.now().UnixMicro() {
			continue // known, or over before it could be
		}
		e.silenced[id] = s
		e.each(func(m *config.Model, w *watch.Watch) {
			if err := w.SetSilence(s); err != nil {
				e.logger.Warn("a silence is not taken", "silence", id, "model", m.Name, "err", err)
			}
		})
	}
}

func (e *evaluator) each(fn func(*config.Model, *watch.Watch)) {
	for _, t := range e.tasks {
		for _, m := range e.models {
			if w := t.watches[m.Name]; w != nil {
				fn(m, w)
			}
		}
	}
}

// add counts a batch of profile records.
func (e *evaluator) add(ctx context.Context, fetches kgo.Fetches) error {
	for it := fetches.RecordIter(); !it.Done(); {
		rec := it.Next()
		t := e.tasks[rec.Partition]
		if t == nil {
			return errAborted
		}
		w := t.watches[string(rec.Key)]
		if w == nil {
			continue // a model that no monitor watches any more
		}
		d, err := watch.DecodeDelta(rec.Value)
		if err == nil && d.Baseline != "" && !w.Knows(d.Baseline, d.Build) && e.now().Sub(e.synced) > time.Second {
			// Its profiler has learnt of the baseline before this process has, or it is deleted since.
			e.synced = e.now()
			if err := e.follower.sync(ctx); err != nil {
				return err
			}
			e.learn()
		}
		if err == nil {
			err = w.Add(d)
		}
		if err != nil { // made by another version of this program, or not by it
			e.met.unreadable.Inc()
			e.logger.Error("a profile record is left out", "record", taskName(rec.Topic, rec.Partition), "offset", rec.Offset, "err", err)
		}
	}
	return nil
}

// judge ends the transaction with what the records have brought about.
func (e *evaluator) judge(ctx context.Context) error {
	var judged []watch.Judgement
	e.more = false
	for _, t := range e.tasks {
		for _, m := range e.models {
			w := t.watches[m.Name]
			if w == nil {
				continue
			}
			js, err := e.advance(ctx, m, w)
			if err != nil {
				return err
			}
			judged = append(judged, js...)
			changes, err := w.Changes()
			if err != nil {
				return fmt.Errorf("model %s: %w", m.Name, err)
			}
			for _, c := range changes {
				e.produce(ctx, topics.State, t.partition, c.Key, c.Value)
			}
		}
	}
	began := e.now()
	committed, err := endTransaction(ctx, e.sess, &e.out, e.logger)
	e.met.transaction("evaluate", committed, err, e.now().Sub(began))
	switch {
	case err != nil:
		return err
	case e.out.first() != nil:
		return fmt.Errorf("%w: %w", errAborted, e.out.first())
	case !committed:
		return errAborted
	}
	for _, j := range judged {
		e.met.judged(j)
	}
	for _, t := range e.tasks {
		for name, w := range t.watches {
			e.met.late.WithLabelValues(name).Add(float64(w.Late() - t.late[name]))
			e.met.unknown.WithLabelValues(name).Add(float64(w.UnknownChecks() - t.unknown[name]))
			t.late[name], t.unknown[name] = w.Late(), w.UnknownChecks()
			e.met.watching(name, w)
		}
	}
	return nil
}

// advance judges the windows of a model that one transaction takes, and tells what came of them: of each part that Advance
// judges before the next, for until Kafka has their profiles they are in memory.
func (e *evaluator) advance(ctx context.Context, m *config.Model, w *watch.Watch) ([]watch.Judgement, error) {
	var judged []watch.Judgement
	for more := true; more; {
		if len(judged) >= windowsATime {
			e.more = true
			break
		}
		if len(judged) > 0 {
			if err := e.sess.flush(ctx); err != nil {
				return nil, err
			}
		}
		var js []watch.Judgement
		var err error
		if js, more, err = w.Advance(windowsATime - len(judged)); err != nil {
			return nil, fmt.Errorf("model %s: %w", m.Name, err)
		}
		for i := range js {
			if err := e.tell(ctx, &js[i]); err != nil {
				return nil, err
			}
		}
		judged = append(judged, js...)
	}
	return judged, nil
}

// tell produces the scores and messages of a window, and the profiles that it has.
func (e *evaluator) tell(ctx context.Context, j *watch.Judgement) error {
	for i := range j.Scores {
		text, err := j.Scores[i].Encode()
		if err != nil {
			return err
		}
		e.produce(ctx, topics.Scores, modelPartition(j.Monitor.Model), []byte(j.Monitor.Name), text)
	}
	for p := range j.TakeProfiles() {
		text, err := p.Encode()
		if err != nil {
			return err
		}
		e.produce(ctx, topics.Windows, modelPartition(j.Monitor.Model), []byte(j.Monitor.Name), text)
	}
	for i := range j.Messages {
		m := &j.Messages[i]
		text, err := m.Event()
		if err != nil {
			return fmt.Errorf("message %s: %w", m.ID, err)
		}
		e.logger.Info("alert", "type", m.Type, "monitor", m.Monitor, "group", m.Group, "features", m.Count, "summary", m.Summary)
		e.produceRecord(ctx, &kgo.Record{
			Topic: topics.Name(e.plane, topics.Alerts), Key: []byte(m.ID), Value: text,
			Headers: []kgo.RecordHeader{{Key: "content-type", Value: []byte(alert.EventContentType)}},
		})
	}
	return nil
}

func (e *evaluator) produce(ctx context.Context, topic string, partition int32, key, value []byte) {
	e.produceRecord(ctx, &kgo.Record{Topic: topics.Name(e.plane, topic), Partition: partition, Key: slices.Clone(key), Value: value})
}

func (e *evaluator) produceRecord(ctx context.Context, rec *kgo.Record) {
	e.out.produce(context.WithoutCancel(ctx), e.sess, rec)
}

// ready reports why the evaluator is not at work.
func (e *evaluator) ready() error {
	if err := e.failed.Load(); err != nil && *err != nil {
		return fmt.Errorf("evaluator: %w", *err)
	}
	if !e.joined.Load() {
		return errors.New("evaluator: has not joined its group yet")
	}
	return e.gaps.err()
}
