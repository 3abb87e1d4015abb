package processors

import (
	"maps"
	"math"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/ingest"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/monitors/join"
	"github.com/freshet-io/freshet/monitors/topics"
	"github.com/freshet-io/freshet/monitors/watch"
)

// labelled is a model with labels with what the profiler copies them with: inferences and labels may be partitioned in
// different ways, so both go to the joins topic, by inference id, in the transaction that commits their offsets.
type labelled struct {
	*profiled
	reader      *ingest.Reader
	row         []feature.Value
	deadLetters string
	partitions  int32
	// How far the partitions of labels that are read have come: now, and as of the last commit.
	marks, committed map[int32]int64
	told             time.Time
}

// tellEvery is how often joiners are told of a profiler's progress, unless nothing comes.
const tellEvery = 500 * time.Millisecond

// joined reports whether a model's labels are joined with its inferences: a monitor looks at its performance.
func joined(p *config.Plane, m *config.Model) bool {
	return m.Labels != nil && m.ID >= 0 && slices.ContainsFunc(p.Monitors, func(mon *config.Monitor) bool { return mon.Model == m && mon.Performance != nil })
}

func newLabelled(p *profiled, dlq string, partitions int32) (*labelled, error) {
	src := p.model.Labels.Source
	rd, err := ingest.NewReader(src)
	if err != nil {
		return nil, err
	}
	return &labelled{profiled: p, reader: rd, row: make([]feature.Value, len(src.Schema)), deadLetters: dlq, partitions: partitions, marks: map[int32]int64{}, committed: map[int32]int64{}}, nil
}

// joinKey is the key of an inference id in the joins topic and in the state of joiners. A model's name has no slash.
func joinKey(model, id string) []byte { return append(append([]byte(model), '/'), id...) }

// joinRecord is a record for joiners.
func joinRecord(topic, model, id string, rec join.Record) *kgo.Record {
	key := joinKey(model, id)
	return &kgo.Record{Topic: topic, Partition: ingest.Partition(key, topics.Partitions), Key: key, Value: rec.AppendBinary(nil)}
}

// inference is what joiners need of an inference that was read.
func (l *labelled) inference(topic string, rec *kgo.Record, row []feature.Value, at int64) *kgo.Record {
	in := &join.Inference{Order: join.Order{At: at, Partition: rec.Partition, Offset: rec.Offset}, Slices: l.acc.Slices(row)}
	if l.model.Prediction >= 0 {
		in.Prediction = row[l.model.Prediction]
	}
	return joinRecord(topic, l.model.Name, row[l.model.ID].Str(), join.Record{Inference: in})
}

// label is what joiners need of a label that was read into the row.
func (l *labelled) label(topic string, rec *kgo.Record, at int64) *kgo.Record {
	if at > l.marks[rec.Partition] {
		l.marks[rec.Partition] = at
	}
	lb := &join.Label{Order: join.Order{At: at, Partition: rec.Partition, Offset: rec.Offset}, Value: l.row[config.LabelValue]}
	return joinRecord(topic, l.model.Name, l.row[config.LabelID].Str(), join.Record{Label: lb})
}

// reads sets which partitions of labels are read.
func (l *labelled) reads(read []int32) {
	for _, p := range read {
		if _, ok := l.marks[p]; !ok {
			l.marks[p] = watch.Unknown
		}
	}
	maps.DeleteFunc(l.marks, func(p int32, _ int64) bool { return !slices.Contains(read, p) })
}

// progress tells the joiners of every partition how far the profiler is, with what it has copied in this transaction; nil if it
// is not time yet. Events may be ahead of the clock, and time is not: what is between now and then may still come.
func (l *labelled) progress(topic string, now time.Time) (recs []*kgo.Record) {
	if now.Sub(l.told) < tellEvery {
		return nil
	}
	l.told = now
	clock := now.UnixMicro()
	p := &join.Progress{Clock: clock}
	p.Of[join.Inferences].Total, p.Of[join.Labels].Total = l.profiled.partitions, l.partitions
	for _, m := range l.acc.Watermarks(clock) {
		p.Of[join.Inferences].Marks = append(p.Of[join.Inferences].Marks, join.Watermark{Partition: m.Partition, At: m.Watermark})
	}
	for _, part := range slices.Sorted(maps.Keys(l.marks)) {
		p.Of[join.Labels].Marks = append(p.Of[join.Labels].Marks, join.Watermark{Partition: part, At: min(l.marks[part], clock)})
	}
	value := join.Record{Progress: p}.AppendBinary(nil)
	for part := range int32(topics.Partitions) {
		recs = append(recs, &kgo.Record{Topic: topic, Partition: part, Key: []byte(l.model.Name), Value: value})
	}
	return recs
}

// ended takes up how the transaction ended.
func (l *labelled) ended(committed bool) {
	if committed {
		l.committed = maps.Clone(l.marks)
		return
	}
	l.told = time.Time{}
	for p := range l.marks {
		at, ok := l.committed[p]
		if !ok {
			at = math.MinInt64
		}
		l.marks[p] = at
	}
}
