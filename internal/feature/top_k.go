package feature

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"slices"
)

// topK is top_k: the k most frequent values of string, int64 or bool, as a list, most frequent first and equally
// frequent ones in ascending order; null over no values. Values longer than MaxValueBytes count as null.
//
// A tile is exact while it has at most 128 different values that fit in 4096 bytes with their counts (128 values of
// 20 bytes do). Beyond, it is a Misra-Gries summary: it is cut to the m most frequent values (64, or as many as fit
// in 2048 bytes), whose counts are lowered by that of the next one. No count is then too large, nor too small by more
// than n/(m+1) of the tile's n values, and any value more frequent than that is present. Merging tiles adds counts
// and errors, without a loss for up to 16 tiles.
//
// State: nil, or a uvarint, by how much counts may be too small, then for each value in ascending order the value (see
// scalar.go) and its count, a uvarint. At most 4096 bytes.
type topK struct {
	varying
	typ Type
	k   int
}

const (
	topKValues = 128
	topKBytes  = 4096

	// What a merge of tiles may hold, which is read and not stored.
	topKMergedValues = 16 * topKValues
	topKMergedBytes  = 16 * topKBytes
)

func topKType(s AggregatorSpec) (Type, error) {
	if err := s.check("k", String, Int64, Bool); err != nil {
		return Null, err
	}
	return ListOf(s.In), s.checkCount("k", s.K, MaxTopK)
}

func newTopK(s AggregatorSpec) Aggregator { return topK{typ: s.In, k: s.K} }

func (a topK) maxBytes() int {
	values := topKValues
	if a.typ == Bool {
		values = 2
	}
	const counts = binary.MaxVarintLen64
	return min(topKBytes, counts+values*(maxScalarBytes(a.typ)+counts))
}

// compare orders two encoded values.
func (a topK) compare(x, y []byte) int {
	switch a.typ {
	case Int64:
		return cmpInt(int64(binary.LittleEndian.Uint64(x)), int64(binary.LittleEndian.Uint64(y)))
	case Bool:
		return cmpInt(int64(x[0]), int64(y[0]))
	}
	_, v := uvarint(x)
	_, w := uvarint(y)
	return bytes.Compare(x[v:], y[w:])
}

// A ranked value is an entry of a state.
type ranked struct {
	value []byte // encoded
	count uint64
}

// entry reads the entry at the front of b, and its length.
func (a topK) entry(b []byte) (ranked, int) {
	w := scalarLen(a.typ, b)
	count, v := uvarint(b[w:])
	return ranked{b[:w], count}, w + v
}

func (e ranked) appendTo(b []byte) []byte {
	return binary.AppendUvarint(append(b, e.value...), e.count)
}

// Add implements Aggregator.
func (a topK) Add(state []byte, v *Value, _ *Order) []byte {
	if !keeps(v) {
		return state
	}
	if len(state) == 0 {
		return append(appendScalar(append(state, 0), v), 1)
	}
	var buf [2 + MaxValueBytes + binary.MaxVarintLen64]byte
	value := appendScalar(buf[:0], v)
	_, i := uvarint(state)
	entries := 0
	for i < len(state) {
		e, w := a.entry(state[i:])
		c := a.compare(e.value, value)
		if c == 0 {
			at := i + len(e.value)
			state = splice(state, at, i+w, binary.AppendUvarint(buf[:0], e.count+1))
			if len(state) > topKBytes {
				state = a.cut(state, topKValues/2, topKBytes/2)
			}
			return state
		}
		if c > 0 {
			break
		}
		i += w
		entries++
	}
	for j := i; j < len(state); entries++ {
		_, w := a.entry(state[j:])
		j += w
	}
	state = splice(state, i, i, append(value, 1))
	if entries+1 > topKValues || len(state) > topKBytes {
		state = a.cut(state, topKValues/2, topKBytes/2)
	}
	return state
}

