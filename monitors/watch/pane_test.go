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
