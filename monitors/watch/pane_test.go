package watch

import (
	"testing"
	"time"

	"github.com/freshet-io/freshet/config"
)

func TestPanesDivideEverythingAndAreMany(t *testing.T) {
	model := &config.Model{Name: "m"}
	other := &config.Monitor{Model: &config.Model{Name: "other"}, Size: 7 * time.Second, Every: 7 * time.Second}
	for _, tc := range []struct {
		monitors []*config.Monitor
		want     time.Duration
	}{
		{nil, 0},
		{[]*config.Monitor{{Model: model, Size: 6 * time.Hour, Every: 30 * time.Minute, Against: 7 * 24 * time.Hour}}, 15 * time.Minute},
		{[]*config.Monitor{{Model: model, Size: time.Minute, Every: 20 * time.Second}}, 2 * time.Second},
		{[]*config.Monitor{{Model: model, Size: time.Hour, Every: time.Hour}}, 150 * time.Second},
		{[]*config.Monitor{{Model: model, Size: time.Hour, Every: time.Hour, Against: 7 * 24 * time.Hour}}, 6 * time.Minute}, // no finer: it reaches back far
		{[]*config.Monitor{{Model: model, Size: 24 * time.Hour, Every: 5 * time.Minute}}, 5 * time.Minute},
		{[]*config.Monitor{{Model: model, Size: 61 * time.Second, Every: 61 * time.Second}}, 61 * time.Second}, // a prime
		{[]*config.Monitor{{Model: model, Size: 10 * time.Minute, Every: 5 * time.Minute}, {Model: model, Size: time.Hour, Every: 4 * time.Minute}}, 20 * time.Second},
	} {
		p := &config.Plane{Monitors: append(tc.monitors, other)}
		if got := Pane(p, model); got != tc.want {
			t.Errorf("%d monitors: panes of %s, want %s", len(tc.monitors), got, tc.want)
		}
	}
}

// A monitor of skew alone keeps the panes of the window that is open and of the one judged last, and can still show that one.
func TestSkewKeepsNoMorePanesThanItNeeds(t *testing.T) {
	for _, compares := range []string{"skew: {baseline: scorer_1}", "skew: {baseline: scorer_1}\n    drift: {against: 10m}"} {
		p := loadPlane(t, "5m", compares)
		s := newStream(p, 44)
		x := newPlant(t, p, s.baseline(t, 1000))
		x.run(s, 0, 3*time.Hour, nil)
		m := p.Monitors[0]
		most := int((m.Size+m.Every+m.Grace)/(time.Duration(x.watch.pane)*time.Microsecond)) + 2
		if m.Against > 0 {
			most += int((m.Against + 3*m.Size) / (time.Duration(x.watch.pane) * time.Microsecond))
		}
		n := 0
		for k := range x.watch.panes["scorer_1"] {
			if k.slice == "" {
				n++
			}
		}
		if n > most || n < most/2 {
			t.Errorf("%s: %d panes are kept, %d at most are needed", compares, n, most)
		}
		pairs, err := x.watch.Last(m.Name)
		if err != nil || len(pairs) == 0 || pairs[0].Current.Counts.Rows() != uint64(m.Size/time.Second) {
			t.Errorf("%s: the last window is %d series, %v", compares, len(pairs), err)
		}
	}
}
