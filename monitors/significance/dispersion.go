package significance

import "math"

// Dispersion is how much more the counts of a stream vary than those of independent rows would. A hot entity's value that
// is served a hundred times is one value: a test that takes its rows for independent fires on every stream that has one.
type Dispersion struct {
	// Effect is the design effect, at least 1: the variance of the counts over that of independent rows. The effective
	// size of n rows is n over it.
	Effect float64
	// DF is on how many degrees of freedom Effect was estimated; 0 if it is known, or assumed.
	DF float64
}

const (
	// fewestPanes is below which no dispersion is estimated: the effect is 1, and assumed.
	fewestPanes = 3
	// coarsest is how many panes are left at least when panes are joined to see slower variation.
	coarsest = 8
	// slower is by how much the effect of twice as long panes is larger before they are preferred.
	slower = 1.2
)

// DesignEffect is CategoricalDispersion's effect, at least 1.
func DesignEffect(panes [][]uint64) float64 { return CategoricalDispersion(panes).Effect }

// CategoricalDispersion estimates a dispersion from the counts of consecutive panes by category: Pearson's chi-square of
// panes by bins over its degrees of freedom. Its expectation is 1 for independent rows however sparse the cells; bins with
// fewer values than panes are joined, since one of them could else decide the whole.
//
// Panes shorter than the time over which values persist show too little: while panes of twice the length vary notably
// more and there are enough, panes are joined.
func CategoricalDispersion(panes [][]uint64) Dispersion {
	return coarsen(panes, func(p [][]uint64) Dispersion { return pearsonDispersion(p, 0) })
}

// NumericDispersion estimates a dispersion for the rank test from the counts of consecutive panes by ordered bin, special
// ones from index special on. The rank test is decided by the smoothest differences of two distributions, and these are
// what a slow stream varies in most, far more than in single bins: so the variance between panes is taken of the mean
// rank and of its second and third orthogonal polynomials, with the weights that these have in the test, and of the mean
// rank alone if that is more. Special bins are taken as categories; the larger effect counts.
func NumericDispersion(panes [][]uint64, special int) Dispersion {
	return coarsen(panes, func(p [][]uint64) Dispersion {
		d := rankDispersion(p, special)
		if s := pearsonDispersion(p, special); s.Effect > d.Effect {
			return s
		}
		return d
	})
}

// EntityEffect is the design effect of rows that carry their entity's value, by Kish: the mean number of rows that a row's
// entity has, Σc²/Σc of the rows by entity. It takes all rows of an entity for one value, so it errs upwards where
// values change within the window.
func EntityEffect(rows []uint64) float64 {
	var n, squares float64
	for _, c := range rows {
		n += float64(c)
		squares += float64(c) * float64(c)
	}
	if n == 0 {
		return 1
	}
	return squares / n
}

// AtLeast is the dispersion with an effect not below one that is known otherwise, as from EntityEffect.
func (d Dispersion) AtLeast(effect float64) Dispersion {
	if effect > d.Effect {
		return Dispersion{Effect: effect}
	}
	return d
}

// Sizes are the effective sizes of nRef and nCur rows, and the degrees of freedom on which the variance of a difference
// between them is known (Satterthwaite's), for Input.
func Sizes(nRef float64, ref Dispersion, nCur float64, cur Dispersion) (nEffRef, nEffCur, df float64) {
	nEffRef, nEffCur = nRef/max(1, ref.Effect), nCur/max(1, cur.Effect)
	a, b := 1/nEffRef, 1/nEffCur
	var unsure float64
	if ref.DF > 0 {
		unsure += a * a / ref.DF
	}
	if cur.DF > 0 {
		unsure += b * b / cur.DF
	}
	if unsure == 0 {
		return nEffRef, nEffCur, 0
	}
	return nEffRef, nEffCur, (a + b) * (a + b) / unsure
}

func coarsen(panes [][]uint64, estimate func([][]uint64) Dispersion) Dispersion {
	d := estimate(panes)
	for len(panes)/2 >= coarsest {
		panes = joinPairs(panes)
		longer := estimate(panes)
		if longer.Effect < slower*d.Effect {
			break
		}
		d = longer
	}
	return d
}

