package processors

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/ingest"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/monitors/topics"
	"github.com/freshet-io/freshet/monitors/watch"
)

// tickEvery is how often a profiler that has nothing to count tells that time has passed.
const tickEvery = 5 * time.Second

// profiler counts the inferences of all models into panes. It has no state: what it has counted between two commits and
// the offsets it has read are one transaction, so that each inference is counted once.
type profiler struct {
	*Monitors
	byTopic map[string]*profiled
	labels  map[string]*labelled // by their topic
	sources map[string]*sourced  // by topic
	asked   time.Time            // when it was last asked where sources end
	sess    *session
	out     outcome
	known   baselineView
	ticked  time.Time
	gaps    gaps
	failed  atomic.Pointer[error]
	joined  atomic.Bool
}

// profiled is a model with what its inferences are read and counted with.
type profiled struct {
	model       *config.Model
	reader      *ingest.Reader
	row         []feature.Value
	acc         *watch.Accumulator
	deadLetters string
	partitions  int32
	counted     int       // inferences of the transaction
	unknown     int       // fields of them that the model does not name
	labelled    *labelled // nil: its inferences are not joined with labels
}

func newProfiler(m *Monitors) (*profiler, error) {
	p := &profiler{Monitors: m, byTopic: map[string]*profiled{}, labels: map[string]*labelled{}, gaps: m.gapsOf("profiler")}
	for _, model := range m.models {
		rd, err := ingest.NewReader(model.Inferences)
		if err != nil {
			return nil, fmt.Errorf("model %s: %w", model.Name, err)
		}
		p.byTopic[model.Inferences.Topic] = &profiled{
			model: model, reader: rd, row: make([]feature.Value, len(model.Inferences.Schema)), deadLetters: ingest.DeadLetterTopic(m.plane, model.Name),
			partitions: m.partitions[model.Inferences.Topic],
		}
		if !joined(m.plane, model) {
			continue
		}
		of, topic := p.byTopic[model.Inferences.Topic], model.Labels.Source.Topic
		if of.labelled, err = newLabelled(of, ingest.DeadLetterTopic(m.plane, model.Labels.Source.Name), m.partitions[topic]); err != nil {
			return nil, fmt.Errorf("model %s: %w", model.Name, err)
		}
		p.labels[topic] = of.labelled
	}
	p.sources, p.gaps.newest = freshnessSources(m.plane), map[string]bool{}
	for topic, s := range p.sources {
		var err error
		if s.reader, err = ingest.NewReader(s.source); err != nil {
			return nil, fmt.Errorf("freshness: %w", err)
		}
		s.partitions = m.partitions[topic]
		p.gaps.newest[topic] = true
	}
	return p, nil
}

// run profiles until ctx is done. A session that fails is replaced.
func (p *profiler) run(ctx context.Context) error {
	l := sessionLoop{group: p.plane.Prefix + "profile", logger: p.logger, now: p.now, failed: &p.failed, replaced: p.met.sessions.WithLabelValues("profile")}
	return l.run(ctx, p.session)
}

