package feature

import (
	"encoding/binary"
	"errors"

	"github.com/cespare/xxhash/v2"
)

// approxDistinct is approx_distinct: the number of different values of any scalar type, as int64; 0 over none. 0.0
// and -0.0 are one value. It is a HyperLogLog sketch of 2^12 registers: the standard error is 1.6 %, and about 0.2 %
// up to a thousand values. States depend on the set of values alone: every order and split of the same values gives
// the same bytes.
//
// State: nil, or a sparse or dense sketch (see hll.go) of the xxhash64 of each value's type byte and content: for Bool,
// Int64, Timestamp and Float64 their eight bytes, little-endian; for String and Bytes their bytes. At most 3073 bytes.
type approxDistinct struct {
	varying
	typ Type
}

func approxDistinctType(s AggregatorSpec) (Type, error) { return Int64, s.check("", scalars...) }

func newApproxDistinct(s AggregatorSpec) Aggregator { return approxDistinct{typ: s.In} }

func (approxDistinct) maxBytes() int { return hllMaxBytes }

// hashValue returns the hash of a value's type and content.
func hashValue(v *Value) uint64 {
	if v.typ == String || v.typ == Bytes {
		var d xxhash.Digest
		d.Reset()
		typ := [1]byte{byte(v.typ)}
		_, _ = d.Write(typ[:]) // never fails
		_, _ = d.WriteString(v.str)
		return d.Sum64()
	}
	num := v.num
	if v.typ == Float64 && num == signBit {
		num = 0
	}
	var b [9]byte
	b[0] = byte(v.typ)
	binary.LittleEndian.PutUint64(b[1:], num)
	return xxhash.Sum64(b[:])
}

// Add implements Aggregator.
func (approxDistinct) Add(state []byte, v *Value, _ *Order) []byte {
	return hllAdd(state, hashValue(v))
}

// Merge implements Aggregator.
func (approxDistinct) Merge(dst, src []byte) []byte {
	switch {
	case len(src) == 0:
		return dst
	case len(dst) == 0:
		return append(dst, src...)
	}
	return hllMerge(dst, src)
}

// Result implements Aggregator.
func (approxDistinct) Result(state []byte) Value {
	if len(state) == 0 {
		return Int64Value(0)
	}
	return Int64Value(hllEstimate(state))
}

// Validate implements Aggregator.
func (approxDistinct) Validate(state []byte) error {
	switch {
	case len(state) == 0:
		return nil
	case state[0] == hllSparse:
		return hllValidateSparse(state)
	case state[0] == hllDense:
		return hllValidateDense(state)
	}
	return errors.New("state is not a distinct sketch")
}
