package feature

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// stampedType is the type of first and last: that of any scalar input.
func stampedType(s AggregatorSpec) (Type, error) { return s.In, s.check("", scalars...) }

// newStamped returns first (sign -1) or last (sign 1) of a type.
func newStamped(t Type, sign int) Aggregator {
	if t == String || t == Bytes {
		return stampedText{typ: t, sign: sign}
	}
	return stampedNumber{typ: t, sign: sign}
}

// An Order-stamped value is an encoded Order followed by the value. Encoded orders of events are not all zero (offsets
// are not negative), so a zero Order means that there is no value yet.

// stampedEmpty reports whether a fixed-width stamped state has no value.
func stampedEmpty(state []byte) bool {
	return binary.LittleEndian.Uint64(state[orderWidth-8:]) == 0 && allZero(state[:orderWidth])
}

// stampedNumber is first and last of bool, int64, float64 and timestamp.
//
// State: the Order of the event, 21 bytes, then the value: 1 byte for bool, else 8.
type stampedNumber struct {
	typ  Type
	sign int // of the comparison with which another order replaces the one held
}

// Width implements Aggregator.
func (a stampedNumber) Width() int { return orderWidth + maxScalarBytes(a.typ) }

// Add implements Aggregator.
func (a stampedNumber) Add(state []byte, v *Value, at *Order) []byte {
	var order [orderWidth]byte
	at.put(order[:])
	if a.replaces(order[:], state) {
		copy(state, order[:])
		if a.typ == Bool {
			state[orderWidth] = byte(v.Num())
		} else {
			binary.LittleEndian.PutUint64(state[orderWidth:], v.Num())
		}
	}
	return state
}

// replaces reports whether the order of state s, which may be empty, takes the place of that of state held.
func (a stampedNumber) replaces(s, held []byte) bool {
	x, y := binary.BigEndian.Uint64(s), binary.BigEndian.Uint64(held)
	if a.sign > 0 { // no order is before an empty state's
		return x > y || x == y && bytes.Compare(s[:orderWidth], held[:orderWidth]) > 0
	}
	if x > y && y != 0 || x == 0 && stampedEmpty(s) {
		return false
	}
	return x < y || bytes.Compare(s[:orderWidth], held[:orderWidth]) < 0 || stampedEmpty(held)
}

// Merge implements Aggregator.
func (a stampedNumber) Merge(dst, src []byte) []byte {
	a.Fold(dst, src, a.Width(), 1)
	return dst
}

// Fold implements Aggregator.
func (a stampedNumber) Fold(dst, states []byte, stride, n int) {
	width := a.Width()
	best := dst[:width]
	for i := range n {
		if s := states[i*stride : i*stride+width]; a.replaces(s, best) {
			best = s
		}
	}
	copy(dst, best)
}

// Result implements Aggregator.
func (a stampedNumber) Result(state []byte) Value {
	if stampedEmpty(state) {
		return Value{}
	}
	return scalarAt(a.typ, state[orderWidth:])
}

// Validate implements Aggregator.
func (a stampedNumber) Validate(state []byte) error {
	if len(state) != a.Width() {
		return errStateWidth
	}
	if stampedEmpty(state) {
		if !allZero(state) {
			return errStateEmpty
		}
		return nil
	}
	_, err := checkScalar(a.typ, state[orderWidth:])
	return err
}

// stampedText is first and last of string and bytes; values longer than MaxValueBytes count as null.
//
// State: the Order of the event, 21 bytes, then the value's bytes; at most 21 + MaxValueBytes. Empty: nil.
type stampedText struct {
	varying
	typ  Type
	sign int
}

func (stampedText) maxBytes() int { return orderWidth + MaxValueBytes }

// Add implements Aggregator.
func (a stampedText) Add(state []byte, v *Value, at *Order) []byte {
	if !keeps(v) {
		return state
	}
	var order [orderWidth]byte
	at.put(order[:])
	if len(state) != 0 && bytes.Compare(order[:], state[:orderWidth]) != a.sign {
		return state
	}
	return append(append(state[:0], order[:]...), v.str...)
}

// Merge implements Aggregator.
func (a stampedText) Merge(dst, src []byte) []byte {
	if len(src) == 0 || len(dst) != 0 && bytes.Compare(src[:orderWidth], dst[:orderWidth]) != a.sign {
		return dst
	}
	return append(dst[:0], src...)
}

// Result implements Aggregator.
func (a stampedText) Result(state []byte) Value {
	if len(state) == 0 {
		return Value{}
	}
	return Value{typ: a.typ, str: string(state[orderWidth:])}
}

// Validate implements Aggregator.
func (a stampedText) Validate(state []byte) error {
	switch {
	case len(state) == 0:
		return nil
	case len(state) < orderWidth:
		return errStateShort
	case len(state) > a.maxBytes():
		return errStateLong
	case stampedEmpty(state):
		return errors.New("state is stamped with no order")
	}
	return nil
}
