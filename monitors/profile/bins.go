package profile

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"slices"

	"github.com/freshet-io/freshet/internal/feature"
)

// Kind says what a column's regular bins are.
type Kind uint8

// The kinds of bins. The numbers are part of the encoding.
const (
	Numeric     Kind = 1 // intervals and points of the real line
	Categorical Kind = 2 // values
)

func (k Kind) String() string {
	if k == Categorical {
		return "categorical"
	}
	return "numeric"
}

// Special is a bin that every column has behind its regular ones. The order is part of the encoding.
type Special int

// The special bins: no value; values that are no numbers or not finite; values of another type than the reference's;
// categories that the reference did not have.
const (
	Null Special = iota
	NaN
	PosInf
	NegInf
	Mistyped
	Other
	Specials int = iota // how many there are
)

var specialNames = [Specials]string{"null", "NaN", "+Inf", "-Inf", "mistyped", "other"}

func (s Special) String() string { return specialNames[s] }

// What Options are when they are zero, and the most they may be.
const (
	DefaultBins       = 64
	MaxBins           = 256
	DefaultCategories = 256
	MaxCategories     = 4096
	DefaultSample     = 1 << 16
)

// Options say how fine Bins are.
type Options struct {
	// Bins is the number B of quantile bins of a numeric column, 0 for DefaultBins. A value that holds at least 1/B of
	// the reference gets a bin of its own. With 64, binning takes at most 1/128 from a Kolmogorov-Smirnov statistic and
	// leaves a rank test 1 - 1/64^2 of its power, each bin still has 8 of 500 rows, and counts take half a kilobyte.
	Bins int
	// Categories is how many values of a categorical column have bins of their own, 0 for DefaultCategories: the most
	// frequent ones of the reference.
	Categories int
	// Categorical makes a column of integers categorical: codes, whose size means nothing.
	Categorical bool
	// Sample is how many values of a numeric reference Builder keeps, 0 for DefaultSample.
	Sample int
}

func (o Options) withDefaults() (Options, error) {
	for _, f := range []struct {
		name         string
		value        *int
		normal, most int
	}{{"bins", &o.Bins, DefaultBins, MaxBins}, {"categories", &o.Categories, DefaultCategories, MaxCategories}, {"sample", &o.Sample, DefaultSample, 1 << 24}} {
		if *f.value == 0 {
			*f.value = f.normal
		}
		if *f.value < 2 || *f.value > f.most {
			return o, fmt.Errorf("%s must be 2 to %d, not %d", f.name, f.most, *f.value)
		}
	}
	return o, nil
}

// Fingerprint tells Bins apart: equal Bins have equal fingerprints.
type Fingerprint [16]byte

func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

// Bins are the bins of one column, fixed by a reference. They are immutable and safe for concurrent use.
//
// Regular bins come first. Of a numeric column with the cuts c[0] < c[1] < ... bin i is c[i-1] <= x < c[i]: bin 0 is the
// underflow below the reference's least value, the last one the overflow above its largest. A point, which a single value
// v fills, is the interval from v to the next number after it. A categorical column has a bin for each category, the most
// frequent first. The special bins follow, in the order of Special.
type Bins struct {
	kind       Kind
	typ        feature.Type
	cuts       []float64 // numeric: strictly ascending, none NaN
	means      []float64 // numeric: the value that stands for each regular bin
	categories []string  // categorical: as abbreviate gives them

	index       map[string]int32 // categorical: where each category is
	locate      locator          // numeric
	fingerprint Fingerprint

	distinct, quantiles feature.Aggregator // of the sketches
}

