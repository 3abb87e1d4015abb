package parquet

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"unsafe"

	pq "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/offline"
)

const (
	// rowGroupRows is small enough that a reader with two cores finds work for both in one file, and large enough that a
	// column's statistics and dictionary are worth their place.
	rowGroupRows = 128 << 10

	// chunkRows is how many rows are taken apart at a time: their values stay in a core's cache while each column passes
	// over them.
	chunkRows = 256

	pageBytes = 256 << 10

	// bloomBits a value of a key column: one in a hundred files is opened in vain.
	bloomBits = 10
)

// fileWriter writes files of one schema, one after the other. It fills columns directly: a row is never built.
type fileWriter struct {
	table   string
	layout  *layout
	dict    []bool
	writer  *pq.GenericWriter[any]
	columns []*pq.ColumnWriter
	chunk   offline.Batch
	values  []pq.Value
	group   int // rows in the row group so far
	rows    int
}

func newFileWriter(table string, l *layout, dict []bool) *fileWriter {
	var filters []pq.BloomFilterColumn
	for _, k := range l.key {
		filters = append(filters, pq.SplitBlockFilter(bloomBits, k))
	}
	w := pq.NewGenericWriter[any](io.Discard, l.schema(table, dict),
		pq.Compression(&zstd.Codec{Level: zstd.SpeedFastest}),
		pq.BloomFilters(filters...),
		pq.PageBufferSize(pageBytes),
		pq.CreatedBy("freshet", "1", ""),
		pq.SortingWriterConfig(pq.SortingColumns(
			pq.Ascending(offline.EventTime), pq.Ascending(offline.Ordinal), pq.Ascending(offline.Partition), pq.Ascending(offline.Offset),
		)),
	)
	return &fileWriter{table: table, layout: l, dict: dict, writer: w}
}

// begin starts a file.
func (f *fileWriter) begin(w io.Writer) {
	f.writer.Reset(w)
	f.group, f.rows = 0, 0
	f.columns = f.writer.ColumnWriters()
}

// append adds rows of a batch, in their order, whose values are the layout's columns.
func (f *fileWriter) append(b *offline.Batch, rows []int32) error {
	for len(rows) > 0 {
		n := min(len(rows), chunkRows, rowGroupRows-f.group)
		f.gather(b, rows[:n])
		for i := range f.layout.columns {
			values, err := f.column(i)
			if err == nil {
				err = f.write(i, values)
			}
			if err != nil {
				return err
			}
		}
		for k := range numMeta {
			if err := f.write(len(f.layout.columns)+k, f.meta(k)); err != nil {
				return err
			}
		}
		f.group, f.rows, rows = f.group+n, f.rows+n, rows[n:]
		if f.group == rowGroupRows {
			if err := f.writer.Flush(); err != nil {
				return err
			}
			f.group = 0
		}
	}
	return nil
}

// gather copies rows into a chunk. They lie apart, in an order of their own: reading each once, whole, costs less than
// finding it again for every column.
func (f *fileWriter) gather(b *offline.Batch, rows []int32) {
	f.chunk.Reset(b.Width)
	for _, r := range rows {
		f.chunk.Values = append(f.chunk.Values, b.Row(int(r))...)
		f.chunk.Meta = append(f.chunk.Meta, b.Meta[r])
	}
}

func (f *fileWriter) write(column int, values []pq.Value) error {
	_, err := f.columns[column].WriteRowValues(values)
	return err
}

// finish ends the file.
func (f *fileWriter) finish(ranges []offline.Range, days []day) error {
	f.writer.SetKeyValueMetadata(footerKey, encodeFooter(f.layout, ranges, days, f.rows))
	return f.writer.Close()
}

// column returns the chunk's values of one of the table's columns. Their levels are: without lists 1 or, if null, 0, of a column that
// can be null, else 0; with lists that of an empty list and one more for an element.
func (f *fileWriter) column(i int) ([]pq.Value, error) {
	c := &f.layout.columns[i]
	if c.Type.IsList() {
		return f.lists(i)
	}
	out := f.values[:0]
	for r := range f.chunk.Meta {
		v := &f.chunk.Values[r*f.chunk.Width+i]
		if v.Type() != c.Type {
			if !v.IsNull() || !c.Nullable {
				return nil, wrongType(c, v, &f.chunk.Meta[r])
			}
			out = append(out, pq.Value{})
			continue
		}
		p := parquetValue(v)
		if c.Nullable {
			p = p.Level(0, 1, i)
		}
		out = append(out, p)
	}
	f.values = out
	return out, nil
}

func wrongType(c *offline.Column, v *feature.Value, m *offline.Meta) error {
	return fmt.Errorf("column %q of %s/%d offset %d is %s, not %s", c.Name, m.Topic, m.Partition, m.Offset, v.Type(), c.Type)
}

