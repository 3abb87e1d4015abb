package processors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// registry reads and extends the plane topic. Several processes write it: every change is a compare-and-set, because
// every writer uses the same transactional id: whoever initialises it last fences the others, and reads only after
// that, so a commit that succeeds has seen everything before it.
type registry struct {
	topic  string
	txnID  string
	client []kgo.Opt
	now    func() time.Time
	// admit is asked about what is recorded already before anything is added; nil: all may be.
	admit func(recorded map[string]ViewRecord) error
}

// record returns the record under which each view runs, recording those that are new, or a refusal that shows what changed.
func (g *registry) record(ctx context.Context, wanted []ViewRecord) ([]ViewRecord, error) {
	var bound []ViewRecord
	err := g.update(ctx, func(recorded map[string]ViewRecord) ([]ViewRecord, error) {
		if g.admit != nil {
			if err := g.admit(recorded); err != nil {
				return nil, err
			}
		}
		var fresh []ViewRecord
		var err error
		bound, fresh, err = reconcile(recorded, wanted, g.now())
		return fresh, err
	})
	return bound, err
}

// update replaces the records that change returns, in one transaction, if nothing else has been written meanwhile; else it
// is asked again. A record with nothing but a name is deleted.
func (g *registry) update(ctx context.Context, change func(recorded map[string]ViewRecord) ([]ViewRecord, error)) error {
	for attempt := 0; ; attempt++ {
		err := g.tryUpdate(ctx, change)
		if err == nil || !fenced(err) || attempt == 20 || ctx.Err() != nil {
			return err
		}
	}
}

func fenced(err error) bool {
	return errors.Is(err, kerr.ProducerFenced) || errors.Is(err, kerr.InvalidProducerEpoch) ||
		errors.Is(err, kerr.ConcurrentTransactions) || errors.Is(err, kerr.InvalidTxnState)
}

func (g *registry) tryUpdate(ctx context.Context, change func(map[string]ViewRecord) ([]ViewRecord, error)) error {
	cl, err := kgo.NewClient(append(g.client[:len(g.client):len(g.client)], kgo.TransactionalID(g.txnID), kgo.DefaultProduceTopic(g.topic))...)
	if err != nil {
		return fmt.Errorf("open the plane topic: %w", err)
	}
	defer cl.Close()
	if _, _, err := cl.ProducerID(ctx); err != nil {
		return fmt.Errorf("open the plane topic %s for writing: %w", g.topic, err)
	}
	recorded, err := g.read(ctx)
	if err != nil {
		return err
	}
	fresh, err := change(recorded)
	if err != nil || len(fresh) == 0 {
		return err
	}
	if err := cl.BeginTransaction(); err != nil {
		return fmt.Errorf("record views in %s: %w", g.topic, err)
	}
	for i := range fresh {
		r := &kgo.Record{Key: []byte(fresh[i].View)}
		if fresh[i].Fingerprint != "" {
			if r.Value, err = json.Marshal(&fresh[i]); err != nil {
				return err
			}
		}
		cl.Produce(ctx, r, nil)
	}
	if err := cl.Flush(ctx); err != nil {
		return fmt.Errorf("record views in %s: %w", g.topic, err)
	}
	if err := cl.EndTransaction(ctx, kgo.TryCommit); err != nil {
		return fmt.Errorf("record views in %s: %w", g.topic, err)
	}
	return nil
}

// read returns the newest record of each view.
func (g *registry) read(ctx context.Context) (map[string]ViewRecord, error) {
	cl, err := kgo.NewClient(append(g.client[:len(g.client):len(g.client)],
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{g.topic: {0: kgo.NewOffset().AtStart()}}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())...)
	if err != nil {
		return nil, fmt.Errorf("read the plane topic: %w", err)
	}
	defer cl.Close()
	found := map[string]ViewRecord{}
	err = readToEnd(ctx, cl, map[topicPartition]int64{{g.topic, 0}: 0}, func(r *kgo.Record) error {
		if r.Attrs.IsControl() {
			return nil
		}
		if r.Value == nil {
			delete(found, string(r.Key))
			return nil
		}
		var v ViewRecord
		if err := json.Unmarshal(r.Value, &v); err != nil {
			return fmt.Errorf("plane topic %s offset %d: %w", r.Topic, r.Offset, err)
		}
		found[v.View] = v
		return nil
	}, func(topicPartition) error { return nil })
	return found, err
}

// watch calls changed with the records every so often until ctx ends; they are read again only when the topic has grown. What
// cannot be read is tried again: a start reads for itself.
func (g *registry) watch(ctx context.Context, every time.Duration, changed func(map[string]ViewRecord)) {
	cl, err := kgo.NewClient(g.client...)
	if err != nil {
		return
	}
	defer cl.Close()
	var recorded map[string]ViewRecord
	last := int64(-1)
	for {
		select {
		case <-time.After(every):
		case <-ctx.Done():
			return
		}
		end, err := endOf(ctx, cl, g.topic)
		if err != nil {
			continue
		}
		if end != last {
			fresh, err := g.read(ctx)
			if err != nil {
				continue
			}
			recorded, last = fresh, end
		}
		changed(recorded)
	}
}

// sortedRecords returns records by name.
func sortedRecords(m map[string]ViewRecord) []ViewRecord {
	var out []ViewRecord
	for _, name := range slices.Sorted(maps.Keys(m)) {
		out = append(out, m[name])
	}
	return out
}
