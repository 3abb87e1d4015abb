package parquet

import (
	"cmp"
	"container/heap"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	pq "github.com/parquet-go/parquet-go"

	"github.com/freshet-io/freshet/offline"
)

// dropRow says which rows are left out of a rewritten file; nil is none.
type dropRow func(l *layout, b *offline.Batch, row int) bool

// rewrite writes the rows of files of one day, those that are read from them, into one new merged file, and returns nil if no
// row is left. The file is nothing until a manifest names it. base is the sequence of the manifest that it is made against.
func (s *Store) rewrite(ctx context.Context, table string, base int64, files []*dataFile, drop dropRow) (out *mergedFile, dropped int64, err error) {
	m := &merge{drop: drop}
	defer func() { err = errors.Join(err, m.close()) }()
	for _, f := range files {
		if err := m.open(ctx, s, table, f); err != nil {
			return nil, 0, err
		}
	}
	if err := m.begin(); err != nil {
		return nil, 0, fmt.Errorf("merge files of table %s: %w", table, err)
	}
	if len(m.inputs) == 0 {
		return nil, m.dropped, nil
	}
	var random [8]byte
	_, _ = rand.Read(random[:]) // it never fails
	d := files[0].day
	out = &mergedFile{Path: d.folder() + "/" + mergedName(base, binary.BigEndian.Uint64(random[:]))}
	if err := s.writeMerged(ctx, table, m, []day{d}, out); err != nil {
		return nil, 0, err
	}
	return out, m.dropped, nil
}

// writeMerged writes the rows of a merge that has begun under the name out.Path, and says how many there are.
func (s *Store) writeMerged(ctx context.Context, table string, m *merge, days []day, out *mergedFile) error {
	fw := s.writers.get(table, m.layout, m.dictionaries())
	err := s.place.create(ctx, table+"/"+out.Path, func(w io.Writer) error {
		size := countingWriter{Writer: w}
		fw.begin(&size)
		if err := m.run(ctx, fw); err != nil {
			return err
		}
		err := fw.finish(offline.Join(m.ranges), days)
		out.Bytes, out.Rows = size.n, int64(fw.rows)
		return err
	})
	if err == nil {
		s.writers.put(fw)
	}
	return err
}

// rewriteInPlace leaves rows out of a file of a range that is half written, so that nobody reads it. The file keeps its name and what it says
// of its range; it goes when no row is left. A writer that comes back writes the whole range again, over it, and one that is still
// writing adds the days that are missing: in either case no other row is lost.
func (s *Store) rewriteInPlace(ctx context.Context, table string, f *dataFile, drop dropRow) (dropped int64, err error) {
	m := &merge{drop: drop}
	defer func() { err = errors.Join(err, m.close()) }()
	if err := m.open(ctx, s, table, f); err != nil {
		return 0, err
	}
	if err := m.begin(); err != nil {
		return 0, fmt.Errorf("rewrite a file of table %s: %w", table, err)
	}
	if len(m.inputs) == 0 {
		return m.dropped, s.place.remove(ctx, table+"/"+f.path)
	}
	if err := s.writeMerged(ctx, table, m, m.all[0].file.info.days, &mergedFile{Path: f.path}); err != nil {
		return 0, err
	}
	return m.dropped, nil
}

type countingWriter struct {
	io.Writer
	n int64
}

// Write counts what it passes on.
func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.n += int64(n)
	return n, err
}

// merge puts the rows of sorted files in one order. It is a heap of the inputs that have rows, by their next row.
type merge struct {
	layout  *layout
	ranges  []offline.Range
	all     []*mergeInput
	inputs  []*mergeInput
	drop    dropRow
	dropped int64
	out     offline.Batch
	rows    []int32
}

// mergeInput is one file of a merge.
type mergeInput struct {
	file   *opened
	chosen *dataFile
	groups []pq.RowGroup
	reader *rowReader
	batch  offline.Batch
	row    int
}

func (m *merge) open(ctx context.Context, s *Store, table string, f *dataFile) error {
	o, err := s.open(ctx, table, f, pq.SkipPageIndex(true))
	if err != nil {
		return err
	}
	m.all = append(m.all, &mergeInput{file: o, chosen: f, groups: o.file.RowGroups()})
	m.ranges = append(m.ranges, o.info.ranges...)
	if m.layout, err = m.layout.union(o.info.layout); err != nil {
		return fmt.Errorf("%s: %w", s.place.url(table+"/"+f.path), err)
	}
	return nil
}

