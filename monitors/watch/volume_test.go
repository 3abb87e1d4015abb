package watch

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/monitors/alert"
	"github.com/freshet-io/freshet/monitors/drift"
)

// volumePlane watches the volume alone, in windows of an hour.
func volumePlane(t testing.TB) *config.Plane {
	p := loadPlane(t, "10m", "volume: {threshold: 0.5, weeks: 2}")
	p.Monitors[0].Size, p.Monitors[0].Every = time.Hour, time.Hour
	return p
}

// week is how many inferences an hour of the week has: busy days, quiet nights.
func week(h int) float64 { return 25 + 15*math.Sin(2*math.Pi*float64(h%24)/24) }

// hours sends inferences, of each hour as many as rate says on average, and commits once an hour.
func (x *plant) hours(s *stream, from, to int, rate func(h int) float64) {
	x.t.Helper()
	for h := from; h < to; h++ {
		at := floor(start, hour) + int64(h)*hour
		step := float64(hour) / max(rate(h), 0.01)
		for o := step * s.rng.ExpFloat64(); o < float64(hour); o += step * s.rng.ExpFloat64() {
			x.acc.Add(int32(s.n%2), s.row(at+int64(o), nil), at+int64(o))
		}
		x.commit(at + hour - 1)
		if h%10 == 0 {
			x.restart()
		}
	}
}

func TestAnHourIsComparedWithTheSameHourOfEarlierWeeks(t *testing.T) {
	p := volumePlane(t)
	s := newStream(p, 31)
	x := newPlant(t, p, s.baseline(t, 500))
	x.hours(s, 0, 3*weekHours, week)
	if ms := x.messages(); len(ms) > 0 {
		t.Fatalf("nothing was wrong: %+v", ms)
	}
	judged, early := 0, 0
	for _, j := range x.out {
		for _, sc := range j.Scores {
			if sc.Kind != alert.Volume || sc.Slice != "" {
				continue
			}
			if judged++; drift.Outcome(sc.Outcome) == drift.TooFewRows {
				early++
			}
			if h := (sc.Window.Start - floor(start, hour)) / hour; h <= weekHours || sc.Window.End-sc.Window.Start != hour {
				t.Fatalf("hour %d is judged, and there is no same hour before: %+v", h, sc)
			}
		}
	}
	if judged < 2*weekHours-4 || early != comparedHours {
		t.Errorf("%d hours were compared, %d of them before it was known how they differ", judged, early)
	}
	// A fall to a third for half a day, then a rise, then as before.
	x.hours(s, 3*weekHours, 3*weekHours+12, func(h int) float64 { return week(h) / 5 })
	x.hours(s, 3*weekHours+12, 3*weekHours+36, week)
	x.hours(s, 3*weekHours+36, 3*weekHours+42, func(h int) float64 { return 4 * week(h) })
	x.hours(s, 3*weekHours+42, 3*weekHours+72, week)
	want := []string{"firing  [volume:]", "resolved  [volume:]", "firing  [volume:]", "resolved  [volume:]"}
	if got := delivered(x.messages()); !slices.Equal(got, want) {
		t.Fatalf("messages %q, want %q", got, want)
	}
	e := x.messages()[0].Evidence[0]
	if e.Against != "the same hour of 2 earlier weeks" || !(e.P < 1e-3) || e.Effect < 0.5 || e.Effect > 1 || e.Reference.N < 8 || e.Note == "" {
		t.Errorf("evidence %+v", e)
	}
	if sum := x.messages()[0].Summary; !strings.HasPrefix(sum, "inputs: unusual volume of inferences") {
		t.Errorf("summary %q", sum)
	}
}

// An hour that was unusual is no reference for the next week, unless there is nothing else for as long as is remembered.
func TestUnusualHoursAreNoReference(t *testing.T) {
	v := &volume{}
	for w := range 3 {
		for h := range weekHours {
			v.add(h, hourCount{uint64(100 + w), false}, 3)
		}
	}
	v.add(5, hourCount{0, true}, 3)
	if h, ok := v.history(5); !ok || h.Mean != 101.5 || h.Count != 2 {
		t.Errorf("after an outage: %+v", h)
	}
	v.add(5, hourCount{10, true}, 3)
	v.add(5, hourCount{20, true}, 3)
	if h, ok := v.history(5); !ok || h.Mean != 10 || h.Count != 3 {
		t.Errorf("what has been so for as long as is remembered is the new normal: %+v", h)
	}
	if len(v.hours[5]) != 3 {
		t.Errorf("%d counts are kept, of 3 weeks", len(v.hours[5]))
	}
	got, err := decodeVolume(v.encode())
	if err != nil || got.surprise != v.surprise || got.weight != v.weight || !slices.Equal(got.hours[5], v.hours[5]) {
		t.Errorf("%+v does not come back: %v", got, err)
	}
	if _, err := decodeVolume(v.encode()[:9]); err == nil {
		t.Error("half a record is read")
	}
}

// A stray inference of long ago does not make every hour since due, and an end of all inferences not every hour to come.
func TestVolumeBeginsAnewAfterALongTimeWithoutInferences(t *testing.T) {
	p := volumePlane(t)
	p.Monitors[0].Volume.Weeks = 1
	s := newStream(p, 32)
	x := newPlant(t, p, s.baseline(t, 500))
	x.hours(s, 0, 3, week)
	years := 52 * weekHours
	x.hours(s, years, years+30, week)
	m := x.watch.monitor("inputs")
	if len(x.out) > 2*weekHours+200 {
		t.Errorf("%d judgements", len(x.out))
	}
	if from := (m.Hour - floor(start, hour)) / hour; from != int64(years+30) {
		t.Errorf("the next hour is %d, want %d", from, years+30)
	}
	filled := 0
	for _, of := range m.volumes[""].hours {
		filled += len(of)
	}
	if filled != 28 {
		t.Errorf("%d hours are remembered, 28 whole ones have come", filled)
	}
}

func TestPanesFitIntoHoursOfVolume(t *testing.T) {
	model := &config.Model{Name: "m"}
	m := &config.Monitor{Model: model, Size: 6 * time.Hour, Every: 3 * time.Hour, Volume: &config.Volume{Weeks: 1}}
	if got := Pane(&config.Plane{Monitors: []*config.Monitor{m}}, model); time.Hour%got != 0 {
		t.Errorf("panes of %s", got)
	}
}
