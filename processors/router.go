package processors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/ingest"
	"github.com/freshet-io/freshet/internal/feature"
)

// router copies the records of sources to repartition topics, keyed by the entities of the views there. It has no state:
// consumed offsets and copies are one transaction, so that a copy exists once for each record. It commits often, because
// what it has not committed no one downstream sees.
type router struct {
	plane  *config.Plane
	topo   *topology
	client []kgo.Opt
	logger *slog.Logger
	now    func() time.Time
	met    *metrics

	routes map[string]*routeState // by source topic
	sess   *session
	failed atomic.Pointer[error]
	joined atomic.Bool

	mu struct {
		sync.Mutex // promises come on the client's goroutines
		err        error
	}
}

// routeState decodes the records of one source.
type routeState struct {
	*route
	reader *ingest.Reader
	row    []feature.Value
	vals   []feature.Value
}

func newRouter(r *Runtime) (*router, error) {
	rt := &router{plane: r.plane, topo: r.topo, client: r.client, logger: r.logger, now: r.now, met: r.met, routes: map[string]*routeState{}}
	for _, route := range r.topo.routes {
		rd, err := ingest.NewReader(route.source)
		if err != nil {
			return nil, err
		}
		rt.routes[route.source.Topic] = &routeState{route: route, reader: rd, row: make([]feature.Value, len(route.source.Schema))}
	}
	return rt, nil
}

// run routes until ctx is done. A session that fails is replaced.
func (r *router) run(ctx context.Context) error {
	for backoff := 100 * time.Millisecond; ctx.Err() == nil; backoff = min(2*backoff, 5*time.Second) {
		began := r.now()
		err := r.session(ctx)
		if ctx.Err() != nil {
			return err
		}
		r.failed.Store(&err)
		r.logger.Warn("session failed, a new one is opened", "group", r.topo.routeGroup(), "err", err, "retry_in", backoff)
		r.met.sessions.Inc()
		if r.now().Sub(began) > time.Minute {
			backoff = 100 * time.Millisecond
		}
		select {
		case <-time.After(backoff):
		case <-ctx.Done():
		}
	}
	return nil
}

func (r *router) session(ctx context.Context) error {
	o := sessionOptions{
		client: r.client, group: r.topo.routeGroup(),
		txnID: r.topo.routeGroup() + "." + r.plane.Processing.InstanceID, startAtEnd: map[string]bool{}, batchBytes: r.topo.maxBatchBytes(),
	}
	for topic, rt := range r.routes {
		o.topics = append(o.topics, topic)
		o.startAtEnd[topic] = rt.source.StartAt == "latest"
	}
	slices.Sort(o.topics)
	var err error
	if r.sess, err = openSession(ctx, o); err != nil {
		return err
	}
	defer r.sess.close()
	for ctx.Err() == nil {
		if err := r.step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// step is one transaction: records for one route interval, their copies, and the offsets.
func (r *router) step(ctx context.Context) error {
	r.sess.allowRebalance()
	if _, err := r.sess.settle(ctx); err != nil {
		return err
	}
	fetches, err := r.poll(ctx, 100*time.Millisecond)
	if err != nil {
		return err
	}
	if len(r.sess.assignment()) > 0 {
		r.joined.Store(true)
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
	r.setErr(nil)
	began := r.now()
	for {
		r.copy(ctx, fetches)
		left := r.plane.Processing.RouteInterval - r.now().Sub(began)
		if left <= 0 || r.sess.blocked.Load() || ctx.Err() != nil {
			break
		}
		if fetches, err = r.poll(ctx, left); err != nil {
			return err
		}
	}
	return r.end(ctx)
}

func (r *router) end(ctx context.Context) error {
	began := r.now()
	if err := r.sess.flush(ctx); err != nil {
		return err
	}
	commit := kgo.TryCommit
	if err := r.takeErr(); err != nil {
		r.logger.Warn("a record was not copied; the transaction is aborted", "err", err)
		commit = kgo.TryAbort
	}
	committed, err := r.sess.end(ctx, commit)
	r.met.transaction("route", committed, err, r.now().Sub(began))
	if err != nil {
		return err
	}
	if committed {
		r.failed.Store(nil)
	}
	return nil
}

func (r *router) poll(ctx context.Context, wait time.Duration) (kgo.Fetches, error) {
	pollCtx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	fetches := r.sess.s.PollRecords(pollCtx, maxPoll)
	if fetches.IsClientClosed() {
		return nil, errors.New("the client is closed")
	}
	var failed error
	fetches.EachError(func(topic string, p int32, err error) {
		switch {
		case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), kerr.IsRetriable(err):
		case errors.Is(err, kerr.OffsetOutOfRange):
			failed = errors.Join(failed, fmt.Errorf("%s: records were deleted before they were routed: %w", taskName(topic, p), err))
		default:
			failed = errors.Join(failed, fmt.Errorf("fetch %s: %w", taskName(topic, p), err))
		}
	})
	return fetches, failed
}

// copy produces the copies of a batch.
func (r *router) copy(ctx context.Context, fetches kgo.Fetches) {
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		rt := r.routes[p.Topic]
		for _, rec := range p.Records {
			r.copyRecord(ctx, rt, rec)
		}
	})
}

