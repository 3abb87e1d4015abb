package quality

import (
	"bytes"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
)

// cases are deterministic: what scikit-learn said of the same ones is written down below.
func cases() (p []float64, truth []bool, label, number []float64) {
	for i := range 2000 {
		u, v := float64(i*7919%10007)/10007, float64(i*104729%10007)/10007
		x := math.Floor(u*1000)/1000 + 0.0005
		p = append(p, x)
		truth = append(truth, v < math.Pow(x, 1.5))
		label, number = append(label, 100*v), append(number, 100*v+40*(u-0.5))
	}
	return p, truth, label, number
}

// TestEqualsScikitLearn: values by scikit-learn 1.9.1 (roc_auc_score, log_loss, accuracy_score, precision_score,
// recall_score, root_mean_squared_error, mean_absolute_error), the calibration error and DeLong's standard error by their
// definitions in NumPy.
func TestEqualsScikitLearn(t *testing.T) {
	p, truth, label, number := cases()
	var probability, numbers Sums
	for i := range p {
		a, b := feature.Float64Value(p[i]), feature.BoolValue(truth[i])
		Definition{Prediction: config.Probability, Cutoff: 0.5}.Count(&probability, &a, &b, 1)
		c, d := feature.Float64Value(number[i]), feature.Float64Value(label[i])
		Definition{Prediction: config.Number}.Count(&numbers, &c, &d, 1)
	}
	for name, want := range map[string]float64{
		"auc": 0.8537824565341181, "log_loss": 0.4925260253832591, "accuracy": 0.755, "precision": 0.658, "recall": 0.8163771712158809,
		"calibration_error": 0.0973855, "rmse": 11.552562595555665, "mae": 10.005500149895074,
	} {
		s := &probability
		if name == "rmse" || name == "mae" {
			s = &numbers
		}
		m, err := Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		tolerance := 1e-12
		if name == "calibration_error" {
			tolerance = 2e-9 // probabilities are summed to 2^-30
		}
		if got := m.of(s).value; !(math.Abs(got-want) <= tolerance*want) {
			t.Errorf("%s = %.17g, want %.17g", name, got, want)
		}
	}
	if got, want := auc(&probability).se, 0.00838112618901234; !(math.Abs(got-want) < 1e-12) {
		t.Errorf("standard error of the auc = %g, want %g", got, want)
	}
}

// pairs is the AUC by its definition, over all pairs.
func pairs(score []float64, truth []bool) float64 {
	var wins, n float64
	for i := range score {
		for j := range score {
			if truth[i] && !truth[j] {
				n++
				switch bin := func(x float64) int { return min(int(x*scoreBins), scoreBins-1) }; {
				case bin(score[i]) > bin(score[j]):
					wins++
				case bin(score[i]) == bin(score[j]):
					wins += 0.5
				}
			}
		}
	}
	return wins / n
}

// joined is a case of a test.
type joined struct{ prediction, label feature.Value }

func randomCase(r *rand.Rand, of string) joined {
	switch of {
	case config.Probability:
		p := r.Float64()
		if r.IntN(50) == 0 {
			return joined{feature.Float64Value([]float64{math.NaN(), 1.5, -0.1, 0, 1}[r.IntN(5)]), feature.Int64Value(int64(r.IntN(3)))}
		}
		return joined{feature.Float64Value(p), feature.BoolValue(r.Float64() < p)}
	case config.ClassName:
		class := func() feature.Value { return feature.StringValue([]string{"a", "b", "c"}[r.IntN(3)]) }
		return joined{class(), class()}
	}
	x := math.Ldexp(r.NormFloat64(), r.IntN(200)-100)
	if r.IntN(20) == 0 {
		x = []float64{math.Inf(1), math.NaN(), 5e-324, 1e200, 0}[r.IntN(5)]
	}
	return joined{feature.Float64Value(x), feature.Float64Value(r.NormFloat64())}
}