// newBins completes bins whose definition is set.
func newBins(b Bins) (*Bins, error) {
	var err error
	if b.distinct, _, err = feature.NewAggregator(feature.AggregatorSpec{Name: "approx_distinct", In: feature.String}); err != nil {
		return nil, fmt.Errorf("the sketch of distinct categories: %w", err)
	}
	if b.quantiles, err = quantile(0.5); err != nil {
		return nil, err
	}
	if b.kind == Categorical {
		b.index = make(map[string]int32, len(b.categories))
		for i, c := range b.categories {
			b.index[c] = int32(i)
		}
	} else {
		b.locate = newLocator(b.cuts)
	}
	sum := sha256.Sum256(b.AppendBinary(nil))
	copy(b.fingerprint[:], sum[:])
	return &b, nil
}

// Kind returns what the regular bins are.
func (b *Bins) Kind() Kind { return b.kind }

// Type returns the type of the reference's values.
func (b *Bins) Type() feature.Type { return b.typ }

// Fingerprint identifies the bins.
func (b *Bins) Fingerprint() Fingerprint { return b.fingerprint }

// Equal reports whether two bins are the same, so that their profiles can be merged.
func (b *Bins) Equal(o *Bins) bool { return b == o || b.fingerprint == o.fingerprint }

// Regular returns the number of regular bins, at least one.
func (b *Bins) Regular() int {
	if b.kind == Categorical {
		return len(b.categories)
	}
	return len(b.cuts) + 1
}

// Len returns the number of all bins: Regular() + Specials.
func (b *Bins) Len() int { return b.Regular() + Specials }

// At returns the index of a special bin.
func (b *Bins) At(s Special) int { return b.Regular() + int(s) }

// Underflow and Overflow return the indices of the bins below and above everything that a numeric reference had. They
// are one bin if the reference had no finite value.
func (b *Bins) Underflow() int { return 0 }

// Overflow is described at Underflow.
func (b *Bins) Overflow() int { return b.Regular() - 1 }

// Interval returns the bounds of a regular bin of a numeric column, low <= x < high; they are infinite where there is
// none.
func (b *Bins) Interval(i int) (low, high float64) {
	low, high = math.Inf(-1), math.Inf(1)
	if i > 0 {
		low = b.cuts[i-1]
	}
	if i < len(b.cuts) {
		high = b.cuts[i]
	}
	return low, high
}

// Point returns the value that alone fills a regular bin of a numeric column.
func (b *Bins) Point(i int) (v float64, ok bool) {
	low, high := b.Interval(i)
	return low, high == after(low, b.typ)
}

// Cuts returns a copy of the cuts of a numeric column.
func (b *Bins) Cuts() []float64 { return slices.Clone(b.cuts) }

// Means returns, for each regular bin of a numeric column, the mean of the reference's values in it: what a value
// there is worth in sums over bins. A bin that the reference had no value in has the middle of its bounds, the underflow
// the reference's least value, the overflow its largest.
func (b *Bins) Means() []float64 { return slices.Clone(b.means) }

// Categories returns the categories in bin order. One that is longer than MaxCategoryBytes is abbreviated.
func (b *Bins) Categories() []string { return slices.Clone(b.categories) }

// Name returns what a person calls a bin: "[1.5, 2.5)", "3", "< 0", "UA", "null".
func (b *Bins) Name(i int) string {
	if s := i - b.Regular(); s >= 0 {
		return Special(s).String()
	}
	if b.kind == Categorical {
		return b.categories[i]
	}
	if len(b.cuts) == 0 {
		return "any number"
	}
	low, high := b.Interval(i)
	if v, ok := b.Point(i); ok {
		return number(v, b.typ)
	}
	switch {
	case i == 0:
		return "< " + number(high, b.typ)
	case i == len(b.cuts):
		if b.typ == feature.Float64 {
			return "> " + number(math.Nextafter(low, math.Inf(-1)), b.typ)
		}
		return ">= " + number(low, b.typ)
	}
	return "[" + number(low, b.typ) + ", " + number(high, b.typ) + ")"
}

// after returns the number that ends the point v: for whole numbers the next one.
func after(v float64, t feature.Type) float64 {
	if t != feature.Float64 && v == math.Trunc(v) && math.Abs(v) < 1<<53 {
		return v + 1
	}
	return math.Nextafter(v, math.Inf(1))
}
