package feature

import "errors"

// The bounds of what a definition can ask of an aggregation, and of what an aggregation takes.
const (
	// MaxValueBytes is the longest String or Bytes value that an aggregation keeps in its state (see MaxInputBytes).
	MaxValueBytes = 256
	// MaxLastN is the largest n of last_n.
	MaxLastN = 100
	// MaxTopK is the largest k of top_k.
	MaxTopK = 64
)

// MaxInputBytes returns the length of the longest String or Bytes value that an aggregation takes: MaxValueBytes for
// those that keep values in their state, 0 (no limit) for the others. A longer value counts as null: Add leaves the
// state as it is, and the caller, who compares the length first, counts it.
func MaxInputBytes(spec AggregatorSpec) int {
	if t := spec.In.Elem(); t != String && t != Bytes {
		return 0
	}
	switch spec.Name {
	case "first", "last", "last_n", "top_k":
		return MaxValueBytes
	}
	return 0
}

// MaxStateBytes returns the largest number of bytes of a state that Add makes: exactly Width for a fixed width, the
// bound that the aggregation states for a varying one, 0 for a spec that NewAggregator refuses. It is what a tile of
// the aggregation can cost; a merge of many top_k tiles can be larger, and is not stored.
func MaxStateBytes(spec AggregatorSpec) int {
	a, _, err := NewAggregator(spec)
	if err != nil {
		return 0
	}
	if b, ok := a.(interface{ maxBytes() int }); ok {
		return b.maxBytes()
	}
	return a.Width()
}

// OutOfRange reports whether the result of a valid state is null because it is outside the range of its type, not
// because there were no values: an int64 sum past int64, a float64 sum or a variance past the largest float64.
func OutOfRange(a Aggregator, state []byte) bool {
	r, ok := a.(interface{ outOfRange(state []byte) bool })
	return ok && r.outOfRange(state)
}

// varying is the part that aggregations of varying size share.
type varying struct{}

// Width implements Aggregator.
func (varying) Width() int { return 0 }

// Fold implements Aggregator: there is none.
func (varying) Fold(_, _ []byte, _, _ int) { panic("feature: Fold of an aggregation of varying size") }

// The reasons that Validate gives most.
var (
	errStateWidth  = errors.New("state has the wrong length")
	errStateEmpty  = errors.New("state without values is not all zero")
	errStateShort  = errors.New("state ends inside an entry")
	errStateLong   = errors.New("state is longer than its bound")
	errStateOrder  = errors.New("state entries are not in order")
	errStateVarint = errors.New("state has a number that is not in its shortest form")
)

// allZero reports whether every byte of b is zero.
func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
