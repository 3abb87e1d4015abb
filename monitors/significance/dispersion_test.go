package significance

import (
	"math"
	"math/rand/v2"
	"testing"
)

// panesOf fills panes with values in ten bins, each value repeated.
func panesOf(rng *rand.Rand, panes, rows, repeat int) [][]uint64 {
	out := make([][]uint64, panes)
	for i := range out {
		out[i] = make([]uint64, 10)
		for range rows / repeat {
			out[i][rng.IntN(10)] += uint64(repeat)
		}
	}
	return out
}

func TestDispersionOfRepeatedValues(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 4))
	for _, repeat := range []int{1, 2, 10, 50} {
		panes := panesOf(rng, 200, 1000, repeat)
		for name, d := range map[string]Dispersion{"ordered": NumericDispersion(panes, 10), "categories": CategoricalDispersion(panes)} {
			if r := d.Effect / float64(repeat); r < 0.8 || r > 1.35 {
				t.Errorf("%s: each value %d times has effect %.3g", name, repeat, d.Effect)
			}
			if d.DF < 20 || d.DF > 2000 {
				t.Errorf("%s: %d panes gave %.3g degrees of freedom", name, len(panes), d.DF)
			}
		}
	}
	// Each value many times over several panes: pairs of panes vary more, and so on.
	var slow [][]uint64
	for range 64 {
		p := panesOf(rng, 1, 400, 40)[0]
		slow = append(slow, p, p, p, p)
	}
	if d := NumericDispersion(slow, 10); d.Effect < 100 || d.Effect > 260 {
		t.Errorf("values that last four panes of 40 each have effect %.3g, want about 160", d.Effect)
	}
}

// TestDispersionOfAutocorrelation: the mean of an AR(1) stream of coefficient 0.9 varies 19 times as much as of
// independent values, which single bins do not show.
func TestDispersionOfAutocorrelation(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 4))
	panes := make([][]uint64, 300)
	x := 0.0
	for i := range panes {
		panes[i] = make([]uint64, 20)
		for range 500 {
			x = 0.9*x + math.Sqrt(1-0.81)*rng.NormFloat64()
			panes[i][int(10*math.Erfc(-x/math.Sqrt2))]++
		}
	}
	if d := NumericDispersion(panes, 20); d.Effect < 14 || d.Effect > 24 {
		t.Errorf("effect %.3g, want about 18", d.Effect)
	}
	// Panes of 40 rows are no longer than the correlation by much: alone they show 15.
	short := make([][]uint64, 2000)
	for i := range short {
		short[i] = make([]uint64, 20)
		for range 40 {
			x = 0.9*x + math.Sqrt(1-0.81)*rng.NormFloat64()
			short[i][int(10*math.Erfc(-x/math.Sqrt2))]++
		}
	}
	if d := NumericDispersion(short, 20); d.Effect < 17 || d.Effect > 23 {
		t.Errorf("in short panes effect %.3g, want about 19", d.Effect)
	}
}

// TestPeak: a few values of long life make tails that the variance does not show.
func TestPeak(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 5))
	even, lumpy := panesOf(rng, 400, 300, 1), make([][]uint64, 400)
	for i := range lumpy {
		lumpy[i] = make([]uint64, 10)
		for left := uint64(300); left > 0; {
			rows := uint64(1)
			if rng.IntN(1500) == 0 {
				rows = 150
			}
			rows = min(rows, left)
			lumpy[i][rng.IntN(10)] += rows
			left -= rows
		}
	}
	for name, estimate := range map[string]func([][]uint64) Dispersion{
		"ordered":    func(p [][]uint64) Dispersion { return NumericDispersion(p, 10) },
		"categories": CategoricalDispersion,
	} {
		// In units of rows: an excess kurtosis of 1 in panes of 300 is 300.
		if d := estimate(even); d.Peak > 200 {
			t.Errorf("%s: even panes have peak %.3g", name, d.Peak)
		}
		d := estimate(lumpy)
		if d.Peak < 300 {
			t.Errorf("%s: lumpy panes have peak %.3g", name, d.Peak)
		}
		_, _, few := Sizes(1e6, Dispersion{Effect: 1}, 300, d)
		_, _, many := Sizes(1e6, Dispersion{Effect: 1}, 300_000, d)
		if few > 20 || many < 100 {
			t.Errorf("%s: a window of 300 rows has %.3g degrees of freedom, one of 300,000 has %.3g", name, few, many)
		}
	}
}

