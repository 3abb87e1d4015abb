package demo

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

func load(t testing.TB) *Flights {
	t.Helper()
	f, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFlightsAreEveryDepartureOf2013(t *testing.T) {
	f := load(t)
	carriers, origins := map[string]int{}, map[string]int{}
	routes, tailnums := map[string]bool{}, map[string]bool{}
	n, cancelled, noTail, noAirTime, delay := 0, 0, 0, 0, 0
	var prev time.Time
	for fl := range f.All() {
		n++
		carriers[fl.Carrier]++
		origins[fl.Origin]++
		routes[fl.Origin+fl.Dest] = true
		delay += fl.DepDelay
		if fl.Cancelled {
			cancelled++
		}
		if fl.AirTime == 0 {
			noAirTime++
		}
		if fl.Tailnum == "" {
			noTail++
		} else {
			tailnums[fl.Tailnum] = true
		}
		if fl.DepartedAt.Before(prev) {
			t.Fatalf("flight %d left at %v, before the one in front of it (%v)", n, fl.DepartedAt, prev)
		}
		prev = fl.DepartedAt
	}
	wantCarriers := map[string]int{
		"UA": 58665, "B6": 54635, "EV": 54173, "DL": 48110, "AA": 32729, "MQ": 26397, "US": 20536, "9E": 18460,
		"WN": 12275, "VX": 5162, "FL": 3260, "AS": 714, "F9": 685, "YV": 601, "HA": 342, "OO": 32,
	}
	if !maps.Equal(carriers, wantCarriers) {
		t.Errorf("flights of carriers = %v\nwant %v", carriers, wantCarriers)
	}
	if want := map[string]int{"EWR": 120835, "JFK": 111279, "LGA": 104662}; !maps.Equal(origins, want) {
		t.Errorf("flights of airports = %v, want %v", origins, want)
	}
	for _, c := range []struct {
		what      string
		got, want int
	}{
		{"flights", n, 336776},
		{"Len", f.Len(), 336776},
		{"cancelled", cancelled, 8255},
		{"without air time", noAirTime, 9430},
		{"without tail number", noTail, 2512},
		{"tail numbers", len(tailnums), 4043},
		{"routes", len(routes), 224},
		{"minutes of delay", delay, 4152200},
	} {
		if c.got != c.want {
			t.Errorf("%s = %d, want %d", c.what, c.got, c.want)
		}
	}
}

func TestEventTimesAreUTC(t *testing.T) {
	first := map[string]time.Time{}
	for fl := range load(t).All() {
		// UA 1545 to IAH was to leave at 05:15 Eastern on 1 January and left two minutes late; EV 4308 of that day never
		// left: its time is the scheduled one, 16:30 Eastern.
		if k := fl.Carrier + fl.Tailnum; (k == "UAN14228" || k == "EVN18120") && first[k].IsZero() {
			first[k] = fl.DepartedAt
		}
	}
	if got, want := first["UAN14228"], time.Date(2013, 1, 1, 10, 17, 0, 0, time.UTC); !got.Equal(want) {
		t.Errorf("UA 1545 left at %v, want %v", got, want)
	}
	if got, want := first["EVN18120"], time.Date(2013, 1, 1, 21, 30, 0, 0, time.UTC); !got.Equal(want) {
		t.Errorf("the cancelled EV 4308 is at %v, want %v", got, want)
	}
}

func TestEndingAtMovesAllFlightsByOneAmount(t *testing.T) {
	f := load(t)
	end := time.Date(2026, 7, 1, 12, 0, 30, 0, time.UTC)
	var moved []time.Time
	for fl := range f.EndingAt(end) {
		moved = append(moved, fl.DepartedAt)
	}
	if last := moved[len(moved)-1]; !last.Equal(end) {
		t.Errorf("the last flight left at %v, want %v", last, end)
	}
	i := 0
	for fl := range f.All() {
		if d := moved[i].Sub(fl.DepartedAt); d != end.Sub(f.Last()) {
			t.Fatalf("flight %d moved by %v, want %v", i, d, end.Sub(f.Last()))
		}
		i++
	}
}

func TestLatestAreTheLastOfAll(t *testing.T) {
	f := load(t)
	const n = 1000
	var all, latest []Flight
	for fl := range f.All() {
		all = append(all, fl)
	}
	for fl := range f.Latest(n).All() {
		latest = append(latest, fl)
	}
	if !slices.Equal(latest, all[len(all)-n:]) || f.Latest(n).Len() != n || f.Latest(1<<30).Len() != f.Len() {
		t.Errorf("the latest %d are %d, not the last of all", n, len(latest))
	}
}

func TestEventsAreWhatTheSourceDescribes(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	left := Flight{
		DepartedAt: at, Carrier: "UA", Number: 1545, Tailnum: "N14228", Origin: "EWR", Dest: "IAH", DepDelay: -2, AirTime: 227, Distance: 1400,
	}
	want := `{"carrier":"UA","flight":1545,"tailnum":"N14228","origin":"EWR","dest":"IAH","dep_delay":-2,"air_time":227,` +
		`"distance":1400,"departed_at":"2026-01-02T03:04:05Z"}`
	if got := string(left.AppendEvent(nil)); got != want {
		t.Errorf("event = %s\nwant    %s", got, want)
	}
	stayed := Flight{DepartedAt: at, Carrier: "EV", Number: 4308, Origin: "EWR", Dest: "RDU", Cancelled: true, Distance: 416}
	want = `{"carrier":"EV","flight":4308,"tailnum":null,"origin":"EWR","dest":"RDU","dep_delay":null,"air_time":null,` +
		`"distance":416,"departed_at":"2026-01-02T03:04:05Z"}`
	if got := string(stayed.AppendEvent(nil)); got != want {
		t.Errorf("event = %s\nwant    %s", got, want)
	}
}

func TestEveryEventIsJSON(t *testing.T) {
	var buf []byte
	for fl := range load(t).All() {
		buf = fl.AppendEvent(buf[:0])
		if !json.Valid(buf) || strings.ContainsAny(fl.Carrier+fl.Tailnum+fl.Origin+fl.Dest, "\\\"\x7f") {
			t.Fatalf("not JSON, or a name that JSON quotes otherwise than Go: %s", buf)
		}
	}
}

func BenchmarkFlights(b *testing.B) {
	var buf []byte
	for b.Loop() {
		f, err := Load()
		if err != nil {
			b.Fatal(err)
		}
		for fl := range f.EndingAt(time.Unix(1_800_000_000, 0)) {
			buf = fl.AppendEvent(buf[:0])
		}
		b.ReportMetric(float64(f.Len()), "flights")
	}
}
