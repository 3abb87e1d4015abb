package watch

import (
	"strings"
	"testing"
	"time"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/valueskew"
	"github.com/freshet-io/freshet/monitors/alert"
)

func skewMonitor() *config.Monitor {
	model := &config.Model{Name: "scorer", Service: &config.Service{}, Columns: []config.Column{{Name: "total", Type: feature.Float64}, {Name: "orders", Type: feature.Int64, Feature: 1}}}
	return &config.Monitor{
		Name: "inputs", Model: model, Size: time.Hour, Every: time.Hour, FalseAlarms: 1, For: 2, MinSample: 1000,
		ValueSkew: &config.ValueSkew{Tolerance: 1e-6, Threshold: 0.01, Rows: 1000},
	}
}

func skewResult(match, mismatch, missing, timing int) *valueskew.Result {
	r := &valueskew.Result{Features: []valueskew.Feature{{Column: "total"}, {Column: "orders"}}}
	for o, n := range []int{match, mismatch, missing, timing} {
		for range n {
			r.Features[0].Add(valueskew.Outcome(o), func() valueskew.Sample {
				return valueskew.Sample{ID: "17", At: 1772359200000000, Entity: "user_id=3", Served: "160", Computed: "100"}
			})
			r.Features[1].Add(valueskew.Match, nil)
		}
	}
	return r
}

func TestValueSkewIsJudged(t *testing.T) {
	for _, c := range []struct {
		name                             string
		match, mismatch, missing, timing int
		effect                           float64
		outcome                          string
	}{
		{"equal", 1000, 0, 0, 0, 0, "stable"},
		{"timing is no skew", 900, 0, 0, 100, 0, "stable"},
		{"over the threshold by chance", 988, 12, 0, 0, 0.012, "stable"},
		{"a tenth", 900, 100, 0, 0, 0.1, "drifted"},
		{"missing", 900, 0, 100, 0, 0.1, "drifted"},
		{"few and all of them", 0, 20, 0, 0, 1, "drifted"},
		{"one", 0, 1, 0, 0, 1, "stable"},
		{"none", 0, 0, 0, 0, 0, "no_rows"},
	} {
		check, err := ValueSkew(skewMonitor(), alert.Window{Start: 0, End: 3600e6}, skewResult(c.match, c.mismatch, c.missing, c.timing))
		if err != nil {
			t.Fatal(err)
		}
		s, v := check.Scores[0], check.Verdicts[0]
		if float64(s.Effect) != c.effect || s.Outcome != c.outcome {
			t.Errorf("%s: effect %g, %s; want %g, %s", c.name, float64(s.Effect), s.Outcome, c.effect, c.outcome)
		}
		if fires := v.Enough && v.Significant && v.Effect >= v.Threshold; fires != (c.outcome == "drifted") || v.Enough == (c.outcome == "no_rows") {
			t.Errorf("%s: the verdict is %+v", c.name, v)
		}
		if other := check.Scores[1]; other.Outcome == "drifted" {
			t.Errorf("%s: orders has changed too", c.name)
		}
	}
}

func TestValueSkewShowsSamples(t *testing.T) {
	check, err := ValueSkew(skewMonitor(), alert.Window{Start: 0, End: 3600e6}, skewResult(80, 10, 5, 5))
	if err != nil {
		t.Fatal(err)
	}
	e := check.Verdicts[0].Evidence
	for _, want := range []string{
		"mismatch: 10 of 100; as id 17 (user_id=3 at 2026-03-01T10:00:00.000000Z) served 160, computed 100, id 17", "missing: 5 of 100", "timing: 5 of 100",
	} {
		if !strings.Contains(e.Note, want) {
			t.Errorf("the note %q lacks %q", e.Note, want)
		}
	}
	if len(e.Movers) != 3 || e.Movers[0] != (alert.Mover{Bin: "mismatch", Current: 0.1}) {
		t.Errorf("movers %+v", e.Movers)
	}
	if check.Lane != ValueSkewLane || check.Verdicts[0].Kind != alert.ValueSkew {
		t.Errorf("lane %q, kind %q", check.Lane, check.Verdicts[0].Kind)
	}
}
