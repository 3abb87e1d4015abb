package feature

import "errors"

func sumType(s AggregatorSpec) (Type, error) { return s.In, s.check("", Int64, Float64) }

func newSum(s AggregatorSpec) Aggregator {
	if s.In == Float64 {
		return floatSum{}
	}
	return intSum{}
}

// intSum is sum of int64, as int64; null over no values, and when the sum is out of int64's range (see OutOfRange):
// only the sum of the whole window counts, partial sums have 128 bits. Exact.
//
// State, 16 bytes: twice the sum, plus one, as a 128-bit integer; zero while there are no values.
type intSum struct{}

const intSumWidth = 16

// Width implements Aggregator.
func (intSum) Width() int { return intSumWidth }

// Add implements Aggregator.
func (intSum) Add(state []byte, v *Value, _ *Order) []byte {
	s := int128At(state).add(int128Of(v.Int64()).double())
	s.lo |= 1
	s.put(state)
	return state
}

// Merge implements Aggregator.
func (a intSum) Merge(dst, src []byte) []byte {
	a.Fold(dst, src, intSumWidth, 1)
	return dst
}

// Fold implements Aggregator.
func (intSum) Fold(dst, states []byte, stride, n int) {
	sum := int128At(dst)
	set := sum.lo & 1
	sum.lo &^= 1
	for i := range n {
		s := int128At(states[i*stride : i*stride+intSumWidth])
		set |= s.lo & 1
		s.lo &^= 1
		sum = sum.add(s)
	}
	sum.lo |= set
	sum.put(dst)
}

// Result implements Aggregator.
func (intSum) Result(state []byte) Value {
	s := int128At(state)
	sum, fits := s.half().int64()
	if s.lo&1 == 0 || !fits {
		return Value{}
	}
	return Int64Value(sum)
}

func (intSum) outOfRange(state []byte) bool {
	_, fits := int128At(state).half().int64()
	return !fits
}

// Validate implements Aggregator.
func (intSum) Validate(state []byte) error {
	if len(state) != intSumWidth {
		return errStateWidth
	}
	if state[0]&1 == 0 && !allZero(state) {
		return errors.New("state is not an int sum")
	}
	return nil
}

// floatSum is sum of float64, as float64; null over no values, and when the sum is past the largest float64 (see
// OutOfRange). Within 1e-12 of the sum of the values' magnitudes.
//
// State, 16 bytes: a ddSum.
type floatSum struct{}

// Width implements Aggregator.
func (floatSum) Width() int { return ddWidth }

// Add implements Aggregator.
func (floatSum) Add(state []byte, v *Value, _ *Order) []byte {
	ddAt(state).plusValue(v.Float64()).put(state)
	return state
}

// Merge implements Aggregator.
func (floatSum) Merge(dst, src []byte) []byte {
	ddAt(dst).plus(ddAt(src)).put(dst)
	return dst
}

// Fold implements Aggregator.
func (floatSum) Fold(dst, states []byte, stride, n int) {
	ddFold(ddAt(dst), states, stride, n).put(dst)
}

// Result implements Aggregator.
func (floatSum) Result(state []byte) Value {
	s := ddAt(state)
	v := Float64Value(s.value())
	if s.flags == 0 || !v.Finite() {
		return Value{}
	}
	return v
}

func (floatSum) outOfRange(state []byte) bool {
	v := Float64Value(ddAt(state).value())
	return !v.Finite()
}

// Validate implements Aggregator.
func (floatSum) Validate(state []byte) error {
	if len(state) != ddWidth {
		return errStateWidth
	}
	return ddAt(state).validate()
}