// lists is column for lists.
func (f *fileWriter) lists(i int) ([]pq.Value, error) {
	c := &f.layout.columns[i]
	present := 0
	if c.Nullable {
		present = 1
	}
	out := f.values[:0]
	for r := range f.chunk.Meta {
		v := &f.chunk.Values[r*f.chunk.Width+i]
		switch {
		case v.IsNull() && c.Nullable:
			out = append(out, pq.Value{})
		case v.Type() != c.Type:
			return nil, wrongType(c, v, &f.chunk.Meta[r])
		case len(v.List()) == 0:
			out = append(out, pq.Value{}.Level(0, present, i))
		default:
			for k := range v.List() {
				out = append(out, parquetValue(&v.List()[k]).Level(min(k, 1), present+1, i))
			}
		}
	}
	f.values = out
	return out, nil
}

// parquetValue is a scalar that is not null. A string shares its memory: column buffers copy it.
func parquetValue(v *feature.Value) pq.Value {
	switch v.Type() {
	case feature.Bool:
		return pq.BooleanValue(v.Bool())
	case feature.Float64:
		return pq.DoubleValue(v.Float64())
	case feature.String, feature.Bytes:
		return textValue(v.Str())
	}
	return pq.Int64Value(v.Int64())
}

func textValue(s string) pq.Value {
	return pq.ByteArrayValue(unsafe.Slice(unsafe.StringData(s), len(s)))
}

// meta returns the chunk's values of one of the columns of every table.
func (f *fileWriter) meta(k int) []pq.Value {
	out := f.values[:0]
	for r := range f.chunk.Meta {
		m := &f.chunk.Meta[r]
		var v pq.Value
		switch k {
		case metaTime:
			v = pq.Int64Value(m.Time)
		case metaArrived:
			v = pq.Int64Value(m.Arrived)
		case metaDeleted:
			v = pq.BooleanValue(m.Deleted)
		case metaOrdinal:
			v = pq.Int32Value(int32(m.Ordinal))
		case metaTopic:
			v = textValue(m.Topic)
		case metaPartition:
			v = pq.Int32Value(m.Partition)
		case metaOffset:
			v = pq.Int64Value(m.Offset)
		}
		out = append(out, v)
	}
	f.values = out
	return out
}

// dictionarySample is how many rows decide whether a column is written by dictionary.
const dictionarySample = 512

// dictionaries chooses the columns whose values repeat: those of which, in a sample, less than half are new.
func dictionaries(l *layout, b *offline.Batch, rows []int32) []bool {
	dict := make([]bool, len(l.columns))
	step := max(1, len(rows)/dictionarySample)
	type content struct {
		text string
		num  uint64
	}
	seen := map[content]struct{}{}
	for i, c := range l.columns {
		if !encodable(c.Type) {
			continue
		}
		clear(seen)
		n := 0
		for k := 0; k < len(rows); k += step {
			v := &b.Values[int(rows[k])*b.Width+i]
			if len(v.List()) > 0 {
				v = &v.List()[0]
			}
			if !v.IsNull() && !v.Type().IsList() {
				n++
				seen[content{v.Str(), v.Num()}] = struct{}{}
			}
		}
		dict[i] = 2*len(seen) <= n
	}
	return dict
}

// writers keeps writers between files: their buffers are most of what a small file costs.
type writers struct {
	mu struct {
		sync.Mutex
		idle []*fileWriter
	}
}

// maxIdleWriters bounds the memory of the idle ones; a table has few schemas at a time.
const maxIdleWriters = 8

func (ws *writers) get(table string, l *layout, dict []bool) *fileWriter {
	ws.mu.Lock()
	for i, w := range ws.mu.idle {
		if w.table == table && slices.Equal(w.dict, dict) && slices.Equal(w.layout.key, l.key) && slices.EqualFunc(w.layout.columns, l.columns, sameColumn) {
			ws.mu.idle = slices.Delete(ws.mu.idle, i, i+1)
			ws.mu.Unlock()
			return w
		}
	}
	ws.mu.Unlock()
	return newFileWriter(table, l, dict)
}

func sameColumn(a, b offline.Column) bool {
	return a.Name == b.Name && a.Type == b.Type && a.Nullable == b.Nullable
}

func (ws *writers) put(w *fileWriter) {
	w.writer.Reset(io.Discard)
	clear(w.chunk.Values[:cap(w.chunk.Values)]) // they share the memory of the caller's batch
	clear(w.values[:cap(w.values)])
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if len(ws.mu.idle) == maxIdleWriters {
		ws.mu.idle = slices.Delete(ws.mu.idle, 0, 1)
	}
	ws.mu.idle = append(ws.mu.idle, w)
}
