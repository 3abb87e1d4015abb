// Package valueskew says whether a value that a model was served is the one that the offline path computes, and keeps
// count. It knows values alone: where both come from is the subject of offline/served, what becomes of the counts that of
// monitors/watch.
package valueskew

import (
	"math"

	"github.com/freshet-io/freshet/internal/feature"
)

// Outcome is what came of comparing a value.
type Outcome int

// The outcomes.
const (
	Match    Outcome = iota // the same, within the tolerance; two nulls are
	Mismatch                // another one, or one of another type
	Missing                 // null on one side alone. A field that was not logged is null
	Timing                  // another one, which events near to the lookup explain
	outcomes
)

// String names the outcome as samples do.
func (o Outcome) String() string { return [...]string{"match", "mismatch", "missing", "timing"}[o] }

// Computed is what the offline path computes for one feature: at the time of the lookup, and at moments around it.
type Computed struct {
	At     feature.Value
	Around []feature.Value
}

// Judge compares what was served with what is computed. mistyped says that what was served is of a type of its own, and
// therefore not known.
//
// A difference is a matter of timing if the value was in motion when it was looked up, and what was served is one that it
// had on its way: one of those around, or, of numbers, one between them. A value that nothing moved is what it is, however
// often its entity has events.
func Judge(served *feature.Value, mistyped bool, c *Computed, tolerance float64) Outcome {
	if mistyped {
		return Mismatch
	}
	if Same(served, &c.At, tolerance) {
		return Match
	}
	if onItsWay(served, c, tolerance) {
		return Timing
	}
	if served.IsNull() || c.At.IsNull() {
		return Missing
	}
	return Mismatch
}

func onItsWay(served *feature.Value, c *Computed, tolerance float64) bool {
	low, high := math.Inf(1), math.Inf(-1)
	for i := -1; i < len(c.Around); i++ {
		v := &c.At
		if i >= 0 {
			if v = &c.Around[i]; Same(served, v, tolerance) {
				return true
			}
		}
		if x, ok := number(v); ok {
			low, high = min(low, x), max(high, x)
		}
	}
	x, ok := number(served)
	return ok && low < high && low <= x && x <= high
}

// Same reports whether two values are the same: two numbers if they are no further apart than tolerance times the larger
// of them, or of 1; anything else if it is equal.
func Same(a, b *feature.Value, tolerance float64) bool {
	if a.IsNull() || b.IsNull() {
		return a.IsNull() && b.IsNull()
	}
	x, ok := number(a)
	y, also := number(b)
	switch {
	case a.Type() == feature.Int64 && b.Type() == feature.Int64 && a.Int64() == b.Int64():
		return true
	case ok != also:
		return false
	case !ok:
		return a.Type() == b.Type() && a.String() == b.String()
	case math.IsNaN(x) || math.IsNaN(y):
		return math.IsNaN(x) && math.IsNaN(y)
	case math.IsInf(x, 0) || math.IsInf(y, 0):
		return x == y
	}
	return math.Abs(x-y) <= tolerance*max(1, math.Abs(x), math.Abs(y))
}

func number(v *feature.Value) (float64, bool) {
	switch v.Type() {
	case feature.Int64:
		return float64(v.Int64()), true
	case feature.Float64:
		return v.Float64(), true
	}
	return 0, false
}

// maxSamples is how many samples of an outcome a feature keeps.
const maxSamples = 3

// Sample is an inference whose value differs.
type Sample struct {
	ID       string // of the inference; "" if it has none
	At       int64  // time of the lookup, microseconds
	Entity   string // its join keys, as user=17
	Served   string
	Computed string
}

// Feature is how often what was served of one feature was what.
type Feature struct {
	Column  string
	Counts  [outcomes]int
	Samples [outcomes][]Sample // of each outcome the first few; none of Match
}

// Add counts a value. sample is asked for only where one is kept.
func (f *Feature) Add(o Outcome, sample func() Sample) {
	f.Counts[o]++
	if o != Match && len(f.Samples[o]) < maxSamples {
		f.Samples[o] = append(f.Samples[o], sample())
	}
}

// Rows is how many values were compared.
func (f *Feature) Rows() (n int) {
	for _, c := range f.Counts {
		n += c
	}
	return n
}

// Differ is how many of them are other ones than they should be.
func (f *Feature) Differ() int { return f.Counts[Mismatch] + f.Counts[Missing] }

// Result is what a window came to.
type Result struct {
	Rows     int // inferences of the window
	Unkeyed  int // of those that were drawn: without a join key, so that nothing can be computed
	Features []Feature
}
