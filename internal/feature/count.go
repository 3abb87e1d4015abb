package feature

import (
	"encoding/binary"
	"fmt"
)

// counter is count: the number of events, or of non-null values of `of`, as int64; 0 over none. Exact.
//
// State, 8 bytes: the count.
type counter struct{}

const countWidth = 8

func countType(s AggregatorSpec) (Type, error) {
	if err := s.checkParameters(""); err != nil {
		return Null, err
	}
	if s.In != Null && !s.In.Valid() {
		return Null, fmt.Errorf("aggregate count needs `of` of a declared type, not %s", s.In)
	}
	return Int64, nil
}

func newCount(AggregatorSpec) Aggregator { return counter{} }

// Width implements Aggregator.
func (counter) Width() int { return countWidth }

// Add implements Aggregator; v is not looked at.
func (counter) Add(state []byte, _ *Value, _ *Order) []byte {
	binary.LittleEndian.PutUint64(state, binary.LittleEndian.Uint64(state)+1)
	return state
}

// Merge implements Aggregator.
func (counter) Merge(dst, src []byte) []byte {
	binary.LittleEndian.PutUint64(dst, binary.LittleEndian.Uint64(dst)+binary.LittleEndian.Uint64(src))
	return dst
}

// Fold implements Aggregator.
func (counter) Fold(dst, states []byte, stride, n int) {
	sum := binary.LittleEndian.Uint64(dst)
	for i := range n {
		sum += binary.LittleEndian.Uint64(states[i*stride:])
	}
	binary.LittleEndian.PutUint64(dst, sum)
}

// Result implements Aggregator.
func (counter) Result(state []byte) Value {
	return Int64Value(int64(binary.LittleEndian.Uint64(state)))
}

// Validate implements Aggregator.
func (counter) Validate(state []byte) error {
	if len(state) != countWidth {
		return errStateWidth
	}
	if int64(binary.LittleEndian.Uint64(state)) < 0 {
		return fmt.Errorf("count of %d", int64(binary.LittleEndian.Uint64(state)))
	}
	return nil
}
