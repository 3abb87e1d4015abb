package compat

import (
	"math"
	"testing"
)

// TestExactByCounting compares with all orders of few values, counted one by one.
func TestExactByCounting(t *testing.T) {
	for _, size := range [][2]int{{1, 1}, {2, 3}, {4, 4}, {3, 6}, {2, 9}, {9, 2}} {
		n, m := size[0], size[1]
		gaps := map[int]int{}
		all := 0
		for set := range 1 << (n + m) {
			i, j, most := 0, 0, 0
			for k := range n + m {
				if set>>k&1 == 1 {
					i++
				} else {
					j++
				}
				most = max(most, i*m-j*n, j*n-i*m)
			}
			if i == n {
				gaps[most]++
				all++
			}
		}
		for gap := range n*m + 1 {
			want := 0
			for g, c := range gaps {
				if g >= gap {
					want += c
				}
			}
			if got := pathsOutside(n, m, gap); math.Abs(got-float64(want)/float64(all)) > 1e-14 {
				t.Errorf("%d and %d values: P(gap >= %d) = %g, want %d of %d", n, m, gap, got, want, all)
			}
		}
	}
}

func TestKolmogorovLimitIsNear(t *testing.T) {
	for _, gap := range []int{20, 30, 45} {
		exact := pathsOutside(400, 400, gap*400)
		limit := KolmogorovLimit(float64(gap)/400, 400, 400)
		if math.Abs(limit/exact-1) > 0.1 {
			t.Errorf("gap %d of 400: %g, exact %g", gap, limit, exact)
		}
	}
}
