package calibrate

import (
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/freshet-io/freshet/monitors/significance"
)

func small() Experiment {
	return Experiment{Seed: 1, Repetitions: 150, Sizes: []int{300}, Reference: 1000, Months: 1, Progress: io.Discard}
}

// above is the share, in per cent, that a level's false alarms stay below in all but one of 30,000 runs.
func above(level float64, repetitions int) float64 {
	return 100 * (level + 4*math.Sqrt(level*(1-level)/float64(repetitions)))
}

func TestIndependentValuesKeepTheLevel(t *testing.T) {
	e := small()
	table, err := e.Independent()
	if err != nil {
		t.Fatal(err)
	}
	var mean float64
	for _, r := range table.Rows {
		if r.Values[0] > above(0.05, e.Repetitions) || r.Values[1] > above(0.01, e.Repetitions) {
			t.Errorf("%s: %.1f %% at 5 %%, %.1f %% at 1 %%", r.Name, r.Values[0], r.Values[1])
		}
		mean += r.Values[0] / float64(len(table.Rows))
	}
	if len(table.Rows) != len(shapes()) || mean < 2.5 {
		t.Errorf("%d shapes, %.2f %% at 5 %% on average: the test is not calibrated but silent", len(table.Rows), mean)
	}
}

func TestPowerIsNotBelowTheClassicTests(t *testing.T) {
	e := small()
	e.Repetitions = 25
	table, err := e.Power(500)
	if err != nil {
		t.Fatal(err)
	}
	var more float64 // points of all lines together
	for _, r := range table.Rows {
		ours, classic := r.Values[0], r.Values[1]
		more += ours - classic
		if ours < classic-12 {
			t.Errorf("%s: %.1f %%, the classic test %.1f %%", r.Name, ours, classic)
		}
		if strings.Contains(r.Name, "0.5 σ") && ours < 100 || r.Name == "normal, 0.2 σ" && ours < 60 {
			t.Errorf("%s is seen in %.1f %% of windows", r.Name, ours)
		}
	}
	if more < 10 {
		t.Errorf("over all lines %.1f points more than the classic tests", more)
	}
}

func TestDependentRowsKeepTheLevel(t *testing.T) {
	e := small()
	e.Repetitions, e.Reference = 40, 10_000
	table, err := e.Dependent()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range table.Rows {
		if r.Values[0] > above(0.1, e.Repetitions) {
			t.Errorf("%s: %.1f %% at 5 %%", r.Name, r.Values[0])
		}
		if r.Name == "each value 10 times" && r.Values[2] < 70 {
			t.Errorf("taken as independent, %s: %.1f %%; the experiment shows nothing", r.Name, r.Values[2])
		}
	}
}

func TestFamilyKeepsTheLevel(t *testing.T) {
	e := small()
	e.Repetitions = 10
	table, err := e.Families()
	if err != nil {
		t.Fatal(err)
	}
	if v := table.Rows[0].Values; v[0] > 30 || v[2] < v[0] {
		t.Errorf("any of 50 columns: %.0f %% as a family at 5 %%, %.0f %% each by itself at 1 %%", v[0], v[2])
	}
}

// TestMonthHasTheConfiguredEpisodes runs a monitor that may be wrong 30 times in a month.
func TestMonthHasTheConfiguredEpisodes(t *testing.T) {
	e := small()
	for _, p := range plans() {
		if p.name != "AR(1) 0.9, disjoint" {
			continue
		}
		n, level, err := e.month(e.random(p.name), p, 30)
		if err != nil {
			t.Fatal(err)
		}
		if n > 60 || n < 4 || level <= 0 || level > significance.LargestLevel {
			t.Errorf("%s: %d episodes at level %g, configured are 30", p.name, n, level)
		}
	}
}

func TestCorrelatedColumnsShareRows(t *testing.T) {
	p := plan{columns: 3}
	e := small()
	all := p.open(e.random("rows"), 1000, 500)
	reader := all[0].stream.(*rowColumn)
	for range 30 {
		for _, w := range all {
			w.step()
		}
	}
	if len(reader.of.kept) > 20_000 {
		t.Errorf("%d rows are kept though all columns have read them", len(reader.of.kept))
	}
	const n = 4000
	var xy, xx, yy float64
	a, b := all[0].stream, all[2].stream
	for range n {
		x, y := a.next(), b.next()
		xy, xx, yy = xy+x*y, xx+x*x, yy+y*y
	}
	if c := xy / math.Sqrt(xx*yy); c < 0.43 || c > 0.57 {
		t.Errorf("correlation %.3f, want 0.5", c)
	}
}

func TestRunsAreRepeatable(t *testing.T) {
	write := func() string {
		e := small()
		e.Repetitions = 3
		table, err := e.Power(50)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if err := e.Write(&b, []Table{table}); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	first := write()
	if first != write() {
		t.Error("two runs from one seed differ")
	}
	if !strings.Contains(first, "# Calibration\n") || !strings.Contains(first, "\n| normal, 0.5 σ | ") || !strings.Contains(first, "|---|---:|") {
		t.Errorf("summary:\n%s", first)
	}
}

// TestMonitorsThemselvesKeepTheRate runs the accumulator and the watch for a month, over streams whose rows depend on each
// other, as monitors that may be wrong 30 times. Of streams that depend on what was a good part of a window ago (AR(1), 0.99) the
// rate is not kept, see watch.W7.
func TestMonitorsThemselvesKeepTheRate(t *testing.T) {
	e := small()
	e.Reference = 10_000
	for _, p := range productions() {
		if !slices.Contains([]string{"each value 50 times", "AR(1), 0.5", "AR(1), 0.9", "2,000 Zipf entities, values last 1000 rows"}, p.name) {
			continue // the others take too long for a test
		}
		n, told, err := e.productionMonth(e.random(p.name), p, 30)
		if err != nil {
			t.Fatal(err)
		}
		if n > 60 || n < 4 || told > n {
			t.Errorf("%s: %d episodes, %d of them told; configured are 30", p.name, n, told)
		}
	}
}

// TestATrainingBaselineThatKnowsTheStreamKeepsTheRate runs a month of busy entities, with a baseline of training data that has learnt from a day of
// the stream how its rows vary, and with one that has not.
func TestATrainingBaselineThatKnowsTheStreamKeepsTheRate(t *testing.T) {
	e := small()
	e.Reference = 10_000
	const stream = "2,000 Zipf entities, values last 100 rows"
	for _, p := range productions() {
		if p.name != stream && p.name != stream+knowing {
			continue
		}
		n, told, err := e.productionMonth(e.random(stream), p, 2)
		if err != nil {
			t.Fatal(err)
		}
		if p.learns && (n > 4 || told > 1) || !p.learns && n < 30 {
			t.Errorf("%s: %d episodes, %d of them told; configured are 2", p.name, n, told)
		}
	}
}

// TestSequentialTestsKeepTheRate lets streams that do not change go on for five months, and shifts others.
func TestSequentialTestsKeepTheRate(t *testing.T) {
	e := small()
	for _, s := range thins() {
		if s.name != "integers with ties, 6 an hour" {
			continue // the others take too long for a test
		}
		n, _, err := e.thinRun(e.random(s.name), s, 30*runMonths, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		if n > 2*runMonths {
			t.Errorf("%s: %d alarms in %d months, configured is one in each at most", s.name, n, runMonths)
		}
		_, days, err := e.thinRun(e.random(s.name), s, quietDays, delayDays, 1)
		if err != nil {
			t.Fatal(err)
		}
		if days > 5 {
			t.Errorf("%s: a shift of a standard deviation was told after %.1f days", s.name, days)
		}
	}
}
