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
			if err := fn([]feature.Value{x, ok}, at, version); err != nil {
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

func TestInferencesOfItsOwnVersionComeFirst(t *testing.T) {
	for name, c := range map[string]struct {
		version func(int) string
		want    Variation
	}{
		"all are":    {func(int) string { return "2" }, Variation{Rows: 6000, Version: "2"}},
		"enough are": {func(i int) string { return []string{"1", "2"}[i%2] }, Variation{Rows: 3000, Version: "2"}},
		"few are":    {func(i int) string { return []string{"2", "1"}[min(i%10, 1)] }, Variation{Rows: 6000}},
		"of late": {func(i int) string {
			return []string{"1", "2"}[i/4000]
		}, Variation{Rows: 6000}},
		"none are": {func(int) string { return "1" }, Variation{Rows: 6000}},
	} {
		b := trained(t)
		if _, err := b.Learn(served{n: 6000, lasts: 1, version: c.version}.stream()); err != nil {
			t.Fatal(err)
		}
		if v := b.Variation; v.Rows != c.want.Rows || v.Version != c.want.Version || v.Until-v.Since < (23*time.Hour).Microseconds() {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

func TestOfTooFewInferencesNothingIsLearnt(t *testing.T) {
	for want, s := range map[string]Stream{
		"there are no inferences":                                 served{lasts: 1}.stream(),
		"there are 999 inferences, and it takes 1000":             served{n: 999, lasts: 1}.stream(),
		"2000 inferences are in 15 of 96 parts of their time":     served{n: 2000, lasts: 1, pause: true}.stream(),
		"2000 inferences are of 23h59m17s, and it takes 120h0m0s": {Least: 120 * time.Hour, Rows: served{n: 2000, lasts: 1}.stream().Rows},
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
	df := func(times func(at int64) int) float64 {
		b := trained(t)
		_, err := b.Learn(Stream{Least: 12 * time.Hour, Rows: func(fn func(values []feature.Value, at int64, version string) error) error {
			rng, left := rand.New(rand.NewPCG(7, 8)), 0
			var x feature.Value
			for i := range int64(14_400) {
				at := i * (6 * time.Second).Microseconds()
				if left == 0 {
					x, left = feature.Float64Value(rng.NormFloat64()), times(at)
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
	even := df(func(int64) int { return 30 })
	uneven := df(func(at int64) int { return []int{5, 80}[at/(12*time.Hour).Microseconds()] })
	if even < 15 || uneven > even/2 {
		t.Errorf("%g degrees of freedom, and %g where values last longer for half of the day", even, uneven)
	}
}
