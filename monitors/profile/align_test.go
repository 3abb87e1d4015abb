package profile_test

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/monitors/profile"
)

func profileOf(t rapidOrTest, typ feature.Type, ref, values []float64, o profile.Options) *profile.Profile {
	bins, err := profile.NumericBins(typ, ref, o)
	if err != nil {
		t.Fatal(err)
	}
	p := profile.New(bins, false)
	p.AddFloat64s(values)
	return p
}

type rapidOrTest interface{ Fatal(args ...any) }

// TestAlignSpreadsEvenly is an example by hand: cuts 0, 2, 4 and 0, 1, 4.
func TestAlignSpreadsEvenly(t *testing.T) {
	a := profileOf(t, feature.Float64, []float64{0, 1, 2, 3.999}, []float64{0.5, 1.5, 2.5, 3}, profile.Options{Bins: 2})
	b := profileOf(t, feature.Float64, []float64{0, 1, 3.5, 3.6, 3.7, 3.8}, []float64{0.5, 2, 3, 3.5, 3.6, 3.7}, profile.Options{Bins: 3})
	al, err := profile.Align(a, b)
	if err != nil {
		t.Fatal(err)
	}
	if al.Exact {
		t.Error("mass was spread and the result is called exact")
	}
	for side, counts := range [][]float64{al.A, al.B} {
		var total float64
		for _, c := range counts {
			total += c
		}
		if want := []float64{4, 6}[side]; math.Abs(total-want) > 1e-9 {
			t.Errorf("side %d: %v of %v", side, total, want)
		}
	}
	if !slices.IsSorted(al.Points) || len(al.Points) != al.Regular {
		t.Errorf("%+v", al)
	}
}

func TestAlignKeepsMassAndPlace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := rapid.SliceOfN(rapid.OneOf(rapid.Float64Range(-5, 5), rapid.SampledFrom([]float64{0, 1, 2})), 1, 80)
		o := profile.Options{Bins: 8}
		a := profileOf(t, feature.Float64, draw.Draw(t, "refA"), draw.Draw(t, "a"), o)
		b := profileOf(t, feature.Float64, draw.Draw(t, "refB"), draw.Draw(t, "b"), o)
		al, err := profile.Align(a, b)
		if err != nil {
			t.Fatal(err)
		}
		for side, p := range []*profile.Profile{a, b} {
			counts := [][]float64{al.A, al.B}[side]
			// Up to each cut of the profile's own, the aligned mass is what the profile has there.
			own := p.Counts.Counts()
			var want uint64
			for i, c := range p.Bins().Cuts() {
				want += own[i]
				k, _ := slices.BinarySearch(al.Cuts, c)
				var got float64
				for _, m := range counts[:k+1] {
					if m < 0 {
						t.Fatalf("a bin has %v values", m)
					}
					got += m
				}
				if math.Abs(got-float64(want)) > 1e-6 {
					t.Fatalf("side %d: %v values below %v, want %d", side, got, c, want)
				}
			}
		}
	})
}

func TestAlignOfEqualBinsIsExact(t *testing.T) {
	ref := []float64{1, 2, 2, 3}
	a := profileOf(t, feature.Float64, ref, []float64{1, 2}, profile.Options{})
	b := profileOf(t, feature.Float64, ref, []float64{2, 9, math.NaN()}, profile.Options{})
	al, err := profile.Align(a, b)
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range b.Counts.Counts() {
		if al.B[i] != float64(n) {
			t.Errorf("%s: %v, want %d", al.Name(i), al.B[i], n)
		}
	}
	if !al.Exact {
		t.Error("equal bins are not called exact")
	}
}

func TestAlignOfCategories(t *testing.T) {
	make := func(known []string, counts map[string]uint64) *profile.Profile {
		bins, err := profile.CategoricalBins(feature.String, func(yield func(string, uint64) bool) {
			for _, k := range known {
				if !yield(k, 1) {
					return
				}
			}
		}, profile.Options{})
		if err != nil {
			t.Fatal(err)
		}
		p := profile.New(bins, false)
		for name, n := range counts {
			p.AddString(name, n)
		}
		return p
	}
	a := make([]string{"x", "y"}, map[string]uint64{"x": 5, "y": 3, "z": 2})
	b := make([]string{"y", "z"}, map[string]uint64{"x": 1, "y": 4, "z": 6})
	al, err := profile.Align(a, b)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][2]float64{}
	for i := range al.A {
		if al.A[i]+al.B[i] > 0 {
			got[al.Name(i)] = [2]float64{al.A[i], al.B[i]}
		}
	}
	if len(got) != 2 || got["y"] != [2]float64{3, 4} || got["other"] != [2]float64{7, 7} || al.Exact {
		t.Errorf("%v, exact %v", got, al.Exact)
	}
	if _, err := profile.Align(a, profileOf(t, feature.Float64, []float64{1}, nil, profile.Options{})); err == nil {
		t.Error("numbers were aligned with categories")
	}
}
