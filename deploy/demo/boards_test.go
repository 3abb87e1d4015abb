package demo

import (
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/ingest"
	"github.com/freshet-io/freshet/internal/feature"
)

// yearPlane is the definition with what the whole year adds.
func yearPlane(t *testing.T) *config.Plane {
	t.Helper()
	files := []config.File{{Name: "plane.yaml", Data: PlaneYAML}, {Name: "monitors.yaml", Data: MonitorsYAML}}
	p, err := config.Parse(files, func(name string) (string, bool) {
		v, ok := map[string]string{"DEMO_WEBHOOK": "http://127.0.0.1:1/", "DEMO_SECRET": "whsec_ZnJlc2hldC10ZXN0LXNlY3JldC0wMTIzNDU2Nzg5"}[name]
		return v, ok
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Every airport posts each whole hour of the year until it falls silent, every departure is on a board, and every board can be used.
func TestBoardsAreOfEveryHour(t *testing.T) {
	p := yearPlane(t)
	for _, w := range p.Warnings {
		t.Errorf("%v", w)
	}
	src := p.Sources[slices.IndexFunc(p.Sources, func(s *config.Source) bool { return s.Name == "boards" })]
	r, err := ingest.NewReader(src)
	if err != nil {
		t.Fatal(err)
	}
	row := make([]feature.Value, len(src.Schema))
	flights := load(t)
	silence := time.Date(2013, 12, 1, 0, 0, 0, 0, time.UTC)
	posted, departures := map[string]int{}, map[string]int{}
	last := map[string]time.Time{}
	delay := 0
	for b := range flights.Boards(flights.Last(), "LGA", silence) {
		if was, ok := last[b.Origin]; ok && b.PostedAt.Sub(was) != time.Hour {
			t.Fatalf("%s posted at %v, and before at %v", b.Origin, b.PostedAt, was)
		}
		last[b.Origin] = b.PostedAt
		posted[b.Origin]++
		departures[b.Origin] += b.Departures
		delay += b.Delay
		at, unknown, bad := r.Read(&kgo.Record{Value: b.AppendEvent(nil), Timestamp: flights.Last()}, row)
		if bad != nil || unknown != 0 || at != b.PostedAt.UnixMicro() || row[0].Str() != b.Origin || row[2].IsNull() != (b.Departures == 0) {
			t.Fatalf("%s: %v, %d unknown fields, time %d, %v", b.AppendEvent(nil), bad, unknown, at, row)
		}
	}
	want, wantDelay := map[string]int{}, 0
	end := flights.Last().Truncate(time.Hour)
	for f := range flights.All() {
		if !f.Cancelled && f.DepartedAt.Before(end) && (f.Origin != "LGA" || f.DepartedAt.Add(time.Hour).Truncate(time.Hour).Before(silence)) {
			want[f.Origin]++
			wantDelay += f.DepDelay
		}
	}
	for _, origin := range []string{"EWR", "JFK", "LGA"} {
		if departures[origin] != want[origin] || want[origin] == 0 {
			t.Errorf("%d departures are on the boards of %s, want %d", departures[origin], origin, want[origin])
		}
	}
	if delay != wantDelay || posted["EWR"] != posted["JFK"] || !last["EWR"].Equal(end) || !last["LGA"].Equal(silence.Add(-time.Hour)) {
		t.Errorf("%d minutes of delay, want %d; %v boards, the last ones at %v", delay, wantDelay, posted, last)
	}
}

// What the model logs, and the labels that follow, can be used.
func TestInferencesAndLabelsCanBeUsed(t *testing.T) {
	m := yearPlane(t).Models[0]
	read := func(src *config.Source, value []byte) []feature.Value {
		t.Helper()
		r, err := ingest.NewReader(src)
		if err != nil {
			t.Fatal(err)
		}
		row := make([]feature.Value, len(src.Schema))
		if _, unknown, bad := r.Read(&kgo.Record{Value: value, Timestamp: time.Now()}, row); bad != nil || unknown != 0 {
			t.Fatalf("%s: %v, %d unknown fields", value, bad, unknown)
		}
		return row
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	names := []string{"mean_delay_1h", "board_delay_3h", "distance"}
	values := []feature.Value{feature.Float64Value(10), {}, feature.Float64Value(1000)}
	row := read(m.Inferences, AppendInference(nil, "f1", "UA", "EWR", at, names, values))
	if got, want := row[m.Prediction].Float64(), intercept+10*coefficients["mean_delay_1h"]+1000*coefficients["distance"]; got != want || len(m.Slices) != 2 ||
		row[m.Slices[0]].Str() != "UA" || row[m.Slices[1]].Str() != "EWR" {
		t.Errorf("predicted %g, want %g; row %v", got, want, row)
	}
	label := read(m.Labels.Source, AppendLabel(nil, "f1", -3, at))
	if label[config.LabelID].Str() != "f1" || label[config.LabelValue].Float64() != -3 {
		t.Errorf("label %v", label)
	}
	for name := range coefficients {
		if !slices.ContainsFunc(m.Columns, func(c config.Column) bool { return c.Name == name }) {
			t.Errorf("the model is not served %s", name)
		}
	}
}
