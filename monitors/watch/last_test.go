package watch

import (
	"testing"
	"time"

	"github.com/freshet-io/freshet/monitors/alert"
)

// The profiles of the last window are those that its scores were made of, after a restart too.
func TestLastIsWhatTheLastScoresWereMadeOf(t *testing.T) {
	p := loadPlane(t, "5m", "skew: {baseline: scorer_1}\n    drift: {against: 30m}")
	s := newStream(p, 11)
	b := s.baseline(t, 5000)
	x := newPlant(t, p, b)
	if pairs, err := x.watch.Last("inputs"); err != nil || len(pairs) > 0 {
		t.Fatalf("before the first window: %d pairs, %v", len(pairs), err)
	}
	x.run(s, 0, 60*time.Minute, nil)
	x.run(s, 60*time.Minute, 91*time.Minute, shifted)
	for range 2 {
		last := x.out[len(x.out)-1]
		pairs, err := x.watch.Last("inputs")
		if err != nil {
			t.Fatal(err)
		}
		if len(pairs) != len(last.Scores) || len(pairs) == 0 {
			t.Fatalf("%d pairs for %d scores", len(pairs), len(last.Scores))
		}
		for i, sc := range last.Scores {
			got := pairs[i]
			if (got.Series != alert.Series{Kind: sc.Kind, Column: sc.Column, Slice: sc.Slice}) || got.Against != sc.Against || got.Window != sc.Window {
				t.Errorf("pair %d is %+v against %s of %+v, want %s %s %q against %s of %+v", i, got.Series, got.Against, got.Window, sc.Kind, sc.Column, sc.Slice, sc.Against, sc.Window)
				continue
			}
			if got.Reference.Rows() != sc.NRef || got.Current.Rows() != sc.NCur {
				t.Errorf("%s %s %q has %d and %d rows, want %d and %d", sc.Kind, sc.Column, sc.Slice, got.Reference.Rows(), got.Current.Rows(), sc.NRef, sc.NCur)
			}
			if sc.Column == "spend_1d" && sc.Kind == alert.Skew && sc.Slice == "" {
				if moved := got.Current.Moments().Mean - got.Reference.Moments().Mean; moved < 6 || moved > 10 {
					t.Errorf("the mean has moved by %g, want 8", moved)
				}
			}
		}
		x.restart()
	}
	if _, err := x.watch.Last("none"); err == nil {
		t.Error("an unknown monitor is no error")
	}
	b.Build++
	x.watch.SetBaseline(b.Name, b)
	pairs, err := x.watch.Last("inputs")
	if err != nil {
		t.Fatal(err)
	}
	for _, pair := range pairs {
		if pair.Kind == alert.Skew && pair.Current != nil && pair.Current.Rows() > 0 {
			t.Errorf("%s has %d rows of another build", pair.Column, pair.Current.Rows())
		}
	}
}
