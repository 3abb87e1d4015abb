package baseline

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/freshet-io/freshet/internal/feature"
)

// trained is a baseline of 10,000 independent normal values, and of as many truths.
func trained(t *testing.T) *Baseline {
	t.Helper()
	d := Definition{Name: "b", Model: "m", Version: "2", Columns: []Column{{Name: "x", Type: feature.Float64}, {Name: "ok", Type: feature.Bool}}}
	b, err := Make(d, func(fn func(values, fields []feature.Value) error) error {
		rng := rand.New(rand.NewPCG(3, 4))
		for range 10_000 {
			if err := fn([]feature.Value{feature.Float64Value(rng.NormFloat64()), feature.BoolValue(rng.IntN(3) == 0)}, nil); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// served are inferences of a day.
type served struct {
	n       int
	lasts   int     // inferences that a value lasts
	shift   float64 // of the values
	apart   float64 // by how much the values of version 2 are above those of others, in deviations
	spread  float64 // of the values, 0 for 1
	pause   bool    // nothing comes for most of the day
	version func(i int) string
}

func (s served) stream() Stream {
	return Stream{Least: 12 * time.Hour, Rows: func(fn func(values []feature.Value, at int64, version string) error) error {
		rng := rand.New(rand.NewPCG(5, 6))
		var x, ok feature.Value
		spread := s.spread
		if spread == 0 {
			spread = 1
		}
		for i := range s.n {
			if i%s.lasts == 0 {
				x, ok = feature.Float64Value(spread*rng.NormFloat64()+s.shift), feature.BoolValue(rng.IntN(3) == 0)
			}
			at := int64(i) * (24 * time.Hour).Microseconds() / int64(s.n)
			if s.pause && i < s.n*9/10 {
				at /= 20
			}
			version := "2"
			if s.version != nil {
				version = s.version(i)
			}
			value := x
			if version == "2" {
				value = feature.Float64Value(x.Float64() + s.apart)
			}
			if err := fn([]feature.Value{value, ok}, at, version); err != nil {
				return err
			}
		}
		return nil
	}}
}

// How rows vary is learnt from the differences between times, so that a stream that is always unlike the training data varies no more.
func TestAStandingSkewIsNoVariation(t *testing.T) {
	for _, lasts := range []int{1, 50} {
		of := func(shift float64) float64 {
			b := trained(t)
			unlike, err := b.Learn(served{n: 14_400, lasts: lasts, shift: shift}.stream())
			if err != nil || len(unlike) > 0 {
				t.Fatalf("unlike %v, %v", unlike, err)
			}
			return b.Columns[0].Dispersion.Effect
		}
		same := of(0)
		if want := float64(lasts); same < 0.6*want || same > 1.5*want {
			t.Errorf("each value %d times: effect %g", lasts, same)
		}
		for _, shift := range []float64{0.5, 1} {
			if skewed := of(shift); skewed > 1.15*same || skewed < 0.85*same {
				t.Errorf("each value %d times: effect %g, moved by %g deviations %g", lasts, same, shift, skewed)
			}
		}
	}
}

// Of values in a few bins nothing is learnt: once they are as in training, they would vary more than is known.
func TestNothingIsLearntOfWhatIsUnlikeTheTraining(t *testing.T) {
	b := trained(t)
	unlike, err := b.Learn(served{n: 5000, lasts: 10, shift: 100, spread: 1000}.stream())
	if err != nil || len(unlike) != 1 || unlike[0] != "x" || b.Columns[0].Dispersion != nil || b.Columns[1].Dispersion == nil {
		t.Errorf("unlike %v, %v, columns %+v", unlike, err, b.Columns)
	}
	// Few values that last long are not unlike, only few.
	b = trained(t)
	if unlike, err := b.Learn(served{n: 5000, lasts: 200}.stream()); err != nil || len(unlike) > 0 || b.Columns[0].Dispersion.Effect < 100 {
		t.Errorf("unlike %v, %v", unlike, err)
	}
}

// Inferences are of one version, and that two are different is no variation.
func TestOneVersionIsLearntOf(t *testing.T) {
	of := func(names ...string) func(int) string { return func(i int) string { return names[i%len(names)] } }
	for name, c := range map[string]struct {
		own     string
		version func(int) string
		want    Variation
	}{
		"all are its own":       {"2", of("2"), Variation{Rows: 6000, Version: "2"}},
		"enough are":            {"2", of("1", "1", "2"), Variation{Rows: 2000, Version: "2"}},
		"few are":               {"2", of("2", "1", "1", "1", "3", "1", "1", "3", "3", "1"), Variation{Rows: 3600, Version: "1"}},
		"its own are too short": {"2", func(i int) string { return []string{"1", "2"}[i/4000] }, Variation{Rows: 4000, Version: "1"}},
		"none are":              {"2", of("1"), Variation{Rows: 6000, Version: "1"}},
		"it serves every one":   {"", of("1", "2", "2"), Variation{Rows: 4000, Version: "2"}},
		"inferences say none":   {"", of(""), Variation{Rows: 6000}},
		"the model's before it": {"2", func(i int) string { return []string{"1", "2"}[i/5500] }, Variation{Rows: 5500, Version: "1"}},
	} {
		b := trained(t)
		b.Version = c.own
		if _, err := b.Learn(served{n: 6000, lasts: 1, version: c.version, apart: 1}.stream()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if v := b.Variation; v.Rows != c.want.Rows || v.Version != c.want.Version || b.Columns[0].Dispersion.Effect > 1.6 {
			t.Errorf("%s: %+v, effect %g", name, v, b.Columns[0].Dispersion.Effect)
		}
	}
}

func TestOfTooFewInferencesNothingIsLearnt(t *testing.T) {
	for want, s := range map[string]Stream{
		"there are no inferences":                                                served{lasts: 1}.stream(),
		`there are 999 inferences of version "2", and it takes 1000`:             served{n: 999, lasts: 1}.stream(),
		`2000 inferences of version "2" are in 15 of 96 parts of their time`:     served{n: 2000, lasts: 1, pause: true}.stream(),
		`2000 inferences of version "2" are of 23h59m16.8s, and it takes 120h0m`: {Least: 120 * time.Hour, Rows: served{n: 2000, lasts: 1}.stream().Rows},
		`there are 900 inferences of version "1", and it takes 1000`: served{n: 1800, lasts: 1, version: func(i int) string {
			return []string{"1", "3"}[i%2]
		}}.stream(),
	} {
		b := trained(t)
		_, err := b.Learn(s)
		if few := (*TooLittle)(nil); !errors.As(err, &few) || !strings.Contains(err.Error(), want) || b.Variation != nil || b.Columns[0].Dispersion != nil {
			t.Errorf("%v, want %s", err, want)
		}
	}
	b, broken := trained(t), errors.New("the topic is gone")
	if _, err := b.Learn(Stream{Rows: func(func([]feature.Value, int64, string) error) error { return broken }}); !errors.Is(err, broken) {
		t.Error(err)
	}
}

// What is asked for eight hours a day is learnt of: the time without inferences counts for nothing.
func TestOfOfficeHoursIsLearnt(t *testing.T) {
	for lasts, within := range map[int][2]float64{1: {1, 1.6}, 20: {10, 40}} {
		b := trained(t)
		_, err := b.Learn(Stream{Least: 12 * time.Hour, Rows: func(fn func(values []feature.Value, at int64, version string) error) error {
			rng, x, n := rand.New(rand.NewPCG(1, 9)), 0.0, 0
			for at := int64(0); at < (32 * time.Hour).Microseconds(); at += (10 * time.Second).Microseconds() {
				if at%(24*time.Hour).Microseconds() >= (8 * time.Hour).Microseconds() {
					continue
				}
				if n%lasts == 0 {
					x = rng.NormFloat64()
				}
				n++
				if err := fn([]feature.Value{feature.Float64Value(x), feature.BoolValue(true)}, at, "2"); err != nil {
					return err
				}
			}
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		if d := b.Columns[0].Dispersion; d.Effect < within[0] || d.Effect > within[1] || d.DF < 2 {
			t.Errorf("each value %d times: %+v", lasts, d)
		}
	}
}

// Where every column is too different the baseline knows nothing.
func TestWhereNoColumnIsLearntNothingIsKnown(t *testing.T) {
	b := trained(t)
	b.Columns = b.Columns[:1]
	s := served{n: 5000, lasts: 10, shift: 100, spread: 1000}.stream()
	rows := s.Rows
	s.Rows = func(fn func(values []feature.Value, at int64, version string) error) error {
		return rows(func(values []feature.Value, at int64, version string) error { return fn(values[:1], at, version) })
	}
	if unlike, err := b.Learn(s); err != nil || len(unlike) != 1 || b.Variation != nil {
		t.Errorf("unlike %v, %v, %+v", unlike, err, b.Variation)
	}
}

// A value that lasts for hours of a day lasts longer than the parts that there are enough of.
func TestWhatLastsLongerThanWasSeenIsUnsettled(t *testing.T) {
	for lasts, want := range map[int]bool{1: false, 50: false, 2400: true} {
		b := trained(t)
		if _, err := b.Learn(served{n: 14_400, lasts: lasts}.stream()); err != nil {
			t.Fatal(err)
		}
		if d := b.Columns[0].Dispersion; d == nil || d.Unsettled != want {
			t.Errorf("each value %d times: %+v", lasts, d)
		}
	}
}

// A stream that depends on itself more at some time of the day than at others has windows that vary more than on average: what is
// known of it is less sure.
func TestWhatDiffersByTheTimeOfDayIsLessSure(t *testing.T) {
	const day = 24 * int64(time.Hour/time.Microsecond)
	df := func(days int64, times func(at int64) int) float64 {
		b := trained(t)
		_, err := b.Learn(Stream{Least: 12 * time.Hour, Rows: func(fn func(values []feature.Value, at int64, version string) error) error {
			rng, left := rand.New(rand.NewPCG(7, 8)), 0
			var x feature.Value
			for at := int64(0); at < days*day; at += (6 * time.Second).Microseconds() {
				if left == 0 {
					x, left = feature.Float64Value(rng.NormFloat64()), times(at%day)
				}
				left--
				if err := fn([]feature.Value{x, feature.BoolValue(true)}, at, "2"); err != nil {
					return err
				}
			}
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		return b.Columns[0].Dispersion.DF
	}
	even := df(1, func(int64) int { return 30 })
	halves := func(at int64) int { return []int{5, 80}[at/(day/2)] }
	uneven, week := df(1, halves), df(7, halves)
	if even < 15 || uneven > even/2 || week > 1.5*uneven || week < uneven/2 {
		t.Errorf("%g degrees of freedom, and %g where values last longer for half of the day, %g of a week of that", even, uneven, week)
	}
}
