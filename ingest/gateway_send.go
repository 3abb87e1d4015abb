package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// send judges the records, produces those that pass, waits for Kafka and answers. It takes over the reservation.
func (g *Gateway) send(ctx context.Context, gs *gatewaySource, payloads [][]byte, deadline time.Time, res *reservation) *answer {
	// Records carry whole milliseconds: the skew is judged here by the timestamp that a processor will see.
	now := g.opts.Now().Truncate(time.Millisecond)
	refused := []refusedRecord{}
	var good []*kgo.Record
	var indices []int // of good, in the request
	unknown := 0
	j := gs.judges.Get().(*judge)
	for i, p := range payloads {
		rec, more, err := j.record(gs, p, now)
		unknown += more
		if err != nil {
			refused = append(refused, refusedRecord{Index: i, Field: err.Field, Class: err.Class, Reason: err.Reason})
			continue
		}
		good = append(good, rec)
		indices = append(indices, i)
	}
	clear(j.row) // it must not keep the body alive in the pool
	gs.judges.Put(j)

	b := &batch{outcomes: make([]error, len(good)), pending: len(good), done: make(chan struct{}), release: res.release}
	if len(good) == 0 {
		res.release()
	} else {
		// A client that hangs up does not take back what it has sent.
		ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
		defer cancel()
		b.produce(ctx, g.producer, good)
	}
	accepted := 0
	unacked := []unackedRecord{}
	for k, err := range b.snapshot() {
		switch {
		case err == nil:
			accepted++
		case errors.Is(err, kerr.MessageTooLarge) || errors.Is(err, kerr.RecordListTooLarge):
			refused = append(refused, refusedRecord{Index: indices[k], Class: TooLarge, Reason: "Kafka refused it as larger than the topic or the client allows"})
		default:
			unacked = append(unacked, unackedRecord{Index: indices[k], Reason: g.whyUnacked(err)})
		}
	}
	slices.SortFunc(refused, func(a, b refusedRecord) int { return a.Index - b.Index })
	gs.count(accepted, refused, unacked)
	gs.unknown.Add(float64(unknown))
	a := g.outcome(gs, accepted, refused, unacked)
	a.body.UnknownFields = unknown
	return a
}

// record judges one payload and makes its record; unknown is the number of fields that the schema does not name.
func (j *judge) record(gs *gatewaySource, payload []byte, now time.Time) (rec *kgo.Record, unknown int, err *FieldError) {
	if limit := gs.src.MaxRecordBytes; len(payload) > limit {
		return nil, 0, tooLarge(len(payload), limit)
	}
	if _, unknown, err = j.reader.read(payload, now.UnixMicro(), j.row); err != nil {
		return nil, 0, err
	}
	rec = &kgo.Record{Topic: gs.src.Topic, Value: payload, Timestamp: now}
	if len(gs.src.Key) == 0 {
		return rec, unknown, nil
	}
	// The entity's key is what a processor will make of the record; it has a bound of its own.
	if j.key, err = j.reader.AppendEntityKey(j.key[:0], j.row, gs.src.Key); err != nil {
		return nil, 0, err
	}
	if rec.Key, err = j.reader.AppendRecordKey(nil, j.row); err != nil {
		return nil, 0, err
	}
	if size := len(rec.Key) + len(payload); size > gs.src.MaxRecordBytes {
		return nil, 0, tooLarge(size, gs.src.MaxRecordBytes)
	}
	return rec, unknown, nil
}

// errPending is the outcome of a record for which Kafka has not answered.
var errPending = errors.New("no answer")

// batch waits for the records of one request. It outlives the request when Kafka answers late.
type batch struct {
	done    chan struct{} // closed when pending is 0
	release func()        // called once, when pending is 0: until then the producer holds the records

	mu       sync.Mutex
	outcomes []error // nil: acknowledged
	pending  int
}

// produceGrace is how long after its deadline the producer may take to say what became of the records.
const produceGrace = 200 * time.Millisecond

// produce hands the records to the producer and waits for all, or until shortly after ctx is done.
func (b *batch) produce(ctx context.Context, p Producer, recs []*kgo.Record) {
	for k := range recs {
		b.outcomes[k] = errPending
	}
	for k, rec := range recs {
		p.Produce(ctx, rec, func(_ *kgo.Record, err error) { b.settle(k, err) })
	}
	select {
	case <-b.done:
		return
	case <-ctx.Done():
	}
	grace := time.NewTimer(produceGrace)
	defer grace.Stop()
	select {
	case <-b.done:
	case <-grace.C:
	}
}

// settle notes the outcome of record k.
func (b *batch) settle(k int, err error) {
	b.mu.Lock()
	b.outcomes[k] = err
	b.pending--
	last := b.pending == 0
	b.mu.Unlock()
	if last {
		b.release()
		close(b.done)
	}
}

// snapshot returns the outcomes so far; later ones do not change it.
func (b *batch) snapshot() []error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]error(nil), b.outcomes...)
}

func (g *Gateway) whyUnacked(err error) string {
	if errors.Is(err, errPending) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, kgo.ErrRecordTimeout) {
		return "kafka did not acknowledge within " + g.opts.Timeout.String()
	}
	return "kafka: " + err.Error()
}

func (gs *gatewaySource) count(accepted int, refused []refusedRecord, unacked []unackedRecord) {
	gs.results.WithLabelValues(resultAccepted).Add(float64(accepted))
	for i := range refused {
		gs.results.WithLabelValues(string(refused[i].Class)).Inc()
	}
	if len(unacked) > 0 {
		gs.results.WithLabelValues(resultNotAcknowledged).Add(float64(len(unacked)))
	}
}

// outcome chooses the status: 503 if anything is unknown, else 200 (all), 207 (some) or 422 (none).
func (g *Gateway) outcome(gs *gatewaySource, accepted int, refused []refusedRecord, unacked []unackedRecord) *answer {
	a := &answer{status: http.StatusOK, body: answerBody{Accepted: &accepted, Refused: &refused, NotAcknowledged: &unacked}}
	switch {
	case len(unacked) > 0:
		a.status = http.StatusServiceUnavailable
		a.retryAfter = 1
		a.body.Error = fmt.Sprintf("kafka did not acknowledge %d records (listed in not_acknowledged): whether they are stored is unknown; "+
			"send them again, and only them", len(unacked))
		if gs.src.EventID < 0 {
			a.body.Error += "; the source has no event_id, so one that was stored after all then counts twice"
		}
		g.logUnacked(gs, unacked)
	case len(refused) > 0 && accepted > 0:
		a.status = http.StatusMultiStatus
	case len(refused) > 0:
		a.status = http.StatusUnprocessableEntity
		a.body.Error = "every record was refused"
	}
	return a
}

// logUnacked tells the operator, at most once in ten seconds: while Kafka is away every request fails alike.
func (g *Gateway) logUnacked(gs *gatewaySource, unacked []unackedRecord) {
	const every = 10
	now, quiet := g.opts.Now().Unix(), g.quiet.Load()
	if now >= quiet && g.quiet.CompareAndSwap(quiet, now+every) {
		g.logger.Warn("events not acknowledged by kafka; further ones are not logged for 10 s", "source", gs.src.Name, "topic", gs.src.Topic,
			"records", len(unacked), "reason", unacked[0].Reason)
	}
}
