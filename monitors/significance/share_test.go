package significance

import (
	"math"
	"math/rand/v2"
	"testing"
)

func binomial(rng *rand.Rand, n int, p float64) float64 {
	k := 0
	for range n {
		if rng.Float64() < p {
			k++
		}
	}
	return float64(k)
}

// TestShareRiseKeepsItsLevel draws both samples from one population: at most the level's part of them is surprising, also
// where the kind is rare, common, or the sides are of unlike size.
func TestShareRiseKeepsItsLevel(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	const rounds, level = 4000, 0.01
	for _, tc := range []struct {
		nRef, nCur int
		share      float64
	}{{3000, 300, 0.001}, {3000, 300, 0.02}, {3000, 300, 0.3}, {300, 300, 0.1}, {300, 3000, 0.02}, {500, 500, 0.97}} {
		alarms := 0
		for range rounds {
			p, err := ShareRise(Part{Count: binomial(rng, tc.nRef, tc.share), N: float64(tc.nRef)}, Part{Count: binomial(rng, tc.nCur, tc.share), N: float64(tc.nCur)}, 0)
			if err != nil {
				t.Fatal(err)
			}
			if p <= level {
				alarms++
			}
		}
		if limit := rounds*level + 4*math.Sqrt(rounds*level); float64(alarms) > limit {
			t.Errorf("%+v: %d alarms at 1 %% of %d, want at most %.0f", tc, alarms, rounds, limit)
		}
	}
}

func TestShareRise(t *testing.T) {
	p := func(ref, cur Part, df float64) float64 {
		t.Helper()
		p, err := ShareRise(ref, cur, df)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	rare, often := Part{Count: 10, N: 10000}, Part{Count: 60, N: 1000}
	if got := p(often, rare, 0); got != 1 {
		t.Errorf("a share that fell has p %g", got)
	}
	sure := p(rare, often, 0)
	if sure > 1e-12 {
		t.Errorf("6 %% against 0.1 %% has p %g", sure)
	}
	often.NEff = 50
	if less := p(rare, often, 0); less <= sure || less > 0.05 {
		t.Errorf("with an effective size of 50 p is %g, of 1000 it was %g", less, sure)
	}
	if few := p(rare, often, 4); few <= p(rare, often, 0) {
		t.Errorf("a size that was estimated on few panes makes p smaller: %g", few)
	}
	if got := p(Part{N: 1000}, Part{Count: 1000, N: 1000}, 0); got > 1e-200 {
		t.Errorf("none against all has p %g", got)
	}
	if got := p(Part{}, Part{Count: 1, N: 1}, 0); got != 1 {
		t.Errorf("without a reference p is %g", got)
	}
	for _, bad := range []Part{{Count: -1, N: 1}, {Count: 2, N: 1}, {Count: math.NaN(), N: 1}, {Count: 1, N: 2, NEff: -1}} {
		if _, err := ShareRise(bad, rare, 0); err == nil {
			t.Errorf("%+v passes", bad)
		}
	}
}

// TestVolumeKeepsItsLevel draws hours of weeks whose counts vary by a gamma variable of their own besides: with the
// dispersion estimated from few of them at most the level's part is surprising.
func TestVolumeKeepsItsLevel(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	const rounds, level, weeks, compared = 2000, 0.01, 3, 24
	for _, tc := range []struct{ mean, dispersion float64 }{{0.2, 1}, {5, 1}, {100, 1}, {100, 6}} {
		draw := func() float64 { return overdispersed(rng, tc.mean, tc.dispersion) }
		alarms := 0
		for range rounds {
			var h History
			for range compared {
				h.Dispersion += history(draw, weeks).Surprise(draw()) / compared
			}
			own := history(draw, weeks)
			own.Dispersion, own.DF = h.Dispersion, compared
			p, err := Volume(draw(), own)
			if err != nil {
				t.Fatal(err)
			}
			if p <= level {
				alarms++
			}
		}
		if limit := rounds*level + 4*math.Sqrt(rounds*level); float64(alarms) > limit {
			t.Errorf("%+v: %d alarms at 1 %% of %d, want at most %.0f", tc, alarms, rounds, limit)
		}
	}
}

func history(draw func() float64, n int) History {
	h := History{Count: float64(n)}
	for range n {
		h.Mean += draw() / h.Count
	}
	return h
}

// overdispersed draws a Poisson variable whose mean is a gamma variable (of whole shape).
func overdispersed(rng *rand.Rand, mean, dispersion float64) float64 {
	if dispersion > 1 {
		shape := math.Round(mean / (dispersion - 1))
		var g float64
		for range int(shape) {
			g += rng.ExpFloat64()
		}
		mean *= g / shape
	}
	k := 0.0
	for at := rng.ExpFloat64(); at < mean; at += rng.ExpFloat64() {
		k++
	}
	return k
}

func TestVolumeToBothSides(t *testing.T) {
	h := History{Mean: 1000, Count: 4, Dispersion: 3, DF: 30}
	for _, tc := range []struct {
		count    float64
		surprise bool
	}{{1000, false}, {1100, false}, {900, false}, {500, true}, {0, true}, {1600, true}} {
		p, err := Volume(tc.count, h)
		if err != nil {
			t.Fatal(err)
		}
		if p < 1e-6 != tc.surprise || !(p <= 1) {
			t.Errorf("%g against a mean of 1000 has p %g", tc.count, p)
		}
	}
	quiet := History{Count: 2, Dispersion: 1}
	if p, err := Volume(0, quiet); err != nil || p < 0.5 {
		t.Errorf("nothing where there never was anything has p %g, %v", p, err)
	}
	if p, err := Volume(50, quiet); err != nil || p > 1e-6 {
		t.Errorf("50 where there never was anything has p %g, %v", p, err)
	}
	for _, bad := range []History{{Mean: -1, Count: 1}, {Mean: 1}, {Mean: 1, Count: 1, DF: -1}, {Mean: math.NaN(), Count: 1}} {
		if _, err := Volume(1, bad); err == nil {
			t.Errorf("%+v passes", bad)
		}
	}
}
