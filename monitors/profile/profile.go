package profile

import (
	"fmt"
	"slices"
	"unsafe"

	"github.com/freshet-io/freshet/internal/feature"
)

// Profile is how the values of a column were distributed in one slice and pane: exact counts on the bins of a reference,
// and what does not fit into bins. A Profile is used by one goroutine at a time.
//
// Merge adds another profile. Nothing is ever subtracted from a Profile, only from its Counts.
type Profile struct {
	Counts
	moments Moments // numeric
	sketch  []byte  // numeric, with a sketch: state of approx_quantile, without what is pending
	pending []int32 // numeric, with a sketch: keys of values that are not in sketch yet
	unseen  *unseen // categorical: of the values in Other, nil when there is none
	sketchy bool    // there is a sketch
	scratch []byte  // a category on its way; nil until it is needed
}

// New returns an empty profile. With a sketch, quantiles of a numeric column are known to 1 %, for up to 2 KB more;
// without, they are known to their bin.
func New(b *Bins, sketch bool) *Profile {
	return &Profile{Counts: Counts{bins: b, n: make([]uint64, b.Len())}, sketchy: sketch && b.kind == Numeric}
}

// How many values wait until they go into the sketch together: few in a profile of few values, so that it stays small.
const (
	leastPending = 64
	pendingKeys  = feature.MaxQuantileKeys
)

// Moments returns the moments of the finite numbers; empty ones of a categorical column.
func (p *Profile) Moments() Moments { return p.moments }

// Add counts a value. Whole numbers count as numbers in a column of floats and the other way round, as files and JSON
// mix them up; any other type than the bins' is Mistyped. It allocates nothing but, once, what unseen categories and
// sketches need. v is not kept.
func (p *Profile) Add(v *feature.Value) {
	if v.IsNull() {
		p.n[p.bins.At(Null)]++
		return
	}
	if p.bins.kind == Categorical {
		p.addCategory(v)
		return
	}
	switch t := v.Type(); {
	case t == feature.Float64 && p.bins.typ != feature.Timestamp:
		p.AddFloat64(v.Float64())
	case t == feature.Int64 && p.bins.typ != feature.Timestamp, t == feature.Timestamp && p.bins.typ == feature.Timestamp:
		p.AddFloat64(float64(v.Int64()))
	default:
		p.n[p.bins.At(Mistyped)]++
	}
}

// AddNulls counts n values that are absent.
func (p *Profile) AddNulls(n uint64) { p.n[p.bins.At(Null)] += n }

// AddMistyped counts n values of a type that the column does not have.
func (p *Profile) AddMistyped(n uint64) { p.n[p.bins.At(Mistyped)] += n }

// AddFloat64 counts a number, in a numeric column.
func (p *Profile) AddFloat64(x float64) {
	if x-x != 0 {
		p.n[p.special(x)]++
		return
	}
	i := p.bins.locate.find(x)
	p.n[i]++
	p.moments.add(x)
	p.tail(i, x)
	if p.sketchy {
		p.pend(x)
	}
}

// special returns the bin of a number that is not finite.
func (p *Profile) special(x float64) int {
	switch {
	case x > 0:
		return p.bins.At(PosInf)
	case x < 0:
		return p.bins.At(NegInf)
	}
	return p.bins.At(NaN)
}

// tail keeps how far x, which is in bin i, is outside of the reference's range.
func (p *Profile) tail(i int, x float64) {
	cuts := p.bins.cuts
	switch {
	case len(cuts) == 0:
	case i == 0:
		p.moments.Below += cuts[0] - x
	case i == len(cuts):
		p.moments.Above += x - p.bins.means[i]
	}
}

func (p *Profile) pend(x float64) {
	if len(p.pending) == cap(p.pending) {
		p.settle()
		if room := max(leastPending, 2*cap(p.pending)); room <= pendingKeys {
			p.pending = make([]int32, 0, room)
		}
	}
	p.pending = append(p.pending, feature.QuantileKey(x))
}

// settle puts what is pending into the sketch.
func (p *Profile) settle() {
	if len(p.pending) == 0 {
		return
	}
	slices.Sort(p.pending)
	// The extremes of all values so far: those of values that are in the sketch already change nothing.
	p.sketch = feature.AddQuantileKeys(p.sketch, p.moments.Min, p.moments.Max, p.pending)
	p.pending = p.pending[:0]
}

