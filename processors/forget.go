package processors

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/ingest"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/kafka"
)

// An entity is forgotten by a request in a topic of the plane's own, which every process reads. A task that keeps the
// entity erases it in a transaction, with a record in its changelog of how far in that topic it has come: so a request is
// honoured once, and events that come after it count on. See ARCHITECTURE.md, F1 to F3.

// kindErased is the key of the record of the next erase request that a task has to look at: its offset, little-endian.
const kindErased byte = 3

// eraseTopic holds the requests; they are kept as long as a task may be out of service and still honour them.
func (t *topology) eraseTopic() string { return t.prefix + "erase" }

func (t *topology) eraseSpec() kafka.TopicSpec {
	return kafka.TopicSpec{Name: t.eraseTopic(), Partitions: 1, Config: map[string]string{
		"cleanup.policy": "delete", "retention.ms": weekMillis, "message.timestamp.type": "LogAppendTime",
	}}
}

// eraseRequest is the value of a request, in JSON.
type eraseRequest struct {
	Entity    string `json:"entity"`
	Key       string `json:"key"`        // entity key bytes, base64
	RecordKey string `json:"record_key"` // base64; decides the partition

	offset    int64
	key       []byte
	recordKey []byte
}

func parseErase(r *kgo.Record) (eraseRequest, error) {
	q := eraseRequest{offset: r.Offset}
	err := json.Unmarshal(r.Value, &q)
	if err == nil {
		q.key, err = base64.StdEncoding.DecodeString(q.Key)
	}
	if err == nil {
		q.recordKey, err = base64.StdEncoding.DecodeString(q.RecordKey)
	}
	if err != nil {
		return q, fmt.Errorf("%s offset %d: %w", r.Topic, r.Offset, err)
	}
	return q, nil
}

// erasures are the requests that a process has read, in order.
type erasures struct {
	mu struct {
		sync.Mutex
		all  []eraseRequest
		next int64 // after the last one read
	}
}

// from returns the requests from an offset on, and where the next will be.
func (e *erasures) from(offset int64) ([]eraseRequest, int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	i, _ := slices.BinarySearchFunc(e.mu.all, offset, func(q eraseRequest, o int64) int { return int(q.offset - o) })
	return e.mu.all[i:], e.mu.next
}

// beyond reports whether there are requests that someone who has looked at those before an offset has not.
func (e *erasures) beyond(offset int64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.mu.next > offset
}

