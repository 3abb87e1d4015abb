package valueskew

import (
	"math"
	"testing"

	"github.com/freshet-io/freshet/internal/feature"
)

var null feature.Value

func TestJudge(t *testing.T) {
	f, i, s := feature.Float64Value, feature.Int64Value, feature.StringValue
	check := func(want Outcome, served, at feature.Value, around ...feature.Value) {
		t.Helper()
		if got := Judge(&served, false, &Computed{At: at, Around: around}, 1e-6); got != want {
			t.Errorf("served %s, computed %s, around %v: %s, want %s", served, at, around, got, want)
		}
	}
	check(Match, f(100), f(100))
	check(Match, f(100), f(100.00009)) // a part of the larger one
	check(Match, f(1e-9), f(2e-9))     // below 1 the tolerance is absolute
	check(Match, i(3), f(3))           // servers log 3.0 as 3
	check(Match, f(math.NaN()), f(math.NaN()))
	check(Match, f(math.Inf(1)), f(math.Inf(1)))
	check(Match, null, null) // absent or null: a decoded row does not tell
	check(Match, s("de"), s("de"))
	check(Match, feature.BoolValue(true), feature.BoolValue(true))
	check(Match, i(math.MaxInt64), i(math.MaxInt64))

	check(Mismatch, f(160), f(100))
	check(Mismatch, f(100.001), f(100))
	check(Mismatch, i(7), i(8))
	check(Mismatch, s("fr"), s("de"))
	check(Mismatch, s("3"), i(3))
	check(Mismatch, f(math.NaN()), f(0))
	check(Mismatch, f(math.Inf(1)), f(math.Inf(-1)))
	check(Mismatch, f(160), f(100), f(100), f(100)) // nothing moved

	check(Missing, null, f(100))
	check(Missing, f(0), null)

	check(Timing, f(90), f(100), f(90), f(100))         // the event had not been counted yet
	check(Timing, f(95), f(100), f(90), f(110))         // several events: one of the values in between
	check(Mismatch, f(160), f(100), f(90), f(110))      // in motion, and none that it had
	check(Timing, s("fr"), s("de"), s("fr"))            // the latest value came meanwhile
	check(Mismatch, s("it"), s("de"), s("fr"))          //
	check(Timing, null, f(100), null, f(100))           // the entity's first event
	check(Missing, null, f(100), f(90), f(100))         //
	check(Timing, f(100), null, f(100), null)           // the ttl ended
	check(Mismatch, f(100.001), f(100), f(100), f(100)) //

	if got := Judge(&null, true, &Computed{}, 1e-6); got != Mismatch {
		t.Errorf("a value of another type: %s, want mismatch", got)
	}
}

func TestSamplesAreBounded(t *testing.T) {
	var f Feature
	for n := range 100 {
		f.Add(Outcome(n%4), func() Sample { return Sample{At: int64(n)} })
	}
	if f.Rows() != 100 || f.Differ() != 50 {
		t.Errorf("%d rows of which %d differ, want 100 and 50", f.Rows(), f.Differ())
	}
	for o, want := range []int{0, maxSamples, maxSamples, maxSamples} {
		if got := len(f.Samples[o]); got != want {
			t.Errorf("%d samples of outcome %s, want %d", got, Outcome(o), want)
		}
	}
	if got := f.Samples[Mismatch][2].At; got != 9 {
		t.Errorf("the third sample is of %d, want 9: the first are kept", got)
	}
}
