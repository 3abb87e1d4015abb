package processors

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/internal/kafka"
)

// topicPartition names a partition.
type topicPartition struct {
	topic     string
	partition int32
}

// stallAfter is how long a reader waits for a record before it asks the broker whether anything is left to read.
const stallAfter = 500 * time.Millisecond

// readToEnd reads partitions from the positions in at, which cl consumes from there, read-committed and with control
// records, until each position has reached the high watermark that the partition has now (R6), and calls fn for every
// record, control records included, and reached once for each partition that is there, which the caller may take into
// service while others are still waited for. It leaves in at the positions reached.
//
// The high watermark is asked for with read_uncommitted: a record below it may belong to a transaction whose commit
// marker has yet to arrive here, and must be waited for.
func readToEnd(ctx context.Context, cl *kgo.Client, at map[topicPartition]int64, fn func(*kgo.Record) error, reached func(topicPartition) error) error {
	ends, err := highWatermarks(ctx, cl, at)
	if err != nil {
		return err
	}
	return readUntil(ctx, cl, at, ends, fn, reached)
}

// readUntil is readToEnd with given ends, which it uses up. Records from an end on may be handed out too.
func readUntil(ctx context.Context, cl *kgo.Client, at, ends map[topicPartition]int64, fn func(*kgo.Record) error, reached func(topicPartition) error) error {
	for {
		for tp, end := range ends {
			if at[tp] >= end {
				delete(ends, tp)
				if err := reached(tp); err != nil {
					return err
				}
			}
		}
		if len(ends) == 0 {
			return nil
		}
		pollCtx, cancel := context.WithTimeout(ctx, stallAfter)
		fetches := cl.PollRecords(pollCtx, 50_000)
		cancel()
		if err := ctx.Err(); err != nil {
			return err
		}
		var failed error
		fetches.EachError(func(t string, p int32, err error) {
			if !errors.Is(err, context.DeadlineExceeded) && !kerr.IsRetriable(err) {
				failed = errors.Join(failed, fmt.Errorf("read %s: %w", taskName(t, p), err))
			}
		})
		if failed != nil {
			return failed
		}
		n := 0
		for it := fetches.RecordIter(); !it.Done(); {
			r := it.Next()
			n++
			if err := fn(r); err != nil {
				return err
			}
			at[topicPartition{r.Topic, r.Partition}] = r.Offset + 1
		}
		if n == 0 {
			if err := skipHoles(ctx, cl, at, ends); err != nil {
				return err
			}
		}
	}
}

// highWatermarks returns the end of each partition's log, transactions in flight included.
func highWatermarks[V any](ctx context.Context, cl *kgo.Client, of map[topicPartition]V) (map[topicPartition]int64, error) {
	return listOffsets(ctx, kadm.NewClient(cl).ListEndOffsets, "end", of)
}

// logStarts returns the first offset that each partition's log still has.
func logStarts[V any](ctx context.Context, cl *kgo.Client, of map[topicPartition]V) (map[topicPartition]int64, error) {
	return listOffsets(ctx, kadm.NewClient(cl).ListStartOffsets, "start", of)
}

// listOffsets asks list for the offsets of the partitions that are keys of `of`; which names them in errors.
func listOffsets[V any](ctx context.Context, list func(context.Context, ...string) (kadm.ListedOffsets, error), which string, of map[topicPartition]V) (map[topicPartition]int64, error) {
	topics := map[string]bool{}
	for tp := range of {
		topics[tp.topic] = true
	}
	names := slices.Sorted(maps.Keys(topics))
	listed, err := list(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("list %s offsets of %v: %w", which, names, err)
	}
	offsets := make(map[topicPartition]int64, len(of))
	for tp := range of {
		o, ok := listed.Lookup(tp.topic, tp.partition)
		if !ok || o.Err != nil {
			return nil, fmt.Errorf("list %s offset of %s: %w", which, taskName(tp.topic, tp.partition), errors.Join(o.Err, missing(ok)))
		}
		offsets[tp] = o.Offset
	}
	return offsets, nil
}

func missing(found bool) error {
	if found {
		return nil
	}
	return errors.New("the partition does not exist")
}

// skipHoles moves the position of a partition past an end of the log that holds nothing: compaction and the expiry of
// transaction markers may remove the last records below the high watermark, and then no record ever comes that would
// say so. A fetch at the position that returns no bytes although everything up to the end is stable is the proof.
func skipHoles(ctx context.Context, cl *kgo.Client, at, ends map[topicPartition]int64) error {
	for tp, end := range ends {
		if at[tp] >= end {
			continue
		}
		empty, err := kafka.EmptyBetween(ctx, cl, tp.topic, tp.partition, at[tp], end)
		if err != nil {
			if kerr.IsRetriable(err) {
				continue
			}
			return fmt.Errorf("read %s at offset %d: %w", taskName(tp.topic, tp.partition), at[tp], err)
		}
		if empty {
			at[tp] = end
		}
	}
	return nil
}
