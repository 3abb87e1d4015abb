package feature

import (
	"encoding/binary"
	"errors"
	"math/bits"
)

func meanType(s AggregatorSpec) (Type, error) { return Float64, s.check("", Int64, Float64) }

func newMean(s AggregatorSpec) Aggregator {
	if s.In == Float64 {
		return floatMean{}
	}
	return intMean{}
}

const meanWidth = 24

var errMeanCount = errors.New("state is a sum of no values")

// intMean is mean of int64, as float64; null over no values. The sum is exact, the division rounds once.
//
// State, 24 bytes: the sum, a 128-bit integer, then the number of values, 8 bytes.
type intMean struct{}

// Width implements Aggregator.
func (intMean) Width() int { return meanWidth }

// Add implements Aggregator.
func (intMean) Add(state []byte, v *Value, _ *Order) []byte {
	_ = state[meanWidth-1]
	int128At(state).add(int128Of(v.Int64())).put(state)
	binary.LittleEndian.PutUint64(state[16:], binary.LittleEndian.Uint64(state[16:])+1)
	return state
}

// Merge implements Aggregator.
func (a intMean) Merge(dst, src []byte) []byte {
	a.Fold(dst, src, meanWidth, 1)
	return dst
}

// Fold implements Aggregator.
func (intMean) Fold(dst, states []byte, stride, n int) {
	sum, count := int128At(dst), binary.LittleEndian.Uint64(dst[16:])
	for i := range n {
		s := states[i*stride : i*stride+meanWidth]
		sum = sum.add(int128At(s))
		count += binary.LittleEndian.Uint64(s[16:])
	}
	sum.put(dst)
	binary.LittleEndian.PutUint64(dst[16:], count)
}

// Result implements Aggregator.
func (intMean) Result(state []byte) Value {
	n := binary.LittleEndian.Uint64(state[16:])
	if n == 0 {
		return Value{}
	}
	return Float64Value(int128At(state).meanOf(n) + 0)
}

// Validate implements Aggregator.
func (intMean) Validate(state []byte) error {
	if len(state) != meanWidth {
		return errStateWidth
	}
	n := binary.LittleEndian.Uint64(state[16:])
	if n == 0 && !allZero(state) {
		return errMeanCount
	}
	mag, _ := int128At(state).abs()
	if hi, lo := n>>1, n<<63; int64(n) < 0 || mag.hi > hi || mag.hi == hi && mag.lo > lo {
		return errors.New("state is a sum that its number of values cannot reach")
	}
	return nil
}

// floatMean is mean of float64, as float64; null over no values. Within 1e-12 of the mean of the values' magnitudes.
//
// State, 24 bytes: the sum, a ddSum, then the number of values, 8 bytes.
type floatMean struct{}

// Width implements Aggregator.
func (floatMean) Width() int { return meanWidth }

// Add implements Aggregator.
func (floatMean) Add(state []byte, v *Value, _ *Order) []byte {
	_ = state[meanWidth-1]
	ddAt(state).plusValue(v.Float64()).put(state)
	binary.LittleEndian.PutUint64(state[16:], binary.LittleEndian.Uint64(state[16:])+1)
	return state
}

// Merge implements Aggregator.
func (floatMean) Merge(dst, src []byte) []byte {
	ddAt(dst).plus(ddAt(src)).put(dst)
	binary.LittleEndian.PutUint64(dst[16:], binary.LittleEndian.Uint64(dst[16:])+binary.LittleEndian.Uint64(src[16:]))
	return dst
}

// Fold implements Aggregator.
func (floatMean) Fold(dst, states []byte, stride, n int) {
	ddFold(ddAt(dst), states, stride, n).put(dst)
	count := binary.LittleEndian.Uint64(dst[16:])
	for i := range n {
		count += binary.LittleEndian.Uint64(states[i*stride+16:])
	}
	binary.LittleEndian.PutUint64(dst[16:], count)
}

// Result implements Aggregator.
func (floatMean) Result(state []byte) Value {
	n := binary.LittleEndian.Uint64(state[16:])
	if n == 0 {
		return Value{}
	}
	v := Float64Value(ddAt(state).meanOf(n))
	if !v.Finite() {
		return Value{}
	}
	return v
}

func (a floatMean) outOfRange(state []byte) bool {
	v := a.Result(state)
	return v.IsNull() && binary.LittleEndian.Uint64(state[16:]) != 0
}

// Validate implements Aggregator.
func (floatMean) Validate(state []byte) error {
	if len(state) != meanWidth {
		return errStateWidth
	}
	sum, n := ddAt(state), binary.LittleEndian.Uint64(state[16:])
	if (n == 0) != (sum.flags == 0) || bits.LeadingZeros64(n) == 0 {
		return errMeanCount
	}
	return sum.validate()
}
