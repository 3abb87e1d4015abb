package replay

import (
	"encoding/binary"
	"fmt"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/rowbytes"
	"github.com/freshet-io/freshet/offline/spill"
)

// loader turns the rows that one goroutine reads into records.
type loader struct {
	l      *Log
	worker int
	events *spill.Writer
	ids    *spill.Writer
	clocks clocks
	times  map[int32]int64
	row    []feature.Value // of the source's schema
	keyVal []feature.Value
	key    []byte
	rec    []byte
	idRec  []byte
}

func (l *Log) newLoader(worker int) *loader {
	ld := &loader{
		l: l, worker: worker, events: l.sorter.Writer(), times: map[int32]int64{},
		row: make([]feature.Value, len(l.q.Table.Source.Schema)), keyVal: make([]feature.Value, len(l.q.Key)),
	}
	l.times[worker] = ld.times
	if l.ids != nil {
		ld.ids = l.ids.Writer()
		ld.clocks = clocks{}
	}
	return ld
}

func (ld *loader) close() error {
	if err := ld.events.Close(); err != nil {
		return err
	}
	if ld.ids == nil {
		return nil
	}
	ld.l.clocks = ld.l.clocks.merge(ld.clocks)
	return ld.ids.Close()
}

// take turns a batch into records.
func (ld *loader) take(b *offline.Batch) error {
	var kept int64
	for i := range b.Meta {
		m := &b.Meta[i]
		vals := b.Row(i)
		for j, c := range ld.l.columns {
			ld.row[c] = vals[j]
		}
		used, err := ld.takeRow(m)
		if err != nil {
			return fmt.Errorf("%s/%d offset %d: %w", m.Topic, m.Partition, m.Offset, err)
		}
		if used {
			kept++
		}
	}
	ld.l.scanned.Add(int64(len(b.Meta)))
	ld.l.kept.Add(kept)
	return nil
}

// takeRow takes one row up, if it is of use.
func (ld *loader) takeRow(m *offline.Meta) (used bool, err error) {
	l := ld.l
	if m.Time < feature.MinTime || m.Time > feature.MaxTime || m.Ordinal == probeMark {
		return false, fmt.Errorf("event time %d, ordinal %d: no event has these", m.Time, m.Ordinal)
	}
	if m.Deleted && !l.tombs {
		return false, nil // it deletes from views that are keyed as the source is, and only there
	}
	if ld.clocks != nil && !m.Deleted && m.Ordinal != 0 {
		ld.clocks.note(m.Partition, m.Offset, m.Time)
	}
	if !l.hasKey(ld.row, ld.keyVal) {
		return false, nil
	}
	if ld.key, err = feature.AppendKey(ld.key[:0], ld.keyVal...); err != nil {
		return false, nil // too long: it was refused when it was processed
	}
	if l.q.Task != nil && !m.Deleted {
		if err := ld.noteTask(m.Time); err != nil {
			return false, err
		}
	}
	e := l.hash(ld.key)
	if !l.q.All && !l.wanted.has(&e) {
		return false, nil
	}
	accepted := m.Deleted || l.q.Accept == nil || l.q.Accept(ld.worker, ld.row)
	if m.Deleted || l.id < 0 || ld.row[l.id].IsNull() {
		if !accepted {
			return false, nil
		}
		ld.encode(&e, m)
		return true, ld.events.Add(bucketOf(e[:], l.sorter.Buckets()), ld.rec)
	}
	ld.encode(&e, m)
	return true, ld.addID(&e, m, accepted)
}

// hasKey fills the values of the key, none of which may be null.
func (l *Log) hasKey(row, key []feature.Value) bool {
	for i, f := range l.q.Key {
		if row[f].IsNull() {
			return false
		}
		key[i] = row[f]
	}
	return true
}

func (ld *loader) noteTask(at int64) error {
	p, err := ld.l.q.Task(ld.row)
	if err != nil {
		return err
	}
	if was, ok := ld.times[p]; !ok || at > was {
		ld.times[p] = at
	}
	return nil
}

const (
	flagTombstone = 1 << 0
	flagTime      = 1 << 1 // the event time follows
)