func (r *router) copyRecord(ctx context.Context, rt *routeState, rec *kgo.Record) {
	if rt.reader.Tombstone(rec) {
		return // it names an entity of the source's own key; the views of others keep what they have counted
	}
	_, _, bad := rt.reader.Read(rec, rt.row)
	if bad != nil {
		if rt.deadLetters != "" {
			r.deadLetter(ctx, rt, rec, bad)
		}
		return
	}
	o := origin{ordinal: sourceOrdinal, partition: rec.Partition, offset: rec.Offset, millis: rec.Timestamp.UnixMilli()}
	headers := append(rec.Headers[:len(rec.Headers):len(rec.Headers)], o.header())
	for _, to := range rt.to {
		key, bad := rt.keyOf(to)
		if bad != nil {
			if to.wants(rt.row) {
				r.deadLetter(ctx, rt, rec, bad)
			}
			continue
		}
		r.sess.s.Produce(ctx, &kgo.Record{
			Topic: to.topic, Partition: ingest.Partition(key, to.partitions), Key: key, Value: rec.Value, Headers: headers,
		}, r.produced)
		r.met.routed.WithLabelValues(rt.source.Name, to.entity.Name).Inc()
	}
}

// keyOf returns the record key of the row's entity in a repartition topic.
func (rt *routeState) keyOf(to *input) ([]byte, *ingest.FieldError) {
	rt.vals = rt.vals[:0]
	for _, f := range to.views[0].KeyFields {
		if rt.row[f].IsNull() {
			return nil, &ingest.FieldError{
				Class: ingest.NullKey, Field: rt.source.Schema[f].Name, Reason: "is part of the key of entity " + to.entity.Name + " and is absent or null",
			}
		}
		rt.vals = append(rt.vals, rt.row[f])
	}
	key, err := ingest.AppendRecordKey(nil, rt.vals...)
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

func (r *router) deadLetter(ctx context.Context, rt *routeState, rec *kgo.Record, why *ingest.FieldError) {
	topic := rt.to[0].deadLetters
	d := ingest.DeadLetter(topic, rt.source.Name, rec, why, r.now())
	d.Partition = rec.Partition
	r.met.deadLetters.WithLabelValues(rt.source.Name, string(why.Class)).Inc()
	r.sess.s.Produce(ctx, d, r.produced)
}

func (r *router) produced(_ *kgo.Record, err error) {
	if err != nil {
		r.mu.Lock()
		if r.mu.err == nil {
			r.mu.err = err
		}
		r.mu.Unlock()
	}
}

func (r *router) setErr(err error) {
	r.mu.Lock()
	r.mu.err = err
	r.mu.Unlock()
}

func (r *router) takeErr() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.err
}

// ready reports why the router is not at work.
func (r *router) ready() error {
	if err := r.failed.Load(); err != nil {
		return fmt.Errorf("router: %w", *err)
	}
	if !r.joined.Load() {
		return errors.New("router: has no partitions yet")
	}
	return nil
}
