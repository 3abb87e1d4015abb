package significance

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestAdjust(t *testing.T) {
	// By hand: c = 1 + 1/2 + 1/3 = 11/6; 3c/k times 0.01, 0.02 and 0.5.
	got := Adjust([]float64{0.5, 0.01, 0.02})
	for i, want := range []float64{0.5 * 11 / 6, 0.055, 0.055} {
		if math.Abs(got[i]-want) > 1e-12 {
			t.Errorf("adjusted %d: %g, want %g", i, got[i], want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.SliceOfN(rapid.Float64Range(0, 1), 0, 30).Draw(t, "p")
		q := Adjust(p)
		for i := range p {
			if q[i] < p[i] || q[i] > 1 {
				t.Errorf("%g became %g", p[i], q[i])
			}
			for j := range p {
				if p[i] < p[j] && q[i] > q[j] {
					t.Errorf("%g and %g changed their order", p[i], p[j])
				}
			}
		}
	})
}

func TestLevel(t *testing.T) {
	level := func(s Schedule) float64 {
		t.Helper()
		a, err := s.Level()
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	near := func(name string, got, want, relative float64) {
		t.Helper()
		if math.Abs(got/want-1) > relative {
			t.Errorf("%s: level %g, want %g", name, got, want)
		}
	}
	near("disjoint hours", level(Schedule{FalseAlarms: 1, Evaluations: 720, Windows: 1}), 1.0/720, 1e-9)
	near("two hours in a row", level(Schedule{FalseAlarms: 1, Evaluations: 720, Windows: 2}), math.Sqrt(1.0/720), 1e-9)
	near("three with one common cause", level(Schedule{FalseAlarms: 1, Evaluations: 720, Windows: 3, Shared: 1}), 1.0/720, 1e-9)
	near("generous", level(Schedule{FalseAlarms: 100, Evaluations: 10, Windows: 1}), LargestLevel, 0)
	between := level(Schedule{FalseAlarms: 1, Evaluations: 720, Windows: 2, Shared: 0.5})
	if between <= 1.0/720 || between >= math.Sqrt(1.0/720) {
		t.Errorf("two with half in common: %g", between)
	}
	sliding := level(Schedule{FalseAlarms: 1, Evaluations: 8640, Step: 1.0 / 12, Windows: 1})
	if sliding <= 1.0/8640 || sliding >= 1.0/720 {
		t.Errorf("sliding by a twelfth: %g, want between those of all evaluations and of disjoint windows", sliding)
	}
	for _, s := range []Schedule{{}, {FalseAlarms: 1, Evaluations: 5}, {FalseAlarms: 1, Evaluations: 5, Windows: 1, Step: 2}, {FalseAlarms: 1, Evaluations: 5, Windows: 1, Shared: -1}} {
		if _, err := s.Level(); err == nil {
			t.Errorf("%+v passes", s)
		}
	}
}

// The level is the one that halving the interval finds, whatever the schedule is.
func TestLevelIsTheLargestThatKeepsTheRate(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for _, rate := range []float64{5e-324, 1e-310, 1e-300} { // which no level keeps, or hardly one
		s := Schedule{FalseAlarms: rate, Evaluations: 2.592e6, Windows: 100, Shared: 0.5}
		if got, err := s.Level(); err != nil || got <= 0 || got > LargestLevel || s.episodes(got) > max(rate, 1e-280) {
			t.Errorf("a rate of %g: level %g, %v", rate, got, err)
		}
	}
	for i := range 30 {
		s := Schedule{
			FalseAlarms: math.Exp(35*rng.Float64() - 30), Evaluations: 1 + 1e6*rng.Float64(), Step: []float64{0, 1, 1. / 12, 1. / 60}[rng.IntN(4)],
			Windows: 1 + i%5, Shared: []float64{0, 1, 0.05, 0.5, 0.95}[rng.IntN(5)],
		}
		got, err := s.Level()
		if err != nil {
			t.Fatal(err)
		}
		low, high := math.Log(1e-300), math.Log(LargestLevel)
		for range 50 {
			if middle := (low + high) / 2; s.episodes(math.Exp(middle)) <= s.FalseAlarms {
				low = middle
			} else {
				high = middle
			}
		}
		if want := math.Exp(low); math.Abs(got/want-1) > 1e-11 {
			t.Errorf("%+v: level %g, want %g", s, got, want)
		}
	}
}

// TestClusters counts episodes of sliding means of independent normal values, which share Step of their window with the
// next, against the rate that the level was derived for.
func TestClusters(t *testing.T) {
	const windowSteps, windows = 12, 40000
	s := Schedule{FalseAlarms: 100, Evaluations: windowSteps * windows, Step: 1.0 / windowSteps, Windows: 1}
	level, err := s.Level()
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	var ring [windowSteps]float64
	episodes, since := 0, windowSteps
	var total float64
	for i := range windowSteps * windows {
		x := rng.NormFloat64() / math.Sqrt(windowSteps)
		total += x - ring[i%windowSteps]
		ring[i%windowSteps] = x
		if since++; i >= windowSteps && math.Erfc(math.Abs(total)/math.Sqrt2) <= level {
			if since >= windowSteps {
				episodes++
			}
			since = 0
		}
	}
	if episodes < 60 || episodes > 150 {
		t.Errorf("%d episodes, configured were 100", episodes)
	}
}

// alarmOf offers one value, and begins anew after an alarm.
func alarmOf(t *testing.T, q *Sequential, bin int, weight float64) bool {
	t.Helper()
	counts := make([]uint64, 17)[:q.special+len(q.bins)]
	counts[bin] = 1
	alarm, err := q.Observe(counts, weight)
	if err != nil {
		t.Fatal(err)
	}
	if alarm {
		q.Reset()
	}
	return alarm
}

// TestSequentialBatches: values that come in batches of a random size alarm no more often, an alarm lasts while its change
// does, and ends when that is over.
func TestSequentialBatches(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 9))
	shares := harmonic(16)
	const runLength = 100 // batches
	q, err := NewSequential(sample(rng, 3000, shares), 16, 0, runLength)
	if err != nil {
		t.Fatal(err)
	}
	next := func(shares []float64) bool {
		counts := make([]uint64, 16)
		if n := rng.IntN(20); n > 0 {
			for i, c := range sample(rng, n, shares) {
				counts[i] = uint64(c)
			}
		}
		alarm, err := q.Observe(counts, 1)
		if err != nil {
			t.Fatal(err)
		}
		return alarm
	}
	alarms, on := 0, false
	for range 100 * runLength {
		was := on
		if on = next(shares); on && !was {
			alarms++
		}
	}
	if alarms > 100 {
		t.Errorf("%d alarms in 100 run lengths", alarms)
	}
	changed := append([]float64(nil), shares...)
	changed[0], changed[12] = changed[12], changed[0]
	q.Reset()
	waited := 0
	for !next(changed) {
		if waited++; waited > 40 {
			t.Fatal("a change is not seen in 40 batches of 10")
		}
	}
	for range 200 {
		next(changed)
	}
	if !next(changed) {
		t.Error("the alarm ended while the change went on")
	}
	for waited = 0; next(shares); waited++ {
		if waited > 150 {
			t.Fatal("the alarm goes on 150 batches after the change was over")
		}
	}
}

