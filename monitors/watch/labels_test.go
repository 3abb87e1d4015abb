package watch

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/monitors/alert"
	"github.com/freshet-io/freshet/monitors/drift"
	"github.com/freshet-io/freshet/monitors/join"
	"github.com/freshet-io/freshet/monitors/quality"
)

func loadLabelled(t testing.TB, performance string) *config.Plane {
	t.Helper()
	text := strings.Replace(fmt.Sprintf(testPlane, "", "5m", "performance: "+performance), "slices: [region]}",
		"slices: [region]}\n    labels: {topic: labels, id: id, field: y, type: bool, within: 20m}", 1)
	f := filepath.Join(t.TempDir(), "plane.yaml")
	if err := os.WriteFile(f, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := config.Load(f)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// truth is a world of inferences whose labels come late: one a second, its label up to eight minutes later.
type truth struct {
	t      *testing.T
	x      *plant
	joiner *join.Joiner
	cases  map[int64]*join.Case
	rng    *rand.Rand
	due    map[int64][]int64 // by second, the inferences whose labels come
	y      map[int64]bool
	now    int64
	parts  int32

	repeats float64 // share of inferences that come twice
}

func newTruth(t *testing.T, p *config.Plane) *truth {
	m := p.Models[0]
	return &truth{
		t: t, x: newPlant(t, p, nil), joiner: join.NewJoiner(quality.Define(m), m.Labels.Within.Microseconds(), Pane(p, m).Microseconds()),
		cases: map[int64]*join.Case{}, rng: rand.New(rand.NewPCG(1, 2)), due: map[int64][]int64{}, y: map[int64]bool{}, now: start, parts: 1,
	}
}

// pass lets seconds pass, in each of which a prediction is made that is right as often as it says, or as often wrong; labels
// are told of a share of them. The evaluator commits every half minute.
func (w *truth) pass(seconds int, wrong bool, labelled float64) {
	w.t.Helper()
	for range seconds {
		p := w.rng.Float64()
		c := &join.Case{}
		w.cases[w.now] = c
		w.joiner.Infer(c, &join.Inference{Order: join.Order{At: w.now}, Prediction: feature.Float64Value(p), Slices: []string{"region=eu"}})
		if w.repeats > 0 && w.rng.Float64() < w.repeats {
			w.joiner.Infer(c, &join.Inference{Order: join.Order{At: w.now, Offset: 1}, Prediction: feature.Float64Value(p), Slices: []string{"region=eu"}})
		}
		w.y[w.now] = (w.rng.Float64() < p) != wrong
		if w.rng.Float64() < labelled {
			at := w.now + gap*int64(w.rng.IntN(480))
			w.due[at] = append(w.due[at], w.now)
		}
		for _, of := range w.due[w.now] {
			w.joiner.Label(w.cases[of], join.Label{Order: join.Order{At: w.now}, Value: feature.BoolValue(w.y[of])})
		}
		w.now += gap
		if w.now/gap%30 == 0 {
			w.commit()
		}
	}
}

func (w *truth) commit() {
	w.t.Helper()
	panes, _ := w.joiner.Flush()
	d := &Delta{Clock: w.now, Pane: Pane(w.x.p, w.x.p.Models[0]).Microseconds(), Joined: &Joined{Total: w.parts, Time: w.now, Build: w.joiner.Build()}}
	for k, s := range panes {
		d.Joined.Panes = append(d.Joined.Panes, JoinedPane{k.Start, k.Slice, s.AppendBinary(nil)})
	}
	got, err := DecodeDelta(encoded(w.t, d))
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.x.watch.Add(got); err != nil {
		w.t.Fatal(err)
	}
	w.x.commit(w.now)
}

// scores returns the scores of a slice by the ends of their windows, in the order of revisions.
func (w *truth) scores(slice string) map[int64][]Score {
	w.t.Helper()
	out := map[int64][]Score{}
	for _, j := range w.x.out {
		for _, s := range j.Scores {
			if s.Slice != slice {
				continue
			}
			if of := out[s.Window.End]; s.Revision != len(of) {
				w.t.Errorf("window %d: revision %d after %d", (s.Window.End-start)/gap, s.Revision, len(of))
			}
			out[s.Window.End] = append(out[s.Window.End], s)
		}
	}
	return out
}

func TestWorseModelIsToldOnceByItsLabels(t *testing.T) {
	w := newTruth(t, loadLabelled(t, "{min_coverage: 0.9, metrics: [{name: log_loss, max: 0.6}]}"))
	w.pass(3600, false, 1)
	w.pass(3600, true, 1)
	w.pass(5400, false, 1)
	if got, want := delivered(w.x.messages()), []string{"firing  [performance:prediction]", "resolved  [performance:prediction]"}; !slices.Equal(got, want) {
		t.Errorf("messages %q, want %q", got, want)
	}
	m := w.x.messages()[0]
	if m.Class != alert.Performing || len(m.Evidence) == 0 || m.Evidence[0].Check != "log_loss" || !strings.Contains(m.Evidence[0].Note, "inferences have labels") {
		t.Errorf("message %+v", m)
	}
	// Two disjoint windows of ten minutes, whose labels come within eight, and one evaluation: within 40 minutes.
	if late := (m.At - (start + 3600*gap)) / gap; late < 1200 || late > 2400 {
		t.Errorf("told %d seconds after the model became worse", late)
	}
	scores := w.scores("")
	for end, of := range scores {
		last := of[len(of)-1]
		if end-start > 10800*gap {
			continue // its labels still come
		}
		if *last.Coverage != 1 || of[0].NCur >= last.NCur && last.Revision > 0 || last.NCur != 600 && end != start+300*gap {
			t.Errorf("window %d: %d of revision 0, %d of %d, coverage %g", (end-start)/gap, of[0].NCur, last.NCur, last.Revision, *last.Coverage)
		}
		if len(of) > 6 { // its horizon is five steps
			t.Errorf("window %d was judged %d times", (end-start)/gap, len(of))
		}
		bad := end > start+4200*gap && end <= start+7200*gap
		if bad && drift.Outcome(last.Outcome) != Worse || !bad && end <= start+3600*gap && last.Changed() && end != start+300*gap {
			t.Errorf("window %d: %s, log loss %g", (end-start)/gap, last.Outcome, last.Score)
		}
	}
	if len(scores) < 38 {
		t.Errorf("%d windows", len(scores))
	}
}

// Inferences that come twice are told of when they are more than the limit by more than chance, once for all rows and slices, and the model's
// quality is that of the first ones.
func TestRepeatedInferencesAreTold(t *testing.T) {
	w := newTruth(t, loadLabelled(t, "{min_coverage: 0.9, max_duplicates: 0.05, metrics: [{name: log_loss, max: 0.6}]}"))
	w.repeats = 0.04
	w.pass(3600, false, 1)
	w.repeats = 0.15
	w.pass(3600, false, 1)
	w.repeats = 0
	w.pass(5400, false, 1)
	if got, want := delivered(w.x.messages()), []string{"firing  [quality:]", "resolved  [quality:]"}; !slices.Equal(got, want) {
		t.Errorf("messages %q, want %q", got, want)
	}
	e := w.x.messages()[0].Evidence[0]
	if e.Check != Duplicates || !strings.Contains(e.Note, "inferences have an id that was there before, limit 0.05") || !strings.Contains(e.Query, "--kind quality --check duplicates --slice") {
		t.Errorf("evidence %+v", e)
	}
	exceeded := 0
	for _, j := range w.x.out {
		for _, s := range j.Scores {
			bad := s.Window.End > start+4200*gap && s.Window.End <= start+7200*gap
			switch {
			case s.Kind == alert.Performance && s.Changed():
				t.Errorf("the model is worse: %+v", s)
			case s.Kind == alert.Quality && bad:
				exceeded++
				if s.Outcome != string(drift.Exceeded) || s.NCur < 650 || math.Abs(float64(s.Score)-0.13) > 0.04 {
					t.Errorf("window %d: %s, %g of %d", (s.Window.End-start)/gap, s.Outcome, s.Score, s.NCur)
				}
			case s.Kind == alert.Quality && s.Window.End <= start+3600*gap && s.Changed():
				t.Errorf("window %d: %s, %g of %d", (s.Window.End-start)/gap, s.Outcome, s.Score, s.NCur)
			}
		}
	}
	if exceeded == 0 {
		t.Error("no window has too many duplicates")
	}
}

// TestLabelsAreJudgedTheSameAfterRestarts: with a new watch of what is kept before every commit, in any order, messages,
// scores and state are the same.
func TestLabelsAreJudgedTheSameAfterRestarts(t *testing.T) {
	run := func(restart bool) *truth {
		w := newTruth(t, loadLabelled(t, "{against: 30m, metrics: [{name: accuracy, worse_by: 0.2}]}"))
		for i := range 120 {
			if restart {
				w.x.restart()
			}
			w.pass(60, i >= 60 && i < 100, 0.8)
		}
		return w
	}
	a, b := run(false), run(true)
	if !maps.EqualFunc(a.x.kept, b.x.kept, bytes.Equal) {
		t.Error("the state differs")
	}
	if x, y := delivered(a.x.messages()), delivered(b.x.messages()); !slices.Equal(x, y) || len(x) == 0 {
		t.Errorf("messages %q and %q", x, y)
	}
	if x, y := fmt.Sprint(a.scores("region=eu")), fmt.Sprint(b.scores("region=eu")); len(x) != len(y) {
		t.Error("the scores differ")
	}
	joined := 0
	for k := range a.x.kept {
		if strings.HasPrefix(k, "scorer/joined/") {
			joined++
		}
	}
	if joined == 0 || joined > 480 {
		t.Errorf("%d joined panes are kept", joined)
	}
}

// TestWindowsWithoutLabelsAreOvertaken: a time whose labels never come fires nothing, and does not hold up what comes after it.
func TestWindowsWithoutLabelsAreOvertaken(t *testing.T) {
	w := newTruth(t, loadLabelled(t, "{min_coverage: 0.9, metrics: [{name: log_loss, max: 0.6}]}"))
	w.pass(1800, false, 1)
	w.pass(1800, true, 0.3)
	w.pass(3600, true, 1)
	m := w.x.messages()
	if got := delivered(m); len(got) != 1 || !strings.HasPrefix(got[0], "firing") {
		t.Fatalf("messages %q", got)
	}
	if from := (int64(m[0].StartedAt) - start) / gap; from < 3500 {
		t.Errorf("the episode begins with a window without labels, at %d", from)
	}
	for end, of := range w.scores("") {
		if end == start+3000*gap && drift.Outcome(of[len(of)-1].Outcome) != TooFewLabels {
			t.Errorf("a window with three labels in ten is %s", of[len(of)-1].Outcome)
		}
	}
}

// TestPartitionsThatNobodyJoinsHoldWindowsUp: a window is not judged on a part of its ids.
func TestPartitionsThatNobodyJoinsHoldWindowsUp(t *testing.T) {
	w := newTruth(t, loadLabelled(t, "{metrics: [{name: log_loss, max: 0.6}]}"))
	w.parts = 2
	w.pass(3600, false, 1)
	if n := len(w.scores("")); n != 0 {
		t.Errorf("%d windows are judged though half of the ids are not joined", n)
	}
	if w.x.watch.LabelTime() != Unknown {
		t.Errorf("label time %d", w.x.watch.LabelTime())
	}
}

// TestTimesWithoutInferencesAreNotJudged: neither are they counted one by one.
func TestTimesWithoutInferencesAreNotJudged(t *testing.T) {
	w := newTruth(t, loadLabelled(t, "{metrics: [{name: log_loss, max: 0.6}]}"))
	w.pass(900, false, 1)
	w.commit()
	w.now += 86_400 * gap * 365
	w.pass(1800, false, 1)
	for end, of := range w.scores("") {
		if of[0].NCur+uint64(of[0].Revision) == 0 && of[len(of)-1].NCur == 0 && *of[0].Coverage > 0 {
			t.Errorf("window %d: %+v", end, of[0])
		}
	}
	if n := len(w.scores("")); n != 10 {
		t.Errorf("%d windows are judged", n)
	}
}
