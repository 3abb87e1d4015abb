package sink

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

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
	for id := range assigned {
		p, err := c.resume(ctx, id, log)
		if err != nil {
			c.fail("resume", err)
			return nil, err
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

// survey is what Kafka says of the topic's partitions.
type survey struct {
	start, end map[int32]int64
	told       kadm.OffsetResponses
}

func (c *consumer) survey(ctx context.Context) (*survey, error) {
	adm := kadm.NewClient(c.cl)
	topic := c.t.Source.Topic
	s := &survey{start: map[int32]int64{}, end: map[int32]int64{}}
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
func (c *consumer) resume(ctx context.Context, id int32, log *survey) (*part, error) {
	topic := c.t.Source.Topic
	p := &part{id: id, high: log.end[id], told: mark{offset: -1}}
	next, pending, known, err := c.Store.Resume(ctx, c.t, topic, id)
	if err != nil {
		return nil, fmt.Errorf("find where %s/%d goes on: %w", topic, id, err)
	}
	told, has := log.told.Lookup(topic, id)
	if has && (told.Err != nil || told.At < 0) {
		has = false
	}
	if has {
		if p.told, err = parseMark(told.At, told.Metadata); err != nil {
			p.stopped = err
			return p, nil
		}
	}
	recorded := func() *offline.Range {
		if !has || p.told.end == 0 {
			return nil
		}
		return &offline.Range{Topic: topic, Partition: id, First: p.told.offset, End: p.told.end}
	}
	switch {
	case pending != nil:
		p.next, p.redo = pending.First, pending
	case known:
		p.next = next
		if r := recorded(); r != nil && r.First == next {
			p.redo = r
		}
	case has:
		p.next, p.redo = p.told.offset, recorded()
	case c.t.Source.StartAt == "latest" && c.t.View == nil:
		p.next = log.end[id]
		return p, nil
	default:
		p.next = log.start[id]
		return p, nil
	}
	c.checkLog(p, log)
	return p, nil
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
