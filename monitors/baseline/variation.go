package baseline

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/monitors/distance"
	"github.com/freshet-io/freshet/monitors/drift"
	"github.com/freshet-io/freshet/monitors/profile"
	"github.com/freshet-io/freshet/monitors/significance"
)

// Variation says of what inferences it is known how the rows of a baseline's columns vary over time.
type Variation struct {
	Since, Until int64 // event times of the first and the last, microseconds UTC; 0 if that is not known
	Rows         uint64
	Version      string // of the model, "" if its inferences say none: that of two versions differs is no variation
}

// Stream is what a baseline learns from how its model's inferences vary.
type Stream struct {
	// Rows gives every inference of a time to fn: a value for each of the baseline's columns, its event time in microseconds UTC
	// and the version of the model. It is called up to three times, and must give the same inferences each time.
	Rows func(fn func(values []feature.Value, at int64, version string) error) error
	// Least is how much time the inferences have to cover, but for a hundredth: the first and the last are not at its very ends.
	Least time.Duration
}

const (
	// LeastInferences is of how few inferences nothing is learnt: about ten for each part of their time.
	LeastInferences = 1000
	// LeastParts is how many of the TimeParts need to have inferences: a model that is asked for eight hours a day has them in 32. Of
	// n parts of independent rows the estimate's relative error is √(2/(n-1)), 0.29 of 24. Where values last, parts are joined, to six
	// that have inferences at least, and the estimate is extrapolated: its error is √(2/2.5) then, about nine tenths. The test that it
	// is for knows of how many degrees of freedom it is.
	LeastParts = TimeParts / 4
	// leastAlike is which part of their distribution a column's inferences share with the baseline at least. Where most of them lie
	// in a few bins, as those in another unit do, their counts say little of how they vary.
	leastAlike = 0.5
)

// Lack is what there is too little of to learn from.
type Lack int

// The lacks, from the worst: of inferences at all, of their number, of the time between the first and the last, and of parts of that time
// that have any.
const (
	LacksAll Lack = iota
	LacksInferences
	LacksTime
	LacksParts
)

// TooLittle is the error of Learn where there are not enough inferences to learn from: of one version, the one that comes nearest to
// being enough. The baseline is as it was.
type TooLittle struct {
	Lack       Lack
	Version    string
	Inferences uint64
	Covered    time.Duration // from the first to the last
	Least      time.Duration // that they have to cover
	Parts      int           // of their time that have any; 0 if that was not asked
}

func (e *TooLittle) Error() string {
	switch e.Lack {
	case LacksInferences:
		return fmt.Sprintf("there are %d inferences of version %q, and it takes %d", e.Inferences, e.Version, LeastInferences)
	case LacksTime:
		return fmt.Sprintf("%d inferences of version %q are of %s, and it takes %s", e.Inferences, e.Version, e.Covered, e.Least)
	case LacksParts:
		return fmt.Sprintf("%d inferences of version %q are in %d of %d parts of their time, and it takes %d", e.Inferences, e.Version, e.Parts, TimeParts, LeastParts)
	}
	return "there are no inferences"
}

// Learn estimates how the rows of the stream vary over time, on the bins that the baseline has, and keeps it in the baseline. Parts of
// the stream's time are compared with each other and not with the baseline's own rows: that all are different from these is
// no variation. The inferences are of one version, since it is none either that two versions differ: of the baseline's, or else of
// the one that has most, for traffic makes rows depend on each other, and not so much the version that answers. It returns the
// names of columns of whose variation nothing is known, because their inferences are too different from the baseline; if they
// are all, the baseline knows nothing. If there are too few inferences the error is a *TooLittle.
func (b *Baseline) Learn(s Stream) (unlike []string, err error) {
	versions := map[string]*span{}
	err = s.Rows(func(_ []feature.Value, at int64, version string) error {
		of := versions[version]
		if of == nil {
			if len(versions) == maxTracked {
				return nil
			}
			of = &span{}
			versions[strings.Clone(version)] = of // a row's strings may be gone after the call
		}
		of.add(at)
		return nil
	})
	if err != nil {
		return nil, err
	}
	few := &TooLittle{}
	tried := 0
	for _, version := range b.preferred(versions) {
		why := versions[version].enough(version, s.Least)
		if why == nil {
			if unlike, why, err = b.learn(s, *versions[version], version); why == nil || err != nil {
				return unlike, err
			}
			tried++
		}
		if why.Lack > few.Lack {
			few = why
		}
		if tried == 2 {
			break
		}
	}
	return nil, few
}

// preferred are the versions in the order in which they are learnt of.
func (b *Baseline) preferred(versions map[string]*span) []string {
	return slices.SortedFunc(maps.Keys(versions), func(x, y string) int {
		if b.Version != "" && (x == b.Version) != (y == b.Version) {
			if x == b.Version {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(versions[y].rows, versions[x].rows), cmp.Compare(x, y))
	})
}

// enough says what a version's inferences are too few for; nil if they are enough.
func (s *span) enough(version string, least time.Duration) *TooLittle {
	few := &TooLittle{Version: version, Inferences: s.rows, Covered: time.Duration(s.until-s.since) * time.Microsecond, Least: least}
	switch {
	case s.rows < LeastInferences:
		few.Lack = LacksInferences
	case few.Covered < least-least/100 || !s.divisible():
		few.Lack = LacksTime
	default:
		return nil
	}
	return few
}

// learn learns of the inferences of a version, whose time is that surveyed.
func (b *Baseline) learn(s Stream, surveyed span, version string) (unlike []string, few *TooLittle, err error) {
	bins := make([]*profile.Bins, len(b.Columns))
	for i, c := range b.Columns {
		bins[i] = c.Profile.Bins()
	}
	p := newParts(surveyed, bins)
	err = s.Rows(func(values []feature.Value, at int64, of string) error {
		if of == version {
			p.add(at, values)
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	if n := p.filled(); n < LeastParts {
		return nil, &TooLittle{Lack: LacksParts, Version: version, Inferences: surveyed.rows, Covered: time.Duration(surveyed.until-surveyed.since) * time.Microsecond, Least: s.Least, Parts: n}, nil
	}
	learnt, known := make([]*significance.Dispersion, len(b.Columns)), false
	for i, c := range b.Columns {
		d := p.dispersion(i)
		alike, err := b.alike(i, p, &d)
		switch {
		case err != nil:
			return nil, nil, err
		case !alike:
			unlike = append(unlike, c.Name)
		case d.DF > 0: // else it is not an estimate: no three parts have a value
			learnt[i], known = &d, true
		}
	}
	if !known {
		return unlike, nil, nil
	}
	b.Variation = &Variation{Since: surveyed.since, Until: surveyed.until, Rows: surveyed.rows, Version: version}
	for i := range b.Columns {
		b.Columns[i].Dispersion = learnt[i]
	}
	return unlike, nil, nil
}

// alike reports whether a column's inferences, which vary so much, share enough of their distribution with the baseline.
func (b *Baseline) alike(column int, p *parts, d *significance.Dispersion) (bool, error) {
	c := &b.Columns[column]
	all, err := p.total(column)
	if err != nil {
		return false, err
	}
	var judge drift.Judge
	compared, err := judge.Column(c.Name, drift.Side{Profile: c.Profile}, drift.Side{Profile: all, Known: d},
		drift.Options{Methods: []drift.Asked{{Method: distance.TotalVariation, Threshold: 1 - leastAlike}}})
	if err != nil {
		return false, err
	}
	return compared.Scores[0].Effect <= 1-leastAlike, nil
}