// encode makes the record of a row.
func (ld *loader) encode(e *entity, m *offline.Meta) {
	by, flags := sortable(m.Time), byte(0)
	switch {
	case ld.l.q.Arrival:
		by, flags = sortable(m.Arrived), flagTime
	case m.Deleted:
		by, flags = 0, flagTime
	}
	if m.Deleted {
		flags |= flagTombstone
	}
	ld.rec = append(appendHead(ld.rec[:0], e, by, m.Ordinal, m.Partition, m.Offset), flags)
	if flags&flagTime != 0 {
		ld.rec = binary.LittleEndian.AppendUint64(ld.rec, uint64(m.Time))
	}
	if m.Deleted {
		return
	}
	for _, f := range ld.l.q.Fields {
		ld.rec = rowbytes.Append(ld.rec, &ld.row[f])
	}
}

// parseEvent is the inverse of encode.
func (l *Log) parseEvent(rec []byte, h *head, ev *Event) (tombstone bool, err error) {
	if len(rec) <= headLen {
		return false, errRecord
	}
	flags := rec[headLen]
	b := rec[headLen+1:]
	ev.Order = feature.Order{Time: unsortable(h.time), Ordinal: h.ordinal, Partition: h.partition, Offset: h.offset}
	if l.q.Arrival {
		ev.Arrived = ev.Order.Time
	}
	if flags&flagTime != 0 {
		if len(b) < 8 {
			return false, errRecord
		}
		ev.Order.Time = int64(binary.LittleEndian.Uint64(b))
		b = b[8:]
	}
	if flags&flagTombstone != 0 {
		return true, nil
	}
	for _, f := range l.q.Fields {
		if b, err = rowbytes.Parse(b, &ev.Row[f]); err != nil {
			return false, err
		}
	}
	return false, nil
}

// clocks are the stream times of a source's partitions: how far event time had come when a record came.
type clocks map[int32]*clock

// maxSteps bounds the memory of one clock to 2 MiB.
const maxSteps = 1 << 18

// clock has for each step of 1<<shift offsets the largest event time of its records, NoTime if there is none; once it is
// complete, the largest of all steps up to it.
type clock struct {
	shift uint
	steps []int64
}

func (c clocks) note(partition int32, offset, at int64) {
	k := c[partition]
	if k == nil {
		k = &clock{}
		c[partition] = k
	}
	k.note(offset, at)
}

func (k *clock) note(offset, at int64) {
	for offset>>k.shift >= maxSteps {
		k.coarsen()
	}
	i := int(offset >> k.shift)
	for len(k.steps) <= i {
		k.steps = append(k.steps, feature.NoTime)
	}
	k.steps[i] = max(k.steps[i], at)
}

// coarsen makes steps of twice as many offsets.
func (k *clock) coarsen() {
	for i, t := range k.steps {
		if i%2 == 0 {
			k.steps[i/2] = t
		} else {
			k.steps[i/2] = max(k.steps[i/2], t)
		}
	}
	k.steps = k.steps[:(len(k.steps)+1)/2]
	k.shift++
}

func (c clocks) merge(o clocks) clocks {
	if c == nil {
		return o
	}
	for p, k := range o {
		mine := c[p]
		if mine == nil {
			c[p] = k
			continue
		}
		for mine.shift < k.shift {
			mine.coarsen()
		}
		for k.shift < mine.shift {
			k.coarsen()
		}
		for i, t := range k.steps {
			if t != feature.NoTime {
				mine.note(int64(i)<<mine.shift, t)
			}
		}
	}
	return c
}

// complete makes each step the largest time up to it.
func (c clocks) complete() {
	for _, k := range c {
		for i := 1; i < len(k.steps); i++ {
			k.steps[i] = max(k.steps[i], k.steps[i-1])
		}
	}
}

// before returns the stream time of a partition when a record came: of all steps before the record's own.
func (c clocks) before(partition int32, offset int64) int64 {
	k := c[partition]
	if k == nil {
		return feature.NoTime
	}
	i := int(offset>>k.shift) - 1
	if i < 0 || len(k.steps) == 0 {
		return feature.NoTime
	}
	return k.steps[min(i, len(k.steps)-1)]
}
