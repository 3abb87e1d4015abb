package profile

import (
	"math"

	"github.com/freshet-io/freshet/internal/feature"
)

// block is how many values are summed before their moments are merged: few enough that what they need stays in the
// first cache, enough that merging costs nothing.
const block = 1024

// AddFloat64s counts many numbers, in a numeric column, a few nanoseconds each. It is AddFloat64 of each.
func (p *Profile) AddFloat64s(values []float64) {
	for len(values) > 0 {
		n := min(block, len(values))
		p.addBlock(values[:n])
		values = values[n:]
	}
}

func (p *Profile) addBlock(values []float64) {
	if !p.countBlock(values) {
		for _, x := range values {
			if x-x != 0 {
				p.n[p.special(x)]++
			}
		}
	}
	m, below, above := p.blockMoments(values)
	p.moments.merge(&m)
	if below || above {
		for _, x := range values {
			if x-x == 0 {
				p.tail(p.bins.locate.find(x), x)
			}
		}
	}
	if p.sketchy {
		for _, x := range values {
			if x-x == 0 {
				p.pend(x)
			}
		}
	}
}

// countBlock counts values into regular bins and reports whether all were finite.
//
// The cell of a value, how many cuts lie before it, and the two comparisons that are left depend on nothing else, so
// the processor works on several values at once and has no branch to guess but that for values outside of the table.
func (p *Profile) countBlock(values []float64) (finite bool) {
	l := &p.bins.locate
	switch {
	case l.table == nil:
		return p.countBySearch(values)
	case l.scale == 0:
		return p.countByBits(values)
	}
	finite = true
	n, cuts, table := p.n, l.cuts, (*[tableCells]uint8)(l.table)
	low, scale := l.low, l.scale
	for _, x := range values {
		x += 0 // -0 becomes 0
		cell := float64((x - low) * scale)
		if !(x >= low && cell < tableCells) {
			finite = p.countOutside(x) && finite
			continue
		}
		i := int(table[int(cell)&(tableCells-1)])
		n[step(cuts[i:i+cellCuts:i+cellCuts], i, x)]++
	}
	return finite
}

// countByBits is countBlock where cells are steps of the numbers' bits.
func (p *Profile) countByBits(values []float64) (finite bool) {
	l := &p.bins.locate
	finite = true
	n, cuts, table := p.n, l.cuts, (*[tableCells]uint8)(l.table)
	low, base, shift := l.low, l.base, l.shift&63
	for _, x := range values {
		x += 0 // -0 becomes 0
		cell := uint64(rank(x)-base) >> shift
		if !(x >= low && x <= math.MaxFloat64) || cell >= tableCells {
			finite = p.countOutside(x) && finite
			continue
		}
		i := int(table[cell&(tableCells-1)])
		n[step(cuts[i:i+cellCuts:i+cellCuts], i, x)]++
	}
	return finite
}

// step adds to i how many of the cuts of a cell are not above x. Their differences' signs say so without a branch: the
// difference of two numbers is 0 only if they are equal, and +0 unless x is -0.
func step(cell []float64, i int, x float64) int {
	_ = cell[cellCuts-1]
	above := math.Float64bits(x-cell[0])>>63 + math.Float64bits(x-cell[1])>>63
	return i + cellCuts - int(above)
}

// countOutside counts a value that is outside of the table, unless it is not finite.
func (p *Profile) countOutside(x float64) (finite bool) {
	if x-x != 0 {
		return false
	}
	p.n[p.bins.locate.search(x)]++
	return true
}

func (p *Profile) countBySearch(values []float64) (finite bool) {
	finite = true
	for _, x := range values {
		finite = p.countOutside(x) && finite
	}
	return finite
}

// blockMoments returns the moments of the finite values of a block, and whether some are outside of the cuts.
func (p *Profile) blockMoments(values []float64) (m Moments, below, above bool) {
	if len(values) == 0 {
		return m, false, false
	}
	// Sums are taken relative to a value of the block, so that a large mean of a small spread loses nothing; eight of
	// them, because each addition waits for the one before.
	base := 0.0
	for _, x := range values {
		if x-x == 0 {
			base = x
			break
		}
	}
	low, high := math.Inf(1), math.Inf(-1)
	var s, q [4]float64
	var k int
	for ; k+4 <= len(values); k += 4 {
		v := values[k : k+4 : k+4]
		a, b, c, d := v[0]-base, v[1]-base, v[2]-base, v[3]-base
		s[0] += a
		s[1] += b
		s[2] += c
		s[3] += d
		q[0] += float64(a * a)
		q[1] += float64(b * b)
		q[2] += float64(c * c)
		q[3] += float64(d * d)
		low = min(low, v[0], v[1], v[2], v[3])
		high = max(high, v[0], v[1], v[2], v[3])
	}
	for ; k < len(values); k++ {
		d := values[k] - base
		s[0] += d
		q[0] += float64(d * d)
		low, high = min(low, values[k]), max(high, values[k])
	}
	sum, squares := (s[0]+s[1])+(s[2]+s[3]), (q[0]+q[1])+(q[2]+q[3])
	n := float64(len(values))
	if squares-squares != 0 || sum-sum != 0 { // a value was not finite, or squares are out of range
		return p.slowMoments(values)
	}
	mean := sum / n
	m = Moments{N: uint64(len(values)), Mean: base + mean, M2: max(0, squares-float64(mean*sum)), Min: low + 0, Max: high + 0}
	cuts := p.bins.cuts
	if len(cuts) == 0 {
		return m, false, false
	}
	return m, low < cuts[0], high >= cuts[len(cuts)-1]
}

// slowMoments is blockMoments value by value.
func (p *Profile) slowMoments(values []float64) (m Moments, below, above bool) {
	for _, x := range values {
		if x-x != 0 {
			continue
		}
		m.add(x + 0)
		if cuts := p.bins.cuts; len(cuts) > 0 {
			below = below || x < cuts[0]
			above = above || x >= cuts[len(cuts)-1]
		}
	}
	return m, below, above
}

// AddInt64s counts many whole numbers, in a numeric column.
func (p *Profile) AddInt64s(values []int64) {
	var buf [block]float64
	for len(values) > 0 {
		n := min(block, len(values))
		for i, v := range values[:n] {
			buf[i] = float64(v)
		}
		p.addBlock(buf[:n])
		values = values[n:]
	}
}

// AddValues is Add of each value.
func (p *Profile) AddValues(values []feature.Value) {
	for i := range values {
		p.Add(&values[i])
	}
}
