package watch

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/freshet-io/freshet/monitors/alert"
)

// labelled is a check of a window of the labels' lane, n windows after the first.
func labelled(n int64, bad bool) Check {
	effect := 0.1
	if bad {
		effect = math.Inf(1)
	}
	c := Check{
		Monitor: "inputs", Lane: "labels", Window: alert.Window{Start: start + n*gap, End: start + (n+1)*gap},
		Verdicts: []alert.Verdict{{Series: alert.Series{Kind: alert.Performance, Column: "prediction", Check: "rmse"}, Effect: effect, Threshold: .5, Significant: true, Enough: true}},
	}
	c.Scores = []Score{{Kind: alert.Performance, Column: "prediction", Check: "rmse", Score: Number(n)}}
	return c
}

// send adds checks as their record has them, and advances.
func (x *plant) send(clock int64, checks ...Check) []Judgement {
	x.t.Helper()
	d, err := DecodeDelta(encoded(x.t, &Delta{Clock: clock, Checks: checks}))
	if err != nil {
		x.t.Fatal(err)
	}
	if err := x.watch.Add(d); err != nil {
		x.t.Fatal(err)
	}
	before := len(x.out)
	x.commit(clock)
	return x.out[before:]
}

func TestChecksAreEvaluatedOnceAndSurviveRestarts(t *testing.T) {
	p := loadPlane(t, "10m", "skew: {baseline: scorer_1}")
	x := newPlant(t, p, newStream(p, 1).baseline(t, 1000))
	clock := start
	for n := range int64(12) {
		clock += 5 * gap
		c := labelled(n, n >= 3 && n < 8)
		js := x.send(clock, c)
		if len(js) != 1 || !js[0].Check || js[0].Window != c.Window || len(js[0].Scores) != 1 {
			t.Fatalf("check %d: %+v", n, js)
		}
		if s := js[0].Scores[0]; s.Monitor != "inputs" || s.Model != "scorer" || s.Window != c.Window || s.Check != "rmse" {
			t.Errorf("score %+v", s)
		}
		x.restart()
		if again := x.send(clock, c, labelled(n-1, true)); len(again) != 2 || len(again[0].Scores)+len(again[1].Scores)+len(again[0].Messages)+len(again[1].Messages) > 0 {
			t.Fatalf("a repeated check counts: %+v", again)
		}
	}
	if got, want := delivered(x.messages()), []string{"firing  [performance:prediction]", "resolved  [performance:prediction]"}; !slices.Equal(got, want) {
		t.Errorf("messages %q, want %q", got, want)
	}
	if at := x.messages()[0].At; at != start+30*gap { // for: 2, and one evaluation later
		t.Errorf("told at %d seconds", (at-start)/gap)
	}
}

func TestRevisedScoresArePublishedWithoutAnEvaluation(t *testing.T) {
	p := loadPlane(t, "10m", "skew: {baseline: scorer_1}")
	x := newPlant(t, p, nil)
	x.send(start, labelled(0, true), labelled(1, true))
	late := labelled(0, false)
	late.Scores[0].Revision = 1
	alone := Check{Monitor: "inputs", Window: late.Window, Scores: late.Scores}
	js := x.send(start+gap, late, alone)
	if len(js) != 2 || len(js[0].Scores) != 1 || len(js[1].Scores) != 1 || js[1].Scores[0].Window != late.Window || js[1].Scores[0].Revision != 1 {
		t.Errorf("%+v", js)
	}
	if s := x.watch.monitor("inputs").alerts.Statuses(); len(s) != 1 || s[0].Phase != alert.Firing {
		t.Errorf("corrections changed the state: %+v", s)
	}
}

func TestChecksThatCannotBeAreRefused(t *testing.T) {
	p := loadPlane(t, "10m", "skew: {baseline: scorer_1}")
	x := newPlant(t, p, nil)
	for name, edit := range map[string]func(*Check){
		"the panes' lane":     func(c *Check) { c.Lane = "windows" },
		"no lane":             func(c *Check) { c.Lane = "" },
		"an empty window":     func(c *Check) { c.Window.End = c.Window.Start },
		"an unknown kind":     func(c *Check) { c.Verdicts[0].Kind = "mood" },
		"two of a series":     func(c *Check) { c.Verdicts = append(c.Verdicts, c.Verdicts[0]) },
		"a negative duration": func(c *Check) { c.For = -1 },
	} {
		c := labelled(0, true)
		edit(&c)
		if err := x.watch.Add(&Delta{Clock: start, Checks: []Check{labelled(1, true), c}}); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if js, _, err := x.watch.Advance(1); err != nil || len(js) > 0 {
		t.Errorf("what was refused is evaluated: %+v, %v", js, err)
	}
	other := labelled(0, true)
	other.Monitor = "gone"
	if js := x.send(start, other, labelled(0, true)); len(js) != 1 || x.watch.UnknownChecks() != 1 {
		t.Errorf("%s, %d unknown", fmt.Sprint(js), x.watch.UnknownChecks())
	}
}
