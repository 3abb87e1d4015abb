package processors

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/ingest"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/monitors/watch"
)

const (
	// wholeEvery is how often a profiler asks where the partitions of sources end.
	wholeEvery = time.Second
	// sourceTail is how many records of each partition of a source are read at a first start: that the source is old
	// already must be seen, its history need not.
	sourceTail = 100
)

// sourced is a source whose newest events monitors watch, with what is learnt of it.
type sourced struct {
	source     *config.Source
	models     map[*config.Model]bool
	by         []int
	reader     *ingest.Reader
	row        []feature.Value
	times      *watch.SourceTimes
	partitions int32
	next       map[int32]int64 // the offset after the last record that was polled
}

// freshnessSources are the sources that monitors watch the freshness of, by topic.
func freshnessSources(p *config.Plane) map[string]*sourced {
	out := map[string]*sourced{}
	for _, m := range p.Monitors {
		for _, f := range m.Freshness {
			s := out[f.Source.Topic]
			if s == nil {
				s = &sourced{source: f.Source, models: map[*config.Model]bool{}, row: make([]feature.Value, len(f.Source.Schema))}
				out[f.Source.Topic] = s
			}
			s.models[m.Model] = true
			if f.By >= 0 && !slices.Contains(s.by, f.By) {
				s.by = append(s.by, f.By)
			}
		}
	}
	return out
}

// begin forgets what an earlier session has read.
func (s *sourced) begin() {
	s.times, s.next = watch.NewSourceTimes(s.source, s.by), map[int32]int64{}
}

// assigned sets which partitions are read.
func (s *sourced) assigned(read []int32) {
	s.times.Partitions(read, s.partitions)
	maps.DeleteFunc(s.next, func(p int32, _ int64) bool { return !slices.Contains(read, p) })
}

// add reads a record. One that is refused says nothing of the source's time; the processors that use the source put it
// with its dead letters.
func (s *sourced) add(rec *kgo.Record) {
	s.next[rec.Partition] = rec.Offset + 1
	if rec.Attrs.IsControl() || s.reader.Tombstone(rec) {
		return
	}
	if at, _, bad := s.reader.Read(rec, s.row); bad == nil {
		s.times.Add(rec.Partition, s.row, at)
	}
}

// learnEnds notes which partitions of sources have been read to where they end now.
func (p *profiler) learnEnds(ctx context.Context) {
	now := p.now()
	if len(p.sources) == 0 || now.Sub(p.asked) < wholeEvery {
		return
	}
	p.asked = now
	ends, err := kadm.NewClient(p.sess.cl).ListCommittedOffsets(ctx, slices.Collect(maps.Keys(p.sources))...)
	if err != nil && ctx.Err() != nil {
		return
	}
	if err != nil {
		p.logger.Warn("it is not known where sources end: their freshness is as it was", "err", err)
		return
	}
	at := p.sess.assignment()
	ends.Each(func(o kadm.ListedOffset) {
		s := p.sources[o.Topic]
		if position, ok := at[topicPartition{o.Topic, o.Partition}]; ok && o.Err == nil && max(position, s.next[o.Partition]) >= o.Offset {
			s.times.Whole(o.Partition, now.UnixMicro())
		}
	})
}

// produceSources writes what has been learnt of sources, to each model whose monitors watch one.
func (p *profiler) produceSources(ctx context.Context) error {
	clock := p.now().UnixMicro()
	for _, m := range p.byTopic {
		d := watch.Delta{Clock: clock}
		for _, topic := range slices.Sorted(maps.Keys(p.sources)) {
			if s := p.sources[topic]; s.models[m.model] {
				d.Sources = append(d.Sources, s.times.Delta(clock))
			}
		}
		if len(d.Sources) == 0 {
			continue
		}
		value, err := d.AppendBinary(nil)
		if err != nil {
			return fmt.Errorf("model %s: %w", m.model.Name, err)
		}
		p.produceProfile(ctx, m.model, value)
	}
	return nil
}
