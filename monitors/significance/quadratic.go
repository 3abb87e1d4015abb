package significance

import (
	"math"
	"math/cmplx"

	"github.com/freshet-io/freshet/monitors/significance/tail"
)

// quadratic is the distribution of Σ λ χ², independent chi-squares with one degree of freedom each, where λ are the
// inverse eigenvalues of a positive definite symmetric tridiagonal matrix T.
type quadratic struct {
	bounds       []bound
	mean, square float64 // Σ λ and Σ λ²
}

// tail is the probability that the form exceeds x; with df > 0, that it exceeds x times an independent chi-square
// variable over its df degrees of freedom.
//
// With φ(t) = Π (1-2λt)^-½ e^(-tx), or (1+2tx/df)^(-df/2) in the place of the exponential, it is the integral of
// φ(t)/(2πi t) along any path from below to above that crosses the real axis between 0 and the smallest 1/2λ. The path
// is a hyperbola through the saddle point that opens to the right, on which the integrand has no oscillation to speak of
// and falls doubly exponentially: some 20 points give six digits relatively, in the bulk as at 1e-100.
func (q quadratic) tail(x, df float64) float64 {
	if !(x > 0) {
		return 1
	}
	if len(q.bounds) == 1 {
		return q.single(x, df)
	}
	largest := 1 / q.smallest()
	end := 1 / (2 * largest)
	at := q.saddle(x, df, largest)
	width := min(at, end-at)
	scale := q.logTransform(complex(at, 0), x, df)
	const step = 0.25
	total := real(1/complex(at, 0)) * width / 2
	for k := 1; k < 200; k++ {
		sinh, cosh := math.Sinh(step*float64(k)), math.Cosh(step*float64(k))
		t := complex(at+width*(cosh-1), width*sinh)
		slope := complex(width*cosh, -width*sinh) // dt/dv over i
		f := cmplx.Exp(q.logTransform(t, x, df)-scale) * slope / t
		total += real(f)
		if cmplx.Abs(f) < 1e-9*total {
			break
		}
	}
	return min(1, max(0, math.Exp(real(scale))*total*step/math.Pi))
}

// single is the tail of one chi-square, or of the F distribution that an estimated dispersion makes of it.
func (q quadratic) single(x, df float64) float64 {
	z := x * q.bounds[0].diagonal
	if df > 0 {
		return tail.StudentTwoSided(math.Sqrt(z), df)
	}
	return math.Erfc(math.Sqrt(z / 2))
}

// logTransform is the logarithm of φ. The pivots of T-2t have negative imaginary parts where t has a positive one, as
// the eigenvalues less 2t have, so that the principal arguments of either add up to the same.
func (q quadratic) logTransform(t complex128, x, df float64) complex128 {
	var logs complex128
	var pivot, pair complex128
	var still float64
	for i, b := range q.bounds {
		if i == 0 {
			pivot, still = complex(b.diagonal, 0)-2*t, b.diagonal
		} else {
			pivot = complex(b.diagonal, 0) - 2*t - complex(b.off2, 0)/pivot
			still = b.diagonal - b.off2/still
		}
		ratio := pivot / complex(still, 0)
		if i%2 == 0 {
			pair = ratio
			continue
		}
		logs += logTurned(pair * ratio)
		pair = 1
	}
	if len(q.bounds)%2 == 1 {
		logs += logTurned(pair)
	}
	if df > 0 {
		return -logs/2 - complex(df/2, 0)*cmplx.Log(1+2*t*complex(x/df, 0))
	}
	return -logs/2 - t*complex(x, 0)
}

// logTurned is the logarithm of a product of two numbers whose arguments are within (-π, 0].
func logTurned(z complex128) complex128 {
	l := cmplx.Log(z)
	if imag(l) > 0 {
		l -= complex(0, 2*math.Pi)
	}
	return l
}

// smallest is the smallest eigenvalue of T, from below, by bisection: all pivots of T-s are positive exactly if s is
// below it.
func (q quadratic) smallest() float64 {
	// λ is between Σ λ²/Σ λ and √Σ λ².
	low, high := 1/math.Sqrt(q.square)*(1-1e-9), q.mean/q.square*(1+1e-9)
	for high-low > 1e-7*low {
		middle := (low + high) / 2
		if q.positive(middle) {
			low = middle
		} else {
			high = middle
		}
	}
	return low
}

func (q quadratic) positive(s float64) bool {
	pivot := 0.0
	for i, b := range q.bounds {
		d := b.diagonal - s
		if i > 0 {
			d -= b.off2 / pivot
		}
		if d <= 0 {
			return false
		}
		pivot = d
	}
	return true
}

// saddle is about where φ(t)/t is smallest on the real axis. Any place would do for the integral; near the minimum the
// terms cancel least. The largest weight is taken as it is, the others by their first two moments.
func (q quadratic) saddle(x, df, largest float64) float64 {
	low, high := 0.0, 1/(2*largest)
	end := high
	for range 50 {
		t := (low + high) / 2
		slope := largest/(1-2*largest*t) + (q.mean - largest) + 2*t*max(0, q.square-largest*largest) - 1/t
		if df > 0 {
			slope -= x / (1 + 2*t*x/df)
		} else {
			slope -= x
		}
		if slope > 0 {
			high = t
		} else {
			low = t
		}
	}
	return min(max(low, 1e-6*end), end*(1-1e-6))
}
