package processors

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshet-io/freshet/monitors/topics"
	"github.com/freshet-io/freshet/monitors/watch"
)

// A stream of six inferences an hour, too few for any window, is tested across windows on its way through Kafka, with a
// restart before the alarm and one within it: each inference is played once, and the alarm is told once and resolved once.
func TestAThinStreamIsTestedOverRestarts(t *testing.T) {
	t.Parallel()
	plane := strings.Replace(monitoredPlane, "window: {size: 10m, every: 5m, grace: 0s}, skew: {baseline: scorer_1}", "window: {size: 1h, grace: 0s}, skew: {baseline: scorer_1, sequential: true}", 1)
	s := newScoredOf(t, plane)
	s.gap = (10 * time.Minute).Microseconds()
	const days = 10
	// It ends now: a stream that ended days ago would be taken for one that has fallen silent.
	first := time.Now().Add(-days * 24 * time.Hour).Truncate(time.Hour).UnixMicro()
	s.at = first
	m, stop := s.run("one")
	s.createBaseline()
	eventually(t, "ready", m.Ready)
	eventually(t, "the baseline", func() error { return m.follower.sync(t.Context()) })
	s.produce(3*24*time.Hour, 0)
	s.produce(2*24*time.Hour, 9)
	s.produce((days-5)*24*time.Hour, 0)
	for _, day := range []int64{2, 4, days} {
		until := min(first+day*24*time.Hour.Microseconds(), s.at-time.Hour.Microseconds()) // the last window waits for time to pass
		eventually(t, fmt.Sprint("day ", day), func() error {
			if _, end := s.played(); end < until {
				return fmt.Errorf("windows are judged up to %s", time.UnixMicro(end).UTC())
			}
			return nil
		})
		stop()
		_, stop = s.run("one")
	}
	if n, end := s.played(); int64(n) != (min(end, s.at)-s.at)/s.gap+int64(s.n) {
		t.Errorf("%d of %d inferences were played by %s", n, s.n, time.UnixMicro(end).UTC())
	}
	if got, want := s.delivered(), []string{"firing orders spend_1d", "resolved orders spend_1d"}; !slices.Equal(got, want) {
		t.Errorf("messages %q, want %q", got, want)
	}
}

// played returns how many values of a column sequential tests have been given, over all rows, and the end of the last window.
func (s *scored) played() (n uint64, end int64) {
	s.t.Helper()
	for _, rec := range s.read(topics.Scores, topics.Partitions) {
		sc, err := watch.DecodeScore(rec.Value)
		if err != nil {
			s.t.Fatal(err)
		}
		if sc.Check == "sequential" && sc.Column == "spend_1d" && sc.Slice == "" {
			n, end = n+sc.NCur, max(end, sc.Window.End)
		}
	}
	return n, end
}
