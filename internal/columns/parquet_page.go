package columns

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"unsafe"

	pq "github.com/parquet-go/parquet-go"

	"github.com/freshet-io/freshet/internal/feature"
)

// numbersOf returns the values of a page that are not null, which are in no dictionary. They are valid until the next call.
func (c *chunkReader) numbersOf(page pq.Page) []float64 {
	data := page.Data()
	l := c.leaf
	switch {
	case l.kind == pq.Double:
		return data.Double()
	case l.kind == pq.Float:
		return convert(c, data.Float(), func(v float32) float64 { return float64(v) })
	case l.kind == pq.Int32 && l.unsigned:
		return convert(c, data.Uint32(), func(v uint32) float64 { return float64(v) })
	case l.kind == pq.Int32:
		return convert(c, data.Int32(), func(v int32) float64 { return float64(v) * l.scale })
	case l.unsigned:
		return convert(c, data.Uint64(), func(v uint64) float64 { return float64(v) })
	case l.floor > 0:
		return convert(c, data.Int64(), func(v int64) float64 { return float64(floor(v, l.floor)) })
	}
	return convert(c, data.Int64(), func(v int64) float64 { return float64(v) * l.scale })
}

func floor(v, by int64) int64 {
	q := v / by
	if v%by < 0 {
		q--
	}
	return q
}

func convert[T any](c *chunkReader, values []T, number func(T) float64) []float64 {
	c.numbers = c.numbers[:0]
	for _, v := range values {
		c.numbers = append(c.numbers, number(v))
	}
	return c.numbers
}

// texts gives the texts of a page to the sink.
func (c *chunkReader) texts(page pq.Page) {
	values := page.Data()
	data, offsets := values.ByteArray()
	for i := 0; i+1 < len(offsets); i++ {
		b := data[offsets[i]:offsets[i+1]]
		c.want.Sink.AddString(unsafe.String(unsafe.SliceData(b), len(b)), 1)
	}
}

var errIndex = errors.New("a value is not in the column's dictionary")

// indexed gives the values of a page that are indices of a dictionary to the sink: texts once each, with how often they
// are there.
func (c *chunkReader) indexed(indexes []int32, dict pq.Dictionary, text bool) error {
	n := dict.Len()
	for _, i := range indexes {
		if uint(i) >= uint(n) {
			return errIndex
		}
	}
	if !text {
		entries := c.numbersOf(dict.Page())
		if len(entries) != n {
			return errIndex
		}
		c.found = c.found[:0]
		for _, i := range indexes {
			c.found = append(c.found, entries[i])
		}
		c.want.Sink.AddFloat64s(c.found)
		return nil
	}
	if cap(c.counts) < n {
		c.counts = make([]uint64, n)
	}
	c.counts = c.counts[:n]
	clear(c.counts)
	for _, i := range indexes {
		c.counts[i]++
	}
	values := dict.Page().Data()
	data, offsets := values.ByteArray()
	if len(offsets) != n+1 {
		return errIndex
	}
	for i, count := range c.counts {
		if count > 0 {
			b := data[offsets[i]:offsets[i+1]]
			c.want.Sink.AddString(unsafe.String(unsafe.SliceData(b), len(b)), count)
		}
	}
	return nil
}

// oneByOne gives the values of a page to the sink by the library's general way, for kinds that are rare.
func (c *chunkReader) oneByOne(page pq.Page, text bool) error {
	if c.values == nil {
		c.values = make([]pq.Value, 256)
	}
	r := page.Values()
	for {
		n, err := r.ReadValues(c.values)
		c.numbers = c.numbers[:0]
		for i := range c.values[:n] {
			if v := &c.values[i]; !v.IsNull() {
				c.value(v, text)
			}
		}
		if len(c.numbers) > 0 {
			c.want.Sink.AddFloat64s(c.numbers)
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("reading values: %w", err)
		}
	}
}

// value takes a value: a text goes to the sink, a number to c.numbers.
func (c *chunkReader) value(v *pq.Value, text bool) {
	var buf [24]byte
	switch {
	case c.leaf.kind == pq.Boolean:
		c.want.Sink.AddString(strconv.FormatBool(v.Boolean()), 1)
	case c.leaf.kind == pq.Int96:
		c.numbers = append(c.numbers, int96(v))
	case c.leaf.kind == pq.FixedLenByteArray:
		c.want.Sink.AddString(string(v.ByteArray()), 1)
	case text: // codes
		code, ok := c.code(v)
		if !ok {
			c.want.Sink.AddMistyped(1)
			return
		}
		b := strconv.AppendInt(buf[:0], code, 10)
		c.want.Sink.AddString(string(b), 1)
	}
}

// code returns a number that is a category; a fraction is none.
func (c *chunkReader) code(v *pq.Value) (int64, bool) {
	var x float64
	switch c.leaf.kind {
	case pq.Int32:
		if c.leaf.unsigned {
			return int64(uint32(v.Int32())), true
		}
		return int64(v.Int32()), c.leaf.scale == 1
	case pq.Int64:
		return v.Int64(), c.leaf.scale == 1 && !(c.leaf.unsigned && v.Int64() < 0)
	case pq.Float:
		x = float64(v.Float())
	case pq.Double:
		x = v.Double()
	}
	return int64(x), x == math.Trunc(x) && math.Abs(x) < 1<<63
}

// int96 reads the timestamp of older writers: nanoseconds of the day, then the Julian day.
func int96(v *pq.Value) float64 {
	const epoch = 2_440_588
	t := v.Int96()
	nanos := int64(uint64(t[0]) | uint64(t[1])<<32)
	return float64((int64(t[2])-epoch)*24*3600*feature.Second + floor(nanos, 1000))
}
