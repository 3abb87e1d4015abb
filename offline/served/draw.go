package served

import (
	"cmp"
	"container/heap"
	"context"
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/ingest"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/replay"
	"github.com/freshet-io/freshet/offline/rowbytes"
)

// inference is one that was drawn.
type inference struct {
	hash     uint64
	meta     offline.Meta
	at       int64           // of the lookup
	values   []feature.Value // of the table's columns
	mistyped map[string]bool
}

// before is the order in which inferences are drawn, which depends on nothing but them.
func (a *inference) before(b *inference) int {
	return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.meta.Topic, b.meta.Topic), cmp.Compare(a.meta.Partition, b.meta.Partition),
		cmp.Compare(a.meta.Offset, b.meta.Offset))
}

// drawing holds the inferences with the smallest hashes so far, the largest of them on top.
type drawing struct {
	most    int
	rows    []*inference
	held    map[place]bool // of rows
	seen    int
	unkeyed int
}

// place is where an inference's record is.
type place struct {
	topic     string
	partition int32
	offset    int64
}

func placeOf(m *offline.Meta) place { return place{m.Topic, m.Partition, m.Offset} }

func (d *drawing) Len() int           { return len(d.rows) }
func (d *drawing) Less(i, j int) bool { return d.rows[i].before(d.rows[j]) > 0 }
func (d *drawing) Swap(i, j int)      { d.rows[i], d.rows[j] = d.rows[j], d.rows[i] }
func (d *drawing) Push(x any)         { d.rows = append(d.rows, x.(*inference)) }

func (d *drawing) Pop() any {
	last := d.rows[len(d.rows)-1]
	d.rows = d.rows[:len(d.rows)-1]
	return last
}

// draw reads a window's inferences and keeps some, in the order of their lookups.
func draw(ctx context.Context, store replay.Scanner, m *config.Monitor, start, end int64) (*drawing, error) {
	if len(m.Model.JoinKeys) == 0 {
		return nil, errNoKeys
	}
	t := offline.InferencesTable(m.Model)
	q := offline.Query{From: start, To: end}
	for i := range t.Columns {
		q.Columns = append(q.Columns, i)
	}
	d := &drawing{most: m.ValueSkew.Rows, held: map[place]bool{}}
	var one inference
	var text []byte
	err := store.Scan(ctx, t, q, func(_ int, b *offline.Batch) error {
		for i := range b.Len() {
			row := b.Row(i)
			one = inference{meta: b.Meta[i]}
			text = appendID(text[:0], m.Model, row, &one.meta)
			one.hash = xxhash.Sum64(text)
			d.seen++
			if len(d.rows) == d.most && one.before(d.rows[0]) >= 0 || d.held[placeOf(&one.meta)] {
				continue // a store may hand out a row twice
			}
			kept, err := keep(&one, row)
			if err != nil {
				return err
			}
			if len(d.rows) == d.most {
				delete(d.held, placeOf(&heap.Pop(d).(*inference).meta))
			}
			heap.Push(d, kept)
			d.held[placeOf(&kept.meta)] = true
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	d.settle(m.Model, t)
	return d, nil
}

// appendID appends what an inference is drawn by: its id, else where its record is.
func appendID(dst []byte, m *config.Model, row []feature.Value, at *offline.Meta) []byte {
	if m.ID >= 0 && !row[m.ID].IsNull() {
		return append(dst, row[m.ID].Str()...)
	}
	dst = binary.BigEndian.AppendUint32(append(dst, at.Topic...), uint32(at.Partition))
	return binary.BigEndian.AppendUint64(dst, uint64(at.Offset))
}

// keep copies a row, whose values are the store's.
func keep(one *inference, row []feature.Value) (*inference, error) {
	var rec []byte
	for i := range row {
		rec = rowbytes.Append(rec, &row[i])
	}
	kept := *one
	kept.meta.Topic = strings.Clone(one.meta.Topic)
	kept.values = make([]feature.Value, len(row))
	var err error
	for i := range row {
		if rec, err = rowbytes.Parse(rec, &kept.values[i]); err != nil {
			return nil, err
		}
	}
	return &kept, nil
}

// settle puts aside what nothing can be computed for, and finds the times of the lookups.
func (d *drawing) settle(m *config.Model, t *offline.Table) {
	asked := *m.Inferences
	asked.EventTime, asked.AllowedSkew = m.AsOf, time.Duration(1<<63-1)
	d.rows = slices.DeleteFunc(d.rows, func(one *inference) bool {
		for _, k := range m.JoinKeys {
			if one.values[k.Field].IsNull() {
				d.unkeyed++
				return true
			}
		}
		one.at = one.meta.Time
		if m.AsOf.Field >= 0 {
			if at, err := ingest.EventTime(&asked, one.values, one.meta.Arrived); err == nil {
				one.at = at
			}
		}
		last := &one.values[len(t.Columns)-1]
		one.mistyped = map[string]bool{}
		if last.Type().IsList() {
			for _, name := range last.List() {
				one.mistyped[name.Str()] = true
			}
		}
		return false
	})
	slices.SortFunc(d.rows, func(a, b *inference) int { return cmp.Or(cmp.Compare(a.at, b.at), a.before(b)) })
}
