package significance

// The rank test is the two-sample Anderson-Darling test on binned values. With H the pooled share below the bound
// between two bins, D the difference of both samples' shares below it and w the mean pooled mass of the bins beside it,
//
//	A² = Σ w D² / (H (1-H)) / (1/n + 1/m)   over the bounds.
//
// Given the pooled counts, D is under the null hypothesis a Brownian bridge at the bounds (its covariance is H(1-H')
// (1/n + 1/m) for H <= H'), whichever bins were chosen and whichever ties they hold. So A² is a weighted sum of
// independent chi-squares with weights λ, the eigenvalues of the matrix M of √(v v') H(1-H'), v = w/(H(1-H)). For many
// fine bins λ is 1/(k(k+1)), the statistic's known limit; for two bins it is one chi-square. The reference enters as a
// sample by 1/n.
//
// The covariance of a bridge has a tridiagonal inverse, and so has M. With T that inverse, the determinants that the
// distribution's transform consists of need one pass over the bounds each, and no eigenvalue but the largest.

// bound is the place between two bins.
type bound struct {
	diagonal float64 // of T
	off2     float64 // square of T's element beside the diagonal, towards the previous bound
}

// bin is what the rank test needs of one.
type bin struct{ mass, difference float64 }

// leastMass is the effective number of values that a bin has at least in both samples together: thinner ones are joined to
// a neighbour. They tell nothing alone and would make T's elements too unequal.
const leastMass = 1.0

// rank returns the p-value and A². Sizes are effective ones.
func (t *Tester) rank(ref, cur []float64, nRef, nCur, df float64) (p, a2 float64) {
	totalRef, totalCur := sum(ref), sum(cur)
	if totalRef <= 0 || totalCur <= 0 || !(nRef > 0) || !(nCur > 0) {
		return 1, 0
	}
	t.bins = t.bins[:0]
	var b bin
	for i := range ref {
		f, g := ref[i]/totalRef, cur[i]/totalCur
		b.mass += (nRef*f + nCur*g) / (nRef + nCur)
		b.difference += f - g
		if b.mass*(nRef+nCur) >= leastMass {
			t.bins = append(t.bins, b)
			b = bin{}
		}
	}
	if last := len(t.bins) - 1; last >= 0 {
		t.bins[last].mass += b.mass
		t.bins[last].difference += b.difference
	}
	q, a2 := t.bridge(1/nRef + 1/nCur)
	if len(q.bounds) == 0 {
		return 1, 0
	}
	return q.tail(a2, df), a2
}

// bridge computes A² and the quadratic form that it follows from the bins.
func (t *Tester) bridge(noise float64) (q quadratic, a2 float64) {
	t.bounds = t.bounds[:0]
	var below, difference float64 // H and D
	var reach, before float64     // Σ v H² and v of the bounds before
	for i := 0; i+1 < len(t.bins); i++ {
		mass, next := t.bins[i].mass, t.bins[i+1].mass
		below += mass
		difference += t.bins[i].difference
		above := max(1-below, next)
		w := (mass + next) / 2
		v := w / (below * above)
		a2 += v * difference * difference / noise
		b := bound{diagonal: (1/mass + 1/next) / v}
		if i > 0 {
			b.off2 = 1 / (mass * mass * v * before)
		}
		t.bounds = append(t.bounds, b)
		q.mean += w
		q.square += w*w + 2*v*above*above*reach
		reach += v * below * below
		before = v
	}
	q.bounds = t.bounds
	return q, a2
}

func sum(x []float64) float64 {
	var s float64
	for _, v := range x {
		s += v
	}
	return s
}
