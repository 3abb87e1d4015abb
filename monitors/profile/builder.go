package profile

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/freshet-io/freshet/internal/feature"
)

// ErrIncomplete is returned for a reference that was too large to be kept: its bins are made from a part of it, and its
// profile takes a second reading.
var ErrIncomplete = errors.New("the reference is too large for its profile to be known from one reading")

// Builder makes bins from a reference of any size in bounded memory: a first reading. If everything could be kept, it
// makes the reference's profile too; else a second reading adds the values to New(bins), so that counts are exact in
// either case.
//
// Of a numeric column it keeps Options.Sample values, all if there are no more and else a uniform sample of them; edges
// of 64 bins from a sample of 65,536 hold their share of the reference to 3 % of it. The extremes are those of all values. The
// sample is drawn by a fixed sequence of numbers: equal references in equal order give equal bins. Of a categorical
// column it counts up to maxTracked different values; beyond, it drops rare ones and the bins are the categories that
// are the most frequent to within n / (maxTracked/2).
//
// A Builder is used by one goroutine at a time.
type Builder struct {
	typ     feature.Type
	kind    Kind
	options Options
	special [Specials]uint64

	sample    []float64
	n         uint64 // finite numbers so far
	take      uint64 // the number of the next value that goes into a full sample
	weight    float64
	random    *rand.Rand
	low, high float64

	index   map[string]int32
	tracked []category
	lost    uint64 // how much each count may be too low
	scratch []byte
}

// maxTracked is how many different values of a categorical reference are counted.
const maxTracked = 1 << 16

// NewBuilder returns a builder for a column of a scalar type.
func NewBuilder(t feature.Type, o Options) (*Builder, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	b := &Builder{typ: t, kind: Numeric, options: o}
	switch {
	case categorical(t), t == feature.Int64 && o.Categorical:
		b.kind = Categorical
		b.index = map[string]int32{}
	case !numeric(t):
		return nil, fmt.Errorf("a column of type %s cannot be profiled", t)
	default:
		b.random = rand.New(rand.NewPCG(0x66726573, 0x686574)) // fixed: see Builder
	}
	return b, nil
}

// Kind returns what the bins will be.
func (b *Builder) Kind() Kind { return b.kind }

// Add counts a value as Profile.Add does. v is not kept.
func (b *Builder) Add(v *feature.Value) {
	switch t := v.Type(); {
	case t == feature.Null:
		b.special[Null]++
	case b.kind == Categorical:
		if t != b.typ {
			b.special[Mistyped]++
			return
		}
		var buf [24]byte
		if t == feature.String || t == feature.Bytes {
			b.AddString(v.Str(), 1)
			return
		}
		name, _ := appendCategory(buf[:0], v)
		b.addName(name, 1)
	case t == feature.Float64 && b.typ != feature.Timestamp:
		b.AddFloat64(v.Float64())
	case t == feature.Int64 && b.typ != feature.Timestamp, t == feature.Timestamp && b.typ == feature.Timestamp:
		b.AddFloat64(float64(v.Int64()))
	default:
		b.special[Mistyped]++
	}
}

// AddNulls counts n values that are absent.
func (b *Builder) AddNulls(n uint64) { b.special[Null] += n }

// AddMistyped counts n values of a type that the column does not have.
func (b *Builder) AddMistyped(n uint64) { b.special[Mistyped] += n }

// AddFloat64s counts many numbers, in a numeric column.
func (b *Builder) AddFloat64s(values []float64) {
	for _, x := range values {
		b.AddFloat64(x)
	}
}

// AddFloat64 counts a number, in a numeric column.
func (b *Builder) AddFloat64(x float64) {
	switch {
	case x-x != 0:
		switch {
		case x > 0:
			b.special[PosInf]++
		case x < 0:
			b.special[NegInf]++
		default:
			b.special[NaN]++
		}
		return
	case b.n == 0:
		b.low, b.high = x, x
	}
	b.low, b.high = min(b.low, x), max(b.high, x)
	b.n++
	switch {
	case len(b.sample) < b.options.Sample:
		if b.sample = append(b.sample, x); len(b.sample) == b.options.Sample {
			b.weight = 1
			b.take = b.n
			b.skip()
		}
	case b.n == b.take:
		b.sample[b.random.IntN(len(b.sample))] = x
		b.skip()
	}
}

// skip decides which value is taken next: algorithm L of Li ("Reservoir-sampling algorithms of time complexity
// O(n(1+log(N/n)))", 1994).
func (b *Builder) skip() {
	b.weight *= math.Exp(math.Log(1-b.random.Float64()) / float64(len(b.sample)))
	gap := math.Floor(math.Log(1-b.random.Float64()) / math.Log1p(-b.weight))
	if !(gap < 1<<62) {
		gap = 1 << 62
	}
	b.take += uint64(gap) + 1
}

// AddString counts a value that was there so often, in a categorical column; of another type than String the value is
// as Bins.Categories gives it.
func (b *Builder) AddString(s string, count uint64) {
	if i, ok := b.index[s]; ok {
		b.tracked[i].count += count
		return
	}
	b.scratch = abbreviate(b.scratch[:0], s)
	b.addName(b.scratch, count)
}

func (b *Builder) addName(name []byte, count uint64) {
	if i, ok := b.index[string(name)]; ok {
		b.tracked[i].count += count
		return
	}
	if len(b.tracked) == maxTracked {
		b.drop()
	}
	kept := string(name)
	b.index[kept] = int32(len(b.tracked))
	b.tracked = append(b.tracked, category{kept, count})
}

// drop lowers all counts by their median and forgets what has none left: as many different values lose as much, so what
// all have lost is at most n / (maxTracked/2).
func (b *Builder) drop() {
	counts := make([]uint64, 0, len(b.tracked))
	for _, c := range b.tracked {
		counts = append(counts, c.count)
	}
	slices.Sort(counts)
	median := counts[len(counts)/2]
	b.lost += median
	clear(b.index)
	kept := b.tracked[:0]
	for _, c := range b.tracked {
		if c.count > median {
			b.index[c.name] = int32(len(kept))
			kept = append(kept, category{c.name, c.count - median})
		}
	}
	b.tracked = kept
}

// Bins returns the bins of what has been added.
func (b *Builder) Bins() (*Bins, error) {
	if b.kind == Categorical {
		return CategoricalBins(b.typ, func(yield func(string, uint64) bool) {
			for _, c := range b.tracked {
				if !yield(c.name, c.count) {
					return
				}
			}
		}, b.options)
	}
	values := slices.Clone(b.sample)
	if b.n > uint64(len(values)) {
		values = append(values, b.low, b.high)
	}
	return NumericBins(b.typ, values, b.options)
}

// Complete reports whether everything was kept, so that Profile does not need a second reading.
func (b *Builder) Complete() bool {
	return b.lost == 0 && b.n <= uint64(len(b.sample))
}

// Profile returns the profile of what has been added on the bins that Bins returns. The error is ErrIncomplete if not
// everything was kept.
func (b *Builder) Profile(sketch bool) (*Profile, error) {
	if !b.Complete() {
		return nil, ErrIncomplete
	}
	bins, err := b.Bins()
	if err != nil {
		return nil, err
	}
	p := New(bins, sketch)
	for s, n := range b.special {
		p.n[bins.At(Special(s))] += n
	}
	p.AddFloat64s(b.sample)
	rest := slices.Clone(b.tracked)
	slices.SortFunc(rest, byCount)
	for _, c := range rest {
		p.AddString(c.name, c.count)
	}
	return p, nil
}
