package processors

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/ingest"
	"github.com/freshet-io/freshet/internal/feature"
)

// router copies the records of a source to one repartition topic, keyed by the entity of the views there. It has no
// state: consumed offsets and copies are one transaction, so that a copy exists once for each record. It commits often,
// because what it has not committed no one downstream sees.
type router struct {
	*route
	plane      *config.Plane
	group      string
	batchBytes map[string]int32
	client     []kgo.Opt
	logger     *slog.Logger
	now        func() time.Time
	met        *metrics
	aside      *asideLog

	reader   *ingest.Reader
	row      []feature.Value
	vals     []feature.Value
	sess     *session
	out      outcome
	gaps     gaps
	position readerPosition
	told     time.Time // when position was last set
	failed   atomic.Pointer[error]
	joined   atomic.Bool

	fresh []string // the views whose states were not built out of band: what this router misses they miss
	begun sync.Map // the partitions that have been told of as incomplete
}

func newRouter(r *Runtime, rt *route) (*router, error) {
	rd, err := ingest.NewReader(rt.source)
	if err != nil {
		return nil, err
	}
	router := &router{
		route: rt, plane: r.plane, group: r.topo.routeGroup(rt), batchBytes: r.topo.maxBatchBytes(),
		client: r.client, logger: r.logger, now: r.now, met: r.met, aside: r.aside,
		reader: rd, row: make([]feature.Value, len(rt.source.Schema)),
	}
	for i, v := range rt.to.views {
		if rt.to.bound[i].bootstrap == nil {
			router.fresh = append(router.fresh, v.Name)
		}
	}
	router.position.reader = "route." + rt.name()
	router.gaps = gaps{
		reader: "router of " + rt.name(), accept: r.opts.AcceptGap, logger: r.logger, fails: r.met.taskFailures.Inc,
		passed: func(_ topicPartition, n int64) { r.met.gapRecords.Add(float64(n)) },
	}
	return router, nil
}

// run routes until ctx is done. A session that fails is replaced.
func (r *router) run(ctx context.Context) error {
	l := sessionLoop{group: r.group, logger: r.logger, now: r.now, failed: &r.failed, replaced: r.met.sessions}
	return l.run(ctx, r.session)
}

