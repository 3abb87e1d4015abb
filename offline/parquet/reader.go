package parquet

import (
	"errors"
	"fmt"
	"io"

	pq "github.com/parquet-go/parquet-go"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/offline"
)

// batchRows is how many rows a batch has at most: few enough that their values stay in a core's cache.
const batchRows = 512

// rowReader reads rows of one row group, some columns of them, in batches.
type rowReader struct {
	file    *opened
	chosen  *dataFile
	columns []*cursor // of the query's columns; nil where the file lacks one
	types   []feature.Type
	meta    [numMeta]*cursor // nil where what it says is known without reading
	topic   string
	part    int32
	ordinal uint8
	deleted bool

	left    int64 // rows still to read
	scratch []feature.Value
	topics  topicNames
}

// newRowReader begins to read rows [from, to) of a row group: columns by name and type.
func newRowReader(o *opened, chosen *dataFile, group pq.RowGroup, want []offline.Column, from, to int64) (*rowReader, error) {
	r := &rowReader{file: o, chosen: chosen, left: to - from}
	chunks := group.ColumnChunks()
	open := func(name string, typ feature.Type) (*cursor, error) {
		leaf, ok := leafOf(o.file.Schema(), name)
		if !ok {
			return nil, fmt.Errorf("the file has no column %q", name)
		}
		return newCursor(chunks[leaf.ColumnIndex], leaf, typ, from)
	}
	for _, c := range want {
		var cur *cursor
		if k := o.info.layout.column(c.Name); k >= 0 {
			if has := o.info.layout.columns[k].Type; has != c.Type {
				return nil, errors.Join(&typeError{column: c.Name, file: has, table: c.Type}, r.close())
			}
			var err error
			if cur, err = open(c.Name, c.Type); err != nil {
				return nil, errors.Join(err, r.close())
			}
		}
		r.columns, r.types = append(r.columns, cur), append(r.types, c.Type)
	}
	for k, m := range metaColumns {
		if r.constant(k, o, chunks) {
			continue
		}
		typ := feature.Int64
		switch k {
		case metaDeleted:
			typ = feature.Bool
		case metaTopic:
			typ = feature.String
		}
		var err error
		if r.meta[k], err = open(m.name, typ); err != nil {
			return nil, errors.Join(err, r.close())
		}
	}
	return r, nil
}

// constant reports whether a column of every table has one value in a row group that is known already: by the name of the
// file, or by the statistics.
func (r *rowReader) constant(k int, o *opened, chunks []pq.ColumnChunk) bool {
	switch k {
	case metaTopic, metaPartition:
		if r.chosen.merged {
			return false
		}
		r.topic, r.part = r.chosen.rng.Topic, r.chosen.rng.Partition
		return true
	case metaOrdinal, metaDeleted:
		leaf, ok := leafOf(o.file.Schema(), metaColumns[k].name)
		if !ok {
			return false
		}
		chunk, ok := chunks[leaf.ColumnIndex].(*pq.FileColumnChunk)
		if !ok {
			return false
		}
		low, high, ok := chunk.Bounds()
		if !ok || !pq.Equal(low, high) {
			return false
		}
		if k == metaOrdinal {
			r.ordinal = uint8(low.Int32())
		} else {
			r.deleted = low.Boolean()
		}
		return true
	}
	return false
}

func leafOf(s *pq.Schema, name string) (pq.LeafColumn, bool) {
	if leaf, ok := s.Lookup(name); ok {
		return leaf, true
	}
	return s.Lookup(name, "list", "element")
}

// next fills b with the next rows and reports whether there are any. Values are valid until the next call.
func (r *rowReader) next(b *offline.Batch) (bool, error) {
	n := int(min(r.left, batchRows))
	b.Reset(len(r.columns))
	if n == 0 {
		return false, nil
	}
	r.left -= int64(n)
	b.Values = grow(b.Values, n*len(r.columns))
	for i, c := range r.columns {
		if c == nil {
			for k := i; k < len(b.Values); k += b.Width {
				b.Values[k] = feature.Value{}
			}
			continue
		}
		if err := c.fill(b.Values[i:], b.Width, n); err != nil {
			return false, r.failed(err)
		}
	}
	if cap(b.Meta) < n {
		b.Meta = make([]offline.Meta, n)
	}
	b.Meta = b.Meta[:n]
	r.scratch = grow(r.scratch, n)
	for i := range b.Meta {
		b.Meta[i] = offline.Meta{Topic: r.topic, Partition: r.part, Ordinal: r.ordinal, Deleted: r.deleted}
	}
	for k, c := range r.meta {
		if c == nil {
			continue
		}
		if err := c.fill(r.scratch, 1, n); err != nil {
			return false, r.failed(err)
		}
		r.setMeta(k, b.Meta)
	}
	return true, nil
}

func grow(v []feature.Value, n int) []feature.Value {
	if cap(v) < n {
		return make([]feature.Value, n)
	}
	return v[:n]
}

func (r *rowReader) failed(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// setMeta spreads the values of scratch over one field of the rows.
func (r *rowReader) setMeta(k int, rows []offline.Meta) {
	for i := range rows {
		m, v := &rows[i], &r.scratch[i]
		switch k {
		case metaTime:
			m.Time = v.Int64()
		case metaArrived:
			m.Arrived = v.Int64()
		case metaDeleted:
			m.Deleted = v.Bool()
		case metaOrdinal:
			m.Ordinal = uint8(v.Int64())
		case metaTopic:
			m.Topic = r.topics.name(v.Str())
		case metaPartition:
			m.Partition = int32(v.Int64())
		case metaOffset:
			m.Offset = v.Int64()
		}
	}
}

// close releases what the reader holds. Batches it filled are no longer valid.
func (r *rowReader) close() error {
	var err error
	for _, c := range r.columns {
		if c != nil {
			err = errors.Join(err, c.close())
		}
	}
	for _, c := range r.meta {
		if c != nil {
			err = errors.Join(err, c.close())
		}
	}
	return err
}

// topicNames keeps a copy of each of the few topics that a merged file has, so that Meta.Topic, unlike values, stays valid.
type topicNames struct{ names []string }

func (t *topicNames) name(s string) string {
	for _, n := range t.names {
		if n == s {
			return n
		}
	}
	n := string(append([]byte(nil), s...))
	t.names = append(t.names, n)
	return n
}
