package drift

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/freshet-io/freshet/monitors/distance"
	"github.com/freshet-io/freshet/monitors/profile"
	"github.com/freshet-io/freshet/monitors/significance"
)

// Side is one of the two samples of a column.
type Side struct {
	Profile *profile.Profile
	// Panes are the counts by bin of consecutive parts of the sample, on the profile's own bins: what the effective
	// sample size is estimated from. Without any the rows are taken as independent.
	Panes [][]uint64
	// Known is the dispersion where it is known better, as from earlier samples of the same stream: Panes are not looked at
	// then. Two sides of one stream have one.
	Known *significance.Dispersion
}

// Asked is a method and from which effect on a column counts as changed.
type Asked struct {
	Method    distance.Method
	Threshold float64
}

// DefaultThreshold is the effect of a normal column whose mean moved by a quarter of its standard deviation: the same
// change on the scale of each method.
func DefaultThreshold(m distance.Method) float64 {
	switch m {
	case distance.PSI:
		return 0.06
	case distance.Wasserstein:
		return 0.25
	case distance.ChiSquare:
		return 0.015
	case distance.LInfinity:
		return 0.05
	}
	return 0.1
}

// Ask returns a method by name with its default threshold.
func Ask(name string) (Asked, error) {
	d, err := distance.Lookup(name)
	return Asked{d.Method, DefaultThreshold(d.Method)}, err
}

// Options say what is asked of a column.
type Options struct {
	// Methods are the distances; those that a column of its kind cannot have are left out. The first that remains
	// decides.
	Methods []Asked
	// MinSample is how many rows each side needs to be judged.
	MinSample uint64
	// Movers is how many of the bins that moved most are named.
	Movers int
}

// A Judge judges columns. It keeps buffers: one goroutine uses it at a time. The zero value is ready.
type Judge struct {
	tester significance.Tester
	buffer []float64
}

// mistypedShare is the part of a column's values that must be of another type for the column's type to have changed.
const mistypedShare = 0.5

// Column compares two sides of a column. The profiles may have different bins of one kind: they are aligned, which
// Column.Aligned says.
func (j *Judge) Column(name string, ref, cur Side, o Options) (*Column, error) {
	al, err := profile.Align(ref.Profile, cur.Profile)
	if err != nil {
		return nil, fmt.Errorf("column %q: %w", name, err)
	}
	c := &Column{
		Name: name, Kind: ref.Profile.Bins().Kind(), Type: ref.Profile.Bins().Type().String(),
		NRef: ref.Profile.Rows(), NCur: cur.Profile.Rows(), P: 1, PAdjusted: 1,
		Aligned:   !ref.Profile.Bins().Equal(cur.Profile.Bins()),
		reference: ref.Profile, current: cur.Profile,
	}
	if c.NRef == 0 || c.NCur == 0 {
		c.Outcome = NoRows
		return c, nil
	}
	pair := distance.Pair{Ref: al.A, Cur: al.B, Special: al.Regular, Points: al.Points}
	if err := j.significance(c, pair, ref, cur); err != nil {
		return nil, fmt.Errorf("column %q: %w", name, err)
	}
	if err := j.scores(c, pair, o); err != nil {
		return nil, fmt.Errorf("column %q: %w", name, err)
	}
	for _, m := range distance.Movers(pair, o.Movers) {
		c.Movers = append(c.Movers, Mover{Bin: al.Name(m.Bin), Ref: m.Ref, Cur: m.Cur})
	}
	c.judge(o)
	return c, nil
}

// significance fills in the test and the effective sizes.
func (j *Judge) significance(c *Column, p distance.Pair, ref, cur Side) error {
	a, b := ref.Dispersion(), cur.Dispersion()
	in := significance.Input{Ref: p.Ref, Cur: p.Cur, Special: p.Special}
	in.NEffRef, in.NEffCur, in.DF = significance.Sizes(float64(c.NRef), a, float64(c.NCur), b)
	if ref.Known != nil && ref.Known == cur.Known {
		in.NEffRef, in.NEffCur, in.DF = significance.SharedSizes(float64(c.NRef), float64(c.NCur), a)
	}
	test := j.tester.Numeric
	if c.Kind == profile.Categorical {
		test = j.tester.Categorical
	}
	r, err := test(in)
	if err != nil {
		return err
	}
	c.Test, c.P, c.PAdjusted, c.Statistic = r.Test, r.P, r.P, r.Statistic
	c.NEffRef, c.NEffCur = r.NEffRef, r.NEffCur
	return nil
}

