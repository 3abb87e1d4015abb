package feature

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// MaxKeyBytes bounds an encoded entity key.
const MaxKeyBytes = 4 << 10

// ErrNullKey is returned by AppendKey for a null join key value.
var ErrNullKey = errors.New("null join key")

// AppendKey appends the canonical bytes of an entity key to dst: for each join key value in the entity's order its
// type byte, then for Bool one byte, for Int64 and Timestamp eight bytes big-endian with the sign bit flipped (they
// sort as the numbers do), for String and Bytes a uvarint length and the bytes. Nothing is normalised: int64 1001,
// "1001" and "01001" are three entities. Floats and lists are no keys.
func AppendKey(dst []byte, vals ...Value) ([]byte, error) {
	start := len(dst)
	for i := range vals {
		v := &vals[i]
		switch v.typ {
		case Null:
			return dst[:start], ErrNullKey
		case Bool:
			dst = append(dst, byte(v.typ), byte(v.num))
		case Int64, Timestamp:
			dst = binary.BigEndian.AppendUint64(append(dst, byte(v.typ)), v.num^1<<63)
		case String, Bytes:
			dst = binary.AppendUvarint(append(dst, byte(v.typ)), uint64(len(v.str)))
			dst = append(dst, v.str...)
		default:
			return dst[:start], fmt.Errorf("a join key cannot be a %s", v.typ)
		}
	}
	if len(dst)-start > MaxKeyBytes {
		return dst[:start], fmt.Errorf("entity key of %d bytes; at most %d", len(dst)-start, MaxKeyBytes)
	}
	return dst, nil
}

// ParseKey is the inverse of AppendKey. The values share no memory with key.
func ParseKey(key []byte) ([]Value, error) {
	var vals []Value
	for len(key) > 0 {
		t := Type(key[0])
		key = key[1:]
		switch t {
		case Bool:
			if len(key) < 1 || key[0] > 1 {
				return nil, errors.New("entity key: bad bool")
			}
			vals, key = append(vals, BoolValue(key[0] == 1)), key[1:]
		case Int64, Timestamp:
			if len(key) < 8 {
				return nil, fmt.Errorf("entity key: short %s", t)
			}
			vals, key = append(vals, ScalarValue(t, binary.BigEndian.Uint64(key)^1<<63)), key[8:]
		case String, Bytes:
			n, w := binary.Uvarint(key)
			if w <= 0 || n > uint64(len(key)-w) {
				return nil, fmt.Errorf("entity key: short %s", t)
			}
			vals, key = append(vals, Value{typ: t, str: string(key[w : w+int(n)])}), key[w+int(n):]
		default:
			return nil, fmt.Errorf("entity key: unknown type byte %d", t)
		}
	}
	return vals, nil
}
