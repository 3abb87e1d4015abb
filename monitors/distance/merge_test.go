package distance

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestMergeOrdered(t *testing.T) {
	ten := slices.Repeat([]float64{5}, 20)
	for _, tc := range []struct {
		name    string
		ref     []float64
		special int
		want    []int
	}{
		{"pairs of equal bins", ten, 20, []int{0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9}},
		{"few bins stay", []float64{5, 1, 5}, 3, []int{0, 1, 2}},
		{"outer empty bins stay alone", slices.Concat([]float64{0}, slices.Repeat([]float64{5}, 16), []float64{0}), 18, []int{0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9}},
		{"a point mass stays alone", []float64{0, 100, 5, 5, 5, 5, 5, 5, 5, 5}, 10, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}},
		{"a point mass leaves room", []float64{2, 2, 2, 100, 2, 2, 2, 2, 2, 2, 2, 2}, 12, []int{0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9}},
		{"special bins stay alone", []float64{1, 1, 0, 7}, 2, []int{0, 1, 2, 3}},
		{"nothing ordered", []float64{0, 7}, 0, []int{0, 1}},
		{"no mass in order", []float64{0, 0, 0, 7}, 3, []int{0, 1, 2, 3}},
	} {
		m := MergeOrdered(tc.ref, tc.special, MergedBins)
		if !reflect.DeepEqual(m.group, tc.want) {
			t.Errorf("%s: groups %v, want %v", tc.name, m.group, tc.want)
		}
	}
}

func TestMergeCategories(t *testing.T) {
	m := MergeCategories([]float64{1, 9, 2, 8, 3, 0}, 5, 3)
	if want := []int{2, 0, 2, 1, 2, 3}; !reflect.DeepEqual(m.group, want) || m.Special() != 3 || m.Len() != 4 {
		t.Errorf("groups %v, special from %d of %d; want %v, 3, 4", m.group, m.Special(), m.Len(), want)
	}
	if m := MergeCategories([]float64{1, 9, 2}, 3, 3); !reflect.DeepEqual(m.group, []int{0, 1, 2}) {
		t.Errorf("as many categories as groups: %v", m.group)
	}
}

func TestMergingKeepsMass(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 80).Draw(t, "bins")
		special := n - rapid.IntRange(0, min(n, 4)).Draw(t, "special")
		p := Pair{Ref: make([]float64, n), Cur: make([]float64, n), Special: special}
		for i := range n {
			p.Ref[i] = float64(rapid.IntRange(0, 3).Draw(t, "ref") * rapid.IntRange(0, 40).Draw(t, "more"))
			p.Cur[i] = float64(rapid.IntRange(0, 9).Draw(t, "cur"))
		}
		for name, merge := range map[string]func([]float64, int, int) Merging{"ordered": MergeOrdered, "categories": MergeCategories} {
			m := merge(p.Ref, special, MergedBins)
			got := m.Apply(p, nil)
			if total(got.Ref) != total(p.Ref) || total(got.Cur) != total(p.Cur) {
				t.Fatalf("%s: mass %g and %g became %g and %g", name, total(p.Ref), total(p.Cur), total(got.Ref), total(got.Cur))
			}
			if m.Special() > MergedBins || len(got.Ref)-got.Special != n-special {
				t.Fatalf("%s: %d groups, of these special %d", name, m.Len(), m.Len()-m.Special())
			}
			if name == "ordered" && !slices.IsSorted(m.group) {
				t.Fatalf("order lost: %v", m.group)
			}
		}
	})
}

