package processors

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/kafka"
	"github.com/freshet-io/freshet/monitors/join"
	"github.com/freshet-io/freshet/monitors/quality"
	"github.com/freshet-io/freshet/monitors/topics"
	"github.com/freshet-io/freshet/monitors/watch"
)

// joiner brings inferences and their labels together, by id. Its state is the runtime's: a changelog that is written in one
// transaction with the offsets and the changes of the sums, and a local store behind it (R3, R4, R6, R7). Unlike the
// materializer it keeps nothing in memory between transactions, and after one that did not commit it begins a new session.
type joiner struct {
	*Monitors
	models   map[string]*config.Model
	in       *input
	store    *store
	restorer *restorer
	tasks    map[int32]*joinTask
	sess     *session
	txn      *txnRecords
	gaps     gaps
	failed   atomic.Pointer[error]
	joined   atomic.Bool
}

// joinTask is one partition of ids.
type joinTask struct {
	*task
	models map[string]*joinModel
	fresh  map[string]*join.Case // by changelog key, what the open transaction has changed; nil: forgotten
	swept  []byte                // where the next sweep of the store goes on
	taken  int                   // records of the open transaction
}

// joinModel is a model's part in a task.
type joinModel struct {
	*join.Joiner
	progress watch.Progress
	told     int64 // the time that the evaluator was told last
	touched  bool  // the progress, by the open transaction
}

func newJoiner(ctx context.Context, m *Monitors) (*joiner, error) {
	j := &joiner{Monitors: m, models: map[string]*config.Model{}, gaps: m.gapsOf("joiner")}
	for _, model := range m.models {
		if joined(m.plane, model) {
			j.models[model.Name] = model
		}
	}
	j.in = &input{topic: topics.Name(m.plane, topics.Joins), changelog: topics.Name(m.plane, topics.JoinState)}
	cl, err := kgo.NewClient(m.client...)
	if err != nil {
		return nil, fmt.Errorf("connect to kafka: %w", err)
	}
	defer cl.Close()
	t, err := kafka.DescribeTopic(ctx, kadm.NewClient(cl), j.in.changelog)
	if err != nil {
		return nil, err
	}
	j.in.changelogID = t.ID
	dir, err := stateDir(m.plane)
	if err != nil {
		return nil, err
	}
	dir = filepath.Join(dir, "joins")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the folder of the joiner's store: %w", err)
	}
	if j.store, err = openStore(dir, 8<<20, m.logger); err != nil {
		return nil, err
	}
	j.restorer = &restorer{store: j.store, client: m.client, group: j.group(), logger: m.logger, now: m.now}
	return j, nil
}

func (j *joiner) group() string { return j.plane.Prefix + "join" }

func (j *joiner) run(ctx context.Context) error {
	l := sessionLoop{group: j.group(), logger: j.logger, now: j.now, failed: &j.failed, replaced: j.met.sessions.WithLabelValues("join")}
	return errors.Join(l.run(ctx, j.session), j.store.close())
}

