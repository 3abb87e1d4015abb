package processors

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
)

// A viewRecord is what the plane topic holds of a view, keyed by its name: the definition under which its state is built
// and the epoch of its versions. It is JSON, for people.
type viewRecord struct {
	View        string `json:"view"`
	Fingerprint string `json:"fingerprint"`
	Definition  string `json:"definition"`
	Topic       string `json:"topic"`
	TopicID     string `json:"topic_id"` // of the source topic
	Partitions  int32  `json:"partitions"`
	Epoch       uint64 `json:"epoch"` // Unix milliseconds at which this was first recorded
}

// registry reads and extends the plane topic. Several instances start at once: recording is a compare-and-set, because
// every writer uses the same transactional id: whoever initialises it last fences the others, and reads only after
// that, so a commit that succeeds has seen everything before it.
type registry struct {
	topic  string
	txnID  string
	client []kgo.Opt
	now    func() time.Time
	// admit is asked about what is recorded already before anything is added.
	admit func(recorded map[string]viewRecord) error
}

// errDefinitionChanged is wrapped by the refusal of a view whose definition is not the recorded one.
var errDefinitionChanged = errors.New("definition changed")

// record returns the epoch of each view, recording those that are new, or a refusal that shows what changed.
func (g *registry) record(ctx context.Context, wanted []viewRecord) ([]uint64, error) {
	for attempt := 0; ; attempt++ {
		epochs, err := g.tryRecord(ctx, wanted)
		if err == nil || !fenced(err) || attempt == 20 || ctx.Err() != nil {
			return epochs, err
		}
	}
}

func fenced(err error) bool {
	return errors.Is(err, kerr.ProducerFenced) || errors.Is(err, kerr.InvalidProducerEpoch) ||
		errors.Is(err, kerr.ConcurrentTransactions) || errors.Is(err, kerr.InvalidTxnState)
}

func (g *registry) tryRecord(ctx context.Context, wanted []viewRecord) ([]uint64, error) {
	cl, err := kgo.NewClient(append(g.client[:len(g.client):len(g.client)], kgo.TransactionalID(g.txnID), kgo.DefaultProduceTopic(g.topic))...)
	if err != nil {
		return nil, fmt.Errorf("open the plane topic: %w", err)
	}
	defer cl.Close()
	if _, _, err := cl.ProducerID(ctx); err != nil {
		return nil, fmt.Errorf("open the plane topic %s for writing: %w", g.topic, err)
	}
	recorded, err := g.read(ctx)
	if err != nil {
		return nil, err
	}
	if err := g.admit(recorded); err != nil {
		return nil, err
	}
	epochs, fresh, err := g.reconcile(recorded, wanted)
	if err != nil || len(fresh) == 0 {
		return epochs, err
	}
	if err := cl.BeginTransaction(); err != nil {
		return nil, fmt.Errorf("record views in %s: %w", g.topic, err)
	}
	for i := range fresh {
		value, err := json.Marshal(&fresh[i])
		if err != nil {
			return nil, err
		}
		cl.Produce(ctx, &kgo.Record{Key: []byte(fresh[i].View), Value: value}, nil)
	}
	if err := cl.Flush(ctx); err != nil {
		return nil, fmt.Errorf("record views in %s: %w", g.topic, err)
	}
	if err := cl.EndTransaction(ctx, kgo.TryCommit); err != nil {
		return nil, fmt.Errorf("record views in %s: %w", g.topic, err)
	}
	return epochs, nil
}

// reconcile compares what is wanted with what is recorded: it returns every view's epoch and the records to write. A new
// epoch is greater than any before it, whatever the clock says.
func (g *registry) reconcile(recorded map[string]viewRecord, wanted []viewRecord) (epochs []uint64, fresh []viewRecord, err error) {
	next := uint64(g.now().UnixMilli())
	for _, r := range recorded {
		next = max(next, r.Epoch+1)
	}
	var refused []error
	for _, w := range wanted {
		have, ok := recorded[w.View]
		switch {
		case !ok:
			w.Epoch = next
			fresh = append(fresh, w)
		case have.TopicID != w.TopicID:
			refused = append(refused, fmt.Errorf("feature view %q: topic %s was deleted and created again since the view's state was built: its offsets have started again, "+
				"and new events would be taken for counted ones. Give the view a new name to build it anew", w.View, w.Topic))
		case have.Fingerprint != w.Fingerprint:
			refused = append(refused, fmt.Errorf("feature view %q: %w since its state was built; %s. Give the changed view a new name, or put the old definition back",
				w.View, errDefinitionChanged, strings.Join(config.Diff(have.Definition, w.Definition), "; ")))
		case have.Partitions != w.Partitions:
			refused = append(refused, fmt.Errorf("feature view %q: topic %s had %d partitions when its state was built and has %d: keys have moved between partitions, "+
				"and its numbers would be wrong. Give the view a new name to build it anew", w.View, w.Topic, have.Partitions, w.Partitions))
		default:
			w.Epoch = have.Epoch
		}
		epochs = append(epochs, w.Epoch)
	}
	return epochs, fresh, errors.Join(refused...)
}

// read returns the newest record of each view.
func (g *registry) read(ctx context.Context) (map[string]viewRecord, error) {
	cl, err := kgo.NewClient(append(g.client[:len(g.client):len(g.client)],
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{g.topic: {0: kgo.NewOffset().AtStart()}}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())...)
	if err != nil {
		return nil, fmt.Errorf("read the plane topic: %w", err)
	}
	defer cl.Close()
	found := map[string]viewRecord{}
	err = readToEnd(ctx, cl, map[topicPartition]int64{{g.topic, 0}: 0}, func(r *kgo.Record) error {
		if r.Attrs.IsControl() {
			return nil
		}
		if r.Value == nil {
			delete(found, string(r.Key))
			return nil
		}
		var v viewRecord
		if err := json.Unmarshal(r.Value, &v); err != nil {
			return fmt.Errorf("plane topic %s offset %d: %w", r.Topic, r.Offset, err)
		}
		found[v.View] = v
		return nil
	}, func(topicPartition) error { return nil })
	return found, err
}

// wantedRecord describes a view over its source topic as it is now.
func wantedRecord(v *config.View, topic [16]byte, partitions int32) viewRecord {
	return viewRecord{
		View: v.Name, Fingerprint: hex.EncodeToString(v.Fingerprint[:]), Definition: v.Describe(),
		Topic: v.Source.Topic, TopicID: hex.EncodeToString(topic[:]), Partitions: partitions,
	}
}
