package significance

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func form(shares ...float64) quadratic {
	var t Tester
	for _, s := range shares {
		t.bins = append(t.bins, bin{mass: s})
	}
	q, _ := t.bridge(1)
	return q
}

// TestLimitDistribution compares many fine bins with the published percentage points of the Anderson-Darling limit
// (Marsaglia and Marsaglia 2004), to which they converge.
func TestLimitDistribution(t *testing.T) {
	q := form(slices.Repeat([]float64{1.0 / 2000}, 2000)...)
	for _, tc := range []struct{ x, p float64 }{{1.9329578327, 0.1}, {2.4923671600, 0.05}, {3.8781250216, 0.01}} {
		if p := q.tail(tc.x, 0); math.Abs(p/tc.p-1) > 2e-3 {
			t.Errorf("P(A² > %g) = %.6g, want %g", tc.x, p, tc.p)
		}
	}
}

// TestTailAgainstEigenvalues takes forms whose eigenvalues are known in closed form. With three bins of mass 1/3 M is
// [[a, b], [b, a]], a = 1/3 and b = a/2, so that λ is 1/2 and 1/6; the tail is integrated over one of the two by hand.
func TestTailAgainstEigenvalues(t *testing.T) {
	third := 1.0 / 3
	q := form(third, third, third)
	for _, x := range []float64{0.05, 0.5, 2, 8, 20, 60} {
		// P(χ²/2 + χ'²/6 > x), over the angle of the two normal variables in the plane: Craig's form.
		const steps = 4000
		var want float64
		for i := range steps {
			a := (float64(i) + 0.5) / steps * 2 * math.Pi
			r2 := math.Cos(a)*math.Cos(a)/2 + math.Sin(a)*math.Sin(a)/6
			want += math.Exp(-x/(2*r2)) / steps
		}
		if p := q.tail(x, 0); math.Abs(p/want-1) > 1e-6 {
			t.Errorf("P(Q > %g) = %.10g, want %.10g", x, p, want)
		}
		// With an estimated variance the same angles give Student-like tails.
		for _, df := range []float64{3, 11, 50} {
			want = 0
			for i := range steps {
				a := (float64(i) + 0.5) / steps * 2 * math.Pi
				r2 := math.Cos(a)*math.Cos(a)/2 + math.Sin(a)*math.Sin(a)/6
				want += math.Pow(1+x/(r2*df), -df/2) / steps
			}
			if p := q.tail(x, df); math.Abs(p/want-1) > 1e-5 {
				t.Errorf("with %g degrees P(Q > %g) = %.10g, want %.10g", df, x, p, want)
			}
		}
	}
	if p, want := form(0.3, 0.7).tail(30, 0), math.Erfc(math.Sqrt(15/0.5)); math.Abs(p/want-1) > 1e-9 {
		t.Errorf("two bins: %g, want %g", p, want) // w = ½, so λ is ½
	}
}

func TestLargestEigenvalue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		masses := rapid.SliceOfN(rapid.Float64Range(1e-4, 1), 2, 60).Draw(t, "masses")
		all := sum(masses)
		for i := range masses {
			masses[i] /= all
		}
		q := form(masses...)
		s := q.smallest()
		if !q.positive(s*(1-1e-6)) || q.positive(s*(1+1e-5)) {
			t.Errorf("%g is not the smallest eigenvalue", s)
		}
		previous := 1.0
		for x := 0.01; x < 300; x *= 1.7 {
			p := q.tail(x, 0)
			if !(p <= previous*(1+1e-6)) || p < 0 || !(q.tail(x, 10) >= p*(1-1e-6) || p > 0.3) {
				t.Fatalf("P(> %g) = %g after %g; on 10 degrees %g", x, p, previous, q.tail(x, 10))
			}
			previous = p
		}
	})
}

// sample draws counts of n values with the shares.
func sample(rng *rand.Rand, n int, shares []float64) []float64 {
	out := make([]float64, len(shares))
	for range n {
		u, i := rng.Float64(), 0
		for i < len(shares)-1 && u >= shares[i] {
			u -= shares[i]
			i++
		}
		out[i]++
	}
	return out
}

func equal(bins int) []float64 { return slices.Repeat([]float64{1 / float64(bins)}, bins) }

func harmonic(bins int) []float64 {
	out := make([]float64, bins)
	for i := range out {
		out[i] = 1 / float64(i+1)
	}
	all := sum(out)
	for i := range out {
		out[i] /= all
	}
	return out
}