// joinPairs adds up consecutive pairs; an odd first pane is left out.
func joinPairs(panes [][]uint64) [][]uint64 {
	out := make([][]uint64, 0, len(panes)/2)
	for i := len(panes) % 2; i < len(panes); i += 2 {
		pair := make([]uint64, len(panes[i]))
		for j := range pair {
			pair[j] = panes[i][j] + panes[i+1][j]
		}
		out = append(out, pair)
	}
	return out
}

// table is the counts of panes that are not empty, by bin.
type table struct {
	panes  [][]uint64
	rows   []float64 // by pane
	shares []float64 // by bin, of all panes together
}

func newTable(panes [][]uint64) table {
	var t table
	var n float64
	for _, p := range panes {
		var rows float64
		for j, c := range p {
			if j == len(t.shares) {
				t.shares = append(t.shares, 0)
			}
			t.shares[j] += float64(c)
			rows += float64(c)
		}
		if rows > 0 {
			t.panes, t.rows, n = append(t.panes, p), append(t.rows, rows), n+rows
		}
	}
	for j := range t.shares {
		t.shares[j] /= n
	}
	return t
}

// dispersion is of the values that score gives each bin: the variance of panes' sums, over that of independent rows.
func (t table) dispersion(score func(bin int) float64) float64 {
	var mean, square float64
	for j, s := range t.shares {
		x := score(j)
		mean += s * x
		square += s * x * x
	}
	variance := square - mean*mean
	if !(variance > 1e-12*square) {
		return 0
	}
	var total float64
	for i, p := range t.panes {
		var d float64
		for j, c := range p {
			if c > 0 {
				d += float64(c) * (score(j) - mean)
			}
		}
		total += d * d / t.rows[i]
	}
	return total / variance / float64(len(t.panes)-1)
}

// pearsonDispersion joins the bins before from into one.
func pearsonDispersion(panes [][]uint64, from int) Dispersion {
	t := newTable(panes)
	if len(t.panes) < fewestPanes {
		return Dispersion{Effect: 1}
	}
	group := make([]int, len(t.shares)) // of each bin; 0 holds those that are joined
	groups := 1
	rows := sum(t.rows)
	for j, s := range t.shares {
		if j >= from && s*rows >= float64(len(t.panes)) {
			group[j] = groups
			groups++
		}
	}
	// Each group's X² is its dispersion times 1 less its share, and the shares add up to 1.
	var total, squares, freedom float64
	for g := range groups {
		var share float64
		for j, s := range t.shares {
			if group[j] == g {
				share += s
			}
		}
		d := t.dispersion(func(j int) float64 {
			if group[j] == g {
				return 1
			}
			return 0
		})
		total += (1 - share) * d
		squares += (1 - share) * d * d
		if share > 0 {
			freedom += 1 - share
		}
	}
	if freedom < 1e-9 || total == 0 {
		return Dispersion{Effect: 1, DF: float64(len(t.panes) - 1)}
	}
	return Dispersion{Effect: max(1, total/freedom), DF: max(1, total*total/squares) * float64(len(t.panes)-1)}
}

func rankDispersion(panes [][]uint64, special int) Dispersion {
	ordered := make([][]uint64, len(panes))
	for i, p := range panes {
		ordered[i] = p[:min(special, len(p))]
	}
	t := newTable(ordered)
	if len(t.panes) < fewestPanes {
		return Dispersion{Effect: 1}
	}
	ranks := make([]float64, len(t.shares)) // middle ranks, from -1 to 1
	var below float64
	for j, s := range t.shares {
		ranks[j] = 2*below + s - 1
		below += s
	}
	first := t.dispersion(func(j int) float64 { return ranks[j] })
	second := t.dispersion(func(j int) float64 { return (3*ranks[j]*ranks[j] - 1) / 2 })
	third := t.dispersion(func(j int) float64 { return (5*ranks[j]*ranks[j] - 3) * ranks[j] / 2 })
	mixed := (first/2 + second/6 + third/12) / (1.0/2 + 1.0/6 + 1.0/12)
	return Dispersion{Effect: max(1, first, mixed), DF: float64(len(t.panes) - 1)}
}

// finite reports whether a share or rate can be used at all.
func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
