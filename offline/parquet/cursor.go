package parquet

import (
	"errors"
	"fmt"
	"io"
	"unsafe"

	pq "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding"

	"github.com/freshet-io/freshet/internal/feature"
)

// cursor reads the values of one column of a row group, one after the other, from pages as they are decoded: whole slices
// of numbers and text, never one parquet.Value a value.
type cursor struct {
	typ    feature.Type // of the table's column
	elem   feature.Type
	pages  pq.Pages
	maxDef byte
	maxRep byte

	page pq.Page
	held []pq.Page // pages whose memory the last batch may share
	defs []byte    // of the page; empty where maxDef is 0
	reps []byte
	rows int // rows of the page that are left
	slot int // next level of the page
	at   int // next value of the page

	// The page's values: of a dictionary's page, index selects from them.
	index   []int32
	bits    []byte
	ints    []int64
	shorts  []int32
	floats  []float64
	text    []byte
	offsets []uint32
	lists   []feature.Value // elements of the batch's lists
}

func newCursor(chunk pq.ColumnChunk, leaf pq.LeafColumn, typ feature.Type, from int64) (*cursor, error) {
	c := &cursor{typ: typ, elem: typ.Elem(), pages: chunk.Pages(), maxDef: byte(leaf.MaxDefinitionLevel), maxRep: byte(leaf.MaxRepetitionLevel)}
	if from > 0 {
		if err := c.pages.SeekToRow(from); err != nil {
			return nil, errors.Join(err, c.pages.Close())
		}
	}
	return c, nil
}

func (c *cursor) close() error {
	c.release()
	if c.page != nil {
		pq.Release(c.page)
		c.page = nil
	}
	return c.pages.Close()
}

func (c *cursor) release() {
	for i, p := range c.held {
		pq.Release(p)
		c.held[i] = nil
	}
	c.held = c.held[:0]
	c.lists = c.lists[:0]
}

// fill writes the next n rows to dst[0], dst[stride], … What it wrote before is no longer valid.
func (c *cursor) fill(dst []feature.Value, stride, n int) error {
	c.release()
	for done := 0; done < n; {
		if c.rows == 0 {
			if err := c.load(); err != nil {
				return err
			}
		}
		k := min(n-done, c.rows)
		out := dst[done*stride:]
		switch {
		case c.typ.IsList():
			c.fillLists(out, stride, k)
		case c.maxDef > 0:
			c.fillOptional(out, stride, k)
		default:
			c.fillRequired(out, stride, k)
		}
		c.rows -= k
		done += k
	}
	return nil
}

// load takes the next page that has rows.
func (c *cursor) load() error {
	if c.page != nil {
		c.held = append(c.held, c.page)
		c.page = nil
	}
	for c.rows == 0 {
		page, err := c.pages.ReadPage()
		if err != nil {
			return err
		}
		c.page, c.rows, c.slot, c.at = page, int(page.NumRows()), 0, 0
		c.defs, c.reps = page.DefinitionLevels(), page.RepetitionLevels()
		if c.rows == 0 {
			pq.Release(page)
			c.page = nil
		}
	}
	return c.view()
}

// view takes the page's values apart.
func (c *cursor) view() error {
	data := c.page.Data()
	c.index = nil
	if d := c.page.Dictionary(); d != nil {
		c.index = data.Int32()
		values := d.Page()
		data = values.Data()
	}
	kind := data.Kind()
	switch {
	case kind == encoding.Boolean && c.elem == feature.Bool:
		c.bits = data.Boolean()
	case kind == encoding.Int64 && (c.elem == feature.Int64 || c.elem == feature.Timestamp):
		c.ints, c.shorts = data.Int64(), nil
	case kind == encoding.Int32 && c.elem == feature.Int64:
		c.shorts, c.ints = data.Int32(), nil
	case kind == encoding.Double && c.elem == feature.Float64:
		c.floats = data.Double()
	case kind == encoding.ByteArray && (c.elem == feature.String || c.elem == feature.Bytes):
		c.text, c.offsets = data.ByteArray()
	default:
		return fmt.Errorf("a column of %s holds %s", c.typ, kind)
	}
	return c.check()
}

