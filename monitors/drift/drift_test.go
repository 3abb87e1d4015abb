package drift_test

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/monitors/distance"
	"github.com/freshet-io/freshet/monitors/drift"
	"github.com/freshet-io/freshet/monitors/profile"
	"github.com/freshet-io/freshet/monitors/significance"
)

// column makes values of both sides; the reference's make the bins.
func column(t *testing.T, typ feature.Type, ref, cur []feature.Value) (r, c *profile.Profile) {
	t.Helper()
	b, err := profile.NewBuilder(typ, profile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range ref {
		b.Add(&ref[i])
	}
	if r, err = b.Profile(false); err != nil {
		t.Fatal(err)
	}
	c = profile.New(r.Bins(), false)
	c.AddValues(cur)
	return r, c
}

func many(n int, value func(i int) feature.Value) []feature.Value {
	out := make([]feature.Value, n)
	for i := range out {
		out[i] = value(i)
	}
	return out
}

func normal(seed uint64, mean float64) func(int) feature.Value {
	r := rand.New(rand.NewPCG(seed, 9))
	return func(int) feature.Value { return feature.Float64Value(mean + r.NormFloat64()) }
}

func constant(v feature.Value) func(int) feature.Value { return func(int) feature.Value { return v } }

func everyMethod() drift.Options {
	o := drift.Options{MinSample: 30, Movers: 3}
	for _, d := range distance.Methods() {
		o.Methods = append(o.Methods, drift.Asked{Method: d.Method, Threshold: drift.DefaultThreshold(d.Method)})
	}
	return o
}

func judge(t *testing.T, r, c *profile.Profile) *drift.Column {
	t.Helper()
	var j drift.Judge
	col, err := j.Column("x", drift.Side{Profile: r}, drift.Side{Profile: c}, everyMethod())
	if err != nil {
		t.Fatal(err)
	}
	drift.Family([]*drift.Column{col}, 0.01)
	return col
}

func TestOutcomes(t *testing.T) {
	number, text := feature.Float64Value, feature.StringValue
	null, nan := feature.Value{}, number(math.NaN())
	category := func(i int) feature.Value { return text(string(rune('a' + i%5))) }
	for _, tc := range []struct {
		name     string
		typ      feature.Type
		ref, cur []feature.Value
		want     drift.Outcome
		note     string // part of one
		mover    string // the bin that moved most
	}{
		{"the same distribution", feature.Float64, many(2000, normal(1, 0)), many(1000, normal(2, 0)), drift.Stable, "", "-"},
		{"a shift", feature.Float64, many(2000, normal(1, 0)), many(1000, normal(2, 1)), drift.Drifted, "", "-"},
		{"a shift too small to matter", feature.Float64, many(50_000, normal(1, 0)), many(50_000, normal(2, 0.1)), drift.Stable, "", "-"},
		{"constant and the same", feature.Float64, many(100, constant(number(7))), many(100, constant(number(7))), drift.Stable, "all reference values are equal", ""},
		{"constant and another", feature.Float64, many(100, constant(number(7))), many(100, constant(number(8))), drift.Drifted, "all current values are equal", "-"},
		{"null before and now", feature.Float64, many(100, constant(null)), many(100, constant(null)), drift.Stable, "all reference values are null", ""},
		{"null now", feature.Float64, many(100, normal(1, 0)), many(100, constant(null)), drift.Drifted, "all current values are null", "null"},
		{"null before", feature.Float64, many(100, constant(null)), many(100, normal(1, 0)), drift.Drifted, "all reference values are null", "-"},
		{"NaN before and now", feature.Float64, many(100, constant(nan)), many(100, constant(nan)), drift.Stable, "all reference values are NaN", ""},
		{"NaN now", feature.Float64, many(100, normal(1, 0)), many(100, constant(nan)), drift.Drifted, "all current values are NaN", "NaN"},
		{"infinite", feature.Float64, many(100, normal(1, 0)), many(100, constant(number(math.Inf(-1)))), drift.Drifted, "100 current values are infinite", "-Inf"},
		{"another type", feature.Float64, many(100, normal(1, 0)), many(100, constant(text("1.5"))), drift.TypeChanged, "100 of 100 values are no float64", "mistyped"},
		{"some of another type", feature.Float64, many(100, normal(1, 0)), append(many(90, normal(2, 0)), many(10, constant(text("?")))...), drift.Drifted, "", "mistyped"},
		{"too few before", feature.Float64, many(3, normal(1, 0)), many(1000, normal(2, 5)), drift.TooFewRows, "fewer than 30 rows", "-"},
		{"too few now", feature.Float64, many(1000, normal(1, 0)), many(29, normal(2, 5)), drift.TooFewRows, "fewer than 30 rows", "-"},
		{"no rows", feature.Float64, many(1000, normal(1, 0)), nil, drift.NoRows, "", ""},
		{"values that overflow", feature.Float64, many(100, func(i int) feature.Value { return number(math.MaxFloat64 * float64(i%2*2-1)) }), many(100, constant(number(1))), drift.Drifted, "too large to be measured", "-"},
		{"categories", feature.String, many(500, category), many(500, category), drift.Stable, "", ""},
		{"a new category", feature.String, many(500, category), many(500, func(i int) feature.Value {
			if i%3 == 0 {
				return text("new")
			}
			return category(i)
		}), drift.Drifted, "one category that has no bin", "other"},
		{"the empty string is not null", feature.String, many(500, constant(text(""))), many(500, constant(null)), drift.Drifted, "all current values are null", "-"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, c := column(t, tc.typ, tc.ref, tc.cur)
			col := judge(t, r, c)
			if col.Outcome != tc.want {
				t.Errorf("%s, want %s: %+v", col.Outcome, tc.want, col.Scores)
			}
			if !strings.Contains(strings.Join(col.Notes, "; "), tc.note) {
				t.Errorf("notes %q, want %q", col.Notes, tc.note)
			}
			switch {
			case tc.mover == "-":
			case tc.mover == "" && len(col.Movers) > 0, tc.mover != "" && (len(col.Movers) == 0 || col.Movers[0].Bin != tc.mover):
				t.Errorf("moved most: %+v, want %q", col.Movers, tc.mover)
			}
			if col.NRef != uint64(len(tc.ref)) || col.NCur != uint64(len(tc.cur)) {
				t.Errorf("%d and %d rows", col.NRef, col.NCur)
			}
			data, err := json.Marshal(col)
			if err != nil || !json.Valid(data) {
				t.Errorf("JSON %s: %v", data, err)
			}
		})
	}
}

