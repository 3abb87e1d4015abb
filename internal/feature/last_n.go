package feature

import (
	"bytes"
	"slices"
)

// lastN is last_n: the values of the last n events, in Order, as a list, oldest first; null over no values. Exact;
// values longer than MaxValueBytes count as null.
//
// State: for each of at most n events in Order, its Order, 21 bytes, then its value (see scalar.go).
type lastN struct {
	varying
	typ Type
	n   int
}

func lastNType(s AggregatorSpec) (Type, error) {
	if err := s.check("n", scalars...); err != nil {
		return Null, err
	}
	return ListOf(s.In), s.checkCount("n", s.N, MaxLastN)
}

func newLastN(s AggregatorSpec) Aggregator { return lastN{typ: s.In, n: s.N} }

func (a lastN) maxBytes() int { return a.n * (orderWidth + maxScalarBytes(a.typ)) }

// entryLen returns the length of the entry at the front of b.
func (a lastN) entryLen(b []byte) int { return orderWidth + scalarLen(a.typ, b[orderWidth:]) }

// Add implements Aggregator.
func (a lastN) Add(state []byte, v *Value, at *Order) []byte {
	if !keeps(v) {
		return state
	}
	var entry [orderWidth + 2 + MaxValueBytes]byte
	at.put(entry[:])
	e := appendScalar(entry[:orderWidth], v)
	return a.insert(state, e)
}

// insert puts an entry in its place, which is dropped at once when n later ones are there.
func (a lastN) insert(state, e []byte) []byte {
	pos, count := 0, 0
	for i := 0; i < len(state); count++ {
		w := a.entryLen(state[i:])
		switch bytes.Compare(state[i:i+orderWidth], e[:orderWidth]) {
		case -1:
			pos = i + w
		case 0:
			return state // the same event
		}
		i += w
	}
	if count < a.n {
		return splice(state, pos, pos, e)
	}
	if pos == 0 {
		return state
	}
	oldest := a.entryLen(state)
	copy(state, state[oldest:pos])
	return splice(state, pos-oldest, pos, e)
}

// Merge implements Aggregator.
func (a lastN) Merge(dst, src []byte) []byte {
	if len(src) == 0 {
		return dst
	}
	count, last := 0, 0
	for i := 0; i < len(dst); count++ {
		last = i
		i += a.entryLen(dst[i:])
	}
	if count == 0 || bytes.Compare(dst[last:last+orderWidth], src[:orderWidth]) < 0 {
		for i := 0; i < len(src); count++ {
			i += a.entryLen(src[i:])
		}
		return a.dropOldest(append(dst, src...), count)
	}
	return a.interleave(dst, src)
}

// interleave merges states that overlap in Order.
func (a lastN) interleave(dst, src []byte) []byte {
	dst = slices.Grow(dst, len(dst)+len(src)) // the merge is made behind dst
	merged := dst[len(dst):]
	count := 0
	for i, j := 0, 0; i < len(dst) || j < len(src); count++ {
		c := 1 // dst is exhausted
		if i < len(dst) {
			c = -1
			if j < len(src) {
				c = bytes.Compare(dst[i:i+orderWidth], src[j:j+orderWidth])
			}
		}
		if c <= 0 {
			w := a.entryLen(dst[i:])
			merged = append(merged, dst[i:i+w]...)
			i += w
		}
		if c >= 0 {
			w := a.entryLen(src[j:])
			if c > 0 {
				merged = append(merged, src[j:j+w]...)
			}
			j += w
		}
	}
	return a.dropOldest(append(dst[:0], merged...), count)
}

// dropOldest keeps the last n of count entries.
func (a lastN) dropOldest(state []byte, count int) []byte {
	i := 0
	for ; count > a.n; count-- {
		i += a.entryLen(state[i:])
	}
	return state[:copy(state, state[i:])]
}

// Result implements Aggregator.
func (a lastN) Result(state []byte) Value {
	if len(state) == 0 {
		return Value{}
	}
	vs := make([]Value, 0, a.n)
	for len(state) > 0 {
		w := a.entryLen(state)
		vs = append(vs, scalarAt(a.typ, state[orderWidth:w]))
		state = state[w:]
	}
	return ListValue(a.typ, vs)
}

// Validate implements Aggregator.
func (a lastN) Validate(state []byte) error {
	var before []byte
	for count := 0; len(state) > 0; count++ {
		if count == a.n {
			return errStateLong
		}
		if len(state) < orderWidth {
			return errStateShort
		}
		if before != nil && bytes.Compare(before, state[:orderWidth]) >= 0 {
			return errStateOrder
		}
		before = state[:orderWidth]
		w, err := checkScalar(a.typ, state[orderWidth:])
		if err != nil {
			return err
		}
		state = state[orderWidth+w:]
	}
	return nil
}
