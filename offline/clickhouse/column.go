package clickhouse

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unsafe"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/freshet-io/freshet/internal/feature"
)

// form is how a column's values lie in a block. It follows the table's actual type, which may be wider than what the
// definition asks for.
type form struct {
	elem     feature.Type // of the elements, if list
	list     bool
	nullable bool
	low      bool // LowCardinality, of strings
}

// typeName is the ClickHouse type. A list is an array, which cannot be null there: an empty one is read as null.
func (f form) typeName() string {
	name := ""
	switch f.elem {
	case feature.Bool:
		name = "Bool"
	case feature.Int64:
		name = "Int64"
	case feature.Float64:
		name = "Float64"
	case feature.String, feature.Bytes:
		name = "String"
	case feature.Timestamp:
		name = "DateTime64(6, 'UTC')"
	}
	switch {
	case f.list:
		return "Array(" + name + ")"
	case f.nullable:
		name = "Nullable(" + name + ")"
	}
	if f.low {
		name = "LowCardinality(" + name + ")"
	}
	return name
}

// parseForm reads the type of an existing column that is to hold values of type t. ok is false if it cannot.
func parseForm(t feature.Type, typeName string) (f form, ok bool) {
	f = form{elem: t.Elem(), list: t.IsList()}
	rest := typeName
	unwrap := func(wrapper string) bool {
		inner, ok := strings.CutPrefix(rest, wrapper+"(")
		if ok {
			rest = strings.TrimSuffix(inner, ")")
		}
		return ok
	}
	f.low = unwrap("LowCardinality")
	f.nullable = unwrap("Nullable")
	return f, f.typeName() == typeName && (!f.low || f.elem == feature.String)
}

// column holds the values of one column of a block, for an INSERT or from a SELECT.
type column struct {
	form
	name   string
	nulls  proto.ColUInt8
	ends   proto.ColUInt64 // of the lists, in the elements
	bools  proto.ColBool
	nums   proto.ColInt64 // of int64 and timestamp, which is microseconds in both places
	floats proto.ColFloat64
	strs   proto.ColStr
	dict   dictionary
}

func newColumn(name string, f form) *column {
	c := &column{form: f, name: name}
	c.Reset()
	return c
}

var (
	_ proto.Column   = (*column)(nil)
	_ proto.Stateful = (*column)(nil)
)

// data is where the values themselves are.
func (c *column) data() proto.Column {
	switch {
	case c.low:
		return &c.dict
	case c.elem == feature.Bool:
		return &c.bools
	case c.elem == feature.Float64:
		return &c.floats
	case c.elem == feature.String, c.elem == feature.Bytes:
		return &c.strs
	}
	return &c.nums
}

// Type returns the ClickHouse type.
func (c *column) Type() proto.ColumnType { return proto.ColumnType(c.typeName()) }

// Rows returns the number of rows.
func (c *column) Rows() int {
	if c.list {
		return len(c.ends)
	}
	return c.data().Rows()
}

// Reset empties the column and keeps its memory.
func (c *column) Reset() {
	c.nulls.Reset()
	c.ends.Reset()
	c.data().Reset()
	c.dict.nullable = c.nullable
}

// EncodeState writes what precedes the data of a LowCardinality column.
func (c *column) EncodeState(b *proto.Buffer) {
	if c.low {
		b.PutInt64(dictionaryVersion)
	}
}

// DecodeState reads what EncodeState writes.
func (c *column) DecodeState(r *proto.Reader) error {
	if !c.low {
		return nil
	}
	if v, err := r.Int64(); err != nil || v != dictionaryVersion {
		return fmt.Errorf("dictionary version %d, want %d: %w", v, dictionaryVersion, err)
	}
	return nil
}

// EncodeColumn appends the data.
func (c *column) EncodeColumn(b *proto.Buffer) {
	switch {
	case c.list:
		c.ends.EncodeColumn(b)
	case c.nullable && !c.low:
		c.nulls.EncodeColumn(b)
	}
	c.data().EncodeColumn(b)
}

