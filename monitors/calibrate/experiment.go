package calibrate

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"

	"github.com/freshet-io/freshet/monitors/compat"
	"github.com/freshet-io/freshet/monitors/distance"
	"github.com/freshet-io/freshet/monitors/significance"
)

// Experiment says how much is drawn. The same fields give the same summary.
type Experiment struct {
	Seed uint64
	// Repetitions of each cell of the tables of independent data, of dependence and of power.
	Repetitions int
	// Sizes are the sample sizes of the table of independent data.
	Sizes []int
	// Reference is the size of references, where samples are not of one size.
	Reference int
	// Months of 30 days are simulated for the rates of episodes.
	Months int
	// Progress gets a line for each finished cell.
	Progress io.Writer
}

// Full is the experiment of the documentation.
func Full(progress io.Writer) Experiment {
	return Experiment{Seed: 2014, Repetitions: 1000, Sizes: []int{200, 500, 1000, 5000, 20_000, 100_000}, Reference: 10_000, Months: 100, Progress: progress}
}

// Row is a line of a table: what was drawn, and shares or rates by column; NaN where a column has none.
type Row struct {
	Name   string
	Values []float64
}

// Table is a result.
type Table struct {
	Title, Note string
	Columns     []string
	Rows        []Row
	// Decimals of the values as they are written.
	Decimals int
}

