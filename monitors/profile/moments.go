package profile

import "math"

// Moments are those of a column's finite numbers. They can be merged, never subtracted: the rounding of a subtraction
// has no bound.
type Moments struct {
	N        uint64  // how many
	Mean     float64 // 0 when N is 0
	M2       float64 // sum of the squared differences from the mean; infinite, with a mean of 0, when out of range
	Min, Max float64 // 0 when N is 0
	// Below and Above are the sums of how far values in the underflow are below the reference's least value, and values
	// in the overflow above its largest: with them, distances that depend on size see what lies outside of the bins.
	Below, Above float64
}

// Variance returns the population variance: 0 of fewer than two numbers, infinite when out of range.
func (m *Moments) Variance() float64 {
	if m.N < 2 {
		return 0
	}
	return m.M2 / float64(m.N)
}

// add counts one finite x.
func (m *Moments) add(x float64) {
	m.N++
	if m.N == 1 {
		m.Mean, m.Min, m.Max = x, x, x
		return
	}
	if x < m.Min {
		m.Min = x
	}
	if x > m.Max {
		m.Max = x
	}
	d := x - m.Mean
	m.Mean += d / float64(m.N)
	m.M2 += float64(d * (x - m.Mean)) // no fused product: the same bits on every machine
	m.check()
}

// merge adds the moments of other numbers by Chan's formula.
func (m *Moments) merge(o *Moments) {
	if o.N == 0 {
		return
	}
	if m.N == 0 {
		*m = *o
		return
	}
	n, d := float64(m.N)+float64(o.N), o.Mean-m.Mean
	m.M2 += o.M2 + float64(float64(d*d)*float64(float64(m.N)*(float64(o.N)/n)))
	m.Mean += float64(d * (float64(o.N) / n))
	m.N += o.N
	m.Min, m.Max = min(m.Min, o.Min), max(m.Max, o.Max)
	m.Below += o.Below
	m.Above += o.Above
	m.check()
}

// check gives moments that left the range of float64 their one form.
func (m *Moments) check() {
	if m.Mean-m.Mean != 0 || m.M2-m.M2 != 0 {
		m.Mean, m.M2 = 0, math.Inf(1)
	}
}