// Dispersion is how much more the side's counts vary than those of independent rows.
func (s Side) Dispersion() significance.Dispersion {
	switch {
	case s.Known != nil:
		return *s.Known
	case len(s.Panes) > 1:
		return Dispersion(s.Profile.Bins(), s.Panes)
	}
	return significance.Dispersion{Effect: 1}
}

// Dispersion estimates a dispersion from the counts of consecutive panes on a column's bins, as its test needs it.
func Dispersion(b *profile.Bins, panes [][]uint64) significance.Dispersion {
	if b.Kind() == profile.Numeric {
		return significance.NumericDispersion(panes, b.Regular())
	}
	return significance.CategoricalDispersion(panes)
}

// scores computes the asked distances.
func (j *Judge) scores(c *Column, p distance.Pair, o Options) error {
	merging := distance.MergeOrdered(p.Ref, p.Special, distance.MergedBins)
	if c.Kind == profile.Categorical {
		merging = distance.MergeCategories(p.Ref, p.Special, distance.MergedBins)
	}
	merged := merging.Apply(p, j.buffer)
	j.buffer = merged.Ref[:0]
	m := c.reference.Moments()
	p.Scale = math.Sqrt(m.Variance())
	p.Points = tails(p.Points, c)
	for _, a := range o.Methods {
		d, err := distance.Lookup(string(a.Method))
		if err != nil {
			return err
		}
		if !d.Numeric && c.Kind == profile.Numeric || !d.Categorical && c.Kind == profile.Categorical {
			continue
		}
		s := Score{Method: a.Method, Threshold: a.Threshold}
		if d.NeedsValues && !measurable(p) {
			s.Score, s.Effect, s.Null = math.NaN(), math.NaN(), math.NaN()
			c.Notes = append(c.Notes, fmt.Sprintf("%s: values are too large to be measured", a.Method))
			c.Scores = append(c.Scores, s)
			continue
		}
		bins := p
		if d.Merged {
			bins = merged
		}
		e, err := d.Effect(bins, c.NEffRef, c.NEffCur)
		if err != nil {
			return err
		}
		s.Score, s.Effect, s.Null = e.Raw, e.Corrected, e.Null
		c.Scores = append(c.Scores, s)
	}
	return nil
}

// tails puts the values that stand for the underflow and the overflow where their values are on average.
func tails(points []float64, c *Column) []float64 {
	if c.Kind != profile.Numeric || c.Aligned || len(points) < 2 {
		return points
	}
	points = slices.Clone(points)
	b := c.reference.Bins()
	under, over := b.Underflow(), b.Overflow()
	r, k := c.reference.Counts.Counts(), c.current.Counts.Counts()
	a, m := c.reference.Moments(), c.current.Moments()
	if n := r[under] + k[under]; n > 0 {
		points[under] -= (a.Below + m.Below) / float64(n)
	}
	if n := r[over] + k[over]; n > 0 {
		points[over] += (a.Above + m.Above) / float64(n)
	}
	return points
}

// measurable reports whether distances between values can be computed.
func measurable(p distance.Pair) bool {
	for _, x := range p.Points {
		if x-x != 0 {
			return false
		}
	}
	n := len(p.Points)
	return p.Scale-p.Scale == 0 && (n == 0 || !math.IsInf(p.Points[n-1]-p.Points[0], 0))
}

// errNoMethods is what options without a method are.
var errNoMethods = errors.New("no method is asked for")

// CheckMethods refuses what Column could not compute.
func CheckMethods(asked []Asked) error {
	if len(asked) == 0 {
		return errNoMethods
	}
	for _, a := range asked {
		if _, err := distance.Lookup(string(a.Method)); err != nil {
			return err
		}
		if !(a.Threshold >= 0) || math.IsInf(a.Threshold, 0) {
			return fmt.Errorf("the threshold of %s is %v; it must be a number from 0 on", a.Method, a.Threshold)
		}
	}
	return nil
}
