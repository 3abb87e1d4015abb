package distance

import (
	"errors"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func near(t *testing.T, name string, got, want float64) {
	t.Helper()
	if !(math.Abs(got-want) <= 1e-12*max(1, math.Abs(want))) {
		t.Errorf("%s = %.17g, want %.17g", name, got, want)
	}
}

func score(t testing.TB, m Method, p Pair) float64 {
	t.Helper()
	d, err := Lookup(string(m))
	if err != nil {
		t.Fatal(err)
	}
	got, err := d.Score(p)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestScoresByHand has samples small enough for pencil and paper.
func TestScoresByHand(t *testing.T) {
	halves := Pair{Ref: []float64{2, 2, 0}, Cur: []float64{1, 2, 1}, Special: 3, Points: []float64{0, 1, 3}, Scale: 0.5}
	apart := Pair{Ref: []float64{7, 0}, Cur: []float64{0, 9}, Special: 2, Points: []float64{1, 4}, Scale: 1}
	nulls := Pair{Ref: []float64{5, 5, 0}, Cur: []float64{4, 4, 2}, Special: 2, Points: []float64{0, 1}, Scale: 1}
	for _, tc := range []struct {
		method              Method
		halves, apart, null float64
	}{
		{JensenShannon, math.Sqrt(0.5 * (0.5*math.Log2(4.0/3) + 0.25*math.Log2(2.0/3) + 0.25)), 1, math.Sqrt(0.5 * (math.Log2(10.0/9) + 0.8*math.Log2(8.0/9) + 0.2))},
		{PSI, 0.25*math.Log(2) + 0.125*math.Log(2), (1-1.0/14)*math.Log(14) + (1-1.0/18)*math.Log(18), 0.2*math.Log(1.25) + 0.15*math.Log(4)},
		{LInfinity, 0.25, 1, 0.2},
		{KS, 0.25, 1, 0.2},
		{Wasserstein, (0.25*1 + 0.25*2) / 0.5, 3, 0.2},
		{Hellinger, math.Sqrt(0.5 * (math.Pow(math.Sqrt(0.5)-0.5, 2) + 0.25)), 1, math.Sqrt(0.5 * (2*math.Pow(math.Sqrt(0.5)-math.Sqrt(0.4), 2) + 0.2))},
		{ChiSquare, 0.5 * (0.0625/0.75 + 0.25), 1, 0.5 * (2*0.01/0.9 + 0.2)},
		{TotalVariation, 0.25, 1, 0.2},
	} {
		near(t, string(tc.method)+" of halves", score(t, tc.method, halves), tc.halves)
		near(t, string(tc.method)+" of disjoint", score(t, tc.method, apart), tc.apart)
		near(t, string(tc.method)+" with nulls", score(t, tc.method, nulls), tc.null)
	}
}

func TestTableNamesEveryMethod(t *testing.T) {
	if Methods()[0].Method != JensenShannon {
		t.Errorf("the default is %s", Methods()[0].Method)
	}
	for _, d := range Methods() {
		if !d.Numeric || d.EmptyBins == "" || d.score == nil || d.null == nil {
			t.Errorf("%s: incomplete line %+v", d.Method, d)
		}
	}
	_, err := Lookup("chi")
	if err == nil || !strings.Contains(err.Error(), `"chi"`) || !strings.Contains(err.Error(), "chi_square") {
		t.Errorf("unknown method: %v", err)
	}
}

func TestUnusableCounts(t *testing.T) {
	ok := []float64{1, 2}
	for _, tc := range []struct {
		name string
		pair Pair
		want string
	}{
		{"lengths", Pair{Ref: ok, Cur: []float64{1}, Special: 1}, "2 reference bins and 1 current"},
		{"special", Pair{Ref: ok, Cur: ok, Special: 3}, "special bins from 3"},
		{"negative", Pair{Ref: ok, Cur: []float64{3, -1}, Special: 2}, "current counts are not"},
		{"not a number", Pair{Ref: []float64{math.NaN(), 1}, Cur: ok, Special: 2}, "reference counts are not"},
		{"empty", Pair{Ref: ok, Cur: []float64{0, 0}, Special: 2}, "no values"},
		{"few points", Pair{Ref: ok, Cur: ok, Special: 2, Points: []float64{1}}, "1 values for 2"},
		{"unordered points", Pair{Ref: ok, Cur: ok, Special: 2, Points: []float64{2, 1}}, "not in order"},
		{"infinite points", Pair{Ref: ok, Cur: ok, Special: 2, Points: []float64{2, math.Inf(1)}}, "+Inf"},
		{"scale", Pair{Ref: ok, Cur: ok, Special: 2, Points: ok, Scale: math.NaN()}, "deviation is NaN"},
	} {
		d, _ := Lookup("wasserstein")
		_, err := d.Score(tc.pair)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
		if tc.name == "empty" && !errors.Is(err, ErrEmpty) {
			t.Errorf("empty: %v is not ErrEmpty", err)
		}
	}
	d, _ := Lookup("ks")
	if _, err := d.Effect(Pair{Ref: ok, Cur: ok, Special: 2}, 0, 5); err == nil {
		t.Error("an effective size of 0 passes")
	}
}

func TestWassersteinUnitOfConstants(t *testing.T) {
	p := Pair{Ref: []float64{0, 4}, Cur: []float64{4, 0}, Special: 2, Points: []float64{2, 8}}
	near(t, "in units of the constant", score(t, Wasserstein, p), 6.0/8)
	p.Points = []float64{-3, 0}
	near(t, "of a constant 0", score(t, Wasserstein, p), 3)
}

// drawPair draws counts on up to 12 bins, none of its sides empty.
func drawPair(t *rapid.T) Pair {
	n := rapid.IntRange(1, 12).Draw(t, "bins")
	side := rapid.SliceOfN(rapid.IntRange(0, 6), n, n).Filter(func(c []int) bool {
		for _, x := range c {
			if x > 0 {
				return true
			}
		}
		return false
	})
	p := Pair{Special: n - rapid.IntRange(0, min(3, n)).Draw(t, "special"), Scale: 2}
	for _, c := range side.Draw(t, "ref") {
		p.Ref = append(p.Ref, float64(c))
	}
	for i, c := range side.Draw(t, "cur") {
		p.Cur = append(p.Cur, float64(c))
		p.Points = append(p.Points, float64(i)*1.5-3)
	}
	return p
}

func equalShares(p Pair) bool {
	a, b := total(p.Ref), total(p.Cur)
	for i := range p.Ref {
		if p.Ref[i]*b != p.Cur[i]*a {
			return false
		}
	}
	return true
}

func TestProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPair(t)
		if rapid.Bool().Draw(t, "same shares") {
			k := float64(rapid.IntRange(1, 9).Draw(t, "times"))
			for i := range p.Ref {
				p.Cur[i] = k * p.Ref[i]
			}
		}
		back := p
		back.Ref, back.Cur = p.Cur, p.Ref
		for _, d := range Methods() {
			got, err := d.Score(p)
			if err != nil {
				t.Fatal(err)
			}
			if !(got >= 0) || got > d.Max {
				t.Errorf("%s = %g is outside of 0..%g", d.Method, got, d.Max)
			}
			if (got == 0) != equalShares(p) {
				t.Errorf("%s = %g, equal shares: %t", d.Method, got, equalShares(p))
			}
			other, err := d.Score(back)
			if err != nil {
				t.Fatal(err)
			}
			if d.Symmetric && math.Abs(other-got) > 1e-12*max(1, got) {
				t.Errorf("%s = %g, exchanged %g", d.Method, got, other)
			}
			e, err := d.Effect(p, 30, 20)
			if err != nil {
				t.Fatal(err)
			}
			if e.Raw != got || e.Corrected < 0 || e.Corrected > got || e.Null < 0 || got <= e.Null && e.Corrected != 0 {
				t.Errorf("%s: effect %+v of score %g", d.Method, e, got)
			}
			if large, _ := d.Effect(p, 1e15, 1e15); math.Abs(large.Corrected-got) > 1e-6 {
				t.Errorf("%s: at any size the effect of %g is %g", d.Method, got, large.Corrected)
			}
		}
	})
}

// TestTriangle holds the distances that are metrics to the triangle inequality.
func TestTriangle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPair(t)
		third := make([]float64, len(p.Ref))
		for i := range third {
			third[i] = float64(rapid.IntRange(1, 6).Draw(t, "third"))
		}
		for _, m := range []Method{JensenShannon, LInfinity, KS, Hellinger, TotalVariation} {
			via1, via2 := p, p
			via1.Cur, via2.Ref = third, third
			d, _ := Lookup(string(m))
			direct, _ := d.Score(p)
			a, _ := d.Score(via1)
			b, _ := d.Score(via2)
			if direct > a+b+1e-12 {
				t.Errorf("%s: %g directly, %g and %g over a third", m, direct, a, b)
			}
		}
	})
}