// check makes sure that the page has as many values as its levels need: what is read from a broken file is an error, not
// a panic.
func (c *cursor) check() error {
	need := int(c.page.NumValues() - c.page.NumNulls())
	have := 0
	switch {
	case c.index != nil:
		have = len(c.index)
	case c.elem == feature.Bool:
		have = 8 * len(c.bits)
	case c.elem == feature.Float64:
		have = len(c.floats)
	case c.elem == feature.String || c.elem == feature.Bytes:
		have = max(len(c.offsets)-1, 0)
	default:
		have = len(c.ints) + len(c.shorts)
	}
	if have < need {
		return fmt.Errorf("a page has %d values and needs %d: %w", have, need, io.ErrUnexpectedEOF)
	}
	return nil
}

// value returns the value at a place of the page.
func (c *cursor) value(at int) feature.Value {
	if c.index != nil {
		at = int(c.index[at])
	}
	switch c.elem {
	case feature.Bool:
		return feature.BoolValue(c.bits[at/8]>>(at%8)&1 != 0)
	case feature.Float64:
		return feature.Float64Value(c.floats[at])
	case feature.String:
		return feature.StringValue(c.str(at))
	case feature.Bytes:
		return feature.BytesValue(c.str(at))
	case feature.Timestamp:
		return feature.TimestampValue(c.ints[at])
	}
	if c.shorts != nil {
		return feature.Int64Value(int64(c.shorts[at]))
	}
	return feature.Int64Value(c.ints[at])
}

func (c *cursor) str(at int) string {
	b := c.text[c.offsets[at]:c.offsets[at+1]]
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// fillRequired has the loops of the commonest columns apart from value.
func (c *cursor) fillRequired(dst []feature.Value, stride, n int) {
	at := c.at
	c.at += n
	switch {
	case c.index == nil && c.elem == feature.Float64:
		for i, f := range c.floats[at : at+n] {
			dst[i*stride] = feature.Float64Value(f)
		}
	case c.index == nil && c.shorts == nil && c.elem == feature.Int64:
		for i, x := range c.ints[at : at+n] {
			dst[i*stride] = feature.Int64Value(x)
		}
	case c.index != nil && c.elem == feature.String:
		for i, k := range c.index[at : at+n] {
			dst[i*stride] = feature.StringValue(c.str(int(k)))
		}
	default:
		for i := range n {
			dst[i*stride] = c.value(at + i)
		}
	}
}

func (c *cursor) fillOptional(dst []feature.Value, stride, n int) {
	at := c.at
	for i, def := range c.defs[c.slot : c.slot+n] {
		if def != c.maxDef {
			dst[i*stride] = feature.Value{}
			continue
		}
		dst[i*stride] = c.value(at)
		at++
	}
	c.at = at
	c.slot += n
}

// fillLists reads rows whose levels are those that fileWriter.column writes.
func (c *cursor) fillLists(dst []feature.Value, stride, n int) {
	for i := range n {
		def := c.defs[c.slot]
		if def < c.maxDef {
			dst[i*stride] = feature.Value{}
			if def == c.maxDef-1 {
				dst[i*stride] = feature.ListValue(c.elem, nil)
			}
			c.slot++
			continue
		}
		first := len(c.lists)
		for {
			c.lists = append(c.lists, c.value(c.at))
			c.at++
			c.slot++
			if c.slot == len(c.reps) || c.reps[c.slot] == 0 {
				break
			}
		}
		// Growing c.lists leaves lists that were cut from it before in the old memory, which stays as it is.
		dst[i*stride] = feature.ListValue(c.elem, c.lists[first:len(c.lists):len(c.lists)])
	}
}
