package watch

import (
	"slices"
	"testing"
	"time"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/monitors/alert"
	"github.com/freshet-io/freshet/monitors/drift"
)

// thin is a plant whose windows are hours, and a stream of which each hour has as many inferences as count says.
type thin struct {
	*plant
	stream   *stream
	count    func(h int) int64
	restarts int // after so many hours each
}

func newThin(t *testing.T, seed uint64, count func(h int) int64) *thin {
	p := loadPlane(t, "10m", "skew: {baseline: scorer_1, sequential: true}")
	p.Monitors[0].Size, p.Monitors[0].Every = time.Hour, time.Hour
	s := newStream(p, seed)
	return &thin{newPlant(t, p, s.baseline(t, 5000)), s, count, 50}
}

// days sends the inferences of some days, with a restart now and then.
func (x *thin) days(from, to int, change func(int64, []feature.Value)) {
	for h := from * 24; h < to*24; h++ {
		at := floor(start, hour) + int64(h)*hour
		n := x.count(h)
		for i := range n {
			o := at + i*hour/n
			x.acc.Add(int32((int64(h)+i)%2), x.stream.row(o, change), o)
		}
		x.commit(at + hour - 1)
		if h%x.restarts == 0 {
			x.restart()
		}
	}
}

// A stream so thin that no window of it has enough inferences to be judged: what has changed is found across windows, told
// once and resolved once, over restarts. While nothing changes nothing is told.
func TestAThinStreamIsTestedAcrossWindows(t *testing.T) {
	x := newThin(t, 41, func(int) int64 { return 6 })
	x.days(0, 14, nil)
	if got := delivered(x.messages()); len(got) > 0 {
		t.Fatalf("nothing had changed: %q", got)
	}
	x.days(14, 17, shifted)
	x.days(17, 25, nil)
	want := []string{"firing orders [skew:spend_1d]", "resolved orders [skew:spend_1d]"}
	if got := delivered(x.messages()); !slices.Equal(got, want) {
		t.Fatalf("messages %q, want %q", got, want)
	}
	m := x.messages()[0]
	if took := time.Duration(m.At-floor(start, hour)-14*24*hour) * time.Microsecond; took > 36*time.Hour {
		t.Errorf("six inferences an hour told of it after %s", took)
	}
	if e := m.Evidence[0]; e.Method != "sequential" || e.Effect < 1 || e.Threshold != 1 || e.Current.N == 0 || e.Reference.N != 5000 || e.Query == "" {
		t.Errorf("evidence %+v", e)
	}
	windowed := 0
	for _, j := range x.out {
		for _, sc := range j.Scores {
			if sc.Kind == alert.Skew && sc.Check == "" && drift.Outcome(sc.Outcome).Changed() {
				windowed++
			}
		}
	}
	if windowed > 0 {
		t.Errorf("%d windows of six inferences were judged to have changed", windowed)
	}
}

// Every third window of a stream has no inference at all: an alarm comes and goes all the same.
func TestWindowsWithoutInferencesDoNotEndAnAlarm(t *testing.T) {
	x := newThin(t, 43, func(h int) int64 { return int64(min(h%3, 1)) })
	x.days(0, 8, nil)
	x.days(8, 28, shifted)
	x.days(28, 55, nil)
	want := []string{"firing orders [skew:spend_1d]", "resolved orders [skew:spend_1d]"}
	if got := delivered(x.messages()); !slices.Equal(got, want) {
		t.Errorf("of the change was told %q, want %q", got, want)
	}
}

// What tests have won goes on after a restart to the last digit.
func TestSequencesGoOnAfterARestart(t *testing.T) {
	scores := func(restarts int) (out []Number) {
		x := newThin(t, 44, func(int) int64 { return 6 })
		x.restarts = restarts
		x.days(0, 2, nil)
		x.days(2, 4, shifted)
		for _, j := range x.out {
			for _, sc := range j.Scores {
				if sc.Check == sequentialCheck {
					out = append(out, sc.Score)
				}
			}
		}
		return out
	}
	often, never := scores(7), scores(1000)
	if len(often) < 400 || !slices.Equal(often, never) {
		t.Errorf("%d scores with restarts and %d without are not the same", len(often), len(never))
	}
}

// Windows that overlap share panes; the sequential tests play each once.
func TestPanesArePlayedOnce(t *testing.T) {
	p := loadPlane(t, "5m", "skew: {baseline: scorer_1, sequential: true}")
	s := newStream(p, 42)
	x := newPlant(t, p, s.baseline(t, 1000))
	x.run(s, 0, time.Hour, nil)
	var played, end uint64
	for _, j := range x.out {
		for _, sc := range j.Scores {
			if sc.Check == sequentialCheck && sc.Column == "spend_1d" && sc.Slice == "" {
				played += sc.NCur
				end = uint64((sc.Window.End - start) / gap)
			}
		}
	}
	if end < 3000 || played != end {
		t.Errorf("%d inferences were played of the %d that windows have been judged of", played, end)
	}
}

func TestASequenceComesBack(t *testing.T) {
	q := &sequence{build: 1_700_000_000_000_000, bets: [][]float64{nil, {0, 1.5, 2e300}, {}}}
	got, of, err := decodeSequence(q.encode("1h/1h/0s"))
	if err != nil || of != "1h/1h/0s" || got.build != q.build || len(got.bets) != 3 || !slices.Equal(got.bets[1], q.bets[1]) {
		t.Errorf("%+v, %v", got, err)
	}
	data := q.encode("1h/1h/0s")
	for n := range data {
		if _, _, err := decodeSequence(data[:n]); err == nil && n > 0 {
			t.Errorf("%d of %d bytes are taken for a record", n, len(data))
		}
	}
	if _, _, err := decodeSequence(append([]byte{9}, data[1:]...)); err == nil {
		t.Error("version 9 is taken")
	}
	p := loadPlane(t, "10m", "skew: {baseline: scorer_1}")
	w, err := New(p, p.Models[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Restore([]byte("scorer/sequence/inputs/"), data); err != nil {
		t.Fatal(err)
	}
	changes, err := w.Changes()
	if err != nil || len(changes) != 1 || changes[0].Value != nil || string(changes[0].Key) != "scorer/sequence/inputs/" {
		t.Errorf("what a monitor without sequential tests does with the record: %+v, %v", changes, err)
	}
}