// TestFalseAlarms draws both samples anew from one population and counts p-values up to levels.
func TestFalseAlarms(t *testing.T) {
	const repetitions = 1500
	for _, tc := range []struct {
		name    string
		shares  []float64
		special int
		n, m    int
	}{
		{"forty fine bins", equal(40), 40, 400, 200},
		{"a small window", equal(20), 20, 2000, 60},
		{"uneven bins and rare special ones", harmonic(24), 21, 1000, 150},
		{"two bins", []float64{0.8, 0.2}, 2, 500, 300},
		{"many rare categories", harmonic(100), 100, 1000, 200},
	} {
		rng := rand.New(rand.NewPCG(5, 6))
		var tester Tester
		hits := map[string]*[2]float64{TestRank: {}, TestContingency: {}}
		for range repetitions {
			in := Input{Ref: sample(rng, tc.n, tc.shares), Cur: sample(rng, tc.m, tc.shares), Special: tc.special}
			for _, test := range []func(Input) (Result, error){tester.Numeric, tester.Categorical} {
				r, err := test(in)
				if err != nil {
					t.Fatal(err)
				}
				for i, level := range []float64{0.05, 0.01} {
					if r.P <= level {
						hits[r.Test][i] += 1.0 / repetitions
					}
				}
			}
		}
		for test, h := range hits {
			// Four binomial standard errors above; below, discrete tests may stay behind.
			if h[0] > 0.0725 || h[1] > 0.0203 || h[0] < 0.028 || h[1] < 0.001 {
				t.Errorf("%s, %s: %.4f at 0.05 and %.4f at 0.01", tc.name, test, h[0], h[1])
			}
		}
	}
}

func TestJudgements(t *testing.T) {
	var tester Tester
	shifted := Input{Ref: []float64{100, 100, 100, 100}, Cur: []float64{20, 40, 60, 80}, Special: 4}
	nulls := Input{Ref: []float64{500, 500, 0}, Cur: []float64{250, 250, 30}, Special: 2}
	for _, tc := range []struct {
		name     string
		in       Input
		min, max float64
	}{
		{"equal shares", Input{Ref: []float64{10, 20, 30}, Cur: []float64{1, 2, 3}, Special: 3}, 1, 1},
		{"a shift", shifted, 1e-8, 1e-5},
		{"a shift of few effective values", Input{Ref: shifted.Ref, Cur: shifted.Cur, Special: 4, NEffRef: 40, NEffCur: 20}, 0.01, 0.4},
		{"a shift of sizes known badly", Input{Ref: shifted.Ref, Cur: shifted.Cur, Special: 4, DF: 3}, 0.01, 0.1},
		{"nulls appear", nulls, 0, 1e-9},
		{"a constant", Input{Ref: []float64{0, 9}, Cur: []float64{0, 4}, Special: 2}, 1, 1},
		{"no values", Input{Ref: []float64{3, 4}, Cur: []float64{0, 0}, Special: 2}, 1, 1},
		{"all null on one side", Input{Ref: []float64{50, 50, 0}, Cur: []float64{0, 0, 60}, Special: 2}, 0, 1e-9},
		{"a new category far rarer in both", Input{Ref: []float64{50000, 50000, 0}, Cur: []float64{50, 46, 4}, Special: 3}, 0, 1e-9},
	} {
		for _, test := range []func(Input) (Result, error){tester.Numeric, tester.Categorical} {
			r, err := test(tc.in)
			if err != nil || !(r.P >= tc.min-1e-9) || r.P > tc.max {
				t.Errorf("%s, %s: p = %g, %v; want %g to %g", tc.name, r.Test, r.P, err, tc.min, tc.max)
			}
			if r.NRef != sum(tc.in.Ref) || tc.in.NEffRef > 0 && r.NEffRef != tc.in.NEffRef {
				t.Errorf("%s, %s: sizes %+v", tc.name, r.Test, r)
			}
		}
	}
	for want, in := range map[string]Input{
		"3 reference bins":      {Ref: make([]float64, 3), Cur: make([]float64, 2)},
		"special bins from 4":   {Ref: make([]float64, 3), Cur: make([]float64, 3), Special: 4},
		"effective sizes -1":    {NEffRef: -1},
		"not a finite number":   {Ref: []float64{-1}, Cur: []float64{1}},
		"count is not a finite": {Ref: []float64{math.Inf(1)}, Cur: []float64{1}},
	} {
		if _, err := tester.Numeric(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestAllocatesNothing(t *testing.T) {
	var tester Tester
	in := Input{Ref: slices.Repeat([]float64{30}, 44), Cur: slices.Repeat([]float64{9}, 44), Special: 40}
	in.Cur[3] = 20
	judge := func() {
		if _, err := tester.Numeric(in); err != nil {
			t.Fatal(err)
		}
		if _, err := tester.Categorical(in); err != nil {
			t.Fatal(err)
		}
	}
	judge()
	if n := testing.AllocsPerRun(50, judge); n > 0 {
		t.Errorf("%g allocations for two tests", n)
	}
}

// BenchmarkEvaluation judges 50 columns in 20 slices, half of them numeric with 48 bins, half with 30 categories.
func BenchmarkEvaluation(b *testing.B) {
	rng := rand.New(rand.NewPCG(7, 8))
	numeric := Input{Ref: sample(rng, 20000, equal(48)), Cur: sample(rng, 2000, equal(48)), Special: 44}
	categorical := Input{Ref: sample(rng, 20000, harmonic(30)), Cur: sample(rng, 2000, harmonic(30)), Special: 30}
	var tester Tester
	b.ReportAllocs()
	for b.Loop() {
		for range 500 {
			if _, err := tester.Numeric(numeric); err != nil {
				b.Fatal(err)
			}
			if _, err := tester.Categorical(categorical); err != nil {
				b.Fatal(err)
			}
		}
	}
}
