package feature

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// extreme is min and max, of the type of the input; null over no values. Exact; -0.0 is less than 0.0.
//
// State: 8 bytes, the value mapped to an unsigned number that sorts as the values do for max, and opposite to them
// for min, so that the extreme is the largest. Zero, which no finite float64 maps to, is the empty state of float64.
// For int64 and timestamp, which use every number, a ninth byte is 1 once there is a value.
type extreme struct {
	typ  Type
	flip uint64 // all ones for min
}

const (
	floatExtremeWidth = 8
	intExtremeWidth   = 9
)

func extremeType(s AggregatorSpec) (Type, error) { return s.In, s.check("", Int64, Float64, Timestamp) }

// Width implements Aggregator.
func (a extreme) Width() int {
	if a.typ == Float64 {
		return floatExtremeWidth
	}
	return intExtremeWidth
}

const signBit = 1 << 63

// sortable maps the bits of a value of type t to a number that sorts as the values do; unsortable is its inverse.
func sortable(t Type, num uint64) uint64 {
	if t == Float64 && num&signBit != 0 {
		return ^num
	}
	return num ^ signBit
}

func unsortable(t Type, key uint64) uint64 {
	if t == Float64 && key&signBit == 0 {
		return ^key
	}
	return key ^ signBit
}

// Add implements Aggregator.
func (a extreme) Add(state []byte, v *Value, _ *Order) []byte {
	key := sortable(a.typ, v.Num()) ^ a.flip
	binary.LittleEndian.PutUint64(state, max(binary.LittleEndian.Uint64(state), key))
	if a.typ != Float64 {
		state[8] = 1
	}
	return state
}

// Merge implements Aggregator.
func (a extreme) Merge(dst, src []byte) []byte {
	a.Fold(dst, src, a.Width(), 1)
	return dst
}

// Fold implements Aggregator.
func (a extreme) Fold(dst, states []byte, stride, n int) {
	key := binary.LittleEndian.Uint64(dst)
	if a.typ == Float64 {
		for i := range n {
			key = max(key, binary.LittleEndian.Uint64(states[i*stride:]))
		}
		binary.LittleEndian.PutUint64(dst, key)
		return
	}
	set := dst[8]
	for i := range n {
		s := states[i*stride : i*stride+intExtremeWidth]
		key = max(key, binary.LittleEndian.Uint64(s))
		set |= s[8]
	}
	binary.LittleEndian.PutUint64(dst, key)
	dst[8] = set
}

// Result implements Aggregator.
func (a extreme) Result(state []byte) Value {
	key := binary.LittleEndian.Uint64(state)
	if a.typ == Float64 && key == 0 || a.typ != Float64 && state[8] == 0 {
		return Value{}
	}
	return ScalarValue(a.typ, unsortable(a.typ, key^a.flip))
}

// Validate implements Aggregator.
func (a extreme) Validate(state []byte) error {
	if len(state) != a.Width() {
		return errStateWidth
	}
	if allZero(state) {
		return nil
	}
	if a.typ != Float64 {
		if state[8] != 1 {
			return errors.New("state is not an extreme")
		}
		return nil
	}
	if f := math.Float64frombits(unsortable(Float64, binary.LittleEndian.Uint64(state)^a.flip)); f-f != 0 {
		return fmt.Errorf("extreme of %v", f)
	}
	return nil
}