func TestMergingAllocatesNothing(t *testing.T) {
	p := Pair{Ref: make([]float64, 64), Cur: make([]float64, 64), Special: 60}
	p.Ref[3], p.Cur[5] = 1, 1
	m := MergeOrdered(p.Ref, p.Special, MergedBins)
	buffer := make([]float64, 2*m.Len())
	d, _ := Lookup("jensen_shannon")
	if n := testing.AllocsPerRun(100, func() {
		if _, err := d.Effect(m.Apply(p, buffer), 10, 10); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%g allocations", n)
	}
}

func TestMovers(t *testing.T) {
	p := Pair{Ref: []float64{8, 0, 16, 0, 8}, Cur: []float64{0, 5, 6, 1, 4}}
	want := []Mover{{Bin: 1, Cur: 0.3125}, {Bin: 0, Ref: 0.25}, {Bin: 2, Ref: 0.5, Cur: 0.375}}
	if got := Movers(p, 3); !reflect.DeepEqual(got, want) {
		t.Errorf("movers %v, want %v", got, want)
	}
	if got := Movers(p, 9); len(got) != 4 {
		t.Errorf("a bin that kept its share is among %v", got)
	}
	if got := Movers(Pair{Ref: []float64{0}, Cur: []float64{5}}, 3); got != nil {
		t.Errorf("of an empty side: %v", got)
	}
}

// TestNullExpectations compares each null level with the mean score of samples from one population.
func TestNullExpectations(t *testing.T) {
	const repetitions = 1500
	uneven := []float64{.3, .2, .15, .1, .08, .07, .05, .03, .02}
	for _, tc := range []struct {
		name   string
		shares []float64
		n, m   int
	}{
		{"deciles", slices.Repeat([]float64{.1}, 10), 2000, 500},
		{"uneven", uneven, 1000, 1000},
		{"two", []float64{.7, .3}, 500, 300},
	} {
		rng := rand.New(rand.NewPCG(1, 2))
		cumulated := slices.Clone(tc.shares)
		points := make([]float64, len(cumulated))
		for i := range cumulated {
			points[i] = float64(i)
			if i > 0 {
				cumulated[i] += cumulated[i-1]
			}
		}
		sample := func(n int) []float64 {
			out := make([]float64, len(cumulated))
			for range n {
				u, i := rng.Float64(), 0
				for i < len(cumulated)-1 && u > cumulated[i] {
					i++
				}
				out[i]++
			}
			return out
		}
		raw, level := map[Method]float64{}, map[Method]float64{}
		for range repetitions {
			p := Pair{Ref: sample(tc.n), Cur: sample(tc.m), Special: len(cumulated), Points: points, Scale: 1}
			for _, d := range Methods() {
				e, err := d.Effect(p, float64(tc.n), float64(tc.m))
				if err != nil {
					t.Fatal(err)
				}
				raw[d.Method] += e.Raw / repetitions
				level[d.Method] += e.Null / repetitions
			}
		}
		for _, d := range Methods() {
			// Of a root the level is the root of the mean square, a little above the mean.
			if r := level[d.Method] / raw[d.Method]; r < 0.93 || r > 1.3 {
				t.Errorf("%s: %s is %.4g on average, its null level %.4g", tc.name, d.Method, raw[d.Method], level[d.Method])
			} else {
				t.Logf("%s: %s %.4g, null level %.4g (%.2f)", tc.name, d.Method, raw[d.Method], level[d.Method], r)
			}
		}
	}
}

// TestNoiseFloor: what the documentation of thresholds says of them.
func TestNoiseFloor(t *testing.T) {
	for _, tc := range []struct {
		method    Method
		bins      int
		n, m      float64
		low, high float64
	}{
		{PSI, 10, 10_000, 500, 0.0189, 0.0190}, // 9 (1/10000 + 1/500)
		{JensenShannon, 32, 500, 500, 0.14, 0.16},
		{KS, 40, 10_000, 500, 0.033, 0.041},
		{Wasserstein, 40, 10_000, 500, 0.025, 0.05},
		{LInfinity, 1, 10, 10, 0, 0},
		{TotalVariation, 10, 0, 10, 0, 0},
	} {
		d, err := Lookup(string(tc.method))
		if err != nil {
			t.Fatal(err)
		}
		if got := d.NoiseFloor(tc.bins, tc.n, tc.m); got < tc.low || got > tc.high {
			t.Errorf("%s on %d bins, %g and %g values: %g, want %g to %g", tc.method, tc.bins, tc.n, tc.m, got, tc.low, tc.high)
		}
	}
}
