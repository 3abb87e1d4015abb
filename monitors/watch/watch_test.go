package watch

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/monitors/alert"
	"github.com/freshet-io/freshet/monitors/baseline"
)

const testPlane = `
project: shop
entities:
  - {name: user, join_keys: [{name: user_id, type: int64}]}
sources:
  - name: orders
    topic: orders
    key: [user_id]
    schema: [{name: user_id, type: int64, required: true}, {name: amount, type: float64}, {name: country, type: string}]
feature_views:
  - name: spend
    entity: user
    source: orders
    features:
      - {name: spend_1d, aggregate: sum, of: amount, window: 1d}
      - {name: orders_1d, aggregate: count, window: 1d}
      - {name: last_country, of: country}
feature_services:
  - {name: fraud, features: [spend], request: [{name: total, type: float64}]%s}
models:
  - name: scorer
    feature_service: fraud
    inferences: {topic: scores, id: id, event_time: {field: at, format: unix_us}, version: version, prediction: {field: p, type: probability}, slices: [region]}
baselines:
  - {name: scorer_1, model: scorer}
monitors:
  - name: inputs
    model: scorer
    window: {size: 10m, every: %s, grace: 0s}
    %s
    min_sample: 300
    for: 2
`

func loadPlane(t testing.TB, every, compares string, service ...string) *config.Plane {
	t.Helper()
	more := ""
	for _, s := range service {
		more += ", " + s
	}
	f := filepath.Join(t.TempDir(), "plane.yaml")
	if err := os.WriteFile(f, fmt.Appendf(nil, testPlane, more, every, compares), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := config.Load(f)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// stream makes inferences; what is wrong with one is set by its edit.
type stream struct {
	model *config.Model
	rng   *rand.Rand
	n     int
}

const (
	start = int64(1_700_000_400_000_000) // a whole ten minutes
	gap   = int64(time.Second / time.Microsecond)
)

// row makes the inference of a moment: [id, version, at, p, region, spend_1d, orders_1d, last_country, total].
func (s *stream) row(at int64, edit func(at int64, row []feature.Value)) []feature.Value {
	s.n++
	region := []string{"eu", "us"}[s.rng.IntN(2)]
	row := []feature.Value{
		feature.StringValue(fmt.Sprint("i", s.n)), feature.StringValue("1"), feature.Int64Value(at), feature.Float64Value(s.rng.Float64()), feature.StringValue(region),
		feature.Float64Value(100 + 10*s.rng.NormFloat64()), feature.Int64Value(int64(s.rng.IntN(12))), feature.StringValue([]string{"de", "fr", "us"}[s.rng.IntN(3)]), feature.Float64Value(s.rng.ExpFloat64()),
	}
	if edit != nil {
		edit(at, row)
	}
	return row
}

func newStream(p *config.Plane, seed uint64) *stream {
	return &stream{model: p.Models[0], rng: rand.New(rand.NewPCG(seed, 1))}
}

func (s *stream) baseline(t testing.TB, rows int) *baseline.Baseline {
	t.Helper()
	d := baseline.Definition{Name: "scorer_1", Model: "scorer", Build: 1, Fields: []string{"region"}}
	for _, c := range s.model.Columns {
		d.Columns = append(d.Columns, baseline.Column{Name: c.Name, Type: c.Type})
	}
	b, err := baseline.Make(d, func(fn func(values, fields []feature.Value) error) error {
		again := &stream{model: s.model, rng: rand.New(rand.NewPCG(77, 7))}
		for range rows {
			row := again.row(0, nil)
			values := make([]feature.Value, len(s.model.Columns))
			for i, c := range s.model.Columns {
				values[i] = row[c.Field]
			}
			if err := fn(values, []feature.Value{row[s.model.Slices[0]]}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// plant is an accumulator and a watch, with what is kept of the watch.
type plant struct {
	t     testing.TB
	p     *config.Plane
	b     *baseline.Baseline
	acc   *Accumulator
	watch *Watch
	kept  map[string][]byte
	out   []Judgement
}

func newPlant(t testing.TB, p *config.Plane, b *baseline.Baseline) *plant {
	t.Helper()
	x := &plant{t: t, p: p, b: b, kept: map[string][]byte{}, acc: NewAccumulator(p.Models[0], Pane(p, p.Models[0]))}
	if b != nil {
		x.acc.SetBaseline(b.Name, b)
	}
	x.acc.Partitions([]int32{0, 1}, 2)
	x.restart()
	return x
}

// restart makes a new watch of what is kept.
func (x *plant) restart() {
	x.t.Helper()
	var err error
	if x.watch, err = New(x.p, x.p.Models[0]); err != nil {
		x.t.Fatal(err)
	}
	if x.b != nil {
		x.watch.SetBaseline(x.b.Name, x.b)
	}
	for k, v := range x.kept {
		if err := x.watch.Restore([]byte(k), v); err != nil {
			x.t.Fatal(err)
		}
	}
}

// commit ends a transaction of the profiler, and one of the evaluator.
func (x *plant) commit(clock int64) {
	x.t.Helper()
	for _, d := range x.acc.Flush(clock) {
		got, err := DecodeDelta(encoded(x.t, d))
		if err != nil || !bytes.Equal(encoded(x.t, got), encoded(x.t, d)) {
			x.t.Fatalf("the delta does not come back: %v", err)
		}
		if err := x.watch.Add(got); err != nil {
			x.t.Fatal(err)
		}
	}
	x.acc.Committed()
	for more := true; more; {
		var js []Judgement
		var err error
		if js, more, err = x.watch.Advance(3); err != nil {
			x.t.Fatal(err)
		}
		x.out = append(x.out, js...)
	}
	changes, err := x.watch.Changes()
	if err != nil {
		x.t.Fatal(err)
	}
	for _, c := range changes {
		if c.Value == nil {
			delete(x.kept, string(c.Key))
		} else {
			x.kept[string(c.Key)] = c.Value
		}
	}
}

// run sends an inference a second for some minutes, committing every 30 seconds.
func (x *plant) run(s *stream, from, to time.Duration, edit func(at int64, row []feature.Value)) {
	x.t.Helper()
	for at := start + from.Microseconds(); at < start+to.Microseconds(); at += gap {
		x.acc.Add(int32(s.n%2), s.row(at, edit), at)
		if (at-start)%(30*gap) == 29*gap {
			x.commit(at)
		}
	}
}

func (x *plant) messages() []alert.Message {
	var out []alert.Message
	for _, j := range x.out {
		out = append(out, j.Messages...)
	}
	return out
}

func delivered(ms []alert.Message) []string {
	var out []string
	for _, m := range ms {
		if m.Type.Delivered() {
			var cols []string
			for _, f := range m.Features {
				cols = append(cols, string(f.Kind)+":"+f.Column)
			}
			slices.Sort(cols)
			out = append(out, fmt.Sprint(m.Status, " ", m.Group, " ", slices.Compact(cols)))
		}
	}
	return out
}

func shifted(_ int64, row []feature.Value) {
	row[5] = feature.Float64Value(row[5].Float64() + 8)
}

func TestAShiftIsOneFiringAndOneResolvedMessage(t *testing.T) {
	p := loadPlane(t, "5m", "skew: {baseline: scorer_1}")
	s := newStream(p, 1)
	x := newPlant(t, p, s.baseline(t, 20_000))
	x.run(s, 0, 2*time.Hour, nil)
	if ms := x.messages(); len(ms) > 0 {
		t.Fatalf("nothing was wrong: %+v", ms)
	}
	x.run(s, 2*time.Hour, 3*time.Hour, shifted)
	x.run(s, 3*time.Hour, 4*time.Hour, nil)
	want := []string{"firing orders [skew:spend_1d]", "resolved orders [skew:spend_1d]"}
	if got := delivered(x.messages()); !slices.Equal(got, want) {
		t.Errorf("messages %q, want %q", got, want)
	}
	m := x.messages()[0]
	if from := time.UnixMicro(int64(m.StartedAt)).Sub(time.UnixMicro(start)); from < 110*time.Minute || from > 2*time.Hour {
		t.Errorf("started after %s", from)
	}
	e := m.Evidence[0]
	if e.Column != "spend_1d" || e.Against != "baseline scorer_1" || len(e.Movers) != movers || !(e.P < 1e-6) || e.Effect < 0.1 || e.Reference.N != 20_000 && e.Slice == "" {
		t.Errorf("evidence %+v", e)
	}
	for _, sc := range x.out[4].Scores {
		if sc.NCur == 0 || sc.Slice == "" && sc.NCur != 600 {
			t.Errorf("window of %d rows: %+v", sc.NCur, sc)
		}
	}
}

// A watch that is restarted after any commit says the same as one that never was.
func TestARestartChangesNothing(t *testing.T) {
	p := loadPlane(t, "5m", "skew: {baseline: scorer_1}\n    drift: {against: 30m}")
	run := func(restart bool) *plant {
		s := newStream(p, 2)
		x := newPlant(t, p, s.baseline(t, 5000))
		for k := range 30 {
			edit := shifted
			if k < 12 || k > 20 {
				edit = nil
			}
			x.run(s, time.Duration(k)*5*time.Minute, time.Duration(k+1)*5*time.Minute, edit)
			if restart {
				x.restart()
			}
		}
		return x
	}
	whole, parts := run(false), run(true)
	if len(whole.messages()) == 0 {
		t.Fatal("nothing was told")
	}
	if a, b := fmt.Sprintf("%+v", whole.messages()), fmt.Sprintf("%+v", parts.messages()); a != b {
		t.Errorf("messages differ:\n%s\n%s", a, b)
	}
	if a, b := fmt.Sprintf("%+v", whole.out), fmt.Sprintf("%+v", parts.out); len(a) != len(b) {
		t.Error("judgements differ")
	}
}

// What drifted is not the reference of what comes after it.
func TestDriftIsComparedWithACleanWindow(t *testing.T) {
	p := loadPlane(t, "10m", "drift: {against: 10m}")
	s := newStream(p, 3)
	x := newPlant(t, p, s.baseline(t, 5000))
	x.run(s, 0, time.Hour, nil)
	x.run(s, time.Hour, 90*time.Minute, shifted)
	x.run(s, 90*time.Minute, 3*time.Hour, nil)
	if got := delivered(x.messages()); len(got) != 2 || got[0] != "firing orders [drift:spend_1d]" {
		t.Errorf("messages %q", got)
	}
	var against []string
	for _, j := range x.out {
		for _, sc := range j.Scores {
			if sc.Column == "spend_1d" && sc.Slice == "" {
				against = append(against, sc.Against)
			}
		}
	}
	if len(slices.Compact(slices.Clone(against))) == len(against) {
		t.Errorf("every window had another reference: %q", against)
	}
}

func TestWhatStaysIsTheNewNormal(t *testing.T) {
	p := loadPlane(t, "10m", "drift: {against: 10m}")
	s := newStream(p, 3)
	x := newPlant(t, p, s.baseline(t, 5000))
	x.run(s, 0, time.Hour, nil)
	x.run(s, time.Hour, 4*time.Hour, shifted)
	if got := delivered(x.messages()); len(got) != 2 || got[0] != "firing orders [drift:spend_1d]" || got[1] != "resolved orders [drift:spend_1d]" {
		t.Errorf("messages %q", got)
	}
}

// The step to a new normal is no variation that would hide the next one.
func TestAStepAfterANewNormalIsSeen(t *testing.T) {
	p := loadPlane(t, "10m", "drift: {against: 10m}")
	s := newStream(p, 22)
	x := newPlant(t, p, s.baseline(t, 5000))
	x.run(s, 0, 2*time.Hour, nil)
	x.run(s, 2*time.Hour, 6*time.Hour, shifted)
	if got := delivered(x.messages()); len(got) != 2 {
		t.Fatalf("messages %q", got)
	}
	x.run(s, 6*time.Hour, 7*time.Hour, func(at int64, row []feature.Value) { row[5] = feature.Float64Value(row[5].Float64() + 16) })
	if got := delivered(x.messages()); len(got) != 3 {
		t.Errorf("messages %q: the second step is not seen", got)
	}
}

func TestSilenceOfAStreamIsToldOnce(t *testing.T) {
	p := loadPlane(t, "5m", "skew: {baseline: scorer_1}")
	s := newStream(p, 4)
	x := newPlant(t, p, s.baseline(t, 5000))
	x.run(s, 0, time.Hour, nil)
	for at := start + time.Hour.Microseconds(); at < start+3*time.Hour.Microseconds(); at += 10 * gap {
		x.commit(at) // only time passes
	}
	judged := len(x.out)
	x.run(s, 3*time.Hour, 4*time.Hour, nil)
	got := delivered(x.messages())
	if len(got) != 2 || got[0] != "firing  [no_data:]" || got[1] != "resolved  [no_data:]" {
		t.Errorf("messages %q", got)
	}
	if judged > 12+12 {
		t.Errorf("%d windows were judged before inferences came again", judged)
	}
}

func TestVersionsWithoutABaselineAreCountedAndNotGuessed(t *testing.T) {
	p := loadPlane(t, "10m", "skew: {baseline: scorer_1}")
	s := newStream(p, 5)
	b := s.baseline(t, 5000)
	b.Version = "1"
	x := newPlant(t, p, b)
	x.run(s, 0, 30*time.Minute, func(at int64, row []feature.Value) {
		if at%3 == start%3 {
			row[1] = feature.StringValue("2")
		}
	})
	for at := start + 30*time.Minute.Microseconds(); at < start+time.Hour.Microseconds(); at += 10 * gap {
		x.commit(at)
	}
	var rows uint64
	for _, n := range x.watch.Strays() {
		rows += n
	}
	for _, j := range x.out {
		rows += j.Rows
	}
	if rows != 30*60 || x.watch.Strays()["2"] == 0 {
		t.Errorf("%d rows, strays %v", rows, x.watch.Strays())
	}
}

func TestAnAbortedTransactionCountsOnce(t *testing.T) {
	p := loadPlane(t, "10m", "skew: {baseline: scorer_1}")
	s := newStream(p, 6)
	x := newPlant(t, p, s.baseline(t, 5000))
	var rows [][]feature.Value
	for i := range 1300 {
		rows = append(rows, s.row(start+int64(i)*gap, nil))
	}
	for i, r := range rows {
		x.acc.Add(0, r, start+int64(i)*gap)
	}
	x.acc.Flush(start)
	x.acc.Reset() // its transaction was aborted; the inferences come again
	for i, r := range rows {
		if i == 650 {
			x.commit(start + 1300*gap)
		}
		x.acc.Add(0, r, start+int64(i)*gap)
	}
	for k := range int64(20) {
		x.commit(start + (1300+10*k)*gap)
	}
	if len(x.out) < 2 || x.out[0].Rows != 600 || x.out[1].Rows != 600 {
		t.Errorf("judged %+v", x.out)
	}
}

// A partition that another process reads, or that nobody reads yet, is waited for, and so is what came while no
// profiler ran at all.
func TestPartitionsThatAreNotHeardOfAreWaitedFor(t *testing.T) {
	p := loadPlane(t, "10m", "skew: {baseline: scorer_1}")
	s := newStream(p, 8)
	x := newPlant(t, p, s.baseline(t, 5000))
	x.acc.Partitions([]int32{0}, 2)
	clock := start + time.Hour.Microseconds()
	send := func(partition int32, from, to time.Duration) {
		for at := start + from.Microseconds(); at < start+to.Microseconds(); at += gap {
			x.acc.Add(partition, s.row(at, nil), at)
		}
	}
	send(0, 0, 30*time.Minute)
	x.commit(clock)
	if len(x.out) > 0 {
		t.Fatal("windows were judged before the second partition was heard of")
	}
	clock += time.Hour.Microseconds() // nobody runs
	x.acc.Partitions([]int32{0}, 2)
	x.commit(clock)
	if len(x.out) > 0 {
		t.Fatal("the time without a profiler made a partition idle")
	}
	x.acc.Partitions([]int32{0, 1}, 2)
	send(1, 0, 30*time.Minute)
	x.commit(clock + 5*gap)
	if len(x.out) != 2 || x.out[0].Rows != 1200 || x.out[1].Rows != 1200 {
		t.Errorf("judged %+v", x.out)
	}
	send(0, 30*time.Minute, 50*time.Minute)
	for k := range 9 {
		clock += 5 * gap
		send(0, 50*time.Minute+time.Duration(k)*time.Second, 50*time.Minute+time.Duration(k+1)*time.Second)
		x.commit(clock)
	}
	if len(x.out) != 5 || x.out[3].Rows != 600 {
		t.Errorf("an idle partition holds stream time up: %d windows judged", len(x.out))
	}
}

// What the training data did not have is not watched: a prediction, not even for its drift, and slices by a field. All else is.
func TestWhatTrainingLackedIsNotWatched(t *testing.T) {
	p := loadPlane(t, "5m", "skew: {baseline: scorer_1}\n    drift: {against: 30m}\n    quality: {}")
	s := newStream(p, 51)
	b := s.baseline(t, 3000)
	b.Columns, b.Slices = b.Columns[:len(b.Columns)-1], nil
	if b.Column(config.PredictionColumn) >= 0 {
		t.Fatal("the prediction is not the last column")
	}
	x := newPlant(t, p, b)
	x.run(s, 0, 70*time.Minute, func(at int64, row []feature.Value) {
		if at >= start+int64(40*time.Minute/time.Microsecond) {
			row[3], row[5] = feature.Float64Value(0.999), feature.Float64Value(row[5].Float64()+9)
		}
	})
	kinds := map[string]int{}
	for _, j := range x.out {
		for _, sc := range j.Scores {
			if sc.Column == config.PredictionColumn || sc.Slice != "" {
				t.Errorf("%s of %s %q is scored", sc.Kind, sc.Column, sc.Slice)
			}
			kinds[string(sc.Kind)+" "+sc.Column]++
		}
	}
	for _, c := range []string{"skew spend_1d", "drift spend_1d", "quality spend_1d", "skew total"} {
		if kinds[c] == 0 {
			t.Errorf("%s is not scored: %v", c, kinds)
		}
	}
	if got := delivered(x.messages()); len(got) != 1 || !strings.HasPrefix(got[0], "firing orders [") {
		t.Errorf("messages %q", got)
	}
}
