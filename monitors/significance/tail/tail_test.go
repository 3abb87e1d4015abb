package tail

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

func within(t *testing.T, name string, got, want, relative float64) {
	t.Helper()
	if !(math.Abs(got-want) <= relative*math.Abs(want)) {
		t.Errorf("%s = %.17g, want %.17g", name, got, want)
	}
}

// TestAgainstClosedForms covers the deep tail, where the closed forms are exact.
func TestAgainstClosedForms(t *testing.T) {
	for _, x := range []float64{0.01, 0.5, 1, 3, 10, 40, 200, 600} {
		within(t, "chi-square with 1", ChiSquare(x, 1), math.Erfc(math.Sqrt(x/2)), 1e-12)
		within(t, "chi-square with 2", ChiSquare(x, 2), math.Exp(-x/2), 1e-12)
		within(t, "chi-square with 4", ChiSquare(x, 4), math.Exp(-x/2)*(1+x/2), 1e-12)
	}
	// The sum over a Poisson variable's values.
	sum, term := 0.0, math.Exp(-300.0)
	for k := range 200 {
		sum += term
		term *= 300 / float64(k+1)
	}
	within(t, "gamma of shape 200 at 300", Gamma(200, 300), sum, 1e-10)
	for _, n := range []int{5, 30, 400} {
		for _, k := range []int{1, 2, n / 2, n} {
			want := 0.0
			for i := k; i <= n; i++ {
				want += choose(n, i) * math.Pow(0.2, float64(i)) * math.Pow(0.8, float64(n-i))
			}
			within(t, "binomial", Binomial(float64(n), 0.2, float64(k)), want, 1e-10)
		}
	}
	within(t, "Student with 1", StudentTwoSided(5, 1), 1-2/math.Pi*math.Atan(5), 1e-12)
	within(t, "Student with 2", StudentTwoSided(1e4, 2), 1-1e4/math.Sqrt(2+1e8), 1e-6)
}

func choose(n, k int) float64 {
	a, _ := math.Lgamma(float64(n + 1))
	b, _ := math.Lgamma(float64(k + 1))
	c, _ := math.Lgamma(float64(n - k + 1))
	return math.Exp(a - b - c)
}

func TestNormalQuantileInvertsNormal(t *testing.T) {
	for p := 0.999; p > 1e-250; p *= 0.37 {
		within(t, "normal", Normal(NormalQuantile(p)), p, 1e-11)
	}
}

func TestTailsFall(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.Float64Range(0.1, 5000).Draw(t, "shape")
		x := rapid.Float64Range(0, 2).Draw(t, "x") * a
		lower, higher := Gamma(a, x), Gamma(a, x*1.01+0.001)
		if !(lower >= higher) || lower > 1 || higher < 0 {
			t.Errorf("gamma of shape %g: %g at %g, then %g", a, lower, x, higher)
		}
		b := rapid.Float64Range(0.1, 500).Draw(t, "b")
		u := rapid.Float64Range(0.01, 0.99).Draw(t, "u") // 1-u is inexact nearer to 0
		if p, q := Beta(a, b, u), Beta(b, a, 1-u); math.Abs(p+q-1) > 1e-9 {
			t.Errorf("beta(%g, %g) at %g: both tails are %g", a, b, u, p+q)
		}
	})
}

func TestOutside(t *testing.T) {
	for name, got := range map[string]float64{
		"gamma at infinity": Gamma(3, math.Inf(1)), "binomial beyond n": Binomial(5, 0.1, 6), "beta at 0": Beta(2, 3, 0),
	} {
		if got != 0 {
			t.Errorf("%s = %g, want 0", name, got)
		}
	}
	for name, got := range map[string]float64{
		"gamma at 0": Gamma(3, 0), "binomial from 0": Binomial(5, 0.1, 0), "beta at 1": Beta(2, 3, 1),
	} {
		if got != 1 {
			t.Errorf("%s = %g, want 1", name, got)
		}
	}
	for name, got := range map[string]float64{"gamma": Gamma(-1, 2), "beta": Beta(-1, 2, 0.5)} {
		if !math.IsNaN(got) {
			t.Errorf("%s of a negative parameter = %g", name, got)
		}
	}
}
