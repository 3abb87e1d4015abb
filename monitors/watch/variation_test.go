package watch

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/monitors/baseline"
	"github.com/freshet-io/freshet/monitors/drift"
	"github.com/freshet-io/freshet/monitors/significance"
)

// lasting makes the spend of a stream last for twenty inferences, and moves it by so much from a time on.
func lasting(seed uint64, from time.Duration, shift float64) func(at int64, row []feature.Value) {
	rng, n, spend := rand.New(rand.NewPCG(seed, 2)), 0, 0.0
	return func(at int64, row []feature.Value) {
		if n%20 == 0 {
			spend = 100 + 10*rng.NormFloat64()
		}
		n++
		x := spend
		if at >= start+from.Microseconds() {
			x += shift
		}
		row[5] = feature.Float64Value(x)
	}
}

// values are those of the model's columns in a row.
func (s *stream) values(row []feature.Value) []feature.Value {
	out := make([]feature.Value, len(s.model.Columns))
	for i, c := range s.model.Columns {
		out[i] = row[c.Field]
	}
	return out
}

// A baseline of training data that has learnt how the stream varies judges a window that has changed as soon as one of the
// stream itself does, which is before all of it has, and calls nothing changed before.
func TestABaselineThatKnowsTheStreamJudgesSoon(t *testing.T) {
	p := loadPlane(t, "30s", "skew: {baseline: scorer_1}")
	s := newStream(p, 31)
	day := func(fn func(values []feature.Value, at int64) error) error {
		s, edit := newStream(p, 32), lasting(33, 0, 0)
		for at := start - 4*3600*gap; at < start; at += gap {
			if err := fn(s.values(s.row(at, edit)), at); err != nil {
				return err
			}
		}
		return nil
	}
	stream := baseline.Stream{Least: time.Hour, Rows: func(fn func([]feature.Value, int64, string) error) error {
		return day(func(values []feature.Value, at int64) error { return fn(values, at, "1") })
	}}
	d := baseline.Definition{Name: "scorer_1", Model: "scorer", Build: 1}
	for _, c := range s.model.Columns {
		d.Columns = append(d.Columns, baseline.Column{Name: c.Name, Type: c.Type})
	}
	live, err := baseline.Make(d, func(fn func(values, fields []feature.Value) error) error {
		return day(func(values []feature.Value, _ int64) error { return fn(values, nil) })
	})
	if err != nil {
		t.Fatal(err)
	}
	training, learnt := s.baseline(t, 14_400), s.baseline(t, 14_400)
	for _, b := range []*baseline.Baseline{live, learnt} {
		if unlike, err := b.Learn(stream); err != nil || len(unlike) > 0 {
			t.Fatalf("unlike %v, %v", unlike, err)
		}
	}
	const changed = 30 * time.Minute
	found := map[string]time.Duration{} // after the change
	for name, b := range map[string]*baseline.Baseline{"live": live, "training": training, "learnt": learnt} {
		x := newPlant(t, p, b)
		x.run(newStream(p, 34), 0, time.Hour, lasting(35, changed, 25))
		for _, j := range x.out {
			for _, sc := range j.Scores {
				if sc.Column != "spend_1d" || sc.Slice != "" || sc.Outcome != string(drift.Drifted) {
					continue
				}
				after := time.Duration(j.Window.End-start)*time.Microsecond - changed
				if after <= 0 && name != "training" {
					t.Errorf("%s: a window is called changed %s before anything has", name, -after)
				}
				if _, ok := found[name]; !ok && after > 0 {
					found[name] = after
				}
			}
		}
	}
	if found["learnt"] == 0 || found["learnt"] > found["live"]+30*time.Second || found["training"] != 0 && found["training"] < found["learnt"]+2*time.Minute {
		t.Errorf("a change was found after %v", found)
	}
}

// What an earlier version's baseline of inferences knows may be of a time shorter than a window: drift is judged by the windows' parts.
func TestWhatIsKnownOfAnUnknownTimeDoesNotJudgeDrift(t *testing.T) {
	p := loadPlane(t, "30s", "drift: {against: 10m}")
	drifted := map[uint64]bool{}
	for _, rows := range []uint64{0, 14_400} {
		s := newStream(p, 31)
		b := s.baseline(t, 14_400)
		b.Variation = &baseline.Variation{Rows: rows, Version: "1"}
		for i := range b.Columns {
			b.Columns[i].Dispersion = &significance.Dispersion{Effect: 1e6, DF: 95} // of which nothing can be told
		}
		x := newPlant(t, p, b)
		x.run(s, 0, 20*time.Minute, nil)
		x.run(s, 20*time.Minute, 40*time.Minute, shifted)
		for _, j := range x.out {
			for _, sc := range j.Scores {
				drifted[rows] = drifted[rows] || sc.Column == "spend_1d" && sc.Slice == "" && sc.Outcome == string(drift.Drifted)
			}
		}
	}
	if !drifted[0] || drifted[14_400] {
		t.Errorf("drifted by what is known of so many inferences: %v", drifted)
	}
}
