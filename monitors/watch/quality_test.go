package watch

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/monitors/alert"
	"github.com/freshet-io/freshet/monitors/drift"
)

// spoil makes a tenth of one column's values bad in one way.
func spoil(field int, bad feature.Value) func(int64, []feature.Value) {
	n := 0
	return func(_ int64, row []feature.Value) {
		if n++; n%10 == 0 {
			row[field] = bad
		}
	}
}

func TestBadDataIsToldWithItsSharesByCheck(t *testing.T) {
	p := loadPlane(t, "5m", "quality: {}")
	for _, tc := range []struct {
		check, column string
		edit          func(int64, []feature.Value)
	}{
		{"null_share", "spend_1d", spoil(5, feature.Value{})},
		{"out_of_range", "spend_1d", spoil(5, feature.Float64Value(1e6))},
		{"not_finite", "spend_1d", spoil(5, feature.Float64Value(math.Inf(1)))},
		{"type_errors", "spend_1d", spoil(5, feature.StringValue("12"))},
		{"unseen", "last_country", spoil(7, feature.StringValue("xx"))},
	} {
		t.Run(tc.check, func(t *testing.T) {
			s := newStream(p, 21)
			x := newPlant(t, p, s.baseline(t, 20_000))
			x.run(s, 0, time.Hour, nil)
			if ms := x.messages(); len(ms) > 0 {
				t.Fatalf("nothing was wrong: %+v", ms)
			}
			x.run(s, time.Hour, 2*time.Hour, tc.edit)
			x.run(s, 2*time.Hour, 3*time.Hour, nil)
			want := []string{"firing orders [quality:" + tc.column + "]", "resolved orders [quality:" + tc.column + "]"}
			if got := delivered(x.messages()); !slices.Equal(got, want) {
				t.Fatalf("messages %q, want %q", got, want)
			}
			e := x.messages()[0].Evidence[0]
			if e.Check != tc.check || e.Threshold > 0.05 || math.Abs(float64(e.Effect)-0.1) > 0.02 || e.Against != "baseline scorer_1" || len(e.Movers) != 1 || e.Movers[0].Current < 0.05 || e.Note == "" {
				t.Errorf("evidence %+v", e)
			}
		})
	}
}

// What the training data have too, and less than anyone cares about, is not told.
func TestSharesWithinTheThresholdAreNotTold(t *testing.T) {
	p := loadPlane(t, "5m", "quality: {null_share: 0.2}")
	s := newStream(p, 22)
	x := newPlant(t, p, s.baseline(t, 20_000))
	x.run(s, 0, 2*time.Hour, spoil(5, feature.Value{}))
	if ms := x.messages(); len(ms) > 0 {
		t.Errorf("a rise by a tenth is below the threshold: %+v", ms)
	}
	last := x.out[len(x.out)-1]
	found := false
	for _, sc := range last.Scores {
		if sc.Kind != alert.Quality || sc.Check != "null_share" {
			t.Errorf("score %+v", sc)
		}
		if sc.Column == "spend_1d" && sc.Slice == "" {
			found = true
			if !(sc.PAdjusted <= Number(sc.Level)) || sc.Outcome != string(drift.Stable) {
				t.Errorf("the rise is significant and below the threshold: %+v", sc)
			}
		}
	}
	if !found {
		t.Error("the column has no score")
	}
}

// Rows that are too few say nothing, and a series that they are all that is known of is told to have no data by nobody.
func TestFewRowsAreNotJudgedForQuality(t *testing.T) {
	p := loadPlane(t, "5m", "quality: {null_share: 0.05}")
	p.Monitors[0].MinSample = 1000
	s := newStream(p, 23)
	x := newPlant(t, p, s.baseline(t, 20_000))
	x.run(s, 0, time.Hour, spoil(5, feature.Value{}))
	if ms := x.messages(); len(ms) > 0 {
		t.Errorf("windows have 600 rows, and 1,000 are asked for: %+v", ms)
	}
	for _, sc := range x.out[len(x.out)-1].Scores {
		if o := drift.Outcome(sc.Outcome); o != drift.TooFewRows && o != drift.NoRows {
			t.Errorf("score %+v", sc)
		}
	}
}

// A quality check and a distance of a window are one family.
func TestQualityIsInTheFamily(t *testing.T) {
	p := loadPlane(t, "10m", "skew: {baseline: scorer_1}\n    quality: {}")
	s := newStream(p, 24)
	x := newPlant(t, p, s.baseline(t, 5000))
	x.run(s, 0, 40*time.Minute, nil)
	scores := x.out[len(x.out)-1].Scores
	kinds := map[alert.Kind]int{}
	for _, sc := range scores {
		kinds[sc.Kind]++
		if sc.PAdjusted < sc.P {
			t.Errorf("%s of %s: adjusted %g, p %g", sc.Kind, sc.Column, sc.PAdjusted, sc.P)
		}
	}
	if kinds[alert.Skew] != 15 || kinds[alert.Quality] < 45 {
		t.Errorf("scores by kind: %v", kinds)
	}
	if len(x.messages()) > 0 {
		t.Errorf("nothing was wrong: %+v", x.messages())
	}
}
