package distance

import (
	"math"
	"slices"
)

// Mover is a bin and its share on both sides.
type Mover struct {
	Bin      int
	Ref, Cur float64
}

// Movers lists the count bins whose shares differ most, the largest difference first, equal ones in order of their bins.
// Bins that did not move are left out; so is everything if a side is empty.
func Movers(p Pair, count int) []Mover {
	ref, cur := total(p.Ref), total(p.Cur)
	if !(ref > 0) || !(cur > 0) || count <= 0 {
		return nil
	}
	out := make([]Mover, 0, count+1)
	for i := range p.Ref {
		m := Mover{Bin: i, Ref: p.Ref[i] / ref, Cur: p.Cur[i] / cur}
		if m.Ref == m.Cur {
			continue
		}
		at := len(out)
		for at > 0 && math.Abs(m.Cur-m.Ref) > math.Abs(out[at-1].Cur-out[at-1].Ref) {
			at--
		}
		if at < count {
			out = slices.Insert(out, at, m)
			out = out[:min(len(out), count)]
		}
	}
	return out
}