// TestTakenOutLeavesNothing: cases in any order, some taken out again, in several panes that are merged, give the bytes of
// those that are left.
func TestTakenOutLeavesNothing(t *testing.T) {
	for _, of := range []string{config.Number, config.ClassName, config.Probability} {
		r := rand.New(rand.NewPCG(1, 2))
		d := Definition{Prediction: of, Positive: "a", Cutoff: 0.5}
		var want Sums
		panes := make([]Sums, 5)
		var taken []joined
		for i := range 3000 {
			c := randomCase(r, of)
			d.Count(&panes[r.IntN(5)], &c.prediction, &c.label, 1)
			if i%3 == 0 {
				taken = append(taken, c)
			} else {
				d.Count(&want, &c.prediction, &c.label, 1)
			}
		}
		r.Shuffle(len(taken), func(i, j int) { taken[i], taken[j] = taken[j], taken[i] })
		for i := range taken {
			d.Count(&panes[r.IntN(5)], &taken[i].prediction, &taken[i].label, -1)
		}
		var sum Sums
		for _, i := range r.Perm(5) {
			got, err := Decode(panes[i].AppendBinary(nil))
			if err != nil {
				t.Fatal(err)
			}
			sum.Merge(got)
		}
		if a, b := sum.AppendBinary(nil), want.AppendBinary(nil); !bytes.Equal(a, b) {
			t.Errorf("%s:\n got %x\nwant %x", of, a, b)
		}
		if sum.Usable() < 1500 || sum.Unusable == 0 && of != config.ClassName {
			t.Errorf("%s: %d usable and %d unusable cases prove nothing", of, sum.Usable(), sum.Unusable)
		}
		sum.Merge(negated(t, &want))
		if !sum.Empty() {
			t.Errorf("%s: everything was taken out, and something is left", of)
		}
	}
}

