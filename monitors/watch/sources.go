package watch

import (
	"encoding/binary"
	"encoding/json"
	"maps"
	"slices"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/monitors/baseline"
	"github.com/freshet-io/freshet/monitors/wire"
)

// SourceDelta is what a profiler has learnt of the times of a source's events since its last commit.
type SourceDelta struct {
	Source string
	Total  int32 // how many partitions the source's topic has
	Marks  []SourceMark
	Slices []SliceTime // newest events by slice, as "origin=JFK"
}

// SourceMark is how far one partition of a source has been read.
type SourceMark struct {
	Partition int32
	Newest    int64 // the largest event time seen, microseconds UTC, at most the profiler's clock; Unknown if none
	// Whole is the profiler's clock at which everything had been read that the partition had then; Unknown if it never was.
	Whole int64
}

// SliceTime is the largest event time of a slice.
type SliceTime struct {
	Slice  string
	Newest int64
}

// maxSourceSlices bounds how many slices of a source are known: of more, those whose newest events are the oldest are
// forgotten.
const maxSourceSlices = 1000

// maxSliceBytes bounds a value that is a slice of its own; longer ones are none, as in a field of free text.
const maxSliceBytes = 256

// SourceTimes learns the newest times of a source's events between two commits. What it has learnt stays true when a
// transaction is aborted, so there is nothing to take back. One goroutine uses it at a time.
type SourceTimes struct {
	source *config.Source
	by     []int // fields
	total  int32
	marks  map[int32]SourceMark
	slices []map[string]int64 // by field and value
}

// NewSourceTimes learns of a source, by the values of fields.
func NewSourceTimes(source *config.Source, by []int) *SourceTimes {
	s := &SourceTimes{source: source, by: by, marks: map[int32]SourceMark{}}
	for range by {
		s.slices = append(s.slices, map[string]int64{})
	}
	return s
}

// Partitions sets which partitions are read, of how many.
func (s *SourceTimes) Partitions(read []int32, total int32) {
	s.total = total
	for _, p := range read {
		if _, ok := s.marks[p]; !ok {
			s.marks[p] = SourceMark{Partition: p, Newest: Unknown, Whole: Unknown}
		}
	}
	maps.DeleteFunc(s.marks, func(p int32, _ SourceMark) bool { return !slices.Contains(read, p) })
}

// Add notes an event: a row of a partition, with its event time in microseconds.
func (s *SourceTimes) Add(partition int32, row []feature.Value, at int64) {
	m, ok := s.marks[partition]
	if !ok {
		m = SourceMark{Partition: partition, Whole: Unknown}
	}
	if !ok || at > m.Newest {
		m.Newest = at
		s.marks[partition] = m
	}
	for i, field := range s.by {
		if v := &row[field]; v.Type() == feature.String && len(v.Str()) <= maxSliceBytes {
			if newest, ok := s.slices[i][v.Str()]; ok && at > newest {
				s.slices[i][string([]byte(v.Str()))] = at
			} else if !ok && len(s.slices[i]) < maxSourceSlices {
				s.slices[i][string([]byte(v.Str()))] = at // the row's strings alias its record
			}
		}
	}
}

// Whole notes that everything has been read that a partition had at a time.
func (s *SourceTimes) Whole(partition int32, clock int64) {
	if m, ok := s.marks[partition]; ok {
		m.Whole = clock
		s.marks[partition] = m
	}
}

// Delta returns what has been learnt since the last commit; clock is now, which no event is ahead of.
func (s *SourceTimes) Delta(clock int64) SourceDelta {
	d := SourceDelta{Source: s.source.Name, Total: s.total}
	for _, p := range slices.Sorted(maps.Keys(s.marks)) {
		m := s.marks[p]
		m.Newest = min(m.Newest, clock)
		d.Marks = append(d.Marks, m)
	}
	for i, field := range s.by {
		for _, v := range slices.Sorted(maps.Keys(s.slices[i])) {
			d.Slices = append(d.Slices, SliceTime{baseline.SliceName(s.source.Schema[field].Name, v), min(s.slices[i][v], clock)})
		}
	}
	return d
}

// Committed notes that what Delta returned is committed.
func (s *SourceTimes) Committed() {
	for _, of := range s.slices {
		clear(of)
	}
}

