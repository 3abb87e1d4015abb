package train

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unsafe"

	pq "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"github.com/freshet-io/freshet/internal/feature"
)

// parquetSpine is a Parquet file whose columns are scalars.
type parquetSpine struct {
	name string
	f    io.Closer // nil: who opened the file closes it
	r    *pq.GenericReader[any]
	cols []SpineColumn
	rows []pq.Row
	n, i int // rows read, and taken of them
	end  bool
}

func openParquet(path string, l Lists) (Spine, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	s, err := newParquet(path, f, l)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	s.f = f
	return s, nil
}

// ParquetSpine returns the rows of a Parquet file that is open, and stays open when the spine is closed; name is for errors.
func ParquetSpine(name string, f *os.File, l Lists) (Spine, error) {
	s, err := newParquet(name, f, l)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func newParquet(name string, f *os.File, l Lists) (*parquetSpine, error) {
	s := &parquetSpine{name: name, rows: make([]pq.Row, 1024)}
	if err := s.open(f, l); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}

func (s *parquetSpine) open(f *os.File, l Lists) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if st.Size() == 0 {
		return errEmpty
	}
	file, err := pq.OpenFile(f, st.Size(), pq.SkipBloomFilters(true), pq.SkipPageIndex(true), pq.ReadBufferSize(256<<10))
	if err != nil {
		return fmt.Errorf("not a Parquet file: %w", err)
	}
	of, read := pq.Group{}, file.Schema()
	for _, f := range file.Schema().Fields() {
		if l == SkipLists && isNested(f) {
			continue
		}
		c, err := parquetColumn(f)
		if err != nil {
			return fmt.Errorf("column %q: %w", f.Name(), err)
		}
		of[f.Name()] = c.Node
		s.cols = append(s.cols, c)
	}
	if len(s.cols) == 0 {
		return errEmpty
	}
	if len(s.cols) < len(file.Schema().Fields()) {
		read = pq.NewSchema(file.Schema().Name(), of) // its columns are by name
		slices.SortFunc(s.cols, func(a, b SpineColumn) int { return strings.Compare(a.Name, b.Name) })
	}
	s.r = pq.NewGenericReader[any](file, read)
	return checkColumns(s.cols)
}

// isNested reports whether a column is of lists or groups.
func isNested(f pq.Field) bool { return !f.Leaf() || f.Repeated() }

// parquetColumn tells what values of a column are.
func parquetColumn(f pq.Field) (SpineColumn, error) {
	c := SpineColumn{Name: f.Name(), Node: f}
	if isNested(f) {
		return c, errors.New("is a list or a group; a spine's columns are scalars: leave it out or flatten it")
	}
	c.Node = pq.Leaf(f.Type())
	if f.Optional() {
		c.Node = pq.Optional(c.Node)
	}
	logical := logicalType(f)
	switch kind := f.Type().Kind(); kind {
	case pq.Boolean:
		c.Type = feature.Bool
	case pq.Int32:
		c.Type, c.Unsigned = feature.Int64, unsigned(f)
	case pq.Int64:
		c.Type, c.Unsigned = feature.Int64, unsigned(f)
		if t, ok := logical.(*format.TimestampType); ok {
			c.Type, c.Zoneless = feature.Timestamp, !t.IsAdjustedToUTC
			switch t.Unit.Value.(type) {
			case *format.MilliSeconds:
				c.Unit = 1e3
			case *format.NanoSeconds:
				c.Unit = 1e9
			}
		}
	case pq.Float, pq.Double:
		c.Type = feature.Float64
	case pq.ByteArray, pq.FixedLenByteArray:
		c.Type = feature.Bytes
		switch logical.(type) {
		case *format.StringType, *format.EnumType, *format.JsonType:
			c.Type = feature.String
		}
	default:
		return c, fmt.Errorf("has the type %s, which is not supported: cast it", f.Type())
	}
	return c, nil
}

// logicalType returns what a column's values stand for, nil where they are what they are.
func logicalType(n pq.Node) format.LogicalTypeValue {
	if l := n.Type().LogicalType(); l != nil {
		return l.Value
	}
	return nil
}

// Plain reports whether values are what the column's Type says they are: not the digits of days, times of day or decimals.
func (c *SpineColumn) Plain() bool {
	if c.Node == nil {
		return true
	}
	switch logicalType(c.Node).(type) {
	case *format.DecimalType, *format.DateType, *format.TimeType, *format.Float16Type:
		return false
	}
	return true
}

// unsigned reports whether the bits of a column's integers have no sign.
func unsigned(n pq.Node) bool {
	t, ok := logicalType(n).(*format.IntType)
	return ok && !t.IsSigned
}

// Columns implements Spine.
func (s *parquetSpine) Columns() []SpineColumn { return s.cols }

// Next implements Spine. Values are the column's own, of whatever unit.
func (s *parquetSpine) Next(row []feature.Value) error {
	for s.i == s.n {
		if s.end {
			return io.EOF
		}
		n, err := s.r.ReadRows(s.rows)
		if err != nil && !isEnd(err) {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		s.n, s.i, s.end = n, 0, err != nil
	}
	r := s.rows[s.i]
	s.i++
	if len(r) != len(row) {
		return fmt.Errorf("%s: a row has %d values for %d columns", s.name, len(r), len(row))
	}
	for i := range r {
		row[i] = parquetValue(&s.cols[i], &r[i])
	}
	return nil
}

func parquetValue(c *SpineColumn, v *pq.Value) feature.Value {
	if v.IsNull() {
		return feature.Value{}
	}
	switch v.Kind() {
	case pq.Boolean:
		return feature.BoolValue(v.Boolean())
	case pq.Int32:
		if c.Unsigned {
			return feature.Int64Value(int64(uint32(v.Int32())))
		}
		return feature.Int64Value(int64(v.Int32()))
	case pq.Int64:
		return feature.ScalarValue(c.Type, uint64(v.Int64()))
	case pq.Float:
		return feature.Float64Value(float64(v.Float()))
	case pq.Double:
		return feature.Float64Value(v.Double())
	}
	b := v.ByteArray()
	text := unsafe.String(unsafe.SliceData(b), len(b))
	if c.Type == feature.String {
		return feature.StringValue(text)
	}
	return feature.BytesValue(text)
}

// Close implements Spine.
func (s *parquetSpine) Close() error {
	err := s.r.Close()
	if s.f != nil {
		err = errors.Join(err, s.f.Close())
	}
	return err
}