// negated is what takes all of some sums out.
func negated(t *testing.T, s *Sums) *Sums {
	t.Helper()
	n, err := Decode(s.AppendBinary(nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range n.counts() {
		*c = -*c
	}
	for _, e := range n.exacts() {
		e.units.Neg(&e.units)
	}
	for _, bins := range []map[uint16]int64{n.positive, n.negative} {
		for b := range bins {
			bins[b] = -bins[b]
		}
	}
	for i := range n.calibration {
		c := &n.calibration[i]
		c.n, c.positive, c.sum = -c.n, -c.positive, -c.sum
	}
	return n
}

func TestAUCIsTheShareOfPairs(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 20 {
		var s Sums
		var score []float64
		var truth []bool
		for range 100 {
			p := math.Round(r.Float64()*50) / 50
			score, truth = append(score, p), append(truth, r.Float64() < p)
			a, b := feature.Float64Value(p), feature.BoolValue(truth[len(truth)-1])
			Definition{Prediction: config.Probability, Cutoff: 0.5}.Count(&s, &a, &b, 1)
		}
		if got, want := auc(&s).value, pairs(score, truth); math.Abs(got-want) > 1e-12 {
			t.Errorf("auc = %g, over all pairs %g", got, want)
		}
	}
}

// TestStandardErrors: over many samples of one population the values vary as the standard errors say.
func TestStandardErrors(t *testing.T) {
	for _, m := range metrics {
		if m.Name == "calibration_error" {
			continue // it is a sum of absolute values: see TestCalibratedModelIsNotBlamed
		}
		r := rand.New(rand.NewPCG(7, 8))
		of := config.Probability
		if m.Name == "rmse" || m.Name == "mae" {
			of = config.Number
		}
		const samples, n = 400, 500
		var sum, squares, se float64
		for range samples {
			var s Sums
			for range n {
				p := r.Float64()
				a, b := feature.Float64Value(p), feature.BoolValue(r.Float64() < p)
				if of == config.Number {
					a, b = feature.Float64Value(r.NormFloat64()), feature.Float64Value(r.ExpFloat64())
				}
				Definition{Prediction: of, Cutoff: 0.5}.Count(&s, &a, &b, 1)
			}
			e := m.of(&s)
			sum, squares, se = sum+e.value, squares+e.value*e.value, se+e.se
		}
		sd := math.Sqrt(squares/samples - sum/samples*sum/samples)
		if ratio := se / samples / sd; ratio < 0.85 || ratio > 1.15 {
			t.Errorf("%s: the standard error is %.2f of how much the values vary", m.Name, ratio)
		}
	}
}

// TestChanceIsHeldToItsRate: a model that is exactly at its limit is said to be beyond it as often as p says.
func TestChanceIsHeldToItsRate(t *testing.T) {
	for name, limit := range map[string]Limit{
		"rmse": {Bound: 1}, "mae": {Bound: math.Sqrt(2 / math.Pi)}, "accuracy": {Bound: 0.75}, "log_loss": {Bound: 0.5},
		"precision": {Bound: 0.75}, "auc": {Bound: 5.0 / 6},
	} {
		m, _ := Lookup(name)
		r := rand.New(rand.NewPCG(9, 10))
		hits := 0
		const samples = 1000
		for range samples {
			var s Sums
			for range 400 {
				p := r.Float64() // for which accuracy and precision are 3/4, the log loss 1/2 and the AUC 5/6
				a, b, of := feature.Float64Value(p), feature.BoolValue(r.Float64() < p), config.Probability
				if name == "rmse" || name == "mae" {
					a, b, of = feature.Float64Value(r.NormFloat64()), feature.Float64Value(0), config.Number
				}
				Definition{Prediction: of, Cutoff: 0.5}.Count(&s, &a, &b, 1)
			}
			if m.Judge(&s, limit, nil).P <= 0.05 {
				hits++
			}
		}
		if hits < 25 || hits > 80 {
			t.Errorf("%s: %d of %d samples at the limit are beyond it at 5 %%", name, hits, samples)
		}
	}
}

func TestCalibratedModelIsNotBlamed(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	m, _ := Lookup("calibration_error")
	effect := func(bend float64) Result {
		var s Sums
		for range 1000 {
			p := r.Float64()
			a, b := feature.Float64Value(p), feature.BoolValue(r.Float64() < math.Pow(p, bend))
			Definition{Prediction: config.Probability, Cutoff: 0.5}.Count(&s, &a, &b, 1)
		}
		return m.Judge(&s, Limit{Bound: 0.05}, nil)
	}
	for range 200 {
		if v := effect(1); v.Effect >= 0.05 && v.P < 0.01 {
			t.Errorf("a calibrated model is found off by %g, p %g", v.Effect, v.P)
		}
		if v := effect(2); v.Effect < 0.05 || v.P > 0.01 {
			t.Errorf("a model that is off by 1/6 is found off by %g, p %g", v.Effect, v.P)
		}
	}
}

func TestWorseThanTheReference(t *testing.T) {
	sums := func(scale float64, n int) *Sums {
		r := rand.New(rand.NewPCG(13, 14))
		var s Sums
		for range n {
			a, b := feature.Float64Value(scale*r.NormFloat64()), feature.Float64Value(0)
			Definition{Prediction: config.Number}.Count(&s, &a, &b, 1)
		}
		return &s
	}
	m, _ := Lookup("rmse")
	v := m.Judge(sums(1.5, 1000), Limit{WorseBy: 0.2}, sums(1, 1000))
	if math.Abs(v.Effect-0.5) > 1e-9 || v.Threshold != 0.2 || v.P > 1e-6 || v.NRef != 1000 {
		t.Errorf("half as much again: %+v", v)
	}
	if v := m.Judge(sums(1.5, 10), Limit{WorseBy: 0.2}, sums(1, 10)); v.P < 0.05 {
		t.Errorf("ten cases prove it: %+v", v)
	}
	if v := m.Judge(sums(1.5, 1000), Limit{WorseBy: 0.2}, nil); !math.IsNaN(v.Effect) || v.P != 1 {
		t.Errorf("without a reference: %+v", v)
	}
	a, _ := Lookup("accuracy")
	good, bad := &Sums{Labelled: 100, Correct: 100}, &Sums{Labelled: 100, Correct: 60}
	if v := a.Judge(bad, Limit{WorseBy: 0.1}, good); math.Abs(v.Effect-0.4) > 1e-9 || v.P > 1e-4 {
		t.Errorf("40 %% fewer hits: %+v", v)
	}
	if v := a.Judge(&Sums{Labelled: 3, Correct: 2}, Limit{WorseBy: 0.1}, good); v.P < 0.05 {
		t.Errorf("one miss in three: %+v", v)
	}
}

func TestNothingToMeasure(t *testing.T) {
	for _, m := range metrics {
		v := m.Judge(&Sums{Inferences: 3}, Limit{Bound: 0.5}, nil)
		if !math.IsNaN(v.Value) || !math.IsNaN(v.Effect) || v.P != 1 || v.N != 0 {
			t.Errorf("%s of nothing: %+v", m.Name, v)
		}
	}
}

// TestEveryMetricIsDefined: config lists what can be asked for.
func TestEveryMetricIsDefined(t *testing.T) {
	var names []string
	for _, m := range metrics {
		names = append(names, m.Name)
	}
	slices.Sort(names)
	if want := config.QualityMetrics(); !slices.Equal(names, want) {
		t.Errorf("metrics %q, the definition takes %q", names, want)
	}
}

func FuzzDecode(f *testing.F) {
	var s Sums
	a, b := feature.Float64Value(0.3), feature.BoolValue(true)
	Definition{Prediction: config.Probability, Cutoff: 0.5}.Count(&s, &a, &b, 1)
	f.Add(s.AppendBinary(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Decode(data)
		if err != nil {
			return
		}
		again, err := Decode(s.AppendBinary(nil))
		if err != nil || !bytes.Equal(again.AppendBinary(nil), s.AppendBinary(nil)) {
			t.Fatalf("%x reads back as something else: %v", data, err)
		}
	})
}
