package sink

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/internal/kafka"
	"github.com/freshet-io/freshet/offline"
)

// place decides where each assigned partition begins, before anything of it is fetched. An error has the client join the
// group again after a while.
func (c *consumer) place(ctx context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	<-c.made
	topic := c.t.Source.Topic
	assigned := offsets[topic]
	if len(assigned) == 0 {
		return offsets, nil
	}
	log, err := c.survey(ctx)
	if err != nil {
		c.fail("resume", err)
		return nil, err
	}
	places, recreated, err := c.known(ctx, log, slices.Sorted(maps.Keys(assigned)))
	if err != nil {
		c.fail("resume", err)
		return nil, err
	}
	for id := range assigned {
		p := c.resume(id, log, places)
		if recreated != nil {
			p.stopped = recreated
		}
		at := max(p.next, log.start[id])
		if p.stopped != nil {
			c.Logger.Error("a partition is not read", "store", c.Name, "table", c.t.Name, "topic", topic, "partition", id, "error", p.stopped)
			c.cl.PauseFetchPartitions(map[string][]int32{topic: {id}})
			at = log.end[id]
		} else {
			c.cl.ResumeFetchPartitions(map[string][]int32{topic: {id}})
		}
		assigned[id] = kgo.NewOffset().At(at).WithEpoch(-1)
		c.add(p)
	}
	c.works("resume")
	return offsets, nil
}

// known asks the store what it has of partitions. recreated says that it has offsets of another topic of the same name: then nothing
// can be gone on with.
func (c *consumer) known(ctx context.Context, log *survey, partitions []int32) (places map[int32]offline.Place, recreated, err error) {
	topic := c.t.Source.Topic
	if log.id != "" { // brokers before 2.8 give topics no ids
		filled, err := c.Store.Identify(ctx, c.t, topic, log.id)
		if err != nil {
			return nil, nil, fmt.Errorf("find which topic the table has records of: %w", err)
		}
		if filled != log.id {
			return nil, fmt.Errorf("topic %s was deleted and created again since table %s was filled: its offsets have started again, and new records "+
				"would be taken for those that the table has. Give the source a new name for a new table", topic, c.t.Name), nil
		}
	}
	places, err = c.Store.Resume(ctx, c.t, topic, partitions)
	if err != nil {
		return nil, nil, fmt.Errorf("find where %s goes on: %w", topic, err)
	}
	return places, nil, nil
}

// survey is what Kafka says of the topic and its partitions.
type survey struct {
	id         string // empty: it has none
	start, end map[int32]int64
	told       kadm.OffsetResponses
}

func (c *consumer) survey(ctx context.Context) (*survey, error) {
	adm := kadm.NewClient(c.cl)
	topic := c.t.Source.Topic
	s := &survey{start: map[int32]int64{}, end: map[int32]int64{}}
	described, err := kafka.DescribeTopic(ctx, adm, topic)
	if err != nil {
		return nil, err
	}
	if described.ID != [16]byte{} {
		s.id = hex.EncodeToString(described.ID[:])
	}
	starts, err1 := adm.ListStartOffsets(ctx, topic)
	ends, err2 := adm.ListCommittedOffsets(ctx, topic)
	var err3 error
	s.told, err3 = adm.FetchOffsets(ctx, c.group)
	if err := errors.Join(err1, err2, err3, starts.Error(), ends.Error()); err != nil {
		return nil, fmt.Errorf("list the offsets of %s: %w", topic, err)
	}
	if err := s.told.Error(); err != nil {
		return nil, fmt.Errorf("fetch the offsets of group %s: %w", c.group, err)
	}
	starts.Each(func(o kadm.ListedOffset) { s.start[o.Partition] = o.Offset })
	ends.Each(func(o kadm.ListedOffset) { s.end[o.Partition] = o.Offset })
	return s, nil
}

// resume decides by O2: what the store knows, else what the group was told, else where the source says a first start begins.
func (c *consumer) resume(id int32, log *survey, places map[int32]offline.Place) *part {
	topic := c.t.Source.Topic
	p := &part{id: id, high: log.end[id], told: mark{offset: -1}}
	place, known := places[id]
	told, has := log.told.Lookup(topic, id)
	if has && (told.Err != nil || told.At < 0) {
		has = false
	}
	if has {
		var err error
		if p.told, err = parseMark(told.At, told.Metadata); err != nil {
			p.stopped = err
			return p
		}
	}
	recorded := func() *offline.Range {
		if !has || p.told.end == 0 {
			return nil
		}
		return &offline.Range{Topic: topic, Partition: id, First: p.told.offset, End: p.told.end}
	}
	switch {
	case place.Pending != nil:
		p.next, p.redo = place.Pending.First, place.Pending
	case known:
		p.next = place.Next
		if r := recorded(); r != nil && r.First == place.Next {
			p.redo = r
		}
	case has:
		p.next, p.redo = p.told.offset, recorded()
	case c.t.Source.StartAt == "latest" && c.t.View == nil:
		p.next = log.end[id]
		return p
	default:
		p.next = log.start[id]
		return p
	}
	c.checkLog(p, log)
	return p
}

// checkLog stops a partition whose records are gone (O5), or goes past the gap.
func (c *consumer) checkLog(p *part, log *survey) {
	start, end := log.start[p.id], log.end[p.id]
	needed := p.next
	if p.redo != nil {
		needed = p.redo.End
	}
	switch {
	case needed > end:
		p.stopped = fmt.Errorf("the topic ends at offset %d, but %d has been read of it: was it deleted and created again?", end, needed)
	case p.next < start && !c.AcceptGap:
		p.stopped = fmt.Errorf("records %d to %d were deleted before they were read; --accept-gap goes on without them", p.next, start-1)
	case p.next < start:
		c.Metrics.gaps.WithLabelValues(c.Name, c.t.Name).Add(float64(start - p.next))
		c.Logger.Warn("records were deleted before they were read", "store", c.Name, "table", c.t.Name, "partition", p.id, "first", p.next, "next", start)
		if p.redo != nil && p.redo.End <= start { // nothing of it is left
			p.redo = nil
		}
		if p.redo == nil {
			p.next = start
		}
	}
}
