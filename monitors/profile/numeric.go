package profile

import (
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"

	"github.com/freshet-io/freshet/internal/feature"
)

// numeric tells the types whose columns have numeric bins; a timestamp counts as its microseconds. Integers beyond
// 2^53 are rounded to the nearest float64.
func numeric(t feature.Type) bool {
	return t == feature.Float64 || t == feature.Int64 || t == feature.Timestamp
}

// NumericBins makes the bins of a column of numbers (feature.Float64, Int64 or Timestamp) from a reference's values, in
// any order; values that are not finite are left out. It sorts a copy.
func NumericBins(t feature.Type, values []float64, o Options) (*Bins, error) {
	sorted := make([]float64, 0, len(values))
	for _, x := range values {
		if x-x == 0 {
			sorted = append(sorted, x)
		}
	}
	slices.Sort(sorted)
	return NumericBinsSorted(t, runs(sorted), o)
}

// runs yields each different value of an ascending slice and how often it is there.
func runs(sorted []float64) iter.Seq2[float64, uint64] {
	return func(yield func(float64, uint64) bool) {
		for i := 0; i < len(sorted); {
			j := i + 1
			for j < len(sorted) && sorted[j] == sorted[i] {
				j++
			}
			if !yield(sorted[i]+0, uint64(j-i)) {
				return
			}
			i = j
		}
	}
}

// NumericBinsSorted makes the bins of a column of numbers from a reference's finite values in strictly ascending order,
// each with how often it is there. The stream is read twice. Integers among which there is a fraction are floats.
func NumericBinsSorted(t feature.Type, values iter.Seq2[float64, uint64], o Options) (*Bins, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if !numeric(t) {
		return nil, fmt.Errorf("a column of type %s has no numeric bins", t)
	}
	var n uint64
	last := math.Inf(-1)
	for x, count := range values {
		if !(x > last) || math.IsInf(x, 0) || count == 0 {
			return nil, fmt.Errorf("reference values must be finite, ascending and counted: %v, %d times, after %v", x, count, last)
		}
		last = x
		n += count
		if t == feature.Int64 && x != math.Trunc(x) {
			t = feature.Float64 // what was said to be whole is not: the next number is not one further
		}
	}
	b := Bins{kind: Numeric, typ: t}
	c := cutter{typ: t, n: n, bins: uint64(o.Bins)}
	for x, count := range values {
		c.add(x, count)
	}
	b.cuts, b.means = c.finish()
	return newBins(b)
}

// A cutter places cuts along an ascending stream of n values: a point around every value that holds 1/bins of them or
// more, and between points a cut wherever the bin that is open holds so many. A value that is there only once is no
// point, however few values there are: it may be one of a continuum.
type cutter struct {
	typ     feature.Type
	n, bins uint64

	cuts  []float64
	means []float64 // of the closed bins
	open  uint64    // values in the bin that is open
	sum   float64   // relative to the bin's first cut
	x     float64   // the largest value so far
}

func (c *cutter) add(x float64, count uint64) {
	point := count >= 2 && count*c.bins >= c.n
	if len(c.cuts) == 0 || point || c.open*c.bins >= c.n {
		c.cut(x)
	}
	c.x = x
	c.open += count
	c.sum += float64(float64(count) * (x - c.cuts[len(c.cuts)-1]))
	if point {
		c.cut(after(x, c.typ))
	}
}

// cut ends the open bin at x.
func (c *cutter) cut(x float64) {
	last := len(c.cuts) - 1
	if last >= 0 && c.cuts[last] == x {
		return
	}
	if last >= 0 {
		c.means = append(c.means, c.mean(c.cuts[last], x))
	} else {
		c.means = append(c.means, x) // the underflow
	}
	c.cuts = append(c.cuts, x)
	c.open, c.sum = 0, 0
}

// mean returns what stands for the open bin.
func (c *cutter) mean(low, high float64) float64 {
	if high == after(low, c.typ) {
		return low // a point
	}
	high = min(high, math.MaxFloat64)
	m := low + c.sum/float64(c.open)
	if c.open > 0 {
		high = c.x // rounding may not carry a mean beyond the values
	}
	if c.open == 0 || m-m != 0 {
		m = low/2 + high/2
	}
	return min(max(m, low), high)
}

// finish closes the last bin and returns the cuts and what stands for each bin.
func (c *cutter) finish() (cuts, means []float64) {
	if len(c.cuts) == 0 {
		return nil, []float64{0}
	}
	c.cut(after(c.x, c.typ))
	return c.cuts, append(c.means, c.x)
}

// number writes a number for people, as short as its bin's edges need.
func number(x float64, t feature.Type) string {
	if t == feature.Timestamp {
		v := feature.TimestampValue(int64(x))
		return v.String()
	}
	if x == math.Trunc(x) && math.Abs(x) < 1e15 {
		return strconv.FormatFloat(x, 'f', -1, 64)
	}
	return strconv.FormatFloat(x, 'g', 6, 64)
}
