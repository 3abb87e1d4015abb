package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/freshet-io/freshet/deploy/demo"
)

// demoReport is what --report writes: what was done and measured, and on what.
type demoReport struct {
	Events           int     `json:"events"`
	DeadLettered     int     `json:"dead_lettered"`
	Entities         int     `json:"entities"`
	Seconds          float64 `json:"seconds"`           // from the first event sent until lookups show every event
	EventsPerSecond  float64 `json:"events_per_second"` // Events / Seconds
	Lookups          int     `json:"lookups"`           // of one entity's feature service over HTTP, one after another
	LookupP50Millis  float64 `json:"lookup_p50_ms"`
	LookupP99Millis  float64 `json:"lookup_p99_ms"`
	FilesWaitSeconds float64 `json:"files_wait_seconds"` // from then until Parquet has every event
	TrainingRows     uint64  `json:"training_rows"`
	TrainingSeconds  float64 `json:"training_seconds"`
	Inferences       int     `json:"inferences"`
	Alerts           int     `json:"alerts"`        // messages that the webhook has verified
	WatchSeconds     float64 `json:"watch_seconds"` // from making the baseline until the alert of the fault is delivered
	Version          string  `json:"version"`
	Go               string  `json:"go"`
	Platform         string  `json:"platform"`
	CPUs             int     `json:"cpus"`

	Labels int `json:"labels"`
	Muted  int `json:"muted"` // series that the silent airport's feed muted

	lastDeparture time.Time   // of the flights as they were sent
	faults        *demoFaults // nil: none are made
	sent          []int64     // events, by source
}

// demoService is what the demo's model asks for.
const demoService = "delay_model"

func newDemoReport() demoReport {
	b := readBuild()
	return demoReport{Version: b.Version, Go: b.Go, Platform: b.Platform, CPUs: runtime.GOMAXPROCS(0)}
}

func (r *demoReport) write(file string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}

const (
	timedLookups  = 2000
	warmupLookups = 200
)

// timeLookups measures how long lookups of the demo's feature service take, one after another, each for another
// flight.
func timeLookups(ctx context.Context, client *lookupClient, flights *demo.Flights, r *demoReport) error {
	step := flights.Len() / (timedLookups + warmupLookups)
	took := make([]time.Duration, 0, timedLookups)
	i := -1
	for f := range flights.All() {
		if i++; i%step != 0 {
			continue
		}
		if len(took) == timedLookups {
			break
		}
		start := time.Now()
		if _, err := client.get(ctx, modelInput(f.Carrier, f.Origin, f.Dest, f.Distance)); err != nil {
			return err
		}
		if i/step >= warmupLookups {
			took = append(took, time.Since(start))
		}
	}
	slices.Sort(took)
	r.Lookups = len(took)
	r.LookupP50Millis = took[len(took)/2].Seconds() * 1000
	r.LookupP99Millis = took[len(took)*99/100].Seconds() * 1000
	return nil
}

// modelInput asks for what the demo's model needs to predict one flight.
func modelInput(carrier, origin, dest string, distance int) lookupRequest {
	text := func(s string) []json.RawMessage { return []json.RawMessage{json.RawMessage(strconv.Quote(s))} }
	return lookupRequest{FeatureService: demoService, Entities: map[string][]json.RawMessage{
		"carrier": text(carrier), "origin": text(origin), "dest": text(dest), "distance": {json.RawMessage(strconv.Itoa(distance))},
	}}
}

// showcase is one table of the demo: some features of some entities.
type showcase struct {
	view     string
	joinKeys []string
	entities [][]string
	features []string
}

// showcases are tables of features as of now, with what left New York last at the end of the year.
var showcases = [...]showcase{
	{
		view: "carrier_delays", joinKeys: []string{"carrier"}, entities: [][]string{{"B6"}, {"UA"}, {"DL"}, {"EV"}, {"HA"}},
		features: []string{"departures_24h", "mean_delay_24h", "p90_delay_24h", "late_share_24h", "dests_7d", "top_dests_7d", "departures_ever"},
	},
	{
		view: "airport_departures", joinKeys: []string{"origin"}, entities: [][]string{{"EWR"}, {"JFK"}, {"LGA"}},
		features: []string{"flights_6h", "cancelled_24h", "delay_minutes_24h", "worst_delay_24h", "carriers_7d", "flights_ever"},
	},
	{
		view: "route_delays", joinKeys: []string{"origin", "dest"}, entities: [][]string{{"JFK", "LAX"}, {"JFK", "SJU"}, {"LGA", "ATL"}, {"EWR", "MCO"}},
		features: []string{"departures_7d", "route_delay_24h", "p50_delay_7d", "best_air_time_7d", "last_delays"},
	},
}

// print looks the table's features up and writes it.
func (s *showcase) print(ctx context.Context, w io.Writer, client *lookupClient) error {
	req := lookupRequest{Entities: map[string][]json.RawMessage{}}
	columns := []column{}
	for i, name := range s.joinKeys {
		columns = append(columns, left(strings.ToUpper(name)))
		for _, key := range s.entities {
			req.Entities[name] = append(req.Entities[name], json.RawMessage(strconv.Quote(key[i])))
		}
	}
	for _, name := range s.features {
		req.Features = append(req.Features, s.view+":"+name)
		columns = append(columns, right(name))
	}
	resp, err := client.get(ctx, req)
	if err != nil {
		return fmt.Errorf("look %s up: %w", s.view, err)
	}
	t := newTable(columns...)
	for row, key := range s.entities {
		cells := slices.Clone(key)
		for _, name := range s.features {
			i := slices.Index(resp.Metadata.FeatureNames, name)
			if i < 0 || row >= len(resp.Results[i].Values) {
				return fmt.Errorf("the answer lacks %s of %v", name, key)
			}
			cells = append(cells, rounded(resp.Results[i].Values[row]))
		}
		t.add(cells...)
	}
	return t.print(w)
}

// rounded shows a number with at most two decimals, lists without brackets and quotes, other values as showValue does.
func rounded(v json.RawMessage) string {
	var list []json.RawMessage
	if json.Unmarshal(v, &list) == nil && list != nil {
		parts := make([]string, len(list))
		for i := range list {
			parts[i] = rounded(list[i])
		}
		return strings.Join(parts, " ")
	}
	var f float64
	if string(v) == "null" || json.Unmarshal(v, &f) != nil {
		return showValue(v)
	}
	s := strconv.FormatFloat(f, 'f', 2, 64)
	if s = strings.TrimRight(strings.TrimRight(s, "0"), "."); s == "-0" {
		return "0"
	}
	return s
}
