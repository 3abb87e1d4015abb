package feature

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Entries of states hold scalar values as: Bool one byte; Int64, Timestamp and Float64 eight bytes, little-endian;
// String and Bytes a uvarint length, at most MaxValueBytes, and the bytes.

// maxScalarBytes returns the length of the longest encoded value of type t.
func maxScalarBytes(t Type) int {
	switch t {
	case Bool:
		return 1
	case String, Bytes:
		return 2 + MaxValueBytes
	}
	return 8
}

// keeps reports whether a value is short enough to be kept in a state.
func keeps(v *Value) bool { return len(v.str) <= MaxValueBytes }

func appendScalar(dst []byte, v *Value) []byte {
	switch v.typ {
	case Bool:
		return append(dst, byte(v.num))
	case String, Bytes:
		return append(binary.AppendUvarint(dst, uint64(len(v.str))), v.str...)
	}
	return binary.LittleEndian.AppendUint64(dst, v.num)
}

// scalarLen returns the length of the encoded value of type t at the front of b, which is valid.
func scalarLen(t Type, b []byte) int {
	switch t {
	case Bool:
		return 1
	case String, Bytes:
		n, w := uvarint(b)
		return w + int(n)
	}
	return 8
}

// scalarAt returns the value of type t whose whole encoding is b, which is valid. It shares no memory with b.
func scalarAt(t Type, b []byte) Value {
	switch t {
	case Bool:
		return ScalarValue(Bool, uint64(b[0]))
	case String, Bytes:
		_, w := uvarint(b)
		return Value{typ: t, str: string(b[w:])}
	}
	return ScalarValue(t, binary.LittleEndian.Uint64(b))
}

// checkScalar returns the length of the encoded value at the front of b, from outside, or why there is none.
func checkScalar(t Type, b []byte) (int, error) {
	switch t {
	case Bool:
		if len(b) < 1 {
			return 0, errStateShort
		}
		if b[0] > 1 {
			return 0, fmt.Errorf("bool of %d", b[0])
		}
		return 1, nil
	case String, Bytes:
		n, w, err := checkUvarint(b)
		if err != nil {
			return 0, err
		}
		if n > MaxValueBytes {
			return 0, fmt.Errorf("value of %d bytes; at most %d", n, MaxValueBytes)
		}
		if int(n) > len(b)-w {
			return 0, errStateShort
		}
		return w + int(n), nil
	}
	if len(b) < 8 {
		return 0, errStateShort
	}
	if t == Float64 {
		if f := math.Float64frombits(binary.LittleEndian.Uint64(b)); f-f != 0 {
			return 0, errors.New("float64 that is not finite")
		}
	}
	return 8, nil
}

// uvarint is binary.Uvarint for valid input, which is mostly one byte.
func uvarint(b []byte) (uint64, int) {
	if b[0] < 0x80 {
		return uint64(b[0]), 1
	}
	return binary.Uvarint(b)
}

// uvarintLen returns the length of x as a uvarint.
func uvarintLen(x uint64) int {
	n := 1
	for ; x >= 0x80; x >>= 7 {
		n++
	}
	return n
}

// checkUvarint reads a uvarint in its shortest form.
func checkUvarint(b []byte) (uint64, int, error) {
	x, w := binary.Uvarint(b)
	switch {
	case w == 0:
		return 0, 0, errStateShort
	case w < 0 || w != uvarintLen(x):
		return 0, 0, errStateVarint
	}
	return x, w, nil
}