func (d *SourceDelta) append(dst []byte) []byte {
	dst = binary.AppendUvarint(wire.AppendBytes(dst, d.Source), uint64(d.Total))
	dst = binary.AppendUvarint(dst, uint64(len(d.Marks)))
	for _, m := range d.Marks {
		dst = binary.AppendVarint(binary.AppendVarint(binary.AppendUvarint(dst, uint64(m.Partition)), m.Newest), m.Whole)
	}
	dst = binary.AppendUvarint(dst, uint64(len(d.Slices)))
	for _, s := range d.Slices {
		dst = binary.AppendVarint(wire.AppendBytes(dst, s.Slice), s.Newest)
	}
	return dst
}

func readSource(r *wire.Reader) SourceDelta {
	d := SourceDelta{Source: r.Text(), Total: int32(min(r.Uvarint(), maxPartitions))}
	for range r.Count() {
		d.Marks = append(d.Marks, SourceMark{Partition: int32(min(r.Uvarint(), maxPartitions)), Newest: r.Varint(), Whole: r.Varint()})
	}
	for range r.Count() {
		d.Slices = append(d.Slices, SliceTime{Slice: r.Text(), Newest: r.Varint()})
	}
	return d
}

// sourceTimes is what a Watch knows of a source.
type sourceTimes struct {
	Marks  map[int32]*sourceMark `json:"marks"`
	Slices map[string]int64      `json:"slices,omitempty"`
}

// sourceMark is a SourceMark, and since when its newest event has been that, by the profilers' clock.
type sourceMark struct {
	Newest int64 `json:"newest"`
	Since  int64 `json:"since"`
	Whole  int64 `json:"whole"`
}

func sourceRecord(name string) string { return "source/" + name }

// addSource takes up what a profiler has learnt of a source, if a monitor watches it.
func (w *Watch) addSource(d *SourceDelta) {
	s := w.sources[d.Source]
	if s == nil {
		return
	}
	w.changed[sourceRecord(d.Source)] = struct{}{}
	mark := func(p int32) *sourceMark {
		if s.Marks[p] == nil {
			s.Marks[p] = &sourceMark{Newest: Unknown, Since: w.progress.clock, Whole: Unknown}
		}
		return s.Marks[p]
	}
	for p := range d.Total {
		mark(p)
	}
	for _, m := range d.Marks {
		have := mark(m.Partition)
		if m.Newest > have.Newest {
			have.Newest, have.Since = m.Newest, w.progress.clock
		}
		have.Whole = max(have.Whole, m.Whole)
	}
	for _, t := range d.Slices {
		if newest, ok := s.Slices[t.Slice]; !ok || t.Newest > newest {
			s.Slices[t.Slice] = t.Newest
		}
	}
	for len(s.Slices) > maxSourceSlices {
		oldest := ""
		for slice, at := range s.Slices {
			if o := s.Slices[oldest]; oldest == "" || at < o || at == o && slice < oldest {
				oldest = slice
			}
		}
		delete(s.Slices, oldest)
	}
}

func (w *Watch) restoreSource(name string, value []byte) error {
	s := w.sources[name]
	if s == nil {
		w.changed[sourceRecord(name)] = struct{}{} // nobody watches it any more
		return nil
	}
	if err := json.Unmarshal(value, s); err != nil {
		return err
	}
	if s.Slices == nil {
		s.Slices = map[string]int64{}
	}
	if s.Marks == nil {
		s.Marks = map[int32]*sourceMark{}
	}
	return nil
}

// newest is the time of the newest event; Unknown if there is none.
func (s *sourceTimes) newest() int64 {
	newest := int64(Unknown)
	for _, m := range s.Marks {
		newest = max(newest, m.Newest)
	}
	return newest
}

// whole is the time as of which everything has been read of every partition; Unknown if there is none.
func (s *sourceTimes) whole() int64 {
	if len(s.Marks) == 0 {
		return Unknown
	}
	least := int64(1<<63 - 1)
	for _, m := range s.Marks {
		least = min(least, m.Whole)
	}
	return least
}

// stream is the source's own time: the least newest event of the partitions that are not idle, as W3 has it.
func (s *sourceTimes) stream(clock int64) int64 {
	least, idle := int64(1<<63-1), true
	for _, m := range s.Marks {
		if clock-m.Since < IdleAfter.Microseconds() || m.Whole < m.Since {
			least, idle = min(least, m.Newest), false
		}
	}
	if idle {
		return s.newest()
	}
	return least
}
