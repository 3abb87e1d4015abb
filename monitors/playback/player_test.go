package playback

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/monitors/baseline"
	"github.com/freshet-io/freshet/monitors/watch"
)

const planeText = `
project: shop
entities:
  - {name: user, join_keys: [{name: user_id, type: int64}]}
sources:
  - {name: orders, topic: orders, key: [user_id], schema: [{name: user_id, type: int64, required: true}, {name: amount, type: float64}]}
feature_views:
  - {name: spend, entity: user, source: orders, features: [{name: spend_1d, aggregate: sum, of: amount, window: 1d}]}
feature_services:
  - {name: fraud, features: [spend]}
models:
  - {name: scorer, feature_service: fraud, inferences: {topic: scores, id: id, event_time: {field: at, format: unix_us}}}
baselines:
  - {name: scorer_1, model: scorer}
monitors:
  - {name: inputs, model: scorer, window: {size: 10m, every: 5m, grace: 10s}, skew: {baseline: scorer_1}, min_sample: 200, for: 2}
`

const begin = int64(1_700_000_400_000_000)

// row is the schema's: id, at, spend_1d.
func row(rng *rand.Rand, at int64, shift float64) []feature.Value {
	return []feature.Value{feature.StringValue(fmt.Sprint(at)), feature.Int64Value(at), feature.Float64Value(100 + shift + 10*rng.NormFloat64())}
}

type play struct {
	t      *testing.T
	player *Player
	out    []watch.Judgement
	rng    *rand.Rand
}

func newPlay(t *testing.T) *play {
	t.Helper()
	p, err := config.Parse([]config.File{{Name: "plane.yaml", Data: []byte(planeText)}}, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	p.Connections.Parquet = &config.Parquet{URL: "file:///nowhere"} // a process would write its windows' profiles there
	model := p.Models[0]
	b, err := baseline.Make(baseline.Definition{
		Name: "scorer_1", Model: "scorer", Build: 1, Columns: []baseline.Column{{Name: "spend_1d", Type: feature.Float64}},
	}, func(fn func(values, fields []feature.Value) error) error {
		rng := rand.New(rand.NewPCG(5, 5))
		for range 20_000 {
			if err := fn(row(rng, 0, 0)[2:], nil); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	x := &play{t: t, rng: rand.New(rand.NewPCG(1, 2))}
	x.player, err = New(Options{Plane: p, Model: model, Baselines: map[string]*baseline.Baseline{"scorer_1": b}, Judged: func(j watch.Judgement) error {
		for p := range j.TakeProfiles() {
			t.Fatalf("a judgement holds the profile of %s, which nobody reads", p.Column)
		}
		x.out = append(x.out, j)
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// run plays an inference a second.
func (x *play) run(from, to time.Duration, shift float64) {
	x.t.Helper()
	for at := begin + from.Microseconds(); at < begin+to.Microseconds(); at += 1e6 {
		if err := x.player.Add(row(x.rng, at, shift), at); err != nil {
			x.t.Fatal(err)
		}
	}
}

func (x *play) end(until int64) {
	x.t.Helper()
	if err := x.player.End(until); err != nil {
		x.t.Fatal(err)
	}
}

// told are the delivered messages: status, class and minutes since the begin.
func (x *play) told() (out []string) {
	for _, j := range x.out {
		for _, m := range j.Messages {
			if m.Type.Delivered() {
				out = append(out, fmt.Sprint(m.Status, " ", m.Class, " ", (j.Window.End-begin)/60e6))
			}
		}
	}
	return out
}

func TestAShiftIsFoundAndOver(t *testing.T) {
	x := newPlay(t)
	x.run(0, time.Hour, 0)
	x.run(time.Hour, 2*time.Hour, 8)
	x.run(2*time.Hour, 3*time.Hour, 0)
	x.end(0)
	// Windows that are half shifted vary too much in themselves to be significant: those that end at 70 and 80 are wholly
	// shifted, and the next one tells.
	if got, want := x.told(), []string{"firing values 85", "resolved values 135"}; !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
	if n := x.player.Rows(); n != 3*3600 || x.player.Late() != 0 {
		t.Errorf("%d rows, %d late", n, x.player.Late())
	}
	ends := map[int64]bool{}
	for _, j := range x.out {
		if ends[j.Window.End] {
			t.Errorf("two judgements of the window that ends at %d", j.Window.End)
		}
		ends[j.Window.End] = true
	}
	if !ends[begin+(3*time.Hour).Microseconds()] {
		t.Error("the last window was not judged")
	}
}

// Windows are those that a process judges that reads record by record and commits now and then.
func TestTheSameAsLive(t *testing.T) {
	x := newPlay(t)
	x.run(0, 90*time.Minute, 0)
	x.run(90*time.Minute, 2*time.Hour, 8)
	x.end(0)

	y := newPlay(t)
	acc, w := y.player.acc, y.player.watch
	var live []watch.Judgement
	commit := func(clock int64) {
		for _, d := range acc.Flush(clock) {
			if err := w.Add(d); err != nil {
				t.Fatal(err)
			}
		}
		acc.Committed()
		js, _, err := w.Advance(1000)
		if err != nil {
			t.Fatal(err)
		}
		live = append(live, js...)
	}
	for i := range int64(2 * 3600) {
		shift := 0.0
		if i >= 90*60 {
			shift = 8
		}
		at := begin + i*1e6
		acc.Add(0, row(y.rng, at, shift), at)
		if i%7 == 0 {
			commit(at)
		}
	}
	for i := range int64(20) {
		commit(begin + (2*3600+i*5)*1e6)
	}
	if len(live) != len(x.out) {
		t.Fatalf("%d windows played, %d judged live", len(x.out), len(live))
	}
	for i := range live {
		if a, b := fmt.Sprintf("%+v", x.out[i].Scores), fmt.Sprintf("%+v", live[i].Scores); a != b {
			t.Errorf("window %d: played %s, live %s", i, a, b)
		}
	}
}

func TestAStreamThatStopsIsTold(t *testing.T) {
	x := newPlay(t)
	x.run(0, time.Hour, 0)
	x.run(5*time.Hour, 6*time.Hour, 0)
	x.end(0)
	if got, want := x.told(), []string{"firing availability 85", "resolved availability 315"}; !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
	x = newPlay(t)
	x.run(0, time.Hour, 0)
	x.end(begin + (2 * time.Hour).Microseconds())
	if got, want := x.told(), []string{"firing availability 85"}; !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
}

func TestLateRowsAreCounted(t *testing.T) {
	x := newPlay(t)
	x.run(0, time.Hour, 0)
	x.run(10*time.Minute, 11*time.Minute, 0)
	x.end(0)
	if n := x.player.Late(); n != 60 {
		t.Errorf("%d late, want 60", n)
	}
}

func TestNothingIsPlayed(t *testing.T) {
	x := newPlay(t)
	x.end(0)
	if err := x.player.Advance(begin); err != nil || len(x.out) > 0 {
		t.Errorf("%v, %+v", err, x.out)
	}
	if _, err := New(Options{Plane: &config.Plane{}, Model: &config.Model{Name: "m"}}); err == nil {
		t.Error("a model without monitors is taken")
	}
}
