package watch

import (
	"strings"
	"testing"
)

func TestExpectWarnsOfThresholdsWithinTheNoise(t *testing.T) {
	m := loadPlane(t, "5m", "skew: {baseline: scorer_1}").Monitors[0]
	e, err := Expect(m)
	if err != nil || len(e.Warnings) != 1 || !strings.Contains(e.Warnings[0], "jensen_shannon") || e.Level <= 0 || e.Level > 0.05 {
		t.Errorf("with 300 rows: %+v, %v", e, err)
	}
	for _, compares := range []string{"quality: {}", "volume: {}"} {
		if e, err := Expect(loadPlane(t, "5m", compares).Monitors[0]); err != nil || len(e.Warnings) > 0 {
			t.Errorf("%s measures no distance: %+v, %v", compares, e, err)
		}
	}
	m.MinSample = 5000
	again, err := Expect(m)
	if err != nil || len(again.Warnings) != 0 || again.Level != e.Level {
		t.Errorf("with 5,000 rows: %+v, %v", again, err)
	}
	m.FalseAlarms *= 10
	if more, err := Expect(m); err != nil || more.Level <= e.Level {
		t.Errorf("ten times as many false alarms: level %g, was %g, %v", more.Level, e.Level, err)
	}
}
