package cli

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/freshet-io/freshet/monitors/alert"
	"github.com/freshet-io/freshet/monitors/drift"
	"github.com/freshet-io/freshet/monitors/watch"
)

func TestParseWhen(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"2026-02-03T04:05:06.5+01:00": time.Date(2026, 2, 3, 3, 5, 6, 500_000_000, time.UTC),
		"2026-02-03":                  time.Date(2026, 2, 3, 0, 0, 0, 0, time.UTC),
		"36h":                         time.Date(2026, 2, 28, 0, 0, 0, 0, time.UTC),
		"2d":                          time.Date(2026, 2, 27, 12, 0, 0, 0, time.UTC),
	} {
		if got, err := parseWhen(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%s is %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "yesterday", "2026-02-30", "2026-02-03 04:05"} {
		if got, err := parseWhen(text, now); err == nil || !strings.Contains(err.Error(), "a day (2026-01-02)") {
			t.Errorf("%q is %v, %v", text, got, err)
		}
	}
}

// The worst column of a monitor is one that was judged, and its last window one of its own, not a tick of freshness.
func TestTheWorstIsOneThatWasJudged(t *testing.T) {
	score := func(kind alert.Kind, outcome string, effect float64, end int64) watch.Score {
		return watch.Score{Kind: kind, Outcome: outcome, Effect: watch.Number(effect), Threshold: 0.1, Window: alert.Window{End: end}}
	}
	scores := []watch.Score{
		score(alert.Skew, string(drift.TooFewRows), 0.9, 10), score(alert.Skew, string(drift.NoRows), 0.8, 10), score(alert.Performance, string(watch.TooFewLabels), 0.7, 10),
		score(alert.Skew, string(drift.Stable), math.NaN(), 10), score(alert.Skew, string(drift.Stable), 0.05, 10), score(alert.Freshness, string(drift.Stable), 0.01, 20),
	}
	worst := 0
	for i := range scores {
		if times(&scores[i]) > times(&scores[worst]) {
			worst = i
		}
	}
	if worst != 4 {
		t.Errorf("the worst is %+v", scores[worst])
	}
	if got := lastWindow(scores); got != 10 {
		t.Errorf("the last window ends at %d", got)
	}
	if got := lastWindow(scores[5:]); got != 20 {
		t.Errorf("the last tick of freshness alone ends at %d", got)
	}
	if got := rowsText(math.NaN()) + rowsText(1234.7); got != "-1,234" {
		t.Errorf("rows are shown as %q", got)
	}
	if got := countOf(&watch.Score{Kind: alert.Skew}, 1234) + countOf(&watch.Score{Kind: alert.Freshness}, 0); got != "1,234-" {
		t.Errorf("numbers of rows are shown as %q", got)
	}
}