func TestDispersionKnowsNothing(t *testing.T) {
	for name, panes := range map[string][][]uint64{
		"no panes": nil, "two panes": {{5, 5}, {1, 9}}, "empty panes": {{0, 0}, {0, 0}, {0, 0}, {2, 4}},
	} {
		if d := CategoricalDispersion(panes); d != (Dispersion{Effect: 1}) {
			t.Errorf("%s: %+v", name, d)
		}
		if d := NumericDispersion(panes, 2); d != (Dispersion{Effect: 1}) {
			t.Errorf("%s: %+v", name, d)
		}
	}
	if e := DesignEffect([][]uint64{{9}, {2}, {5}, {7}}); e != 1 {
		t.Errorf("a single bin has effect %g", e)
	}
}

func TestSizes(t *testing.T) {
	n, m, df := Sizes(1000, Dispersion{Effect: 1}, 500, Dispersion{Effect: 5, DF: 20})
	if n != 1000 || m != 100 || math.Abs(df-20*1.21) > 1e-9 {
		t.Errorf("sizes %g and %g on %g", n, m, df) // (1/1000 + 1/100)² / ((1/100)²/20)
	}
	if _, _, df := Sizes(10, Dispersion{}, 10, Dispersion{Effect: 2}); df != 0 {
		t.Errorf("known effects have %g degrees of freedom", df)
	}
}

// BenchmarkDispersion is of one column's day of panes of five minutes.
func BenchmarkDispersion(b *testing.B) {
	panes := panesOf(rand.New(rand.NewPCG(1, 2)), 288, 500, 1)
	for i, p := range panes {
		panes[i] = append(p, make([]uint64, 30)...)
	}
	b.ReportAllocs()
	for b.Loop() {
		NumericDispersion(panes, 36)
	}
}

// A dispersion that differs from part to part beyond chance is less sure, one that does so by chance alone as sure as it is.
func TestUnevenDispersionIsLessSure(t *testing.T) {
	whole := Dispersion{Effect: 30, DF: 40}
	part := func(effects ...float64) (out []Dispersion) {
		for _, e := range effects {
			out = append(out, Dispersion{Effect: e, DF: 10})
		}
		return out
	}
	for _, c := range []struct {
		parts []Dispersion
		want  float64
	}{
		{part(30, 30, 30, 30), 40},
		{part(22, 38, 27, 33), 40}, // two over ten degrees of freedom allow for more
		{part(10, 50, 10, 50), 1 / (1.0/40 + (1600.0/3/900-0.2)/2)},
		{part(1, 1, 1, 4000), 1},
		{part(50), 40},
		{[]Dispersion{{Effect: 1}, {Effect: 90}}, 40}, // of too little to be estimated
	} {
		if got := whole.Uneven(c.parts); math.Abs(got.DF-c.want) > 1e-9 || got.Effect != whole.Effect {
			t.Errorf("of parts %v it has %g degrees of freedom, want %g", c.parts, got.DF, c.want)
		}
	}
}

// What two samples of one stream know of how they vary is one estimate: between two of one size it is as unsure as it is by itself,
// where two estimates would be twice as sure.
func TestTwoSidesOfOneStreamShareAnEstimate(t *testing.T) {
	d := Dispersion{Effect: 20, DF: 12}
	a, b, df := SharedSizes(600, 600, d)
	if a != 30 || b != 30 || math.Abs(df-12) > 1e-9 {
		t.Errorf("sizes %g and %g on %g degrees of freedom", a, b, df)
	}
	if _, _, two := Sizes(600, d, 600, d); math.Abs(two-24) > 1e-9 {
		t.Errorf("two estimates have %g degrees of freedom", two)
	}
	d.Peak = 300
	if _, _, peaked := SharedSizes(600, 600, d); peaked >= 12 {
		t.Errorf("long tails leave %g degrees of freedom", peaked)
	}
	if _, _, known := SharedSizes(600, 600, Dispersion{Effect: 20}); known != 0 {
		t.Errorf("of a known dispersion %g degrees of freedom", known)
	}
}