func quantile(q float64) (feature.Aggregator, error) {
	a, _, err := feature.NewAggregator(feature.AggregatorSpec{Name: "approx_quantile", In: feature.Float64, Q: q})
	if err != nil {
		return nil, fmt.Errorf("the sketch of quantiles: %w", err)
	}
	return a, nil
}

// Quantile returns the value of rank floor(q*(n-1)) of the n finite numbers in ascending order, to 1 %. ok is false
// without numbers or without a sketch.
func (p *Profile) Quantile(q float64) (x float64, ok bool) {
	p.settle()
	agg, err := quantile(q)
	if err != nil || len(p.sketch) == 0 {
		return 0, false
	}
	v := agg.Result(p.sketch)
	return v.Float64(), true
}

func (p *Profile) addCategory(v *feature.Value) {
	t := v.Type()
	whole := t == feature.Float64 && p.bins.typ == feature.Int64 && v.Float64() == float64(int64(v.Float64()))
	switch {
	case (t == feature.String || t == feature.Bytes) && t == p.bins.typ:
		p.AddString(v.Str(), 1)
		return
	case !whole && t != p.bins.typ:
		p.n[p.bins.At(Mistyped)]++
		return
	}
	category := *v
	if whole {
		category = feature.Int64Value(int64(v.Float64()))
	}
	name, _ := appendCategory(p.name(), &category)
	p.addName(name, 1)
}

// AddString counts a category that was there so often, in a categorical column; of another type than String the
// value is as Bins.Categories gives it.
func (p *Profile) AddString(s string, count uint64) {
	if i, ok := p.bins.index[s]; ok {
		p.n[i] += count
		return
	}
	p.addName(abbreviate(p.name(), s), count)
}

// name returns memory for a category on its way.
func (p *Profile) name() []byte {
	if p.scratch == nil {
		p.scratch = make([]byte, 0, MaxCategoryBytes)
	}
	return p.scratch[:0]
}

// addName counts an abbreviated category.
func (p *Profile) addName(name []byte, count uint64) {
	if i, ok := p.bins.index[string(name)]; ok {
		p.n[i] += count
		return
	}
	if count == 0 {
		return
	}
	p.n[p.bins.At(Other)] += count
	if p.unseen == nil {
		p.unseen = newUnseen(p.bins.distinct)
	}
	p.unseen.add(name, count)
}

// Merge adds a profile of equal bins.
func (p *Profile) Merge(o *Profile) error {
	if err := p.Counts.Add(&o.Counts); err != nil {
		return err
	}
	p.settle()
	o.settle()
	p.moments.merge(&o.moments)
	switch {
	case !p.sketchy || !o.sketchy: // what one side did not keep is not known of both
		p.sketchy, p.sketch, p.pending = false, nil, nil
	default:
		p.sketch = p.bins.quantiles.Merge(p.sketch, o.sketch)
	}
	if o.unseen != nil {
		if p.unseen == nil {
			p.unseen = newUnseen(p.bins.distinct)
		}
		p.unseen.merge(o.unseen)
	}
	return nil
}

// Reset makes the profile empty and keeps its memory.
func (p *Profile) Reset() {
	p.Counts.Reset()
	p.moments = Moments{}
	p.sketch, p.pending = p.sketch[:0], p.pending[:0]
	if p.unseen != nil {
		p.unseen.reset()
	}
}

// MemoryBytes returns the most memory that one profile of these bins takes, in bytes, whatever is counted. The bins
// themselves are shared.
func (b *Bins) MemoryBytes(sketch bool) int {
	n := int(unsafe.Sizeof(Profile{})) + 8*b.Len()
	if b.kind == Categorical {
		return n + MaxCategoryBytes + int(unsafe.Sizeof(unseen{})) + maxUnseen*int(unsafe.Sizeof(unseenCategory{})) + maxDistinctMemory
	}
	if sketch {
		n += 4*pendingKeys + maxSketchMemory
	}
	return n
}

// What append makes of states of at most maxDistinct and maxSketch bytes.
const (
	maxDistinctMemory = 4096
	maxSketchMemory   = 1536
)