func (j *joiner) session(ctx context.Context) error {
	o := sessionOptions{
		client: j.client, group: j.group(), txnID: j.group() + "." + j.plane.Processing.InstanceID, topics: []string{j.in.topic}, pauseNew: true,
		batchBytes: map[string]int32{topics.Name(j.plane, topics.Profiles): topics.MaxRecordBytes, j.in.changelog: topics.MaxRecordBytes},
	}
	j.tasks, j.txn, j.restorer.results = map[int32]*joinTask{}, &txnRecords{}, make(chan restored, topics.Partitions)
	j.gaps.begin()
	var err error
	if j.sess, err = openSession(ctx, o); err != nil {
		return err
	}
	defer j.sess.close()
	for ctx.Err() == nil {
		if err := j.step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// step is one transaction: the records of one commit interval.
func (j *joiner) step(ctx context.Context) error {
	j.sess.allowRebalance()
	if _, err := j.sess.settle(ctx); err != nil {
		return err
	}
	if err := j.reconcile(ctx); err != nil {
		return err
	}
	fetches, err := pollSession(ctx, j.sess, 100*time.Millisecond)
	if err != nil {
		return err
	}
	if fetches.NumRecords() == 0 {
		return nil
	}
	if j.sess.rebalance.Load() {
		return errAborted // the records that were polled are read again
	}
	if err := j.sess.s.Begin(); err != nil {
		return fmt.Errorf("begin a transaction: %w", err)
	}
	for began := j.now(); ; {
		if err := j.take(fetches); err != nil {
			return err
		}
		left := j.plane.Processing.CommitInterval/2 - j.now().Sub(began)
		if left <= 0 || j.sess.blocked.Load() || ctx.Err() != nil {
			break
		}
		if fetches, err = pollSession(ctx, j.sess, left); err != nil {
			return err
		}
	}
	return j.end(context.WithoutCancel(ctx))
}

// reconcile makes the tasks equal to what the client is assigned, and restores those that are new (R6, R7, R8).
func (j *joiner) reconcile(ctx context.Context) error {
	assigned, gained := j.sess.assignment(), j.sess.takeGained()
	for p := range j.tasks {
		tp := topicPartition{j.in.topic, p}
		if _, ok := assigned[tp]; !ok || gained[tp] {
			delete(j.tasks, p)
		}
	}
	var fresh []*task
	for tp, position := range assigned {
		if j.tasks[tp.partition] == nil {
			fresh = append(fresh, &task{in: j.in, partition: tp.partition, store: j.store, now: noMeta(), assignedAt: position})
		}
	}
	if len(fresh) > 0 {
		if err := j.restorer.restore(ctx, fresh); err != nil {
			return fmt.Errorf("restore joins: %w", err)
		}
		for range fresh {
			if err := j.start(<-j.restorer.results); err != nil {
				return err
			}
		}
	}
	j.sess.positioned(assigned)
	if j.sess.assigned.Load() && j.sess.awaiting(time.Now()) == 0 {
		j.joined.Store(true)
		j.failed.Store(nil)
	}
	return j.gaps.tend(ctx, j.sess, gained)
}

// start takes a restored task into service, at the position of its state.
func (j *joiner) start(d restored) error {
	t := d.t
	if d.meta.none() {
		if d.committed >= 0 {
			return fmt.Errorf("%s: the group has committed offset %d and the changelog %s holds nothing: the state is lost", t.name(), d.committed, t.in.changelog)
		}
		d.meta.next = t.assignedAt
	}
	t.id, t.pos, t.now = d.id, d.pos, meta{next: d.meta.next, streamTime: d.meta.streamTime}
	jt := &joinTask{task: t, models: map[string]*joinModel{}, fresh: map[string]*join.Case{}}
	for name, model := range j.models {
		m := &joinModel{Joiner: join.NewJoiner(quality.Define(model), model.Labels.Within.Microseconds(), watch.Pane(j.plane, model).Microseconds()), told: watch.Unknown}
		v, err := j.store.get(t.id, append([]byte{kindProgress}, name...))
		if err == nil && v != nil {
			err = json.Unmarshal(v, &m.progress)
		}
		if err != nil {
			return fmt.Errorf("%s: progress of model %s: %w", t.name(), name, err)
		}
		jt.models[name] = m
	}
	j.tasks[t.partition] = jt
	tp := topicPartition{j.in.topic, t.partition}
	j.sess.seek(tp, t.now.next)
	j.sess.resume(tp)
	if d.records > 0 {
		j.logger.Info("joins restored", "task", t.name(), "records", d.records, "took", d.took.Round(time.Millisecond), "next", t.now.next)
	}
	return nil
}

// take joins a batch of records.
func (j *joiner) take(fetches kgo.Fetches) error {
	for it := fetches.RecordIter(); !it.Done(); {
		rec := it.Next()
		t := j.tasks[rec.Partition]
		if t == nil {
			return errAborted
		}
		if rec.Offset < t.now.next {
			continue // counted
		}
		t.now.next = rec.Offset + 1
		t.taken++
		r, err := join.Decode(rec.Value)
		if err != nil { // made by another version of this program, or not by it
			j.met.unreadable.Inc()
			j.logger.Error("a record to join is left out", "record", t.name(), "offset", rec.Offset, "err", err)
			continue
		}
		name, _, _ := bytes.Cut(rec.Key, []byte("/"))
		m := t.models[string(name)]
		if m == nil {
			continue // a model whose labels no monitor looks at any more
		}
		if err := t.join(m, rec.Key, &r); err != nil {
			return fmt.Errorf("%s offset %d: %w", t.name(), rec.Offset, err)
		}
	}
	return nil
}

// join takes one record.
func (t *joinTask) join(m *joinModel, key []byte, r *join.Record) error {
	if r.Progress != nil {
		m.tell(r.Progress)
		return nil
	}
	k := append([]byte{kindCase}, key...)
	c, changed := t.fresh[string(k)]
	if !changed {
		v, err := t.store.getNow(t.id, k)
		if err == nil && v != nil {
			c, err = join.DecodeCase(v)
		}
		if err != nil {
			return err
		}
	}
	if c != nil && m.Expired(c, m.progress.StreamTime()) {
		m.Forget(c)
		c = nil
	}
	if c == nil {
		c = &join.Case{}
	}
	if r.Inference != nil {
		m.Infer(c, r.Inference)
	} else {
		m.Label(c, *r.Label)
	}
	t.fresh[string(k)] = c
	return nil
}

// tell takes up a profiler's progress: partitions of labels have odd numbers.
func (m *joinModel) tell(p *join.Progress) {
	m.progress.Tick(p.Clock)
	m.touched = true
	for i, of := range p.Of {
		for part := range of.Total {
			m.progress.Expect(2*part + int32(i))
		}
		for _, w := range of.Marks {
			m.progress.Told(2*w.Partition+int32(i), w.At)
		}
	}
}

// sweepAtLeast is how many ids of a task's store one transaction looks at, to forget those that are over; under load it
// looks at two for each record that it takes, so that what is over is a part of what is not.
const sweepAtLeast = 512

// sweep forgets ids that are over (J3). When it comes by changes no result: an id that is over is taken as forgotten when it is met.
func (t *joinTask) sweep() error {
	left := max(sweepAtLeast, 2*t.taken)
	from := t.swept
	if from == nil {
		from = []byte{kindCase}
	}
	t.swept = nil
	err := t.store.scan(t.id, []byte{kindCase}, from, func(key, value []byte) error {
		if left--; left < 0 {
			t.swept = slices.Clone(key)
			return errStop
		}
		name, _, _ := bytes.Cut(key[1:], []byte("/"))
		m := t.models[string(name)]
		if _, changed := t.fresh[string(key)]; changed || m == nil {
			return nil
		}
		c, err := join.DecodeCase(value)
		if err != nil {
			return err
		}
		if m.Expired(c, m.progress.StreamTime()) {
			m.Forget(c)
			t.fresh[string(key)] = nil
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s: forget ids: %w", t.name(), err)
	}
	return nil
}

// end commits what the records have brought about.
func (j *joiner) end(ctx context.Context) error {
	counts := map[string]*join.Counts{}
	for _, t := range j.tasks {
		if t.taken == 0 {
			continue
		}
		if err := t.sweep(); err != nil {
			return err
		}
		p := j.txn.part(t.task)
		p.meta = t.now
		for key, c := range t.fresh {
			var value []byte
			if c != nil {
				value = c.AppendBinary(nil)
			}
			j.txn.add(ctx, j.sess, p, []byte(key), value)
		}
		if err := j.flush(ctx, t, p, counts); err != nil {
			return err
		}
	}
	j.txn.produceMetas(ctx, j.sess)
	began := j.now()
	committed, err := endTransaction(ctx, j.sess, &j.txn.outcome, j.logger)
	j.met.transaction("join", committed, err, j.now().Sub(began))
	if err != nil {
		return err
	}
	if !committed {
		return errAborted
	}
	for name, c := range counts {
		j.met.joined(name, *c)
	}
	return j.settle()
}

// flush produces what has changed of each model's sums, and how far they have come.
func (j *joiner) flush(ctx context.Context, t *joinTask, p *txnPart, counts map[string]*join.Counts) error {
	for name, m := range t.models {
		if m.touched {
			text, err := json.Marshal(&m.progress)
			if err != nil {
				return fmt.Errorf("progress of model %s: %w", name, err)
			}
			j.txn.add(ctx, j.sess, p, append([]byte{kindProgress}, name...), text)
			m.touched = false
		}
		panes, n := m.Flush()
		if counts[name] == nil {
			counts[name] = &join.Counts{}
		}
		counts[name].Add(n)
		now := m.progress.StreamTime()
		if len(panes) == 0 && now == m.told {
			continue
		}
		m.told = now
		for _, d := range joinedDeltas(m, t.partition, panes, now, watch.Pane(j.plane, j.models[name]).Microseconds()) {
			value, err := d.AppendBinary(nil)
			if err != nil {
				return fmt.Errorf("model %s: %w", name, err)
			}
			r := j.txn.record()
			r.Topic, r.Partition, r.Key, r.Value = topics.Name(j.plane, topics.Profiles), modelPartition(j.models[name]), []byte(name), value
			j.txn.produce(ctx, j.sess, r)
		}
	}
	return nil
}

// joinedDeltaBytes is about how large a delta may become before another is begun.
const joinedDeltaBytes = 256 << 10

// joinedDeltas makes the records of changed sums. Of several only the last has the new time, which must not be ahead of
// what was counted.
func joinedDeltas(m *joinModel, partition int32, panes map[join.Pane]*quality.Sums, now, pane int64) (out []*watch.Delta) {
	next := func() *watch.Delta {
		d := &watch.Delta{Clock: m.progress.Clock(), Pane: pane, Joined: &watch.Joined{Partition: partition, Total: topics.Partitions, Time: watch.Unknown, Build: m.Build()}}
		out = append(out, d)
		return d
	}
	d, size := next(), 0
	keys := make([]join.Pane, 0, len(panes))
	for k := range panes {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b join.Pane) int { return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.Slice, b.Slice)) })
	for _, k := range keys {
		if size > joinedDeltaBytes {
			d, size = next(), 0
		}
		sums := panes[k].AppendBinary(nil)
		size += len(sums) + len(k.Slice)
		d.Joined.Panes = append(d.Joined.Panes, watch.JoinedPane{Start: k.Start, Slice: k.Slice, Sums: sums})
	}
	d.Joined.Time = now
	return out
}

// settle gives what has been committed to the local store.
func (j *joiner) settle() error {
	b := j.store.batch(j.txn.storeBytes())
	if err := j.txn.stored(b, j.now()); err != nil {
		b.discard()
		return err
	}
	if err := b.commit(); err != nil {
		return err
	}
	j.txn.reset()
	for _, t := range j.tasks {
		clear(t.fresh)
		t.taken = 0
	}
	return nil
}

// ready reports why the joiner is not at work.
func (j *joiner) ready() error {
	if err := j.failed.Load(); err != nil && *err != nil {
		return fmt.Errorf("joiner: %w", *err)
	}
	if !j.joined.Load() {
		return errors.New("joiner: has not joined its group yet")
	}
	return errors.Join(j.gaps.err(), j.store.ready())
}
