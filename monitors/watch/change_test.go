package watch

import (
	"slices"
	"testing"
	"time"
)

// A monitor whose windows are defined anew begins anew, with whole counts.
func TestWindowsThatAreDefinedAnewBeginAnew(t *testing.T) {
	p := loadPlane(t, "5m", "skew: {baseline: scorer_1}")
	s := newStream(p, 11)
	b := s.baseline(t, 5000)
	x := newPlant(t, p, b)
	x.run(s, 0, 61*time.Minute, nil)
	y := newPlant(t, loadPlane(t, "2m", "skew: {baseline: scorer_1}"), b)
	y.kept = x.kept
	y.restart()
	y.run(s, 61*time.Minute, 2*time.Hour, nil)
	if len(y.out) < 20 {
		t.Fatalf("%d windows were judged", len(y.out))
	}
	for _, j := range y.out {
		since := j.Window.End - (start + 61*time.Minute.Microseconds())
		if want := uint64(min(since, 10*time.Minute.Microseconds()) / gap); j.Rows != want {
			t.Errorf("the window that ends %s after the change has %d rows, want %d", time.Duration(since)*time.Microsecond, j.Rows, want)
		}
	}
}

func TestAMonitorThatIsNoLongerDefinedIsResolved(t *testing.T) {
	p := loadPlane(t, "5m", "skew: {baseline: scorer_1}")
	s := newStream(p, 12)
	b := s.baseline(t, 5000)
	x := newPlant(t, p, b)
	x.run(s, 0, 40*time.Minute, shifted)
	if got := delivered(x.messages()); len(got) != 1 {
		t.Fatalf("messages %q", got)
	}
	other := loadPlane(t, "5m", "skew: {baseline: scorer_1}")
	other.Monitors[0].Name = "renamed"
	y := newPlant(t, other, b)
	y.kept = x.kept
	y.restart()
	y.run(s, 40*time.Minute, 41*time.Minute, nil)
	if got := delivered(y.messages()); !slices.Equal(got, []string{"resolved orders [skew:spend_1d]"}) {
		t.Errorf("messages %q", got)
	}
	y.restart()
	y.out = nil
	y.run(s, 41*time.Minute, 42*time.Minute, nil)
	if got := delivered(y.messages()); len(got) > 0 {
		t.Errorf("told again: %q", got)
	}
}

// Without its baseline a monitor says nothing, and above all not that nothing comes.
func TestADeletedBaselineIsNoSilence(t *testing.T) {
	p := loadPlane(t, "5m", "skew: {baseline: scorer_1}")
	s := newStream(p, 13)
	b := s.baseline(t, 5000)
	x := newPlant(t, p, b)
	x.run(s, 0, time.Hour, nil)
	x.acc.SetBaseline(b.Name, nil)
	x.watch.SetBaseline(b.Name, nil)
	x.run(s, time.Hour, 2*time.Hour, nil)
	again := *b
	again.Build++
	x.acc.SetBaseline(b.Name, &again)
	x.watch.SetBaseline(b.Name, &again)
	x.run(s, 2*time.Hour, 3*time.Hour, nil)
	if ms := x.messages(); len(ms) > 0 {
		t.Errorf("messages %q", delivered(ms))
	}
	if last := x.out[len(x.out)-1]; last.Rows != 600 || last.Scores[0].NCur == 0 {
		t.Errorf("the last window: %+v", last)
	}
}