// TestWhatLiesOutsideCounts moves a column far beyond the reference's range: a distance that measures must grow with it.
func TestWhatLiesOutsideCounts(t *testing.T) {
	at := func(mean float64) float64 {
		r, c := column(t, feature.Float64, many(2000, normal(1, 0)), many(1000, normal(2, mean)))
		for _, s := range judge(t, r, c).Scores {
			if s.Method == distance.Wasserstein {
				return s.Score
			}
		}
		return math.NaN()
	}
	for _, mean := range []float64{10, 100, -1000} {
		if got := at(mean); math.Abs(got-math.Abs(mean)) > 0.05*math.Abs(mean) {
			t.Errorf("a shift of %v deviations has a wasserstein of %v", mean, got)
		}
	}
}

// TestDependentRowsCountLess serves each value a hundred times: without panes that is significant, with them it is not.
func TestDependentRowsCountLess(t *testing.T) {
	ref, err := profile.NumericBins(feature.Float64, draw(20_000, 1), profile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := profile.New(ref, false)
	r.AddFloat64s(draw(20_000, 1))
	w := profile.NewWindow(ref)
	for pane := range 24 {
		p := profile.New(ref, false)
		for _, x := range draw(4, uint64(100+pane)) {
			p.AddFloat64s(slices.Repeat([]float64{x}, 100))
		}
		if err := w.Push(p); err != nil {
			t.Fatal(err)
		}
	}
	c, err := w.Profile(false)
	if err != nil {
		t.Fatal(err)
	}
	var j drift.Judge
	naive, err := j.Column("x", drift.Side{Profile: r}, drift.Side{Profile: c}, everyMethod())
	if err != nil {
		t.Fatal(err)
	}
	honest, err := j.Column("x", drift.Side{Profile: r}, drift.Side{Profile: c, Panes: w.PaneCounts()}, everyMethod())
	if err != nil {
		t.Fatal(err)
	}
	if naive.P > 1e-6 || honest.P < 0.01 {
		t.Errorf("p %v taken as independent, %v with panes", naive.P, honest.P)
	}
	if honest.NEffCur > float64(honest.NCur)/20 || naive.NEffCur != float64(naive.NCur) {
		t.Errorf("%v effective rows with panes, %v without, of %d", honest.NEffCur, naive.NEffCur, honest.NCur)
	}
	known, err := j.Column("x", drift.Side{Profile: r}, drift.Side{Profile: c, Panes: w.PaneCounts(), Known: &significance.Dispersion{Effect: 100}}, everyMethod())
	if err != nil {
		t.Fatal(err)
	}
	if known.NEffCur != 96 {
		t.Errorf("%v effective rows where each is there a hundred times, of %d", known.NEffCur, known.NCur)
	}
}

func draw(n int, seed uint64) []float64 {
	r := rand.New(rand.NewPCG(seed, 5))
	out := make([]float64, n)
	for i := range out {
		out[i] = r.NormFloat64()
	}
	return out
}

func TestSidesOfOtherBinsAreAligned(t *testing.T) {
	r, _ := column(t, feature.Float64, many(5000, normal(1, 0)), nil)
	same, _ := column(t, feature.Float64, many(5000, normal(2, 0)), nil)
	moved, _ := column(t, feature.Float64, many(5000, normal(3, 1)), nil)
	if col := judge(t, r, same); col.Outcome != drift.Stable || !col.Aligned {
		t.Errorf("%s, aligned %v: %+v", col.Outcome, col.Aligned, col.Scores)
	}
	if col := judge(t, r, moved); col.Outcome != drift.Drifted || !col.Aligned {
		t.Errorf("%s, aligned %v: %+v", col.Outcome, col.Aligned, col.Scores)
	}
}

// TestAFamilyIsDecidedTogether has many columns without a change: none of them may be found, while the one that changed
// is.
func TestAFamilyIsDecidedTogether(t *testing.T) {
	var cols []*drift.Column
	var j drift.Judge
	o := everyMethod()
	o.Methods = []drift.Asked{{Method: distance.KS, Threshold: 0}} // every effect counts: significance alone decides
	for i := range 200 {
		shift := 0.0
		if i == 17 {
			shift = 0.5
		}
		r, c := column(t, feature.Float64, many(500, normal(uint64(2*i), 0)), many(500, normal(uint64(2*i+1), shift)))
		col, err := j.Column("x", drift.Side{Profile: r}, drift.Side{Profile: c}, o)
		if err != nil {
			t.Fatal(err)
		}
		cols = append(cols, col)
	}
	drift.Family(cols, 0.05)
	for i, c := range cols {
		if (c.Outcome == drift.Drifted) != (i == 17) {
			t.Errorf("column %d: %s, p %v, adjusted %v", i, c.Outcome, c.P, c.PAdjusted)
		}
	}
}

func TestMethodsAreChecked(t *testing.T) {
	for _, tc := range []struct {
		asked []drift.Asked
		want  string
	}{
		{nil, "no method"},
		{[]drift.Asked{{Method: "js"}}, `unknown distance "js"`},
		{[]drift.Asked{{Method: distance.PSI, Threshold: -1}}, "threshold of psi is -1"},
		{[]drift.Asked{{Method: distance.PSI, Threshold: math.NaN()}}, "threshold of psi is NaN"},
	} {
		if err := drift.CheckMethods(tc.asked); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v: %v", tc.asked, err)
		}
	}
}
