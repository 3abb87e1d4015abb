package feature

import (
	"encoding/binary"
	"math"
)

// QuantileKey returns the number of the finest bin of an approx_quantile sketch that a finite x falls into, for
// AddQuantileKeys. Larger values never have smaller keys.
func QuantileKey(x float64) int32 { return int32(binKey(x+0, 0)) } // -0 becomes 0

// MaxQuantileKeys is how many keys AddQuantileKeys takes at once.
const MaxQuantileKeys = 1024

// AddQuantileKeys folds up to MaxQuantileKeys values at once into a state of approx_quantile, nil or valid, and returns
// the state under the rule of Aggregator.Add: keys are those of the values, ascending; low and high are the values'
// extremes, finite. The state is the same bytes as if each value had been added alone, for a fraction of the time.
func AddQuantileKeys(state []byte, low, high float64, keys []int32) []byte {
	if len(keys) == 0 {
		return state
	}
	var sketch [ddsHeader + (3+2)*MaxQuantileKeys]byte // a gap takes at most three bytes, a count two
	binary.LittleEndian.PutUint64(sketch[1:], math.Float64bits(low+0))
	binary.LittleEndian.PutUint64(sketch[9:], math.Float64bits(high+0))
	b, before := sketch[:ddsHeader], leastKey(0)
	for i := 0; i < len(keys); {
		key, count := keys[i], uint64(0)
		for ; i < len(keys) && keys[i] == key; i++ {
			count++
		}
		b = appendBin(b, int64(key)-before-1, count)
		before = int64(key)
	}
	// Joining the bins of a part early is what joining them all would do: the whole has no fewer bins.
	b = ddsFit(b)
	if len(state) == 0 {
		return append(state, b...)
	}
	return ddsMerge(state, b)
}
