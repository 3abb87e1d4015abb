package ingest

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
)

// replayBatch is how many records a replay has in flight.
const replayBatch = 1000

// ReplayFailure is a dead letter that Kafka did not acknowledge, or that holds the beginning of its record only. When Err is a timeout, the record may have arrived
// nevertheless.
type ReplayFailure struct {
	At  Coordinates
	Err error
}

// ReplayReport tells what a replay did.
type ReplayReport struct {
	Replayed Summary         // acknowledged by all in-sync replicas
	Failed   []ReplayFailure // not acknowledged
}

// Replay produces the original records of the dead letters that filter selects back to where they came from: same
// topic, partition, key, value, headers and timestamp, plus a header freshet.replayed with the dead letter's
// coordinates. The timestamp is kept, so an event is as far ahead of its record as it was: a too_far_ahead record is
// refused again unless the source now allows more. A filter that selects everything must be asked for with all.
//
// The dead letters stay where they are. Replaying twice sends twice: each is a new record, which counts again, unless
// the source has an event_id and the first is within its horizon. A record that still cannot be used becomes a dead
// letter again, behind those that this replay reads.
//
// A dead letter that was cut is not sent, and is an error after the others have been.
//
// Replay stops at the first record that is not acknowledged, after waiting for those in flight; the report is valid
// also with an error.
func Replay(ctx context.Context, client *kgo.Client, topic string, filter Filter, all bool) (ReplayReport, error) {
	var report ReplayReport
	if filter.Empty() && !all {
		return report, errors.New("replay: no selection; state what to replay, or ask for all")
	}
	var letters []Letter
	var cut []ReplayFailure
	for l, err := range List(ctx, client, topic, filter) {
		if err != nil {
			return report, fmt.Errorf("replay: %w", err)
		}
		if l.Cut != "" {
			cut = append(cut, ReplayFailure{At: l.At, Err: fmt.Errorf("only the beginning of the record was kept (%s)", l.Cut)})
			continue
		}
		if letters = append(letters, l); len(letters) == replayBatch {
			if err := report.send(ctx, client, letters); err != nil {
				return report, err
			}
			letters = letters[:0]
		}
	}
	if err := report.send(ctx, client, letters); err != nil || len(cut) == 0 {
		return report, err
	}
	report.Failed = append(report.Failed, cut...)
	return report, fmt.Errorf("replay: %d records cannot be sent back, the others have been; the first, %s: %w", len(cut), cut[0].At, cut[0].Err)
}

// send produces a batch and waits for every acknowledgement.
func (r *ReplayReport) send(ctx context.Context, client *kgo.Client, letters []Letter) error {
	recs := make([]*kgo.Record, len(letters))
	index := make(map[*kgo.Record]int, len(letters))
	for i := range letters {
		recs[i] = replayRecord(&letters[i])
		index[recs[i]] = i
	}
	for _, res := range client.ProduceSync(ctx, recs...) {
		l := &letters[index[res.Record]]
		if res.Err != nil {
			r.Failed = append(r.Failed, ReplayFailure{At: l.At, Err: res.Err})
			continue
		}
		r.Replayed.Add(l)
	}
	if len(r.Failed) > 0 {
		f := r.Failed[0]
		return fmt.Errorf("replay: %d of %d records not acknowledged; the first, %s: %w", len(r.Failed), len(r.Failed)+r.Replayed.Total, f.At, f.Err)
	}
	return nil
}

// replayRecord is what is sent for l.
func replayRecord(l *Letter) *kgo.Record {
	o := l.Original
	headers := append(o.Headers, kgo.RecordHeader{Key: headerReplayed, Value: []byte(l.At.String())})
	return &kgo.Record{Topic: o.Topic, Partition: o.Partition, Key: o.Key, Value: o.Value, Headers: headers, Timestamp: o.Timestamp}
}
