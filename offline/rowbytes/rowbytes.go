// Package rowbytes writes values as bytes for records of temporary files: compact, self-describing, of this process and
// version alone. What is kept has formats of its own.
package rowbytes

import (
	"encoding/binary"
	"errors"
	"unsafe"

	"github.com/freshet-io/freshet/internal/feature"
)

// Append appends a value: its type byte, then nothing (null), 1 byte (bool), 8 (numbers, times), uvarint length and bytes
// (string, bytes), or uvarint length and elements (lists).
func Append(dst []byte, v *feature.Value) []byte {
	t := v.Type()
	dst = append(dst, byte(t))
	switch {
	case t == feature.Null:
	case t.IsList():
		list := v.List()
		dst = binary.AppendUvarint(dst, uint64(len(list)))
		for i := range list {
			dst = Append(dst, &list[i])
		}
	case t == feature.Bool:
		dst = append(dst, byte(v.Num()))
	case t == feature.String, t == feature.Bytes:
		dst = binary.AppendUvarint(dst, uint64(len(v.Str())))
		dst = append(dst, v.Str()...)
	default:
		dst = binary.LittleEndian.AppendUint64(dst, v.Num())
	}
	return dst
}

var errShort = errors.New("a temporary record is damaged")

// Parse reads the value at the beginning of b into v, and returns the rest of b. Text shares b's memory.
func Parse(b []byte, v *feature.Value) ([]byte, error) {
	if len(b) == 0 {
		return nil, errShort
	}
	t := feature.Type(b[0])
	b = b[1:]
	switch {
	case t == feature.Null:
		*v = feature.Value{}
		return b, nil
	case !t.Valid():
		return nil, errShort
	case t.IsList():
		return parseList(b, t.Elem(), v)
	case t == feature.Bool:
		if len(b) < 1 {
			return nil, errShort
		}
		*v = feature.BoolValue(b[0] != 0)
		return b[1:], nil
	case t == feature.String, t == feature.Bytes:
		n, w := binary.Uvarint(b)
		if w <= 0 || n > uint64(len(b)-w) {
			return nil, errShort
		}
		text := b[w : w+int(n)]
		s := unsafe.String(unsafe.SliceData(text), len(text))
		if t == feature.String {
			*v = feature.StringValue(s)
		} else {
			*v = feature.BytesValue(s)
		}
		return b[w+int(n):], nil
	}
	if len(b) < 8 {
		return nil, errShort
	}
	*v = feature.ScalarValue(t, binary.LittleEndian.Uint64(b))
	return b[8:], nil
}

func parseList(b []byte, elem feature.Type, v *feature.Value) ([]byte, error) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(len(b)-w) { // an element has a byte at least
		return nil, errShort
	}
	b = b[w:]
	list := make([]feature.Value, n)
	for i := range list {
		var err error
		if b, err = Parse(b, &list[i]); err != nil {
			return nil, err
		}
	}
	*v = feature.ListValue(elem, list)
	return b, nil
}
