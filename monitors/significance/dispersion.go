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
	// Peak is the excess kurtosis of a pane's sums times its rows: positive where a few values of long life make most of
	// the variation. A window of n rows keeps Peak/n of it, and its tails are that much longer than a normal variable's.
	Peak float64
	// Unsettled says that panes varied the more the longer they were, up to the longest that there were enough of: values stay
	// alike for a good part of the whole time or for longer, and Effect falls short of what windows of such a length show.
	Unsettled bool
}

const (
	// fewestPanes is below which no dispersion is estimated: the effect is 1, and assumed.
	fewestPanes = 3
	// coarsest is how many panes are left at least when panes are joined to see slower variation.
	coarsest = 8
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
		if !anyFrom(p, special) {
			return d
		}
		if s := pearsonDispersion(p, special); s.Effect > d.Effect {
			return s
		}
		return d
	})
}

// Sizes are the effective sizes of nRef and nCur rows, and the degrees of freedom for Input: those on which the variance of
// a difference between them is known (Satterthwaite's), and fewer if the difference has the long tails of a Student
// variable by itself, whose kurtosis gives the number.
func Sizes(nRef float64, ref Dispersion, nCur float64, cur Dispersion) (nEffRef, nEffCur, df float64) {
	nEffRef, nEffCur = nRef/max(1, ref.Effect), nCur/max(1, cur.Effect)
	a, b := 1/nEffRef, 1/nEffCur
	var unsure float64 // the inverse of the degrees of freedom
	if ref.DF > 0 {
		unsure += a * a / ref.DF
	}
	if cur.DF > 0 {
		unsure += b * b / cur.DF
	}
	unsure /= (a + b) * (a + b)
	// A Student variable of f degrees has an excess kurtosis of 6/(f-4).
	if kurtosis := (a*a*ref.Peak/nRef + b*b*cur.Peak/nCur) / ((a + b) * (a + b)); kurtosis > 0 {
		unsure += 1 / (4 + 6/kurtosis)
	}
	if unsure == 0 {
		return nEffRef, nEffCur, 0
	}
	return nEffRef, nEffCur, 1 / unsure
}

// SharedSizes is Sizes of two samples of one stream, whose dispersion is one estimate.
func SharedSizes(nRef, nCur float64, d Dispersion) (nEffRef, nEffCur, df float64) {
	estimated := d.DF
	d.DF = 0 // what is left is the kurtosis
	nEffRef, nEffCur, df = Sizes(nRef, d, nCur, d)
	if estimated == 0 {
		return nEffRef, nEffCur, df
	}
	if df > 0 {
		estimated = 1 / (1/estimated + 1/df)
	}
	return nEffRef, nEffCur, estimated
}

// Uneven lowers the degrees of freedom of the dispersion of a time by as much as those of its parts, each estimated by itself,
// differ beyond chance. A stream whose rows depend on each other now more and now less has windows that vary more than on average; a
// variance that has the squared coefficient of variation c makes of a normal variable about a Student variable of 2/c degrees.
func (d Dispersion) Uneven(parts []Dispersion) Dispersion {
	var n, mean, chance float64
	for _, p := range parts {
		if p.DF > 0 {
			n, mean, chance = n+1, mean+p.Effect, chance+2/p.DF
		}
	}
	if n < 2 || d.DF == 0 {
		return d
	}
	mean, chance = mean/n, chance/n
	var variance float64
	for _, p := range parts {
		if p.DF > 0 {
			variance += (p.Effect - mean) * (p.Effect - mean) / (n - 1)
		}
	}
	if c := variance/(mean*mean) - chance; c > 0 {
		d.DF = max(1, 1/(1/d.DF+c/2))
	}
	return d
}