func TestSequentialRunLength(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	shares := append(harmonic(16), 0)
	shares[0] -= 0.02
	shares[16] = 0.02 // nulls
	const runLength = 500
	for name, special := range map[string]int{"numeric": 16, "categorical": 0} {
		ref := sample(rng, 3000, shares)
		q, err := NewSequential(ref, special, 0, runLength)
		if err != nil {
			t.Fatal(err)
		}
		next := func(shares []float64) bool {
			u, i := rng.Float64(), 0
			for i < len(shares)-1 && u >= shares[i] {
				u -= shares[i]
				i++
			}
			return alarmOf(t, q, i, 1)
		}
		alarms := 0
		for range 100 * runLength {
			if next(shares) {
				alarms++
			}
		}
		if alarms > 100 {
			t.Errorf("%s: %d alarms, one in %d values on average at most is 100", name, alarms, runLength)
		}
		changed := append([]float64(nil), shares...)
		changed[0], changed[12] = changed[12], changed[0]
		q.Reset()
		waited := 1
		for !next(changed) {
			if waited++; waited > 300 {
				t.Fatalf("%s: a change of %.2f of the mass is not seen in 300 values", name, shares[0]-shares[12])
			}
		}
	}
}

// TestSequentialRunLengthInTime: values come at times of their own, and the run length is a time, also over what State keeps.
func TestSequentialRunLengthInTime(t *testing.T) {
	rng := rand.New(rand.NewPCG(10, 9))
	shares := harmonic(16)
	const runLength = 3600 // seconds; a value comes every 40
	ref := sample(rng, 3000, shares)
	q, err := NewSequential(ref, 16, 0, runLength)
	if err != nil {
		t.Fatal(err)
	}
	var passed float64
	alarms := 0
	for passed < 200*runLength {
		again, err := NewSequential(ref, 16, 0, runLength)
		if err != nil {
			t.Fatal(err)
		}
		if !again.Restore(q.State(nil)) || again.Score() != q.Score() {
			t.Fatal("the state does not come back")
		}
		q = again
		u, i := rng.Float64(), 0
		for i < len(shares)-1 && u >= shares[i] {
			u -= shares[i]
			i++
		}
		gap := 40 * rng.ExpFloat64()
		if passed += gap; alarmOf(t, q, i, gap) {
			alarms++
		}
	}
	if alarms > 200 {
		t.Errorf("%d alarms in 200 run lengths", alarms)
	}
	if q.Restore([]float64{1}) || q.Score() != 0 {
		t.Error("a state of another reference is taken")
	}
}

func TestSequentialInput(t *testing.T) {
	for want, f := range map[string]func() error{
		"empty":        func() error { _, err := NewSequential([]float64{0}, 0, 0, 10); return err },
		"special bins": func() error { _, err := NewSequential([]float64{1}, 2, 0, 10); return err },
		"run length 0": func() error { _, err := NewSequential([]float64{1}, 1, 0, 0); return err },
		"in bin 0":     func() error { _, err := NewSequential([]float64{-1}, 1, 0, 10); return err },
		"1 bins": func() error {
			q, err := NewSequential([]float64{1, 1}, 1, 0, 10)
			if err != nil {
				return err
			}
			_, err = q.Observe([]uint64{1}, 1)
			return err
		},
		"weight -1": func() error {
			q, err := NewSequential([]float64{1, 1}, 1, 0, 10)
			if err != nil {
				return err
			}
			_, err = q.Observe([]uint64{1, 0}, -1)
			return err
		},
	} {
		if err := f(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