func (r *router) session(ctx context.Context) error {
	o := sessionOptions{
		client: r.client, group: r.group, txnID: r.group + "." + r.plane.Processing.InstanceID,
		topics: []string{r.source.Topic}, startAtEnd: map[string]bool{r.source.Topic: r.source.StartAt == "latest"}, batchBytes: r.batchBytes,
		incomplete: r.warnIncomplete,
	}
	var err error
	if r.sess, err = openSession(ctx, o); err != nil {
		return err
	}
	defer r.sess.close()
	r.gaps.begin()
	for ctx.Err() == nil {
		if err := r.step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// warnIncomplete tells of the views whose route begins at offset first of a partition, which no longer has its first records. A partition
// of which nothing comes begins anew at each rebalance; it is told of once.
func (r *router) warnIncomplete(tp topicPartition, first int64) {
	if _, told := r.begun.LoadOrStore(tp, true); told {
		return
	}
	for _, v := range r.fresh {
		r.logger.Warn(beginsIncomplete, "view", v, "router", r.name(), "partition", tp.partition, "missing_from", 0, "missing_to", first)
	}
}

// step is one transaction: records for one route interval, their copies, and the offsets.
func (r *router) step(ctx context.Context) error {
	r.sess.allowRebalance()
	if _, err := r.sess.settle(ctx); err != nil {
		return err
	}
	if err := r.gaps.tend(ctx, r.sess, r.sess.takeGained()); err != nil {
		return err
	}
	if now := r.now(); now.Sub(r.told) >= time.Second {
		r.told = now
		r.tellPosition()
	}
	fetches, err := pollSession(ctx, r.sess, 100*time.Millisecond)
	if err != nil {
		return err
	}
	if r.sess.assigned.Load() {
		r.joined.Store(true)
		r.failed.Store(nil)
	}
	if fetches.NumRecords() == 0 {
		return nil
	}
	if r.sess.rebalance.Load() {
		_, err := r.sess.settle(ctx)
		return err
	}
	if err := r.sess.s.Begin(); err != nil {
		return fmt.Errorf("begin a transaction: %w", err)
	}
	r.out.reset()
	began := r.now()
	for {
		r.copy(ctx, fetches)
		left := r.plane.Processing.RouteInterval - r.now().Sub(began)
		if left <= 0 || r.sess.blocked.Load() || ctx.Err() != nil {
			break
		}
		if fetches, err = pollSession(ctx, r.sess, left); err != nil {
			return err
		}
	}
	return r.end(ctx)
}

func (r *router) end(ctx context.Context) error {
	began := r.now()
	committed, err := endTransaction(ctx, r.sess, &r.out, r.logger)
	r.met.transaction("route", committed, err, r.now().Sub(began))
	if err != nil {
		return err
	}
	if committed {
		r.failed.Store(nil)
	}
	return nil
}

// copy produces the copies of a batch.
func (r *router) copy(ctx context.Context, fetches kgo.Fetches) {
	n := 0
	for it := fetches.RecordIter(); !it.Done(); {
		if r.copyRecord(ctx, it.Next()) {
			n++
		}
	}
	r.met.routed.WithLabelValues(r.source.Name, r.to.entity.Name).Add(float64(n))
}

// copyRecord copies one record, unless it is refused.
func (r *router) copyRecord(ctx context.Context, rec *kgo.Record) bool {
	if r.reader.Tombstone(rec) {
		return false // it names an entity of the source's own key; the views of others keep what they have counted
	}
	if _, _, bad := r.reader.Read(rec, r.row); bad != nil {
		if r.judges {
			r.deadLetter(ctx, rec, bad)
		}
		return false
	}
	key, bad := r.key()
	if bad != nil {
		if r.to.wants(r.row) {
			r.deadLetter(ctx, rec, bad)
		}
		return false
	}
	o := origin{ordinal: sourceOrdinal, partition: rec.Partition, offset: rec.Offset, millis: rec.Timestamp.UnixMilli()}
	r.out.produce(ctx, r.sess, &kgo.Record{
		Topic: r.to.topic, Partition: ingest.Partition(key, r.to.partitions), Key: key, Value: rec.Value,
		Headers: append(rec.Headers[:len(rec.Headers):len(rec.Headers)], o.header()),
	})
	return true
}

// key returns the record key of the row's entity.
func (r *router) key() ([]byte, *ingest.FieldError) {
	r.vals = r.vals[:0]
	for _, f := range r.to.views[0].KeyFields {
		if r.row[f].IsNull() {
			return nil, &ingest.FieldError{
				Class: ingest.NullKey, Field: r.source.Schema[f].Name, Reason: "is part of the key of entity " + r.to.entity.Name + " and is absent or null",
			}
		}
		r.vals = append(r.vals, r.row[f])
	}
	key, err := ingest.AppendRecordKey(nil, r.vals...)
	if err != nil {
		return nil, &ingest.FieldError{Class: ingest.BadKey, Reason: err.Error()}
	}
	return key, nil
}

// wants reports whether any view of the input counts an event with this row. Without a key no view can, and then it is
// a dead letter only if one would have: `where: tailnum != null` says that the others are not meant.
func (in *input) wants(row []feature.Value) bool {
	for _, v := range in.views {
		if v.Where == nil {
			return true
		}
		if pass, ok := v.Where.Test(row); pass || !ok {
			return true
		}
	}
	return false
}

func (r *router) deadLetter(ctx context.Context, rec *kgo.Record, why *ingest.FieldError) {
	d := ingest.DeadLetter(r.to.deadLetters, r.source.Name, rec, why, r.now())
	d.Partition = rec.Partition
	r.met.deadLetters.WithLabelValues(r.source.Name, string(why.Class)).Inc()
	r.aside.note(r.source.Name, why.Class, 1)
	r.out.produce(ctx, r.sess, d)
}

// ready reports why the router is not at work.
func (r *router) ready() error {
	if err := r.failed.Load(); err != nil {
		return fmt.Errorf("router of %s: %w", r.name(), *err)
	}
	if !r.joined.Load() {
		return fmt.Errorf("router of %s: has not joined its group yet", r.name())
	}
	return r.gaps.err()
}