// Merge implements Aggregator.
func (a topK) Merge(dst, src []byte) []byte {
	switch {
	case len(src) == 0:
		return dst
	case len(dst) == 0:
		return append(dst, src...)
	}
	errX, i := uvarint(dst)
	errY, j := uvarint(src)
	// The merge is made behind dst. A sum of counts is no longer than the two are.
	dst = slices.Grow(dst, len(dst)+len(src)+binary.MaxVarintLen64)
	merged := binary.AppendUvarint(dst[len(dst):], errX+errY)
	entries := 0
	for x, y := dst[i:], src[j:]; len(x) > 0 || len(y) > 0; entries++ {
		switch c := a.compareFronts(x, y); {
		case c < 0:
			_, w := a.entry(x)
			merged, x = append(merged, x[:w]...), x[w:]
		case c > 0:
			_, w := a.entry(y)
			merged, y = append(merged, y[:w]...), y[w:]
		default:
			e, v := a.entry(x)
			f, w := a.entry(y)
			e.count += f.count
			merged, x, y = e.appendTo(merged), x[v:], y[w:]
		}
	}
	dst = append(dst[:0], merged...)
	if entries > topKMergedValues || len(dst) > topKMergedBytes {
		dst = a.cut(dst, topKMergedValues/2, topKMergedBytes/2)
	}
	return dst
}

// compareFronts orders the values at the front of two lists of entries; an exhausted list comes last.
func (a topK) compareFronts(x, y []byte) int {
	switch {
	case len(y) == 0:
		return -1
	case len(x) == 0:
		return 1
	}
	return a.compare(x[:scalarLen(a.typ, x)], y[:scalarLen(a.typ, y)])
}

// cut keeps the most frequent values, as many as are within both bounds, lowers their counts by that of the most
// frequent one that is dropped, and raises the error by as much.
func (a topK) cut(state []byte, values, size int) []byte {
	old := slices.Clone(state)
	tooSmall, i := uvarint(old)
	var all []ranked
	for i < len(old) {
		e, w := a.entry(old[i:])
		all = append(all, e)
		i += w
	}
	slices.SortStableFunc(all, func(x, y ranked) int { return cmp.Compare(y.count, x.count) })
	kept := 0
	for bytes := 0; kept < min(values, len(all)); kept++ {
		if bytes += len(all[kept].value) + uvarintLen(all[kept].count); bytes > size {
			break
		}
	}
	if kept == len(all) {
		return state
	}
	lower := all[kept].count
	all = all[:kept]
	slices.SortFunc(all, func(x, y ranked) int { return a.compare(x.value, y.value) })
	state = binary.AppendUvarint(state[:0], tooSmall+lower)
	for _, e := range all { // a count of 0 still names a value that may be frequent
		state = ranked{e.value, e.count - lower}.appendTo(state)
	}
	return state
}

// Result implements Aggregator.
func (a topK) Result(state []byte) Value {
	if len(state) == 0 {
		return Value{}
	}
	top := make([]ranked, 0, a.k+1)
	_, i := uvarint(state)
	for i < len(state) {
		e, w := a.entry(state[i:])
		i += w
		at := len(top) // entries are in ascending order: an equal count stays behind
		for at > 0 && top[at-1].count < e.count {
			at--
		}
		if at < a.k {
			top = slices.Insert(top, at, e)
			top = top[:min(len(top), a.k)]
		}
	}
	vs := make([]Value, len(top))
	for i, e := range top {
		vs[i] = scalarAt(a.typ, e.value)
	}
	return ListValue(a.typ, vs)
}

// Validate implements Aggregator.
func (a topK) Validate(state []byte) error {
	if len(state) == 0 {
		return nil
	}
	if len(state) > topKMergedBytes {
		return errStateLong
	}
	total, i, err := checkUvarint(state)
	if err != nil {
		return err
	}
	var before []byte
	for entries := 0; i < len(state); entries++ {
		w, err := checkScalar(a.typ, state[i:])
		if err != nil {
			return err
		}
		value := state[i : i+w]
		if before != nil && a.compare(before, value) >= 0 {
			return errStateOrder
		}
		before = value
		count, v, err := checkUvarint(state[i+w:])
		if err != nil {
			return err
		}
		if count > 1<<62 || total > 1<<62 || entries == topKMergedValues {
			return errors.New("state counts too many values")
		}
		total += count
		i += w + v
	}
	return nil
}