func (e Experiment) random(cell string) *rand.Rand {
	h := e.Seed
	for _, c := range cell {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return rand.New(rand.NewPCG(e.Seed, h))
}

func (e Experiment) done(t *Table, name string, values ...float64) {
	t.Rows = append(t.Rows, Row{Name: name, Values: values})
	fmt.Fprintf(e.Progress, "%s | %s | %.4g\n", t.Title, name, values)
}

// judge is one p-value, and the raw test's beside it.
func judge(tester *significance.Tester, s shape, ref, cur []float64) (p, classic float64, err error) {
	b := categoryBins(s.categories)
	if s.categories == 0 {
		b = binsOf(ref, fineBins)
	}
	in := significance.Input{Ref: b.count(ref), Cur: b.count(cur)}
	in.Special = len(in.Ref)
	test := tester.Numeric
	if s.categories > 0 {
		test = tester.Categorical
	}
	r, err := test(in)
	if err != nil {
		return 0, 0, fmt.Errorf("judge %s: %w", s.name, err)
	}
	if s.categories > 0 {
		_, classic = compat.ChiSquareContingency(in.Ref, in.Cur)
		return r.P, classic, nil
	}
	d, exact := compat.KolmogorovSmirnov(ref, cur)
	if math.IsNaN(exact) {
		exact = compat.KolmogorovLimit(d, float64(len(ref)), float64(len(cur)))
	}
	return r.P, exact, nil
}

// Independent counts false alarms of independent values, both samples of the same size and drawn anew each time.
func (e Experiment) Independent() (Table, error) {
	t := Table{
		Title: "False alarms, independent values", Decimals: 2,
		Note: fmt.Sprintf("Share of undrifted pairs with p at most the level, %%; %d pairs a line, both samples of n values. "+
			"Two standard errors are %.1f points at 5 %% and %.1f at 1 %%. Beside: exact KS on the raw values (its limit from n = 20,000 on), chi-square of the contingency table for categories.",
			e.Repetitions, 200*math.Sqrt(0.05*0.95/float64(e.Repetitions)), 200*math.Sqrt(0.01*0.99/float64(e.Repetitions))),
		Columns: []string{"p ≤ 5 %", "p ≤ 1 %", "KS or chi² ≤ 5 %", "KS or chi² ≤ 1 %"},
	}
	var tester significance.Tester
	for _, s := range shapes() {
		for _, n := range e.Sizes {
			name := fmt.Sprintf("%s, n = %d", s.name, n)
			r := e.random(name)
			var hits [4]float64
			for range e.Repetitions {
				p, classic, err := judge(&tester, s, s.sample(r, n), s.sample(r, n))
				if err != nil {
					return t, err
				}
				for i, hit := range []bool{p <= 0.05, p <= 0.01, classic <= 0.05, classic <= 0.01} {
					if hit {
						hits[i] += 100 / float64(e.Repetitions)
					}
				}
			}
			e.done(&t, name, hits[:]...)
		}
	}
	return t, nil
}

// shift is a change whose detection is counted.
type shift struct {
	name  string
	shape shape
	by    float64
	apply func(*rand.Rand, float64, float64) float64 // a reference value and by give a current one
}

func shifts() []shift {
	all := shapes()
	var out []shift
	add := func(r *rand.Rand, x, by float64) float64 { return x + by }
	times := func(r *rand.Rand, x, by float64) float64 { return x * math.Exp(by) }
	more := func(r *rand.Rand, x, by float64) float64 { // every by-th event is one more, in units of the deviation
		if r.Float64() < by*4 {
			return x + 1
		}
		return x
	}
	level := func(r *rand.Rand, x, by float64) float64 {
		if r.Float64() < by/0.95 {
			return 7
		}
		return x
	}
	for _, by := range []float64{0, 0.1, 0.2, 0.5} {
		out = append(out, shift{fmt.Sprintf("normal, %.1f σ", by), all[0], by, add})
	}
	for _, by := range []float64{0.1, 0.2, 0.5} {
		out = append(out, shift{fmt.Sprintf("lognormal, %.1f σ of the logarithm", by), all[1], by, times})
	}
	for _, by := range []float64{0.1, 0.2} {
		out = append(out, shift{fmt.Sprintf("integers, %.1f of the deviation", by), all[3], by, more})
	}
	for _, by := range []float64{0, 0.02, 0.05, 0.1} {
		out = append(out, shift{fmt.Sprintf("20 categories, one +%.0f points", 100*by), all[4], by, level})
	}
	return out
}

// Power counts how often shifts are seen at 1 % false alarms, and by fixed thresholds.
func (e Experiment) Power(n int) (Table, error) {
	t := Table{
		Title: fmt.Sprintf("Power at 1 %% false alarms, n = %d", n), Decimals: 1,
		Note: fmt.Sprintf("Share of windows flagged, %%; a reference of %d values, %d windows a line, the same data in every column. "+
			"KS is exact on raw values; for categories the chi-square of the contingency table stands in its place: where none is sparse that is this test's statistic too, and only p-values at the very level may fall on either side of it. "+
			"The others are fixed thresholds: Wasserstein distance over the deviation from 0.1, Evidently's default for large references; and on ten bins of equal reference share, or the categories, Jensen-Shannon distance in nats from 0.1, "+
			"PSI from 0.1 and 0.25, Jensen-Shannon divergence (for categories L-infinity) from 0.3, Vertex AI's default.",
			e.Reference, e.Repetitions),
		Columns: []string{"this test", "KS or chi²", "W/σ ≥ .1", "JS ≥ .1", "PSI ≥ .1", "PSI ≥ .25", "Vertex .3"},
	}
	var tester significance.Tester
	for _, s := range shifts() {
		name := fmt.Sprintf("%s, n = %d", s.name, n)
		r := e.random(name)
		hits := make([]float64, len(t.Columns))
		for range e.Repetitions {
			ref, cur := s.shape.sample(r, e.Reference), s.shape.sample(r, n)
			for i, x := range cur {
				cur[i] = s.apply(r, x, s.by)
			}
			p, classic, err := judge(&tester, s.shape, ref, cur)
			if err != nil {
				return t, err
			}
			fixed, err := fixedThresholds(s.shape, ref, cur)
			if err != nil {
				return t, err
			}
			for i, hit := range append([]bool{p <= 0.01, classic <= 0.01}, fixed...) {
				if hit {
					hits[i] += 100 / float64(e.Repetitions)
				}
			}
		}
		if s.shape.categories > 0 {
			hits[2] = math.NaN() // categories have no Wasserstein distance
		}
		e.done(&t, s.name, hits...)
	}
	return t, nil
}

// fixedThresholds are the decisions of the last five columns of the table of power.
func fixedThresholds(s shape, ref, cur []float64) ([]bool, error) {
	b := categoryBins(s.categories)
	if s.categories == 0 {
		b = binsOf(ref, distance.MergedBins)
		b = b[:len(b)-1] // the last bin is open above
	}
	p := distance.Pair{Ref: b.count(ref), Cur: b.count(cur), Points: b.points(ref), Scale: deviation(ref)}
	p.Special = len(p.Ref)
	score := map[distance.Method]float64{}
	for _, d := range distance.Methods() {
		x, err := d.Score(p)
		if err != nil {
			return nil, fmt.Errorf("fixed thresholds of %s: %w", s.name, err)
		}
		score[d.Method] = x
	}
	js := score[distance.JensenShannon] * math.Sqrt(math.Ln2) // in nats
	vertex := math.Pow(score[distance.JensenShannon], 2) >= 0.3
	moved := compat.Wasserstein(ref, cur)/max(p.Scale, 0.001) >= 0.1
	if s.categories > 0 {
		vertex = score[distance.LInfinity] >= 0.3
		moved = false
	}
	psi := score[distance.PSI]
	return []bool{moved, js >= 0.1, psi >= 0.1, psi >= 0.25, vertex}, nil
}
