package profile

import (
	"fmt"
	"math"
	"slices"
)

// Aligned is two profiles of one column on bins that both fit.
type Aligned struct {
	// A and B are counts by bin, special bins last from index Regular on.
	A, B    []float64
	Regular int
	// Cuts are those of the regular bins of a numeric column: the union of both. Points stand for the bins' values.
	Cuts   []float64
	Points []float64
	// name says what a bin is called: of many, few are asked for.
	name func(i int) string
	// Exact is set if no mass had to be spread: the counts are whole and true.
	Exact bool
}

// Name is what a person calls a bin.
func (a *Aligned) Name(i int) string { return a.name(i) }

// Align brings two profiles of different bins together, as for two versions of a baseline.
//
// Numeric: the new cuts are those of either side. What an old interval had is spread evenly over the new ones inside of
// it, as TensorFlow Data Validation does; a point keeps all of its mass; the underflow and the overflow reach from the
// profile's own extremes. Categorical: categories that both have keep their counts; what only one side has a bin for goes to
// Other on both, for the other side's count of it is not known.
//
// The profiles must be of the same kind.
func Align(a, b *Profile) (*Aligned, error) {
	if a.bins.kind != b.bins.kind {
		return nil, fmt.Errorf("a %s column of %s and a %s one of %s have no bins in common", a.bins.kind, a.bins.typ, b.bins.kind, b.bins.typ)
	}
	if a.bins.Equal(b.bins) {
		return alignEqual(a, b), nil
	}
	if a.bins.kind == Categorical {
		return alignCategories(a, b)
	}
	return alignNumbers(a, b)
}

func alignEqual(a, b *Profile) *Aligned {
	out := &Aligned{
		A: make([]float64, len(a.n)), B: make([]float64, len(b.n)), Regular: a.bins.Regular(), Cuts: a.bins.Cuts(), Points: a.bins.Means(), name: a.bins.Name, Exact: true,
	}
	for i := range a.n {
		out.A[i], out.B[i] = float64(a.n[i]), float64(b.n[i])
	}
	return out
}

func alignNumbers(a, b *Profile) (*Aligned, error) {
	cuts := slices.Concat(a.bins.cuts, b.bins.cuts)
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	union := Bins{kind: Numeric, typ: a.bins.typ, cuts: cuts}
	out := &Aligned{Cuts: cuts, Regular: len(cuts) + 1, name: union.Name}
	var exactA, exactB bool
	out.A, exactA = spread(a, cuts)
	out.B, exactB = spread(b, cuts)
	out.Exact = exactA && exactB
	low, high := extremes(a, b)
	for i := range out.Regular {
		from, to := union.Interval(i)
		from, to = max(from, min(low, to)), min(to, max(high, from))
		point := from/2 + to/2
		if v, ok := union.Point(i); ok {
			point = v
		}
		if len(out.Points) > 0 {
			point = max(point, out.Points[i-1])
		}
		out.Points = append(out.Points, point)
	}
	for s := range Specials {
		out.A, out.B = append(out.A, float64(a.Of(Special(s)))), append(out.B, float64(b.Of(Special(s))))
	}
	return out, nil
}

// extremes returns the least and the largest number of either side, 0 without any.
func extremes(a, b *Profile) (low, high float64) {
	switch {
	case a.moments.N == 0:
		return b.moments.Min, b.moments.Max
	case b.moments.N == 0:
		return a.moments.Min, a.moments.Max
	}
	return min(a.moments.Min, b.moments.Min), max(a.moments.Max, b.moments.Max)
}

// spread returns the profile's regular counts on finer cuts, and whether each bin went into one as a whole.
func spread(p *Profile, cuts []float64) (out []float64, exact bool) {
	out, exact = make([]float64, len(cuts)+1), true
	at := 0 // the new bin that the old one begins in
	for i := range p.bins.Regular() {
		low, high := p.bins.Interval(i)
		end := at // the new bin that it ends in
		for end < len(cuts) && cuts[end] < high {
			end++
		}
		mass := float64(p.n[i])
		// Where values can be at all: the extremes are inside of some bin.
		from, to := max(low, p.moments.Min), min(high, math.Nextafter(p.moments.Max, math.Inf(1)))
		if mass > 0 && end > at {
			exact = false
		}
		before := 0.0 // share of the mass below the last cut
		for k := at; k < end; k++ {
			s := share(from, to, cuts[k])
			out[k] += mass * (s - before)
			before = s
		}
		out[end] += mass * (1 - before)
		at = end
		if at < len(cuts) && cuts[at] == high {
			at++
		}
	}
	return out, exact
}

// share returns the part of [from, to) that is below x.
func share(from, to, x float64) float64 {
	switch {
	case x <= from:
		return 0
	case x >= to:
		return 1
	}
	return (x/2 - from/2) / (to/2 - from/2)
}

func alignCategories(a, b *Profile) (*Aligned, error) {
	out := &Aligned{Exact: true}
	var names []string
	var otherA, otherB float64
	for i, name := range a.bins.categories {
		k, ok := b.bins.index[name]
		if !ok {
			otherA += float64(a.n[i])
			out.Exact = false
			continue
		}
		out.A, out.B = append(out.A, float64(a.n[i])), append(out.B, float64(b.n[k]))
		names = append(names, name)
	}
	for i, name := range b.bins.categories {
		if _, ok := a.bins.index[name]; !ok {
			otherB += float64(b.n[i])
			out.Exact = false
		}
	}
	out.Regular = len(out.A)
	out.name = func(i int) string {
		if i < len(names) {
			return names[i]
		}
		return Special(i - len(names)).String()
	}
	for s := range Specials {
		out.A, out.B = append(out.A, float64(a.Of(Special(s)))), append(out.B, float64(b.Of(Special(s))))
	}
	out.A[out.Regular+int(Other)] += otherA
	out.B[out.Regular+int(Other)] += otherB
	return out, nil
}
