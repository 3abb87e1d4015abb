package baseline

import (
	"slices"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/monitors/drift"
	"github.com/freshet-io/freshet/monitors/profile"
	"github.com/freshet-io/freshet/monitors/significance"
)

// timeParts is into how many parts the time of a stream's rows is divided.
const timeParts = 96

// span is the time between the first row and the last, both included, microseconds UTC. The zero span has no rows.
type span struct {
	since, until int64
	rows         uint64
}

func (s *span) add(at int64) {
	if s.rows == 0 {
		s.since, s.until = at, at
	}
	s.since, s.until = min(s.since, at), max(s.until, at)
	s.rows++
}

// divisible reports whether there is time for every part.
func (s *span) divisible() bool { return s.rows > 0 && s.until-s.since >= timeParts }

// parts are the counts of a stream's rows in parts of their time.
type parts struct {
	span    span
	rows    [timeParts]uint64
	columns [][]*profile.Profile // of each column and part
}

// newParts counts on the bins of each column.
func newParts(s span, bins []*profile.Bins) *parts {
	p := &parts{span: s}
	for _, b := range bins {
		of := make([]*profile.Profile, timeParts)
		for k := range of {
			of[k] = profile.New(b, false)
		}
		p.columns = append(p.columns, of)
	}
	return p
}

// add counts a row of a time; one outside of the span counts in its first or last part.
func (p *parts) add(at int64, values []feature.Value) {
	at = min(max(at, p.span.since), p.span.until)
	k := int(float64(at-p.span.since) / float64(p.span.until-p.span.since+1) * timeParts)
	p.rows[k]++
	for i := range values {
		p.columns[i][k].Add(&values[i])
	}
}

// filled is how many parts have rows.
func (p *parts) filled() (n int) {
	for _, rows := range p.rows {
		if rows > 0 {
			n++
		}
	}
	return n
}

// total is a column's rows of all parts.
func (p *parts) total(column int) (*profile.Profile, error) {
	all := profile.New(p.columns[column][0].Bins(), false)
	for _, of := range p.columns[column] {
		if err := all.Merge(of); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// dispersion estimates how a column varies between the parts, and how sure that is: less where it differs by the time of day.
func (p *parts) dispersion(column int) significance.Dispersion {
	bins, counts := p.columns[column][0].Bins(), make([][]uint64, timeParts)
	for k, of := range p.columns[column] {
		counts[k] = of.Counts.Counts()
	}
	var quarters []significance.Dispersion
	for of := range slices.Chunk(counts, timeParts/4) {
		quarters = append(quarters, drift.Dispersion(bins, of))
	}
	return drift.Dispersion(bins, counts).Uneven(quarters)
}
