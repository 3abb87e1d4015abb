package distance

import (
	"cmp"
	"slices"
)

// MergedBins is how many merged bins an effect is computed on at most, besides special bins. With 32 bins and 500 values
// an undrifted Jensen-Shannon distance exceeds 0.1 in most windows.
const MergedBins = 10

// Merging maps the bins of a reference onto fewer. It depends on the reference alone, so that the effects of one
// monitor's windows are comparable with each other. It is immutable.
type Merging struct {
	group   []int // of each bin
	groups  int
	special int
}

// MergeOrdered joins neighbouring ordered bins into at most most groups (at least 3) of about equal reference share.
// A first or last ordered bin without any reference mass (underflow, overflow) stays alone: values outside of the
// reference's range must not vanish in a tenth of it. Special bins stay alone.
func MergeOrdered(ref []float64, special, most int) Merging {
	first, last := 0, special
	m := Merging{group: make([]int, len(ref))}
	if special > 1 && ref[0] == 0 {
		m.groups, first = 1, 1
	}
	if last-first > 1 && ref[last-1] == 0 {
		last--
	}
	room := max(1, most-m.groups-(special-last))
	left := total(ref[first:last]) // the mass from the current group on
	var mass float64               // of the current group
	for i := first; i < last; i++ {
		if mass > 0 && room > 1 && mass+ref[i]/2 > left/float64(room) {
			// The bin's larger half is beyond this group's fair share: a new group begins with it.
			left, mass = left-mass, 0
			room--
			m.groups++
		}
		m.group[i] = m.groups
		mass += ref[i]
	}
	if last > first {
		m.groups++
	}
	if last < special {
		m.group[last] = m.groups
		m.groups++
	}
	m.keepSpecial(special)
	return m
}

// MergeCategories keeps the most-1 categories with the largest reference share and joins all others into one group, the
// last before the special bins. If there are at most most categories nothing is joined.
func MergeCategories(ref []float64, special, most int) Merging {
	m := Merging{group: make([]int, len(ref))}
	order := make([]int, special)
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(ref[b], ref[a]) })
	kept := special
	if special > most {
		kept = max(1, most) - 1
	}
	slices.Sort(order[:kept])
	for rank, bin := range order {
		m.group[bin] = min(rank, kept)
	}
	m.groups = min(special, kept+1)
	m.keepSpecial(special)
	return m
}

func (m *Merging) keepSpecial(special int) {
	m.special = m.groups
	for i := special; i < len(m.group); i++ {
		m.group[i] = m.groups
		m.groups++
	}
}

// Group is the merged bin that a bin goes to.
func (m Merging) Group(bin int) int { return m.group[bin] }

// Len is the number of merged bins, special ones among them.
func (m Merging) Len() int { return m.groups }

// Special is the index of the first merged special bin.
func (m Merging) Special() int { return m.special }

// Apply merges a pair with as many bins as the merging was made for. The counts are written into buffer, which grows if it
// is too short: with a buffer of 2*Len nothing is allocated. Points are dropped: distances that need them keep fine bins.
func (m Merging) Apply(p Pair, buffer []float64) Pair {
	buffer = slices.Grow(buffer[:0], 2*m.groups)[:2*m.groups]
	clear(buffer)
	out := Pair{Ref: buffer[:m.groups:m.groups], Cur: buffer[m.groups:], Special: m.special}
	for i, g := range m.group {
		out.Ref[g] += p.Ref[i]
		out.Cur[g] += p.Cur[i]
	}
	return out
}
