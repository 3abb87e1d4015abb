package watch

import (
	"slices"
	"testing"
	"time"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/monitors/alert"
)

// When all inferences go to a version that has no baseline, the monitor of the old one has nothing to say: it does not say
// that nothing comes, and what was wrong before stays wrong.
func TestARolloutIsNoSilence(t *testing.T) {
	p := loadPlane(t, "10m", "skew: {baseline: scorer_1}")
	s := newStream(p, 31)
	b := s.baseline(t, 5000)
	b.Version = "1"
	x := newPlant(t, p, b)
	x.run(s, 0, time.Hour, shifted)
	x.run(s, time.Hour, 3*time.Hour, func(_ int64, row []feature.Value) { row[1] = feature.StringValue("2") })
	x.restart()
	if got := delivered(x.messages()); !slices.Equal(got, []string{"firing orders [skew:spend_1d]"}) {
		t.Errorf("messages %q", got)
	}
	for at := start + 3*time.Hour.Microseconds(); at < start+5*time.Hour.Microseconds(); at += 10 * gap {
		x.commit(at) // now nothing comes at all
	}
	if got := delivered(x.messages()); len(got) != 2 || got[1] != "firing  [no_data:]" {
		t.Errorf("messages %q", got)
	}
}

// Without a baseline nothing begins, and nothing is kept.
func TestInferencesWithoutABaselineTakeNoMemory(t *testing.T) {
	p := loadPlane(t, "10m", "skew: {baseline: scorer_1}")
	x := newPlant(t, p, nil)
	x.run(newStream(p, 32), 0, time.Hour, nil)
	if n := len(x.watch.panes[""]); n > 0 || len(x.out) > 0 {
		t.Errorf("%d panes are kept, %d windows judged", n, len(x.out))
	}
}

// An inference on a build that has been replaced is late once, however many slices it is in.
func TestWhatWasCountedOnAnOlderBuildIsLateOnce(t *testing.T) {
	p := loadPlane(t, "10m", "skew: {baseline: scorer_1}")
	s := newStream(p, 33)
	x := newPlant(t, p, s.baseline(t, 1000))
	newer := s.baseline(t, 1000)
	newer.Build++
	x.watch.SetBaseline(newer.Name, newer)
	for i := range int64(100) {
		x.acc.Add(0, s.row(start+i*gap, nil), start+i*gap)
	}
	x.commit(start + 100*gap)
	if x.watch.Late() != 100 {
		t.Errorf("%d of 100 inferences are late", x.watch.Late())
	}
}

func TestColumnsKnowTheSourcesThatTheyAreMadeOf(t *testing.T) {
	p := loadPlane(t, "10m", "skew: {baseline: scorer_1}", "derived: [{name: share, type: float64, expr: request.total / spend.spend_1d}, {name: twice, type: float64, expr: request.total * 2.0}]")
	for column, want := range map[string][]string{"spend_1d": {"orders"}, "share": {"orders"}, "prediction": {"orders"}, "total": nil, "twice": nil} {
		if got := sourcesOf(p.Models[0], column); !slices.Equal(got, want) {
			t.Errorf("%s is made of %q, want %q", column, got, want)
		}
	}
}

func TestTheQueryOfAnEvidenceIsOneWordEach(t *testing.T) {
	at := start + 10*gap
	for _, tc := range []struct {
		of   alert.Series
		want string
	}{
		{alert.Series{Kind: alert.Skew, Column: "x"}, "freshet monitor scores m --kind skew --column x --slice none --windows 1 --until 2023-11-14T22:20:10Z"},
		{
			alert.Series{Kind: alert.Quality, Column: "x", Slice: "city=L'Aquila $(id)", Check: "range"},
			`freshet monitor scores m --kind quality --check range --column x --slice 'city=L'\''Aquila $(id)' --windows 1 --until 2023-11-14T22:20:10Z`,
		},
	} {
		if got := Query("m", tc.of, at); got != tc.want {
			t.Errorf("%s\nwant %s", got, tc.want)
		}
	}
}