// readErasures collects requests until ctx ends.
func (r *Runtime) readErasures(ctx context.Context) {
	cl, err := kgo.NewClient(append(r.client[:len(r.client):len(r.client)], kgo.ConsumeTopics(r.topo.eraseTopic()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	if err != nil {
		r.logger.Error("requests to forget entities cannot be read", "err", err)
		return
	}
	defer cl.Close()
	for ctx.Err() == nil {
		cl.PollFetches(ctx).EachRecord(func(rec *kgo.Record) {
			q, err := parseErase(rec)
			if err != nil {
				r.logger.Error("a request to forget an entity cannot be read", "err", err)
			}
			e := &r.mat.erasures
			e.mu.Lock()
			defer e.mu.Unlock()
			if e.mu.next = rec.Offset + 1; err == nil {
				e.mu.all = append(e.mu.all, q)
			}
		})
	}
}

// forgetRequested erases what has been asked for from tasks that have it, between transactions; the next one holds it.
func (m *materializer) forgetRequested() error {
	for _, t := range m.running {
		if t.catchingUp {
			continue // a view that is behind would count again what it has not come to
		}
		requests, next := m.erasures.from(t.erasedTo)
		for i := range requests {
			if err := t.forget(&requests[i]); err != nil {
				return fmt.Errorf("%s: forget an entity: %w", t.name(), err)
			}
		}
		t.erasedTo = max(t.erasedTo, next)
	}
	return nil
}

// forget erases the entity of a request if its key is of this task.
func (t *task) forget(q *eraseRequest) error {
	if ingest.Partition(q.recordKey, t.in.partitions) != t.partition {
		return nil
	}
	for _, v := range t.views {
		if v.view.Entity.Name != q.Entity {
			continue
		}
		if err := t.eraseFrom(v, q.key); err != nil {
			return err
		}
		t.touched, t.erasedNow = true, q.offset+1
	}
	return nil
}

// flushErased adds the record of how far the open transaction has honoured requests.
func (m *materializer) flushErased(ctx context.Context, t *task, p *txnPart) {
	if t.erasedNow == 0 {
		return
	}
	m.txn.add(ctx, m.sess, p, []byte{kindErased}, binary.LittleEndian.AppendUint64(nil, uint64(t.erasedNow)))
	t.erasedNow = 0
}

// erasedUpTo reads that record; a task without one has honoured nothing.
func (s *store) erasedUpTo(id uint32) (int64, error) {
	v, err := s.get(id, []byte{kindErased})
	if err != nil || len(v) != 8 {
		return 0, err
	}
	return int64(binary.LittleEndian.Uint64(v)), nil
}

// ErrNotHonoured says that no running process has honoured a request in time. It stands, and is honoured when one runs.
var ErrNotHonoured = errors.New("not every task that keeps the entity has erased it yet")

// endOf returns the end of a topic of one partition.
func endOf(ctx context.Context, cl *kgo.Client, topic string) (int64, error) {
	tp := topicPartition{topic, 0}
	ends, err := highWatermarks(ctx, cl, map[topicPartition]bool{tp: true})
	return ends[tp], err
}

// Forget asks the running processors to erase an entity, and returns when every task that keeps it has committed that. vals are
// its join keys. What has been asked for stays asked for, whatever this returns.
func (b *Builder) Forget(ctx context.Context, e *config.Entity, vals []feature.Value, patience time.Duration) error {
	key, err := feature.AppendKey(nil, vals...)
	if err != nil {
		return err
	}
	recordKey, err := ingest.AppendRecordKey(nil, vals...)
	if err != nil {
		return err
	}
	if err := b.rt.prepareTopics(ctx); err != nil {
		return err
	}
	cl, err := kgo.NewClient(append(b.opts.Client[:len(b.opts.Client):len(b.opts.Client)], kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		return fmt.Errorf("connect to kafka: %w", err)
	}
	defer cl.Close()
	waitFor, from, err := b.keepers(ctx, cl, e, recordKey)
	if err != nil {
		return err
	}
	text, err := json.Marshal(eraseRequest{
		Entity: e.Name, Key: base64.StdEncoding.EncodeToString(key), RecordKey: base64.StdEncoding.EncodeToString(recordKey),
	})
	if err != nil {
		return err
	}
	asked, err := cl.ProduceSync(ctx, &kgo.Record{Topic: b.rt.topo.eraseTopic(), Value: text}).First()
	if err != nil {
		return fmt.Errorf("ask for an entity to be forgotten: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return b.awaitErased(ctx, waitFor, from, asked.Offset)
}

// keepers returns the changelog partitions of the tasks that keep an entity, and where those end.
func (b *Builder) keepers(ctx context.Context, cl *kgo.Client, e *config.Entity, recordKey []byte) (map[topicPartition]bool, map[string]map[int32]kgo.Offset, error) {
	logs := map[topicPartition]bool{}
	for _, in := range b.rt.topo.inputs {
		if slices.ContainsFunc(in.views, func(v *config.View) bool { return v.Entity == e }) {
			logs[topicPartition{in.changelog, ingest.Partition(recordKey, in.partitions)}] = true
		}
	}
	ends, err := highWatermarks(ctx, cl, logs)
	if err != nil {
		return nil, nil, err
	}
	from := map[string]map[int32]kgo.Offset{}
	for tp, end := range ends {
		if from[tp.topic] == nil {
			from[tp.topic] = map[int32]kgo.Offset{}
		}
		from[tp.topic][tp.partition] = kgo.NewOffset().At(end)
	}
	return logs, from, nil
}

// awaitErased returns when the tasks of some changelog partitions have honoured the request at an offset.
func (b *Builder) awaitErased(ctx context.Context, waitFor map[topicPartition]bool, from map[string]map[int32]kgo.Offset, request int64) error {
	if len(waitFor) == 0 {
		return nil
	}
	cl, err := kgo.NewClient(append(b.opts.Client[:len(b.opts.Client):len(b.opts.Client)], kgo.ConsumePartitions(from),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()))...)
	if err != nil {
		return fmt.Errorf("read changelogs: %w", err)
	}
	defer cl.Close()
	for len(waitFor) > 0 {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			var names []string
			for tp := range waitFor {
				names = append(names, taskName(tp.topic, tp.partition))
			}
			slices.Sort(names)
			return fmt.Errorf("%w: %v; the request stands, at offset %s of %s", ErrNotHonoured, names, strconv.FormatInt(request, 10), b.rt.topo.eraseTopic())
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if len(r.Key) == 1 && r.Key[0] == kindErased && len(r.Value) == 8 && int64(binary.LittleEndian.Uint64(r.Value)) > request {
				delete(waitFor, topicPartition{r.Topic, r.Partition})
			}
		})
	}
	return nil
}

// ForgetRetired erases an entity from states that the plane's own processes do not keep: those of older definitions.
func (b *Builder) ForgetRetired(ctx context.Context, entity string, vals []feature.Value, retired []ViewRecord) (cells int, err error) {
	key, err := feature.AppendKey(nil, vals...)
	if err != nil {
		return 0, err
	}
	for i := range retired {
		rec := &retired[i]
		changelog, of, err := b.placesOf(rec)
		if err != nil {
			return cells, err
		}
		if of != entity {
			continue
		}
		state, err := rec.State()
		if err != nil {
			return cells, err
		}
		live, err := b.cellsOf(ctx, changelog, rec.Partitions, state)
		if err != nil {
			return cells, err
		}
		w, err := newCellWriter(ctx, b, *rec)
		if err != nil {
			return cells, err
		}
		for _, c := range live {
			if _, k, _, err := feature.ParseCellKey(c.key[1:]); err == nil && string(k) == string(key) {
				cells++
				if err := w.put(ctx, changelog, c.partition, c.key, nil); err != nil {
					w.close()
					return cells, err
				}
			}
		}
		err = w.commit(ctx)
		w.close()
		if err != nil {
			return cells, err
		}
	}
	return cells, nil
}

// A Residue is a topic that may still hold events of an entity, until its retention has passed.
type Residue struct {
	Topic     string `json:"topic"`
	Kind      string `json:"kind"` // source, repartition, features, inferences, dead letters, erase requests
	Retention string `json:"retention"`
}

// Residues returns the topics that may hold something of an entity after it has been forgotten.
func (b *Builder) Residues(ctx context.Context, e *config.Entity, former []FormerView) ([]Residue, error) {
	cl, err := kgo.NewClient(b.opts.Client...)
	if err != nil {
		return nil, fmt.Errorf("connect to kafka: %w", err)
	}
	defer cl.Close()
	kinds := map[string]string{b.rt.topo.eraseTopic(): "erase requests"}
	for _, in := range b.rt.topo.inputs {
		if !slices.ContainsFunc(in.views, func(v *config.View) bool { return v.Entity == e }) {
			continue
		}
		kinds[in.source.Topic], kinds[in.deadLetters] = "source", "dead letters"
		if in.repartitioned() {
			kinds[in.topic] = "repartition"
		}
		for _, name := range in.logs {
			kinds[name] = "features"
		}
	}
	b.addModels(kinds, e)
	for _, v := range former {
		if v.Entity == e.Name {
			kinds[b.rt.plane.FeatureLog(&config.View{Name: v.Name, Entity: e}).Topic] = "features"
		}
	}
	there, err := kadm.NewClient(cl).ListTopics(ctx)
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	var names []string
	for name := range kinds {
		if there.Has(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	configs, err := kadm.NewClient(cl).DescribeTopicConfigs(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("describe topics: %w", err)
	}
	var out []Residue
	for _, name := range names {
		out = append(out, Residue{name, kinds[name], retentionOf(configs, name)})
	}
	return out, nil
}

// addModels adds the topics of the models that are served an entity's features.
func (b *Builder) addModels(kinds map[string]string, e *config.Entity) {
	for _, m := range b.rt.plane.Models {
		if slices.ContainsFunc(m.Service.Features, func(f config.ServiceFeature) bool { return f.View.Entity == e }) {
			kinds[m.Inferences.Topic] = "inferences"
			kinds[ingest.DeadLetterTopic(b.rt.plane, m.Inferences.Name)] = "dead letters"
		}
	}
}

// retentionOf says how long a topic keeps its records.
func retentionOf(configs kadm.ResourceConfigs, topic string) string {
	c, err := configs.On(topic, nil)
	if err != nil || c.Err != nil {
		return "unknown"
	}
	policy, retention := "", ""
	for _, kv := range c.Configs {
		switch kv.Key {
		case "cleanup.policy":
			policy = kv.MaybeValue()
		case "retention.ms":
			retention = kv.MaybeValue()
		}
	}
	ms, err := strconv.ParseInt(retention, 10, 64)
	switch {
	case policy == "compact":
		return "compacted: until a newer record has the same key"
	case err != nil:
		return "unknown"
	case ms < 0:
		return "for ever"
	}
	return (time.Duration(ms) * time.Millisecond).String()
}
