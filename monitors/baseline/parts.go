package baseline

import (
	"time"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/monitors/drift"
	"github.com/freshet-io/freshet/monitors/profile"
	"github.com/freshet-io/freshet/monitors/significance"
)

// TimeParts is into how many parts the time of a stream's rows is divided.
const TimeParts = 96

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
func (s *span) divisible() bool { return s.rows > 0 && s.until-s.since >= TimeParts }

// parts are the counts of a stream's rows in parts of their time.
type parts struct {
	span    span
	rows    [TimeParts]uint64
	columns [][]*profile.Profile // of each column and part
}

// newParts counts on the bins of each column.
func newParts(s span, bins []*profile.Bins) *parts {
	p := &parts{span: s}
	for _, b := range bins {
		of := make([]*profile.Profile, TimeParts)
		for k := range of {
			of[k] = profile.New(b, false)
		}
		p.columns = append(p.columns, of)
	}
	return p
}

// part is the span's part that a time is in; a time outside of the span is in its first or last.
func (s *span) part(at int64) int {
	at = min(max(at, s.since), s.until)
	return int(float64(at-s.since) / float64(s.until-s.since+1) * TimeParts)
}

// add counts a row of a time.
func (p *parts) add(at int64, values []feature.Value) {
	k := p.span.part(at)
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

// quarters is into how many times of one length a span, or the day, is divided where a column may vary differently in each.
const quarters = 4

// quarter is the time of a part: of the day, or of a span that is no longer than that.
func (p *parts) quarter(part int) int {
	const day = 24 * int64(time.Hour/time.Microsecond)
	if p.span.until-p.span.since <= day {
		return part * quarters / TimeParts
	}
	middle := p.span.since + int64((float64(part)+0.5)/TimeParts*float64(p.span.until-p.span.since))
	return int((middle%day + day) % day * quarters / day)
}

// dispersion estimates how a column varies between the parts that have rows, and how sure that is: less where it differs by the time
// of day.
func (p *parts) dispersion(column int) significance.Dispersion {
	bins := p.columns[column][0].Bins()
	var counts [][]uint64
	var byTime [quarters][][]uint64
	for k, of := range p.columns[column] {
		if p.rows[k] > 0 {
			q, n := p.quarter(k), of.Counts.Counts()
			counts, byTime[q] = append(counts, n), append(byTime[q], n)
		}
	}
	var each []significance.Dispersion
	for _, of := range byTime {
		each = append(each, drift.Dispersion(bins, of))
	}
	return drift.Dispersion(bins, counts).Uneven(each)
}