// coarsen estimates on ever longer panes while they vary more than chance makes them. Where any did, values persist
// beyond a pane, and every length of pane falls short by about the part that their time is of it: then the last two
// estimates are extrapolated to panes of any length.
func coarsen(panes [][]uint64, estimate func([][]uint64) Dispersion) Dispersion {
	d := estimate(panes)
	persist := false
	for len(panes)/2 >= coarsest {
		// Of n panes without persistence, the ratio of both estimates has the deviation √(2/n).
		more := 1 + math.Sqrt(2/float64(len(panes)))
		panes = joinPairs(panes)
		longer := estimate(panes)
		if longer.Effect >= more*d.Effect {
			d, persist = longer, true
			d.Unsettled = len(panes)/2 < coarsest
			continue
		}
		if limit := 2*longer.Effect - d.Effect; persist && limit > d.Effect {
			d = longer
			d.Effect, d.DF = limit, longer.DF/2
		}
		break
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

// dispersions are of three scores of each bin: the variance of panes' sums, over that of independent rows. The peak is the
// first score's.
func (t table) dispersions(scores [][3]float64) (out [3]float64, peak float64) {
	var mean, variance [3]float64
	var fourth float64
	for j, s := range t.shares {
		for k, x := range scores[j] {
			mean[k] += s * x
			variance[k] += s * x * x
		}
	}
	for k, m := range mean {
		variance[k] -= m * m
	}
	for i, p := range t.panes {
		var d0, d1, d2 float64
		for j, c := range p {
			if c > 0 {
				n, s := float64(c), &scores[j]
				d0, d1, d2 = d0+n*s[0], d1+n*s[1], d2+n*s[2]
			}
		}
		for k, d := range [3]float64{d0, d1, d2} {
			d -= mean[k] * t.rows[i]
			out[k] += d * d / t.rows[i]
			if k == 0 {
				fourth += d * d / t.rows[i] * (d * d / t.rows[i])
			}
		}
	}
	peak = t.peak(out[0], fourth)
	for k := range out {
		if variance[k] < 1e-12 { // constant
			out[k] = 0
			continue
		}
		out[k] /= variance[k] * float64(len(t.panes)-1)
	}
	return out, peak
}

// peak is the Peak of panes' sums, of whose squares and fourth powers, over their rows, the sums are given.
func (t table) peak(squares, fourths float64) float64 {
	n := float64(len(t.panes))
	if squares == 0 {
		return 0
	}
	return max(0, n*fourths/(squares*squares)-3*(n-1)/(n+1)) * sum(t.rows) / n
}

// pearsonDispersion joins the bins before from into one.
func pearsonDispersion(panes [][]uint64, from int) Dispersion {
	t := newTable(panes)
	if len(t.panes) < fewestPanes {
		return Dispersion{Effect: 1}
	}
	df := float64(len(t.panes) - 1)
	group, shares := t.groups(from)
	squares := make([]float64, len(shares)) // Σ (count - expected)²/rows of each group
	fourths := make([]float64, len(shares))
	counts := make([]float64, len(shares))
	for i, p := range t.panes {
		clear(counts)
		for j, c := range p {
			counts[group[j]] += float64(c)
		}
		for g, s := range shares {
			d := counts[g] - s*t.rows[i]
			squares[g] += d * d / t.rows[i]
			fourths[g] += d * d / t.rows[i] * (d * d / t.rows[i])
		}
	}
	// Each group's X² is its dispersion times 1 less its share, and the shares add up to 1.
	var total, uneven, freedom, peak float64
	for g, s := range shares {
		if s == 0 || s > 1-1e-12 {
			continue
		}
		d := squares[g] / (s * (1 - s)) / df
		total += (1 - s) * d
		uneven += (1 - s) * d * d
		freedom += 1 - s
		peak += (1 - s) * d * t.peak(squares[g], fourths[g])
	}
	if total == 0 {
		return Dispersion{Effect: 1, DF: df}
	}
	return Dispersion{Effect: max(1, total/freedom), DF: max(1, total*total/uneven) * df, Peak: peak / total}
}

// anyFrom reports whether any pane has rows in the bins from one on.
func anyFrom(panes [][]uint64, from int) bool {
	for _, p := range panes {
		for j := from; j < len(p); j++ {
			if p[j] > 0 {
				return true
			}
		}
	}
	return false
}

// groups gives each bin a group: the first is of the bins before from and of those with fewer values than panes.
func (t table) groups(from int) (group []int, shares []float64) {
	group, shares = make([]int, len(t.shares)), []float64{0}
	rows := sum(t.rows)
	for j, s := range t.shares {
		if j < from || s*rows < float64(len(t.panes)) {
			shares[0] += s
			continue
		}
		group[j] = len(shares)
		shares = append(shares, s)
	}
	return group, shares
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
	// The first three Legendre polynomials of the middle ranks, which go from -1 to 1.
	scores := make([][3]float64, len(t.shares))
	var below float64
	for j, s := range t.shares {
		r := 2*below + s - 1
		below += s
		scores[j] = [3]float64{r, (3*r*r - 1) / 2, (5*r*r - 3) * r / 2}
	}
	d, peak := t.dispersions(scores)
	mixed := (d[0]/2 + d[1]/6 + d[2]/12) / (1.0/2 + 1.0/6 + 1.0/12)
	return Dispersion{Effect: max(1, d[0], mixed), DF: float64(len(t.panes) - 1), Peak: peak}
}

// finite reports whether a share or rate can be used at all.
func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
