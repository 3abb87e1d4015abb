package profile

import "math"

// A locator finds the bin of a number: how many cuts are not above it.
//
// The obvious way is a binary search, seven dependent comparisons that a processor guesses wrong half the time. Here
// the line between the cuts is divided into cells, and a table says for each cell how many cuts lie in cells before it;
// what remains are comparisons with the cuts in the cell itself, at most cellCuts. A cell is a function of the number that
// never falls as the number grows, so rounding in it moves cuts and numbers alike and the result is exact. Cells are of
// equal width, or, for values spread over orders of magnitude, equal steps of the float64's bits, so that each power
// of two has as many. Cuts that fit neither way are searched without branches.
type locator struct {
	cuts  []float64 // padded with cellCuts + 1 infinities
	n     int       // cuts without padding
	table []uint8   // cuts in lower cells, for each cell; nil: search
	low   float64   // where cell 0 begins
	scale float64   // cells of equal width: how many a unit has; 0 for cells of bits
	// Cells of bits: the rank of low, and how much to divide ranks by, as a power of two.
	base  int64
	shift uint8
}

const (
	tableCells = 2048
	cellCuts   = 2
)

func newLocator(cuts []float64) locator {
	l := locator{n: len(cuts)}
	l.cuts = append(make([]float64, 0, len(cuts)+cellCuts+1), cuts...)
	for range cellCuts + 1 {
		l.cuts = append(l.cuts, math.Inf(1))
	}
	// The outermost cuts are the reference's extremes; leaving them out keeps one outlier from making all cells coarse.
	for skip := 0; skip <= 4 && len(cuts)-2*skip >= 2; skip++ {
		if low, high := cuts[skip], cuts[len(cuts)-1-skip]; l.even(low, high) || l.bits(low, high) {
			return l
		}
	}
	l.table = nil
	return l
}

// even makes a table of cells of equal width from low to high, and reports whether no cell has too many cuts.
func (l *locator) even(low, high float64) bool {
	l.low, l.scale = low, tableCells/(high-low)
	return l.scale > 0 && l.scale-l.scale == 0 && high-high == 0 && l.fill(low)
}

// bits makes a table of cells of equal steps of rank from low to high, and reports whether no cell has too many cuts.
func (l *locator) bits(low, high float64) bool {
	l.low, l.scale, l.base, l.shift = low, 0, rank(low), 0
	for uint64(rank(high)-l.base)>>l.shift >= tableCells {
		l.shift++
	}
	return high-high == 0 && l.fill(low)
}

// fill makes the table of the cells that are set; no cell of a cut below low is asked for.
func (l *locator) fill(low float64) bool {
	if l.n > math.MaxUint8 {
		return false
	}
	l.table = make([]uint8, tableCells)
	var per [tableCells]uint8
	below := 0
	for _, c := range l.cuts[:l.n] {
		if c < low {
			below++
		} else if cell, ok := l.cell(c); ok {
			if per[cell]++; per[cell] > cellCuts {
				return false
			}
		}
	}
	for i, k := range per {
		l.table[i] = uint8(below)
		below += int(k)
	}
	return true
}

// rank orders numbers as integers: a < b exactly if rank(a) < rank(b), but that -0 is below 0.
func rank(x float64) int64 {
	b := int64(math.Float64bits(x))
	return b ^ b>>63&math.MaxInt64
}

// cell returns the cell of a number; ok is false outside of the table, and for NaN. The number itself is compared with low:
// the product may underflow to 0.
func (l *locator) cell(x float64) (cell uint, ok bool) {
	if l.scale == 0 {
		c := uint64(rank(x+0)-l.base) >> l.shift
		return uint(c), x >= l.low && c < tableCells
	}
	c := float64((x - l.low) * l.scale)
	return uint(c), x >= l.low && c < tableCells
}

// find returns the number of cuts that are not above x, which is finite.
func (l *locator) find(x float64) int {
	if l.table != nil {
		if cell, ok := l.cell(x); ok {
			i := int(l.table[cell])
			for x >= l.cuts[i] {
				i++
			}
			return i
		}
	}
	return l.search(x)
}

// search is find without the table: a binary search whose steps are additions.
func (l *locator) search(x float64) int {
	base := 0
	for n := l.n; n > 0; n /= 2 {
		half := (n + 1) / 2
		if step := base + half; x >= l.cuts[step-1] {
			base = step
		}
	}
	return base
}
