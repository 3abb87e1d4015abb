package ingest

import (
	"encoding/base64"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
	"unsafe"

	"github.com/freshet-io/freshet/internal/feature"
)

// AppendJSON appends a value as the JSON that the decoder of a field of its type takes back bit for bit: numbers as
// numbers, a timestamp as microseconds, bytes in base64, a list as an array. What JSON or the decoder has no form for is
// null: NaN and infinities, and times outside the years 1 to 9999. Invalid UTF-8 is mended with U+FFFD, as it came from no event.
// It allocates nothing but room in dst.
func AppendJSON(dst []byte, v *feature.Value) []byte {
	if v.Type().IsList() {
		dst = append(dst, '[')
		for i := range v.List() {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = AppendJSON(dst, &v.List()[i])
		}
		return append(dst, ']')
	}
	switch v.Type() {
	case feature.Bool:
		return strconv.AppendBool(dst, v.Bool())
	case feature.Int64:
		return strconv.AppendInt(dst, v.Int64(), 10)
	case feature.Float64:
		if f := v.Float64(); !math.IsNaN(f) && !math.IsInf(f, 0) {
			return strconv.AppendFloat(dst, f, 'g', -1, 64)
		}
	case feature.Timestamp:
		if us := v.Int64(); us >= minMicros && us <= maxMicros {
			return strconv.AppendInt(dst, us, 10)
		}
	case feature.String:
		text := v.Str()
		if !utf8.ValidString(text) {
			text = strings.ToValidUTF8(text, "\uFFFD")
		}
		return appendJSONString(dst, text)
	case feature.Bytes:
		dst = append(dst, '"')
		dst = base64.StdEncoding.AppendEncode(dst, bytesOf(v.Str()))
		return append(dst, '"')
	}
	return append(dst, "null"...)
}

// AppendJSONName appends a field's name and the colon after it.
func AppendJSONName(dst []byte, name string) []byte {
	return append(appendJSONString(dst, name), ':')
}

// bytesOf returns the bytes of a string; they are not to be changed.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// list reads the array at pos, whose elements are all of one type and never null.
func (d *jsonDecoder) list(s *scanner, i int, v *feature.Value) *FieldError {
	elem := d.fields[i].Type.Elem()
	s.pos++
	s.space()
	var elems []feature.Value
	if s.peek() == ']' {
		s.pos++
		*v = feature.ListValue(elem, elems)
		return nil
	}
	for {
		s.space()
		var e feature.Value
		switch c := s.peek(); c {
		case 'n', '[', '{':
			return d.wrongType(i, "a list that holds null, a list or an object")
		default:
			if err := d.scalar(s, i, elem, c, &e); err != nil {
				return err
			}
		}
		elems = append(elems, e)
		more, ok := s.next(']')
		if !ok {
			return s.malformed()
		}
		if !more {
			*v = feature.ListValue(elem, elems)
			return nil
		}
	}
}