// begin reads the first row of every input.
func (m *merge) begin() error {
	for _, in := range m.all {
		more, err := m.refill(in)
		if err != nil {
			return err
		}
		if more {
			m.inputs = append(m.inputs, in)
		}
	}
	heap.Init(m)
	return nil
}

// dictionaries chooses by the first rows of the inputs.
func (m *merge) dictionaries() []bool {
	most := m.inputs[0]
	for _, in := range m.inputs {
		if in.batch.Len() > most.batch.Len() {
			most = in
		}
	}
	rows := make([]int32, most.batch.Len())
	for i := range rows {
		rows[i] = int32(i)
	}
	return dictionaries(m.layout, &most.batch, rows)
}

// skip moves an input to the next row of its batch that is kept, from where it stands, and reports whether there is one.
func (m *merge) skip(in *mergeInput) bool {
	for ; in.row < in.batch.Len(); in.row++ {
		if !in.chosen.keeps(in.batch.Meta[in.row].Offset) {
			continue
		}
		if m.drop == nil || !m.drop(m.layout, &in.batch, in.row) {
			return true
		}
		m.dropped++
	}
	return false
}

// refill moves an input to the next row that is kept of the batches after the one it has read, and reports whether there is
// one.
func (m *merge) refill(in *mergeInput) (bool, error) {
	for {
		more, err := in.load(m.layout)
		if err != nil || !more {
			return false, err
		}
		in.row = 0
		if m.skip(in) {
			return true, nil
		}
	}
}

// load reads an input's next batch.
func (in *mergeInput) load(l *layout) (bool, error) {
	for {
		if in.reader != nil {
			more, err := in.reader.next(&in.batch)
			if err != nil || more {
				return more, err
			}
			if err := in.reader.close(); err != nil {
				return false, err
			}
			in.reader = nil
		}
		in.batch.Reset(0)
		if len(in.groups) == 0 {
			return false, nil
		}
		g := in.groups[0]
		in.groups = in.groups[1:]
		var err error
		if in.reader, err = newRowReader(in.file, in.chosen, g, l.columns, 0, g.NumRows()); err != nil {
			return false, err
		}
	}
}

// run writes all rows.
func (m *merge) run(ctx context.Context, fw *fileWriter) error {
	width := len(m.layout.columns)
	m.out.Reset(width)
	flush := func() error {
		err := fw.append(&m.out, m.rows)
		m.out.Reset(width)
		m.rows = m.rows[:0]
		return errors.Join(err, ctx.Err())
	}
	for len(m.inputs) > 0 {
		in := m.inputs[0]
		m.rows = append(m.rows, int32(len(m.out.Meta)))
		m.out.Meta = append(m.out.Meta, in.batch.Meta[in.row])
		m.out.Values = append(m.out.Values, in.batch.Row(in.row)...)
		in.row++
		more := m.skip(in)
		if !more || len(m.rows) == batchRows {
			// The rows share the memory of their inputs' batches: they are written before one of these is read anew.
			if err := flush(); err != nil {
				return err
			}
		}
		if !more {
			var err error
			if more, err = m.refill(in); err != nil {
				return err
			}
		}
		if more {
			heap.Fix(m, 0)
		} else {
			heap.Pop(m)
		}
	}
	return flush()
}

func (m *merge) close() error {
	var err error
	for _, in := range m.all {
		if in.reader != nil {
			err = errors.Join(err, in.reader.close())
		}
		err = errors.Join(err, in.file.Close())
	}
	return err
}

// Len is the number of inputs that have rows.
func (m *merge) Len() int { return len(m.inputs) }

// Less compares the next rows of two inputs.
func (m *merge) Less(i, j int) bool {
	a, b := m.inputs[i].next(), m.inputs[j].next()
	x, y := a.Order(), b.Order()
	return cmp.Or(x.Compare(&y), cmp.Compare(a.Topic, b.Topic)) < 0
}

func (in *mergeInput) next() *offline.Meta { return &in.batch.Meta[in.row] }

// Swap exchanges two inputs.
func (m *merge) Swap(i, j int) { m.inputs[i], m.inputs[j] = m.inputs[j], m.inputs[i] }

// Push adds an input.
func (m *merge) Push(x any) { m.inputs = append(m.inputs, x.(*mergeInput)) }

// Pop removes the last input.
func (m *merge) Pop() any {
	n := len(m.inputs) - 1
	x := m.inputs[n]
	m.inputs = m.inputs[:n]
	return x
}
