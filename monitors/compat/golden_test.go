package compat

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"sort"
	"strings"
	"testing"

	"github.com/freshet-io/freshet/monitors/significance/tail"
)

// uniform is the portable generator of testdata/tools.py.
func uniform(seed uint32, n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		seed = 1664525*seed + 1013904223
		out[i] = (float64(seed) + 0.5) / 4294967296
	}
	return out
}

func each(x []float64, f func(float64) float64) []float64 {
	for i, v := range x {
		x[i] = f(v)
	}
	return x
}

func normal(seed uint32, n int, mean, deviation float64) []float64 {
	return each(uniform(seed, n), func(u float64) float64 {
		if u > 0.5 {
			return mean + deviation*tail.NormalQuantile(1-u)
		}
		return mean - deviation*tail.NormalQuantile(u)
	})
}

func labels(seed uint32, n int, cumulated []float64, names string, width int) []string {
	out := make([]string, n)
	for i, u := range uniform(seed, n) {
		k := sort.Search(len(cumulated), func(k int) bool { return cumulated[k] > u })
		out[i] = names[k*width : (k+1)*width]
	}
	return out
}

func numberSets() map[string][2][]float64 {
	floor := func(f float64) func(float64) float64 {
		return func(u float64) float64 { return math.Floor(u * f) }
	}
	return map[string][2][]float64{
		"A": {normal(1, 500, 0, 1), normal(2, 400, 0.3, 1.2)},
		"B": {normal(3, 5000, 0, 1), normal(4, 5000, 0, 1)},
		"C": {each(normal(5, 20000, 0, 1), math.Exp), each(normal(6, 15000, 0.1, 1), math.Exp)},
		"D": {each(uniform(7, 3000), floor(8)), each(uniform(8, 2000), func(v float64) float64 { return math.Floor(math.Pow(v, 1.2) * 9) })},
		"G": {normal(21, 40, 0, 1), normal(22, 25, 0.5, 1)},
		"H": {each(uniform(23, 3000), floor(50)), append(each(uniform(24, 700), floor(50)), 900, -20)},
		"I": {normal(25, 9999, 0, 1), normal(26, 12000, 0.05, 1)},
	}
}

func labelSets() map[string][2][]string {
	var even, bent []float64
	var names strings.Builder
	for i := range 30 {
		fmt.Fprintf(&names, "%02d", i)
		if i > 0 {
			even, bent = append(even, float64(i)/30), append(bent, math.Pow(float64(i)/30, 1.1))
		}
	}
	return map[string][2][]string{
		"E": {labels(9, 1000, []float64{.5, .8, .95}, "abcd", 1), labels(10, 800, []float64{.45, .75, .9}, "abce", 1)},
		"F": {labels(11, 1000, []float64{.7}, "01", 1), labels(12, 800, []float64{.65}, "01", 1)},
		"J": {labels(27, 3000, even, names.String(), 2), labels(28, 900, bent, names.String(), 2)},
	}
}

// published holds what testdata/tools.py wrote, run with the tool itself.
type published struct {
	Tool            string
	Numbers, Labels map[string]map[string]float64
}