// WriteColumn is EncodeColumn without a copy where that can be had.
func (c *column) WriteColumn(w *proto.Writer) {
	switch {
	case c.list:
		c.ends.WriteColumn(w)
	case c.nullable && !c.low:
		c.nulls.WriteColumn(w)
	}
	c.data().WriteColumn(w)
}

// DecodeColumn reads the data of so many rows.
func (c *column) DecodeColumn(r *proto.Reader, rows int) error {
	switch {
	case c.list:
		if err := c.ends.DecodeColumn(r, rows); err != nil || rows == 0 {
			return err
		}
		elements := c.ends[rows-1]
		if elements > 1<<31 {
			return fmt.Errorf("%d elements in the lists of a block", elements)
		}
		rows = int(elements)
	case c.nullable && !c.low:
		if err := c.nulls.DecodeColumn(r, rows); err != nil {
			return err
		}
	}
	return c.data().DecodeColumn(r, rows)
}

// append adds a row. A null in a column that cannot be null is the type's zero: only a definition that was changed behind
// the table's back gives one.
func (c *column) append(v *feature.Value) {
	if c.list {
		for i := range v.List() {
			c.appendOne(&v.List()[i])
		}
		c.ends = append(c.ends, uint64(c.data().Rows()))
		return
	}
	if c.nullable && !c.low {
		null := uint8(0)
		if v.IsNull() {
			null = 1
		}
		c.nulls = append(c.nulls, null)
	}
	c.appendOne(v)
}

func (c *column) appendOne(v *feature.Value) {
	switch {
	case c.low:
		c.dict.append(v.Str(), v.IsNull())
	case c.elem == feature.Bool:
		c.bools = append(c.bools, v.Bool())
	case c.elem == feature.Float64:
		c.floats = append(c.floats, v.Float64())
	case c.elem == feature.String, c.elem == feature.Bytes:
		c.strs.Append(v.Str())
	default:
		c.nums = append(c.nums, v.Int64())
	}
}

// value returns row i. It aliases the column.
func (c *column) value(i int) feature.Value {
	switch {
	case c.list:
		first := 0
		if i > 0 {
			first = int(c.ends[i-1])
		}
		end := int(c.ends[i])
		if first == end {
			return feature.Value{}
		}
		vs := make([]feature.Value, 0, end-first)
		for k := first; k < end; k++ {
			vs = append(vs, c.one(k))
		}
		return feature.ListValue(c.elem, vs)
	case c.low:
		s, null := c.dict.row(i)
		if null {
			return feature.Value{}
		}
		return feature.StringValue(s)
	case c.nullable && c.nulls[i] != 0:
		return feature.Value{}
	}
	return c.one(i)
}

func (c *column) one(i int) feature.Value {
	switch c.elem {
	case feature.Bool:
		return feature.BoolValue(c.bools[i])
	case feature.Float64:
		return feature.Float64Value(c.floats[i])
	case feature.String:
		return feature.StringValue(strAt(&c.strs, i))
	case feature.Bytes:
		return feature.BytesValue(strAt(&c.strs, i))
	case feature.Timestamp:
		return feature.TimestampValue(c.nums[i])
	}
	return feature.Int64Value(c.nums[i])
}

// strAt returns a string that is valid until the column's next block.
func strAt(c *proto.ColStr, i int) string {
	p := c.Pos[i]
	return unsafe.String(unsafe.SliceData(c.Buf[p.Start:p.End:p.End]), p.End-p.Start)
}

// The native form of a LowCardinality column: a version; then, a block, flags with the width of an index, the block's
// distinct values, and an index a row. Of a nullable column value 0 stands for null.
const (
	dictionaryVersion  = 1
	flagGlobal         = 1 << 8 // a dictionary beyond the block: not asked for
	flagValues         = 1 << 9
	flagUpdate         = 1 << 10
	indexWidth8        = 0
	indexWidth16       = 1
	indexWidth32       = 2
	maxDictionaryIndex = 1 << 30
)