func (p *profiler) session(ctx context.Context) error {
	group := p.plane.Prefix + "profile"
	o := sessionOptions{
		client: p.client, group: group, txnID: group + "." + p.plane.Processing.InstanceID, topics: append(slices.Sorted(maps.Keys(p.byTopic)), slices.Sorted(maps.Keys(p.labels))...),
		tails: map[string]int64{}, keepControl: len(p.sources) > 0,
		batchBytes: map[string]int32{topics.Name(p.plane, topics.Profiles): topics.MaxRecordBytes},
	}
	p.known = baselineView{}
	for _, m := range p.byTopic { // what an earlier session had counted and not committed is counted again
		m.acc = watch.NewAccumulator(m.model, watch.Pane(p.plane, m.model))
		if m.labelled != nil {
			m.labelled.marks, m.labelled.committed, m.labelled.told = map[int32]int64{}, map[int32]int64{}, time.Time{}
			o.batchBytes[m.labelled.deadLetters] = ingest.MaxLetterBytes
		}
	}
	for _, m := range p.byTopic {
		o.batchBytes[m.deadLetters] = ingest.MaxLetterBytes
	}
	for topic, s := range p.sources {
		s.begin()
		o.topics, o.tails[topic] = append(o.topics, topic), sourceTail
	}
	var err error
	if p.sess, err = openSession(ctx, o); err != nil {
		return err
	}
	defer p.sess.close()
	p.gaps.begin()
	for ctx.Err() == nil {
		if err := p.step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// step is one transaction: what one commit interval brings.
func (p *profiler) step(ctx context.Context) error {
	p.sess.allowRebalance()
	if _, err := p.sess.settle(ctx); err != nil {
		return err
	}
	if err := p.gaps.tend(ctx, p.sess, p.sess.takeGained()); err != nil {
		return err
	}
	if p.sess.assigned.Load() {
		p.joined.Store(true)
		p.failed.Store(nil)
	}
	fetches, err := pollSession(ctx, p.sess, 100*time.Millisecond)
	if err != nil {
		return err
	}
	if fetches.NumRecords() == 0 && p.now().Sub(p.ticked) < tickEvery {
		return nil
	}
	if p.sess.rebalance.Load() {
		_, err := p.sess.settle(ctx)
		return err
	}
	read := map[string][]int32{}
	for tp := range p.sess.assignment() {
		if !p.gaps.is(tp) { // one that has stopped is not idle: its inferences are missing
			read[tp.topic] = append(read[tp.topic], tp.partition)
		}
	}
	if err := p.sess.s.Begin(); err != nil {
		return fmt.Errorf("begin a transaction: %w", err)
	}
	p.out.reset()
	p.known.update(p.follower, func(name string) {
		for _, m := range p.byTopic {
			m.acc.SetBaseline(name, p.known.of(p.plane, name, m.model))
		}
	})
	for topic, m := range p.byTopic {
		m.acc.Partitions(read[topic], m.partitions)
		if l := m.labelled; l != nil {
			l.reads(read[l.model.Labels.Source.Topic])
		}
	}
	for topic, s := range p.sources {
		s.assigned(read[topic])
	}
	for began := p.now(); ; {
		p.count(ctx, fetches)
		left := min(p.plane.Processing.CommitInterval, tickEvery) - p.now().Sub(began)
		if left <= 0 || p.sess.blocked.Load() || ctx.Err() != nil {
			break
		}
		if fetches, err = pollSession(ctx, p.sess, left); err != nil {
			return err
		}
	}
	p.learnEnds(ctx)
	if err := p.produceCounts(context.WithoutCancel(ctx)); err != nil { // also when the process is to end: it is the last commit
		return err
	}
	return p.end(ctx)
}

// count reads a batch of inferences and labels.
func (p *profiler) count(ctx context.Context, fetches kgo.Fetches) {
	ctx = context.WithoutCancel(ctx)
	joins := topics.Name(p.plane, topics.Joins)
	for it := fetches.RecordIter(); !it.Done(); {
		rec := it.Next()
		if s := p.sources[rec.Topic]; s != nil {
			s.add(rec)
			continue
		}
		if rec.Attrs.IsControl() {
			continue
		}
		if l := p.labels[rec.Topic]; l != nil {
			if at, _, bad := l.reader.Read(rec, l.row); bad != nil {
				p.deadLetter(ctx, rec, bad, l.deadLetters, l.model.Labels.Source.Name, l.partitions)
			} else {
				p.out.produce(ctx, p.sess, l.label(joins, rec, at))
			}
			continue
		}
		m := p.byTopic[rec.Topic]
		at, unknown, bad := m.reader.Read(rec, m.row)
		if bad != nil {
			p.deadLetter(ctx, rec, bad, m.deadLetters, m.model.Name, m.partitions)
			continue
		}
		m.acc.Add(rec.Partition, m.row, at)
		m.counted, m.unknown = m.counted+1, m.unknown+unknown
		if m.labelled != nil {
			p.out.produce(ctx, p.sess, m.labelled.inference(joins, rec, m.row, at))
		}
	}
}

// deadLetter puts a record aside that cannot be read.
func (p *profiler) deadLetter(ctx context.Context, rec *kgo.Record, bad *ingest.FieldError, topic, source string, partitions int32) {
	d := ingest.DeadLetter(topic, source, rec, bad, p.now())
	d.Partition = rec.Partition % partitions // the topic may have gained some since
	p.met.deadLetters.WithLabelValues(source, string(bad.Class)).Inc()
	p.aside.note(source, bad.Class, 1)
	p.out.produce(ctx, p.sess, d)
}

// produceCounts writes what has been counted, and that time has passed.
func (p *profiler) produceCounts(ctx context.Context) error {
	p.ticked = p.now()
	for _, m := range p.byTopic {
		if m.labelled != nil {
			for _, rec := range m.labelled.progress(topics.Name(p.plane, topics.Joins), p.now()) {
				p.out.produce(ctx, p.sess, rec)
			}
		}
		for _, d := range m.acc.Flush(p.now().UnixMicro()) {
			value, err := d.AppendBinary(nil)
			if err != nil {
				return fmt.Errorf("model %s: %w", m.model.Name, err)
			}
			p.produceProfile(ctx, m.model, value)
		}
	}
	return p.produceSources(ctx)
}

// produceProfile writes a model's profile record.
func (p *profiler) produceProfile(ctx context.Context, m *config.Model, value []byte) {
	p.out.produce(ctx, p.sess, &kgo.Record{
		Topic: topics.Name(p.plane, topics.Profiles), Partition: modelPartition(m), Key: []byte(m.Name), Value: value,
	})
}

func (p *profiler) end(ctx context.Context) error {
	began := p.now()
	committed, err := endTransaction(ctx, p.sess, &p.out, p.logger)
	p.met.transaction("profile", committed, err, p.now().Sub(began))
	if err == nil {
		err = p.out.first() // it would come again at once
	}
	if err != nil {
		return err
	}
	for _, m := range p.byTopic {
		if committed {
			m.acc.Committed()
			p.met.inferences.WithLabelValues(m.model.Name).Add(float64(m.counted))
			p.met.unknownFields.WithLabelValues(m.model.Name).Add(float64(m.unknown))
		} else {
			m.acc.Reset()
		}
		m.counted, m.unknown = 0, 0
		if m.labelled != nil {
			m.labelled.ended(committed)
		}
	}
	if committed {
		for _, s := range p.sources {
			s.times.Committed()
		}
	}
	return nil
}

// ready reports why the profiler is not at work.
func (p *profiler) ready() error {
	if err := p.failed.Load(); err != nil && *err != nil {
		return fmt.Errorf("profiler: %w", *err)
	}
	if !p.joined.Load() {
		return errors.New("profiler: has not joined its group yet")
	}
	return p.gaps.err()
}

// modelPartition is the partition of a model in every topic by model.
func modelPartition(m *config.Model) int32 {
	return ingest.Partition([]byte(m.Name), topics.Partitions)
}