func load(t *testing.T, file string, into any) {
	t.Helper()
	text, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// same holds scores to 1e-9, and p-values to as much relatively as far as a tool's own tail is that good.
func same(t *testing.T, what string, got, want float64) {
	t.Helper()
	if !(math.Abs(got-want) <= 1e-9) || !(math.Abs(got-want) <= 1e-8*math.Abs(want)) {
		t.Errorf("%s = %.17g, the tool gives %.17g", what, got, want)
	}
}

// TestEqualsTheTools compares every mode on raw columns with what Evidently 0.7.23 and NannyML 0.13.1 returned for them.
func TestEqualsTheTools(t *testing.T) {
	numbers, categories := numberSets(), labelSets()
	compared := map[string]int{}
	for _, tool := range []string{"evidently", "nannyml"} {
		var golden published
		load(t, tool+".json", &golden)
		for set, scores := range golden.Numbers {
			for method, want := range scores {
				m, err := Lookup(method + "." + tool)
				if err != nil {
					t.Fatal(err)
				}
				got, err := m.Numbers(numbers[set][0], numbers[set][1])
				switch {
				case errors.Is(err, ErrUnproved):
					if (set != "C" && set != "I") || m.Name != "ks.evidently" {
						t.Errorf("%s of %s: %v", m.Name, set, err)
					}
					continue
				case err != nil:
					t.Errorf("%s of %s: %v", m.Name, set, err)
				}
				same(t, m.Name+" of "+set, got, want)
				compared[m.Name]++
			}
		}
		for set, scores := range golden.Labels {
			for method, want := range scores {
				m, err := Lookup(method + "." + tool)
				if err != nil {
					t.Fatal(err)
				}
				got, err := m.Labels(categories[set][0], categories[set][1])
				if err != nil {
					t.Errorf("%s of %s: %v", m.Name, set, err)
				}
				same(t, m.Name+" of "+set, got, want)
				compared[m.Name]++
			}
		}
	}
	for _, m := range Modes() {
		if tool := m.Name[strings.Index(m.Name, ".")+1:]; (tool == "evidently" || tool == "nannyml") && compared[m.Name] < 3 {
			t.Errorf("%s was compared %d times", m.Name, compared[m.Name])
		}
	}
}

// TestEqualsTheFormulas compares with values that scipy 1.10.1 gives by each tool's documented formula, for tools that
// were not run: TFDV's, Deepchecks' and Fiddler's, and the rest again.
func TestEqualsTheFormulas(t *testing.T) {
	var golden map[string]json.RawMessage
	load(t, "formulas.json", &golden)
	compared := 0
	for title, text := range golden {
		set := title[:1]
		if numbers, ok := numberSets()[set]; ok && len(title) > 10 {
			var want map[string]float64
			if err := json.Unmarshal(text, &want); err != nil {
				t.Fatal(err)
			}
			for name, key := range map[string]string{
				"psi.evidently": "psi_evidently", "js.evidently": "js_evidently_dist_ln", "js.nannyml": "js_nannyml_base2_doane",
				"hellinger.nannyml": "hellinger_nannyml", "kl.evidently": "kl_evidently_ref_cur_ln", "hellinger.evidently": "hellinger_evidently",
				"wasserstein.evidently": "wasserstein_normed_evidently", "energy.evidently": "energy_distance", "t_test.evidently": "ttest_p",
				"mann_whitney.evidently": "mannwhitney_p_less",
			} {
				m, err := Lookup(name)
				if err != nil {
					t.Fatal(err)
				}
				got, err := m.Numbers(numbers[0], numbers[1])
				if err != nil {
					t.Errorf("%s of %s: %v", name, set, err)
				}
				same(t, name+" of "+set, got, want[key])
				compared++
			}
			d, p := KolmogorovSmirnov(numbers[0], numbers[1])
			same(t, "ks of "+set, d, want["ks_stat"])
			if set != "C" {
				same(t, "p of ks of "+set, p, want["ks_p_auto"])
			}
			r, c := evidentlyCounts(numbers[0], numbers[1])
			tfdv, err := Lookup("jsd.tfdv")
			if err != nil {
				t.Fatal(err)
			}
			jsd, err := tfdv.Counts(r, c)
			if err != nil {
				t.Error(err)
			}
			same(t, "jsd.tfdv of "+set, jsd, want["jsd_same_bins_div_base2"])
			continue
		}
		if set != "E" && set != "F" {
			continue
		}
		var want map[string]any
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
		ref, cur := floats(want["ref"]), floats(want["cur"])
		for name, key := range map[string]string{
			"chi_square.evidently": "chi2_evidently_gof_p", "chi_square.nannyml": "chi2_contingency_p", "js.evidently": "js_ln", "js.nannyml": "js_base2",
			"jsd.tfdv": "jsd_div_base2_tfdv", "l_infinity.tfdv": "linf", "l_infinity.nannyml": "linf", "hellinger.evidently": "hellinger",
			"hellinger.nannyml": "hellinger", "psi.evidently": "psi_evidently", "psi.deepchecks": "psi_deepchecks_floor0.01", "psi.fiddler": "psi_plus1_fiddler_style",
		} {
			m, err := Lookup(name)
			if err != nil {
				t.Fatal(err)
			}
			got, err := m.Counts(ref, cur)
			if err != nil {
				t.Errorf("%s of %s: %v", name, set, err)
			}
			same(t, name+" of "+set, got, want[key].(float64))
			compared++
		}
		statistic, _ := ChiSquareContingency(ref, cur)
		same(t, "chi-square of "+set, statistic, want["chi2_contingency_stat_nannyml"].(float64))
	}
	if compared != 4*10+2*12 {
		t.Errorf("%d values were compared", compared)
	}
}

func floats(list any) []float64 {
	var out []float64
	for _, x := range list.([]any) {
		out = append(out, x.(float64))
	}
	return out
}
