package compat

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestDrifted(t *testing.T) {
	for _, tc := range []struct {
		mode  string
		score float64
		want  bool
	}{
		{"psi.evidently", 0.1, true},
		{"psi.evidently", 0.0999, false},
		{"ks.evidently", 0.05, true},
		{"ks.evidently", 0.06, false},
		{"chi_square.evidently", 0.05, false},
		{"chi_square.evidently", 0.01, true},
		{"energy.evidently", 0.1, false},
		{"jsd.tfdv", 0.3, false},
		{"jsd.tfdv", 0.31, true},
		{"js.nannyml", 0.9, false}, // its threshold comes from the reference's chunks
	} {
		m, err := Lookup(tc.mode)
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Drifted(tc.score); got != tc.want {
			t.Errorf("%s at %g: drifted %t, want %t", tc.mode, tc.score, got, tc.want)
		}
	}
}

func TestRefusals(t *testing.T) {
	_, err := Lookup("psi.nannyml")
	if err == nil || !strings.Contains(err.Error(), `"psi.nannyml"`) || !strings.Contains(err.Error(), "js.nannyml") {
		t.Errorf("unknown mode: %v", err)
	}
	mode := func(name string) Mode {
		m, err := Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	one, none := []float64{1, 2}, []float64{math.NaN()}
	for _, tc := range []struct {
		name string
		call func() (float64, error)
		want error
		text string
	}{
		{"values of a mode of counts", func() (float64, error) { return mode("l_infinity.tfdv").Numbers(one, one) }, ErrUnproved, "raw numbers"},
		{"counts of a mode of values", func() (float64, error) { return mode("wasserstein.evidently").Counts(one, one) }, ErrUnproved, "counts"},
		{"categories of a mode of numbers", func() (float64, error) { return mode("ks.nannyml").Labels([]string{"a"}, []string{"a"}) }, ErrUnproved, "categories"},
		{"too many for an exact p-value", func() (float64, error) { return mode("ks.evidently").Numbers(make([]float64, 10001), one) }, ErrUnproved, "10000 at most"},
		{"infinities", func() (float64, error) { return mode("js.nannyml").Numbers(one, []float64{math.Inf(1)}) }, ErrUnproved, "infinities"},
		{"nothing but NaN", func() (float64, error) { return mode("js.evidently").Numbers(one, none) }, ErrEmpty, "no values"},
		{"no categories", func() (float64, error) { return mode("js.evidently").Labels(nil, []string{"a"}) }, ErrEmpty, "no values"},
		{"no counts", func() (float64, error) { return mode("js.evidently").Counts(one, []float64{0, 0}) }, ErrEmpty, "no values"},
		{"unequal bins", func() (float64, error) { return mode("js.evidently").Counts(one, []float64{0}) }, nil, "2 reference bins and 1"},
		{"negative counts", func() (float64, error) { return mode("js.evidently").Counts(one, []float64{3, -1}) }, nil, "bin 1"},
	} {
		_, err := tc.call()
		if err == nil || !strings.Contains(err.Error(), tc.text) || tc.want != nil && !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.text)
		}
	}
}

// TestCleaning: Evidently leaves out NaN and infinities, NannyML NaN.
func TestCleaning(t *testing.T) {
	ref, cur := normal(1, 300, 0, 1), normal(2, 200, 0.2, 1)
	for _, m := range Modes() {
		if !m.Raw() {
			continue
		}
		want, err := m.Numbers(ref, cur)
		if err != nil {
			t.Fatal(err)
		}
		dirty := slices.Concat([]float64{math.NaN()}, cur, []float64{math.NaN()})
		if m.infinite {
			dirty = append(dirty, math.Inf(1), math.Inf(-1))
		}
		if got, err := m.Numbers(ref, dirty); err != nil || got != want {
			t.Errorf("%s: %g with dirt (%v), %g without", m.Name, got, err, want)
		}
	}
}

func TestCountsProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 12).Draw(t, "bins")
		var ref, cur []float64
		for range n {
			ref = append(ref, float64(rapid.IntRange(0, 50).Draw(t, "ref")))
			cur = append(cur, float64(rapid.IntRange(0, 50).Draw(t, "cur")))
		}
		ref[0]++
		cur[n-1]++
		for _, m := range Modes() {
			if !m.Binned() {
				continue
			}
			got, err := m.Counts(ref, cur)
			if err != nil || !(got >= -1e-12) {
				t.Errorf("%s = %g, %v", m.Name, got, err)
			}
			same, err := m.Counts(ref, ref)
			if err != nil || m.PValue && same < 1-1e-12 || !m.PValue && same > 1e-7 {
				t.Errorf("%s of equal samples = %g, %v", m.Name, same, err)
			}
			if m.PValue && got > 1 {
				t.Errorf("%s = %g", m.Name, got)
			}
		}
	})
}

// TestEdges has columns without extent and of few values.
func TestEdges(t *testing.T) {
	constant := []float64{4, 4, 4}
	for _, m := range Modes() {
		if !m.Raw() || m.Name == "t_test.evidently" || m.Name == "mann_whitney.evidently" {
			continue // of constants these two divide nothing by nothing, in the tool as well
		}
		got, err := m.Numbers(constant, constant)
		if err != nil || m.PValue && got != 1 || !m.PValue && got != 0 {
			t.Errorf("%s of a constant = %g, %v", m.Name, got, err)
		}
	}
	if got := doaneEdges([]float64{1, 2}); len(got) != 2 || got[0] != 1 || got[1] != 2 {
		t.Errorf("edges of two values: %v", got)
	}
	if got := histogram([]float64{0, 1, 1.5, 2, 3, -1}, []float64{0, 1, 2}); !slices.Equal(got, []float64{1, 3}) {
		t.Errorf("histogram %v", got)
	}
}
