package significance

import (
	"cmp"
	"math"
	"slices"

	"github.com/freshet-io/freshet/monitors/significance/tail"
)

// The contingency test is Pearson's chi-square of the table of both samples by category, with expectations from the
// pooled shares, so that the reference is a sample too. Two things are mended where cells are sparse.
//
// Cells whose expectation on the smaller side is below leastExpected are joined, largest pooled count first, until each
// joined cell reaches it. What remains below is compared with all others by an exact binomial test, to which a tenth of
// the false alarms is given. The order depends on pooled counts alone, on which the test is conditioned.
//
// The statistic is referred to a shifted gamma distribution with its own mean, variance and third cumulant under the
// null hypothesis (Pearson's type III), of which the chi-square is the limit for large expectations: a chi-square alone
// is far too short in the tail when a side is small.

const (
	leastExpected  = 5.0
	leftoverWeight = 0.1
)

// cell is a category's effective counts, and the counts they come from.
type cell struct{ ref, cur, counted float64 }

func (c cell) both() float64 { return c.ref + c.cur }

// contingency returns the p-value and X². Sizes are effective ones.
func (t *Tester) contingency(ref, cur []float64, nRef, nCur, df float64) (p, x2 float64) {
	totalRef, totalCur := sum(ref), sum(cur)
	if totalRef <= 0 || totalCur <= 0 || !(nRef > 0) || !(nCur > 0) {
		return 1, 0
	}
	t.cells = t.cells[:0]
	scaleRef, scaleCur := nRef/totalRef, nCur/totalCur
	for i := range ref {
		if counted := ref[i] + cur[i]; counted > 0 {
			t.cells = append(t.cells, cell{ref: ref[i] * scaleRef, cur: cur[i] * scaleCur, counted: counted})
		}
	}
	chance := nCur / (nRef + nCur)
	dense, left := t.join(leastExpected / min(chance, 1-chance))
	p = 1
	if len(dense) > 1 {
		p, x2 = pearson(dense, df)
	}
	if left.both() > 0 && len(dense) > 0 {
		rare := spread(func(v float64) float64 { return binomialTwoSided(left, chance, v) }, df)
		if len(dense) == 1 {
			return rare, x2
		}
		p = min(1, p/(1-leftoverWeight), rare/leftoverWeight)
	}
	return p, x2
}

// join joins cells with fewer than least values and returns those that have as many, and what is left over. It sorts by
// the exact counts: by effective ones, cells of equal counts would come in the order of their composition, and joining
// like with like makes false alarms.
func (t *Tester) join(least float64) (dense []cell, left cell) {
	slices.SortFunc(t.cells, func(a, b cell) int { return cmp.Compare(b.counted, a.counted) })
	n := 0
	for _, c := range t.cells {
		left = cell{ref: left.ref + c.ref, cur: left.cur + c.cur}
		if left.both() >= least {
			t.cells[n] = left
			n++
			left = cell{}
		}
	}
	return t.cells[:n], left
}

// pearson tests the cells' table, of more than one cell.
//
// Given its pooled count c, a cell's current count O is under the null hypothesis binomial with the current side's share
// r, and X² is Σ Y, Y = (O-rc)²/(c r (1-r)), given that Σ O is what it is. The cumulants of a sum of independent Y less
// their regression on Σ O are those of X² but for the degree of freedom that the condition takes.
func pearson(cells []cell, df float64) (p, x2 float64) {
	var nRef, nCur float64
	for _, c := range cells {
		nRef += c.ref
		nCur += c.cur
	}
	r := nCur / (nRef + nCur)
	v := r * (1 - r)
	k := float64(len(cells))
	slope := k * (1 - 2*r) / ((nRef + nCur) * v) // of Σ Y on Σ O
	variance, third := -2.0, -8.0
	for _, c := range cells {
		o := c.cur - r*c.both()
		x2 += o * o / (c.both() * v)
		s2, s3 := cellCumulants(c.both(), r, slope)
		variance += s2
		third += s3
	}
	upper := func(x float64) float64 { return typeIII(x, k-1, variance, third) }
	return spread(func(v float64) float64 { return upper(x2 * v) }, df), x2
}

// cellCumulants are the variance and the third cumulant of Z = Y - 1 - slope (O - rc) for a binomial O of c trials.
func cellCumulants(c, r, slope float64) (s2, s3 float64) {
	v := r * (1 - r)
	k2, k3, k4 := c*v, c*v*(1-2*r), c*v*(1-6*v)
	k5, k6 := k3*(1-12*v), c*v*(1-30*v+120*v*v)
	m4, m5 := k4+3*k2*k2, k5+10*k3*k2
	m6 := k6 + 15*k4*k2 + 10*k3*k3 + 15*k2*k2*k2
	y2 := m4/(k2*k2) - 1           // E (Y-1)²
	yo := k3 / k2                  // E (Y-1)(O-rc)
	y3 := m6/(k2*k2*k2) - 3*y2 - 1 // E (Y-1)³, from E Y³ = E (Y-1)³ + 3 E (Y-1)² + 1
	y2o := m5/(k2*k2) - 2*k3/k2    // E (Y-1)² (O-rc)
	yo2 := m4/k2 - k2              // E (Y-1) (O-rc)²
	s2 = y2 - 2*slope*yo + slope*slope*k2
	s3 = y3 - 3*slope*y2o + 3*slope*slope*yo2 - slope*slope*slope*k3
	return s2, s3
}

// typeIII is the tail of a shifted gamma distribution with these cumulants at x.
func typeIII(x, mean, variance, third float64) float64 {
	if !(variance > 0) {
		return tail.ChiSquare(x, mean)
	}
	z := (x - mean) / math.Sqrt(variance)
	skew := third / (variance * math.Sqrt(variance))
	if !(skew > 1e-3) {
		return tail.Normal(z)
	}
	shape := 4 / (skew * skew)
	return tail.Gamma(shape, shape+z*math.Sqrt(shape))
}

// binomialTwoSided tests a cell's current count, effective sizes being 1/v times as large as they seem, against the chance
// of a value to be a current one.
func binomialTwoSided(c cell, chance, v float64) float64 {
	n, o := c.both()*v, c.cur*v
	upper, lower := tail.Binomial(n, chance, o), tail.Beta(n-o, o+1, 1-chance)
	if o == 0 {
		lower = math.Pow(1-chance, n)
	}
	return min(1, 2*min(upper, lower))
}

// spread is the mean of p(V) for a chi-square variable V over its df degrees of freedom: what an estimated variance
// makes of a p-value. With df = 0 the variance is known, and V is 1.
func spread(p func(v float64) float64, df float64) float64 {
	if df == 0 {
		return p(1)
	}
	// ln V is nearly normal above, and has an exponential tail with rate df/2 below; steps are even on its scale.
	const steps = 80
	low, high := -56/df-6/math.Sqrt(df), 8/math.Sqrt(df)
	h := (high - low) / steps
	half := df / 2
	norm, _ := math.Lgamma(half)
	var total float64
	for i := range steps + 1 {
		l := low + h*float64(i)
		density := math.Exp(half*(math.Log(half)+l) - half*math.Exp(l) - norm)
		total += density * p(math.Exp(l))
	}
	return min(1, total*h)
}
