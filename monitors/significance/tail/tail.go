// Package tail holds upper tail probabilities of the distributions that tests of drift refer to, accurate relatively and
// not only absolutely: false alarms of once a month over thousands of tests are decided at probabilities of 1e-8 and less.
//
// It has functions of numbers alone; which statistic has which distribution is the callers' knowledge.
package tail

import "math"

const (
	epsilon   = 1e-16
	tiny      = 1e-300
	maxRounds = 100_000
)

// Normal is the probability that a standard normal variable exceeds z.
func Normal(z float64) float64 { return math.Erfc(z/math.Sqrt2) / 2 }

// NormalQuantile is the z that a standard normal variable exceeds with probability p, for 0 < p < 1.
func NormalQuantile(p float64) float64 { return math.Sqrt2 * erfcInverse(2*p) }

// erfcInverse refines math.Erfcinv, whose relative accuracy ends where 1-y rounds to 1.
func erfcInverse(y float64) float64 {
	if y > 1e-3 {
		return math.Erfcinv(y)
	}
	// Asymptotic start, then Newton on ln erfc, which is nearly a parabola.
	l := -math.Log(y * math.Sqrt(math.Pi))
	x := math.Sqrt(max(1, l-math.Log(max(1, l))/2))
	for range 60 {
		e := math.Erfc(x)
		step := math.Log(e/y) * e * math.Sqrt(math.Pi) / 2 * math.Exp(x*x)
		x += step
		if math.Abs(step) < 1e-15*x {
			break
		}
	}
	return x
}

// ChiSquare is the probability that a chi-square variable with df degrees of freedom, which need not be whole, exceeds x.
func ChiSquare(x, df float64) float64 { return Gamma(df/2, x/2) }

// Gamma is the probability that a gamma variable of shape a and scale 1 exceeds x: the regularised upper incomplete gamma
// function, by its series below the mean and by Legendre's continued fraction above (Abramowitz and Stegun 6.5.29, 6.5.31).
func Gamma(a, x float64) float64 {
	switch {
	case math.IsNaN(a) || math.IsNaN(x) || a < 0:
		return math.NaN()
	case x <= 0:
		return 1
	case a == 0 || math.IsInf(x, 1):
		return 0
	case x < a+1:
		return 1 - lowerGamma(a, x)
	}
	b, c := x+1-a, 1/tiny
	d := 1 / b
	h := d
	for i := 1.0; i < maxRounds; i++ {
		an := -i * (i - a)
		b += 2
		d = 1 / away(an*d+b)
		c = away(b + an/c)
		delta := d * c
		h *= delta
		if math.Abs(delta-1) < epsilon*4 {
			break
		}
	}
	return min(1, h*gammaFactor(a, x))
}

func lowerGamma(a, x float64) float64 {
	sum, term := 1/a, 1/a
	for k := a + 1; k < a+maxRounds; k++ {
		term *= x / k
		sum += term
		if term < sum*epsilon {
			break
		}
	}
	return min(1, sum*gammaFactor(a, x))
}

// gammaFactor is x^a e^-x / Γ(a). For large shapes the logarithms would cancel, so that Γ goes by Stirling's series and
// the rest by the difference of x from a.
func gammaFactor(a, x float64) float64 {
	if a < 50 {
		lg, _ := math.Lgamma(a)
		return math.Exp(a*math.Log(x) - x - lg)
	}
	d := (x - a) / a
	return math.Sqrt(a/(2*math.Pi)) * math.Exp(a*log1pMinus(d)-stirling(a))
}

// stirling is ln Γ(a) - (a-½) ln a + a - ½ ln 2π, for a from 50 on.
func stirling(a float64) float64 {
	i2 := 1 / (a * a)
	return (1.0/12 - i2*(1.0/360-i2*(1.0/1260-i2/1680))) / a
}

// log1pMinus is ln(1+d) - d.
func log1pMinus(d float64) float64 {
	if math.Abs(d) > 0.1 {
		return math.Log1p(d) - d
	}
	// The series Σ -(-d)^k/k from k = 2 on.
	sum, power := 0.0, -d
	for k := 2.0; k < 40; k++ {
		power *= -d
		term := -power / k
		sum += term
		if math.Abs(term) < epsilon*math.Abs(sum) {
			break
		}
	}
	return sum
}

func away(x float64) float64 {
	if math.Abs(x) < tiny {
		return tiny
	}
	return x
}

// Beta is the probability that a beta variable with parameters a and b is at most x: the regularised incomplete beta
// function, by its continued fraction (Abramowitz and Stegun 26.5.8) evaluated after Lentz.
func Beta(a, b, x float64) float64 {
	switch {
	case !(a >= 0) || !(b >= 0) || math.IsNaN(x):
		return math.NaN()
	case x <= 0 || a > 0 && b == 0 && x < 1:
		return 0
	case x >= 1 || a == 0:
		return 1
	case x > (a+1)/(a+b+2):
		return 1 - betaFraction(b, a, 1-x)
	}
	return betaFraction(a, b, x)
}

func betaFraction(a, b, x float64) float64 {
	c, d := 1.0, 1/away(1-(a+b)*x/(a+1))
	h := d
	for m := 1.0; m < maxRounds; m++ {
		even := m * (b - m) * x / ((a + 2*m - 1) * (a + 2*m))
		d = 1 / away(1+even*d)
		c = away(1 + even/c)
		h *= d * c
		odd := -(a + m) * (a + b + m) * x / ((a + 2*m) * (a + 2*m + 1))
		d = 1 / away(1+odd*d)
		c = away(1 + odd/c)
		delta := d * c
		h *= delta
		if math.Abs(delta-1) < epsilon*4 {
			break
		}
	}
	la, _ := math.Lgamma(a)
	lb, _ := math.Lgamma(b)
	lab, _ := math.Lgamma(a + b)
	return min(1, math.Exp(lab-la-lb+a*math.Log(x)+b*math.Log1p(-x))*h/a)
}

// Binomial is the probability that a binomial variable of n trials with chance r is k or more. Neither n nor k need be
// whole: between whole numbers it is interpolated by the beta distribution.
func Binomial(n, r, k float64) float64 {
	if k <= 0 {
		return 1
	}
	if k > n {
		return 0
	}
	return Beta(k, n-k+1, r)
}

// StudentTwoSided is the probability that the absolute value of Student's t with df degrees of freedom exceeds |t|.
func StudentTwoSided(t, df float64) float64 { return Beta(df/2, 0.5, df/(df+t*t)) }