// dictionary is the strings of a LowCardinality column.
type dictionary struct {
	nullable bool
	index    map[string]uint32 // of an INSERT; its keys alias the rows
	keys     proto.ColStr
	rows     []uint32
}

// Type returns the type of the values.
func (d *dictionary) Type() proto.ColumnType { return proto.ColumnTypeString }

// Rows returns the number of rows.
func (d *dictionary) Rows() int { return len(d.rows) }

// Reset empties the dictionary; it holds on to no row.
func (d *dictionary) Reset() {
	clear(d.index)
	d.keys.Reset()
	d.rows = d.rows[:0]
}

func (d *dictionary) append(s string, null bool) {
	if d.nullable && d.keys.Rows() == 0 {
		d.keys.Append("") // null's place
	}
	if null && d.nullable {
		d.rows = append(d.rows, 0)
		return
	}
	at, ok := d.index[s]
	if !ok {
		if d.index == nil {
			d.index = map[string]uint32{}
		}
		at = uint32(d.keys.Rows())
		d.index[s] = at
		d.keys.Append(s)
	}
	d.rows = append(d.rows, at)
}

func (d *dictionary) row(i int) (s string, null bool) {
	at := d.rows[i]
	if d.nullable && at == 0 {
		return "", true
	}
	return strAt(&d.keys, int(at)), false
}

// EncodeColumn appends flags, values and indices.
func (d *dictionary) EncodeColumn(b *proto.Buffer) {
	width := indexWidth32
	switch n := d.keys.Rows(); {
	case n <= 1<<8:
		width = indexWidth8
	case n <= 1<<16:
		width = indexWidth16
	}
	b.PutInt64(int64(flagValues | flagUpdate | width))
	b.PutInt64(int64(d.keys.Rows()))
	d.keys.EncodeColumn(b)
	b.PutInt64(int64(len(d.rows)))
	for _, at := range d.rows {
		switch width {
		case indexWidth8:
			b.PutUInt8(uint8(at))
		case indexWidth16:
			b.PutUInt16(uint16(at))
		default:
			b.PutUInt32(at)
		}
	}
}

// WriteColumn is EncodeColumn.
func (d *dictionary) WriteColumn(w *proto.Writer) { w.ChainBuffer(d.EncodeColumn) }

// DecodeColumn reads what EncodeColumn writes, and checks that every index names a value.
func (d *dictionary) DecodeColumn(r *proto.Reader, rows int) error {
	if rows == 0 {
		return nil
	}
	flags, err := r.Int64()
	if err != nil {
		return fmt.Errorf("dictionary flags: %w", err)
	}
	if flags&flagGlobal != 0 || flags&flagValues == 0 {
		return fmt.Errorf("dictionary flags %#x: the values are not in the block", flags)
	}
	n, err := r.Int64()
	if err != nil || n < 0 || n > maxDictionaryIndex {
		return fmt.Errorf("%d values in a dictionary: %w", n, err)
	}
	if err := d.keys.DecodeColumn(r, int(n)); err != nil {
		return fmt.Errorf("dictionary: %w", err)
	}
	if got, err := r.Int64(); err != nil || got != int64(rows) {
		return fmt.Errorf("dictionary of %d rows, want %d: %w", got, rows, err)
	}
	size := 1 << (flags & 0xff)
	if size > 8 {
		return fmt.Errorf("dictionary flags %#x: no width of an index", flags)
	}
	raw := make([]byte, rows*size)
	if err := r.ReadFull(raw); err != nil {
		return fmt.Errorf("dictionary indices: %w", err)
	}
	for i := range rows {
		var wide [8]byte
		copy(wide[:], raw[i*size:(i+1)*size])
		at := binary.LittleEndian.Uint64(wide[:])
		if at >= uint64(n) {
			return fmt.Errorf("dictionary index %d of %d values", at, n)
		}
		d.rows = append(d.rows, uint32(at))
	}
	return nil
}
