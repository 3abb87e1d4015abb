package watch

import (
	"slices"
	"testing"
	"time"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/monitors/alert"
)

// What the model says is watched like what it is served, against training and against earlier windows.
func TestPredictionsThatChangeAreTold(t *testing.T) {
	for kind, compares := range map[alert.Kind]string{alert.Skew: "skew: {baseline: scorer_1}", alert.Drift: "drift: {against: 30m}"} {
		p := loadPlane(t, "5m", compares)
		s := newStream(p, 31)
		x := newPlant(t, p, s.baseline(t, 5000))
		x.run(s, 0, time.Hour, nil)
		x.run(s, time.Hour, 2*time.Hour, func(_ int64, row []feature.Value) {
			y := row[3].Float64()
			row[3] = feature.Float64Value(y * y)
		})
		got := delivered(x.messages())
		if want := []string{"firing orders [" + string(kind) + ":prediction]"}; !slices.Equal(got[:min(1, len(got))], want) {
			t.Errorf("%s: messages %q, want %q", compares, got, want)
			continue
		}
		m := x.messages()[0]
		if m.Class != alert.Values || m.Features[0].Column != "prediction" || len(m.Evidence) == 0 || m.Evidence[0].Column != "prediction" {
			t.Errorf("%s: %+v", compares, m)
		}
	}
}

// What goes wrong in one slice alone is told of that slice, with what of all rows it changes.
func TestAFaultOfOneSliceIsToldOfIt(t *testing.T) {
	p := loadPlane(t, "5m", "skew: {baseline: scorer_1}")
	s := newStream(p, 32)
	x := newPlant(t, p, s.baseline(t, 5000))
	x.run(s, 0, time.Hour, nil)
	x.run(s, time.Hour, 2*time.Hour, func(at int64, row []feature.Value) {
		if row[4].Str() == "eu" {
			shifted(at, row)
		}
	})
	ms := x.messages()
	if len(ms) == 0 || ms[0].Type != alert.FiringType {
		t.Fatalf("messages %+v", ms)
	}
	var slicesTold []string
	for _, j := range x.out {
		for _, m := range j.Messages {
			for _, f := range m.Features {
				if f.Column != "spend_1d" {
					t.Errorf("%s has not changed", f.Column)
				}
				slicesTold = append(slicesTold, f.Slice)
			}
		}
	}
	if worst := ms[0].Features[0]; worst.Slice != "region=eu" || slices.Contains(slicesTold, "region=us") {
		t.Errorf("the worst is %+v; told of slices %q", worst, slicesTold)
	}
}
