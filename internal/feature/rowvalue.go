package feature

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The value of a row feature in a cell or a head. All numbers are little-endian.
//
// A feature of type bool, int64, float64 or timestamp has nine bytes in the fixed part:
//
//	0       u8    the type; 0 for null
//	1       u64   the content (bool: 0 or 1; float64: its bits); 0 for null
//
// A feature of another type has its value among the variable states: no byte at all for null, else
//
//	0       u8    the type
//	1       ...   string, bytes: the content, to the end
//	              lists: the elements one after the other, each a type byte and then
//	                     8 bytes of content as above, or uvarint length and the content;
//	                     a null element is the type byte 0 alone

// fixedRow reports whether values of type t have a place in the fixed part.
func fixedRow(t Type) bool { return t == Bool || t == Int64 || t == Float64 || t == Timestamp }

// putRowScalar writes v into the first rowScalarWidth bytes of b. What is not of type t is null.
func putRowScalar(b []byte, t Type, v *Value) {
	if v == nil || v.typ != t {
		clear(b[:rowScalarWidth])
		return
	}
	b[0] = byte(t)
	binary.LittleEndian.PutUint64(b[1:], v.num)
}

// rowScalar is the inverse of putRowScalar.
func rowScalar(b []byte, t Type) (Value, error) {
	num := binary.LittleEndian.Uint64(b[1:])
	switch {
	case b[0] == 0 && num == 0:
		return Value{}, nil
	case Type(b[0]) != t:
		return Value{}, fmt.Errorf("type byte %d where %s is due", b[0], t)
	case t == Bool && num > 1:
		return Value{}, fmt.Errorf("bool of content %d", num)
	}
	return Value{typ: t, num: num}, nil
}

// appendRowValue appends v to dst. What is not of type t is null.
func appendRowValue(dst []byte, t Type, v *Value) []byte {
	if v == nil || v.typ != t {
		return dst
	}
	dst = append(dst, byte(t))
	if !t.IsList() {
		return append(dst, v.str...)
	}
	for i := range v.list {
		el := &v.list[i]
		dst = append(dst, byte(el.typ))
		switch {
		case fixedRow(el.typ):
			dst = binary.LittleEndian.AppendUint64(dst, el.num)
		case el.typ != Null:
			dst = binary.AppendUvarint(dst, uint64(len(el.str)))
			dst = append(dst, el.str...)
		}
	}
	return dst
}

// rowValue is the inverse of appendRowValue. The value shares no memory with b.
func rowValue(b []byte, t Type) (Value, error) {
	if len(b) == 0 {
		return Value{}, nil
	}
	if Type(b[0]) != t {
		return Value{}, fmt.Errorf("type byte %d where %s is due", b[0], t)
	}
	b = b[1:]
	if !t.IsList() {
		return Value{typ: t, str: string(b)}, nil
	}
	list := []Value{}
	for len(b) > 0 {
		el, n, err := rowElement(b, t.Elem())
		if err != nil {
			return Value{}, fmt.Errorf("list element %d: %w", len(list), err)
		}
		list, b = append(list, el), b[n:]
	}
	return Value{typ: t, list: list}, nil
}

// rowElement reads the list element at the beginning of b and returns its length.
func rowElement(b []byte, t Type) (Value, int, error) {
	switch {
	case Type(b[0]) == Null:
		return Value{}, 1, nil
	case Type(b[0]) != t:
		return Value{}, 0, fmt.Errorf("type byte %d where %s is due", b[0], t)
	case fixedRow(t):
		if len(b) < rowScalarWidth {
			return Value{}, 0, errors.New("short")
		}
		v, err := rowScalar(b, t)
		return v, rowScalarWidth, err
	}
	n, w := binary.Uvarint(b[1:])
	if w <= 0 || n > uint64(len(b)-1-w) {
		return Value{}, 0, errors.New("short")
	}
	end := 1 + w + int(n)
	return Value{typ: t, str: string(b[1+w : end])}, end, nil
}
