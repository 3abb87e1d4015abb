package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Span is a part of a partition's log: offsets From and up, before To.
type Span struct{ From, To int64 }

// Committed returns the part of each of a topic's partitions that a read-committed reader can read now: up to the last
// stable offset. If since is not zero no record whose Kafka timestamp is since or later is left out; earlier ones may be in it, as
// the marks that end transactions have timestamps too. Partitions with nothing to read are left out. The error wraps ErrNoTopic if there is no such topic.
func Committed(ctx context.Context, cl *kgo.Client, topic string, since time.Time) (map[int32]Span, error) {
	adm := kadm.NewClient(cl)
	starts, err := adm.ListStartOffsets(ctx, topic)
	if !since.IsZero() && err == nil && starts.Error() == nil {
		starts, err = adm.ListOffsetsAfterMilli(ctx, since.UnixMilli(), topic)
	}
	if err = errors.Join(err, starts.Error()); err != nil {
		return nil, listFailed(topic, err)
	}
	ends, err := adm.ListCommittedOffsets(ctx, topic)
	if err = errors.Join(err, ends.Error()); err != nil {
		return nil, listFailed(topic, err)
	}
	return spansOf(topic, starts, ends), nil
}

// Cut ends spans of a topic before the first record whose timestamp is at or after a time; those that are empty then are left out.
func Cut(ctx context.Context, cl *kgo.Client, topic string, spans map[int32]Span, before time.Time) error {
	ends, err := kadm.NewClient(cl).ListOffsetsAfterMilli(ctx, before.UnixMilli(), topic)
	if err = errors.Join(err, ends.Error()); err != nil {
		return listFailed(topic, err)
	}
	for p, s := range spans {
		if end, ok := ends[topic][p]; ok {
			s.To = min(s.To, end.Offset)
		}
		if spans[p] = s; s.From >= s.To {
			delete(spans, p)
		}
	}
	return nil
}

// Whole returns all of each of a topic's partitions, transactions that are open now included. A transaction whose end was
// acknowledged may still be among them, since its marks arrive in their own time: who must see what was just committed
// reads up to here. Partitions with nothing to read are left out. The error wraps ErrNoTopic if there is no such topic.
func Whole(ctx context.Context, cl *kgo.Client, topic string) (map[int32]Span, error) {
	adm := kadm.NewClient(cl)
	starts, err := adm.ListStartOffsets(ctx, topic)
	if err = errors.Join(err, starts.Error()); err != nil {
		return nil, listFailed(topic, err)
	}
	ends, err := adm.ListEndOffsets(ctx, topic)
	if err = errors.Join(err, ends.Error()); err != nil {
		return nil, listFailed(topic, err)
	}
	return spansOf(topic, starts, ends), nil
}

func spansOf(topic string, starts, ends kadm.ListedOffsets) map[int32]Span {
	spans := map[int32]Span{}
	for p, end := range ends[topic] {
		if start, ok := starts[topic][p]; ok && start.Offset < end.Offset {
			spans[p] = Span{From: start.Offset, To: end.Offset}
		}
	}
	return spans
}

func listFailed(topic string, err error) error {
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		err = ErrNoTopic
	}
	return fmt.Errorf("list offsets of %s: %w", topic, err)
}

// stallAfter is how long a reader waits for a record before it asks the broker whether anything is left to read.
const stallAfter = 500 * time.Millisecond

// ReadSpans reads parts of a topic's log read-committed and calls fn for each record, in order within a partition. Spans
// may end behind transactions that are still open: they are waited for. client are the options to reach Kafka with.
func ReadSpans(ctx context.Context, client []kgo.Opt, topic string, spans map[int32]Span, fn func(*kgo.Record) error) error {
	at, from := map[int32]int64{}, map[int32]kgo.Offset{}
	for p, s := range spans {
		if s.From < s.To {
			at[p], from[p] = s.From, kgo.NewOffset().At(s.From)
		}
	}
	if len(at) == 0 {
		return nil
	}
	// Control records show how far a partition has been read where a transaction was aborted.
	cl, err := kgo.NewClient(append(client[:len(client):len(client)], kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), kgo.FetchMaxBytes(32<<20), kgo.FetchMaxPartitionBytes(16<<20))...)
	if err != nil {
		return fmt.Errorf("read %s: %w", topic, err)
	}
	defer cl.Close()
	for {
		for p := range at {
			if at[p] >= spans[p].To {
				delete(at, p)
			}
		}
		if len(at) == 0 {
			return nil
		}
		n, err := readSome(ctx, cl, topic, at, spans, fn)
		if err != nil {
			return err
		}
		if n > 0 {
			continue
		}
		for p := range at {
			empty, err := EmptyBetween(ctx, cl, topic, p, at[p], spans[p].To)
			if err != nil && !kerr.IsRetriable(err) {
				return fmt.Errorf("read %s/%d at offset %d: %w", topic, p, at[p], err)
			}
			if empty {
				at[p] = spans[p].To
			}
		}
	}
}

// readSome hands out what one poll brings, moves at along and returns how many records there were.
func readSome(ctx context.Context, cl *kgo.Client, topic string, at map[int32]int64, spans map[int32]Span, fn func(*kgo.Record) error) (n int, err error) {
	pollCtx, cancel := context.WithTimeout(ctx, stallAfter)
	fetches := cl.PollRecords(pollCtx, 50_000)
	cancel()
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	fetches.EachError(func(_ string, p int32, e error) {
		if !errors.Is(e, context.DeadlineExceeded) && !kerr.IsRetriable(e) {
			err = errors.Join(err, fmt.Errorf("read %s/%d: %w", topic, p, e))
		}
	})
	if err != nil {
		return 0, err
	}
	for it := fetches.RecordIter(); !it.Done(); {
		rec := it.Next()
		n++
		if _, open := at[rec.Partition]; !open {
			continue
		}
		if rec.Offset < spans[rec.Partition].To && !rec.Attrs.IsControl() {
			if err := fn(rec); err != nil {
				return n, err
			}
		}
		at[rec.Partition] = rec.Offset + 1
	}
	return n, nil
}

// EmptyBetween asks the leader of a partition with a bare fetch whether the offsets from `from` to before end are stable
// and hold no batch: compaction and the expiry of transaction markers may remove the last records of a log, and then no
// record ever comes that would say so.
func EmptyBetween(ctx context.Context, cl *kgo.Client, topic string, partition int32, from, end int64) (bool, error) {
	topics, err := kadm.NewClient(cl).ListTopics(ctx, topic)
	if err != nil {
		return false, err
	}
	leader := topics[topic].Partitions[partition].Leader
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.IsolationLevel = 100, 1, 1<<20, 1
	req.SessionEpoch = -1
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic, rt.TopicID = topic, topics[topic].ID
	rp := kmsg.NewFetchRequestTopicPartition()
	rp.Partition, rp.FetchOffset, rp.PartitionMaxBytes = partition, from, 1<<20
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	kresp, err := cl.Broker(int(leader)).RetriableRequest(ctx, req)
	if err != nil {
		return false, err
	}
	resp := kresp.(*kmsg.FetchResponse)
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return false, err
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if p.Partition != partition {
				continue
			}
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return false, err
			}
			return len(p.RecordBatches) == 0 && p.LastStableOffset >= end, nil
		}
	}
	return false, nil
}
