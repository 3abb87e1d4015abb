package baseline

import (
	"errors"
	"fmt"
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
	Version      string // of the model; "": of any
}

// Stream is what a baseline of other data learns from how its model's inferences vary.
type Stream struct {
	// Rows gives every inference of a time to fn: a value for each of the baseline's columns, its event time in microseconds UTC
	// and the version of the model. It is called up to three times, and must give the same inferences each time.
	Rows func(fn func(values []feature.Value, at int64, version string) error) error
	// Least is how much time the inferences have to cover, but for a hundredth: the first and the last are not at its very ends.
	Least time.Duration
}

const (
	// LeastInferences is of how few inferences nothing is learnt: ten for each part of their time.
	LeastInferences = 1000
	// leastParts is how many parts of the time need to have inferences. The estimate's relative error is then √(2/47), a fifth,
	// of independent rows. Where values last, parts are joined, to six that have inferences at least: its error is √(2/5) at most,
	// or two thirds, and the test that it is for knows of how many degrees of freedom it is.
	leastParts = timeParts / 2
	// leastAlike is which part of their distribution a column's inferences share with the baseline at least. Where most of them lie
	// in a few bins, as those in another unit do, their counts say little of how they vary.
	leastAlike = 0.5
)

// TooLittle is the error of Learn where there are not enough inferences to learn from. The baseline is as it was.
type TooLittle struct{ Reason string }

func (e *TooLittle) Error() string { return e.Reason }

// Learn estimates how the rows of the stream vary over time, on the bins that the baseline has, and keeps it in the baseline. Parts of
// the stream's time are compared with each other and not with the baseline's own rows: that all are different from these is
// no variation. Inferences of the baseline's version count, or those of any if of it there are too few: traffic makes rows depend
// on each other, and not so much the version that answers. It returns the names of columns of whose variation nothing is
// known, because their inferences are too different from the baseline. If there are too few inferences the error is a *TooLittle.
func (b *Baseline) Learn(s Stream) (unlike []string, err error) {
	var any, own span
	err = s.Rows(func(_ []feature.Value, at int64, version string) error {
		any.add(at)
		if version == b.Version {
			own.add(at)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if b.Version != "" && own.rows < any.rows {
		unlike, err = b.learn(s, own, b.Version)
		if few := (*TooLittle)(nil); !errors.As(err, &few) {
			return unlike, err
		}
	}
	version := ""
	if own.rows == any.rows {
		version = b.Version
	}
	return b.learn(s, any, version)
}

// learn learns of the inferences of a version, "" for any, that surveyed were found to be there.
func (b *Baseline) learn(s Stream, surveyed span, version string) (unlike []string, err error) {
	switch covered := time.Duration(surveyed.until-surveyed.since) * time.Microsecond; {
	case surveyed.rows == 0:
		return nil, &TooLittle{"there are no inferences"}
	case surveyed.rows < LeastInferences:
		return nil, &TooLittle{fmt.Sprintf("there are %d inferences, and it takes %d", surveyed.rows, LeastInferences)}
	case covered < s.Least-s.Least/100 || !surveyed.divisible():
		return nil, &TooLittle{fmt.Sprintf("%d inferences are of %s, and it takes %s", surveyed.rows, covered.Round(time.Second), s.Least)}
	}
	bins := make([]*profile.Bins, len(b.Columns))
	for i, c := range b.Columns {
		bins[i] = c.Profile.Bins()
	}
	p := newParts(surveyed, bins)
	err = s.Rows(func(values []feature.Value, at int64, of string) error {
		if version == "" || of == version {
			p.add(at, values)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if n := p.filled(); n < leastParts {
		return nil, &TooLittle{fmt.Sprintf("%d inferences are in %d of %d parts of their time, and it takes %d", surveyed.rows, n, timeParts, leastParts)}
	}
	b.Variation = &Variation{Since: surveyed.since, Until: surveyed.until, Rows: surveyed.rows, Version: version}
	for i := range b.Columns {
		d := p.dispersion(i)
		alike, err := b.alike(i, p, &d)
		if err != nil {
			return nil, err
		}
		if b.Columns[i].Dispersion = &d; !alike {
			b.Columns[i].Dispersion, unlike = nil, append(unlike, b.Columns[i].Name)
		}
	}
	return unlike, nil
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
