package ingest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// DeadLetterOptions are what a client of List, Show and Replay needs besides its connection: dead letters are written
// in transactions, and a replay goes to the partition where the record was. The client does nothing else and is used
// by one call at a time.
func DeadLetterOptions() []kgo.Opt {
	return []kgo.Opt{
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // they show how far a partition has been read where a transaction was aborted
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RequiredAcks(kgo.AllISRAcks()),
	}
}

// Filter selects dead letters: those to which every stated condition applies. The zero Filter selects all.
type Filter struct {
	Classes  []Class      // any of them
	Since    time.Time    // dead-lettered at this time or later
	Until    time.Time    // dead-lettered before this time
	Origin   *Coordinates // the one dead letter of this record
	At       *Coordinates // the one dead letter at this place
	Contains string       // the reason contains this
	Limit    int          // at most so many, in the order of List; 0 for no limit
}

// Empty reports whether the filter selects everything.
func (f *Filter) Empty() bool {
	return len(f.Classes) == 0 && f.Since.IsZero() && f.Until.IsZero() && f.Origin == nil && f.At == nil && f.Contains == "" && f.Limit == 0
}

func (f *Filter) selects(l *Letter) bool {
	switch {
	case len(f.Classes) > 0 && !slices.Contains(f.Classes, l.Class),
		!f.Since.IsZero() && l.Time.Before(f.Since),
		!f.Until.IsZero() && !l.Time.Before(f.Until),
		f.Origin != nil && *f.Origin != l.Origin,
		f.At != nil && *f.At != l.At,
		!strings.Contains(l.Reason, f.Contains):
		return false
	}
	return true
}

// span is what is to be read of one partition: offsets next to end-1.
type span struct{ next, end int64 }

// List returns the dead letters of topic that filter selects, as the topic stands when List is called: in the order of
// offsets within a partition, in no order between partitions. It ends after the last one, or with an error.
func List(ctx context.Context, client *kgo.Client, topic string, filter Filter) iter.Seq2[Letter, error] {
	return func(yield func(Letter, error) bool) {
		spans, err := topicSpans(ctx, client, topic)
		if err != nil {
			yield(Letter{}, err)
			return
		}
		if at := filter.At; at != nil {
			s, ok := spans[at.Partition]
			spans = map[int32]span{}
			if ok && at.Topic == topic && at.Offset >= s.next && at.Offset < s.end {
				spans[at.Partition] = span{at.Offset, at.Offset + 1}
			}
		}
		selected := 0
		for rec, err := range readSpans(ctx, client, topic, spans) {
			if err != nil {
				yield(Letter{}, err)
				return
			}
			l, err := ParseLetter(rec)
			if err != nil {
				yield(Letter{}, err)
				return
			}
			if !filter.selects(&l) {
				continue
			}
			if selected++; !yield(l, nil) || selected == filter.Limit {
				return
			}
		}
	}
}

// topicSpans asks for the readable part of each partition. The end is the last stable offset: what lies behind it
// belongs to transactions that are not decided yet.
func topicSpans(ctx context.Context, client *kgo.Client, topic string) (map[int32]span, error) {
	const readCommitted = int8(1) // in Kafka's protocol, which is what the client tells
	if client.OptValue(kgo.FetchIsolationLevel) != readCommitted || client.OptValue(kgo.KeepControlRecords) != true {
		return nil, errors.New("read dead letters: the client does not have DeadLetterOptions")
	}
	adm := kadm.NewClient(client)
	starts, err := adm.ListStartOffsets(ctx, topic)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return nil, listError(topic, err)
	}
	ends, err := adm.ListCommittedOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, listError(topic, err)
	}
	spans := map[int32]span{}
	for p, end := range ends[topic] {
		if start := starts[topic][p]; start.Offset < end.Offset {
			spans[p] = span{start.Offset, end.Offset}
		}
	}
	return spans, nil
}

func listError(topic string, err error) error {
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		return fmt.Errorf("read dead letters: there is no topic %s", topic)
	}
	return fmt.Errorf("read dead letters: list offsets of %s: %w", topic, err)
}

// readSpans reads records until each partition's span is at its end.
func readSpans(ctx context.Context, client *kgo.Client, topic string, spans map[int32]span) iter.Seq2[*kgo.Record, error] {
	return func(yield func(*kgo.Record, error) bool) {
		offsets := make(map[int32]kgo.Offset, len(spans))
		for p, s := range spans {
			offsets[p] = kgo.NewOffset().At(s.next)
		}
		all := slices.Collect(maps.Keys(spans))
		client.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: offsets})
		defer client.RemoveConsumePartitions(map[string][]int32{topic: all})
		for len(spans) > 0 {
			fetches := client.PollFetches(ctx)
			if err := ctx.Err(); err != nil {
				yield(nil, fmt.Errorf("read dead letters of %s: %w", topic, err))
				return
			}
			for _, e := range fetches.Errors() {
				yield(nil, fmt.Errorf("read dead letters of %s partition %d: %w", e.Topic, e.Partition, e.Err))
				return
			}
			for it := fetches.RecordIter(); !it.Done(); {
				rec := it.Next()
				s, wanted := spans[rec.Partition]
				if !wanted || rec.Topic != topic {
					continue
				}
				if rec.Offset < s.end && !rec.Attrs.IsControl() && !yield(rec, nil) {
					return
				}
				if rec.Offset+1 >= s.end {
					delete(spans, rec.Partition)
				}
			}
		}
	}
}

// Summary counts dead letters.
type Summary struct {
	Total   int
	Classes map[Class]int
	First   time.Time // when the first and the last of them were dead-lettered
	Last    time.Time
}

// Add counts one more; the zero Summary is ready for it.
func (s *Summary) Add(l *Letter) {
	if s.Classes == nil {
		s.Classes = map[Class]int{}
	}
	s.Classes[l.Class]++
	if s.Total == 0 || l.Time.Before(s.First) {
		s.First = l.Time
	}
	if s.Total == 0 || l.Time.After(s.Last) {
		s.Last = l.Time
	}
	s.Total++
}

// ErrNoLetter is returned by Show when there is no dead letter at the place asked for.
var ErrNoLetter = errors.New("no dead letter there")

// Show returns the dead letter at the given place.
func Show(ctx context.Context, client *kgo.Client, at Coordinates) (Letter, error) {
	for l, err := range List(ctx, client, at.Topic, Filter{At: &at}) {
		return l, err
	}
	return Letter{}, fmt.Errorf("%s: %w", at, ErrNoLetter)
}
