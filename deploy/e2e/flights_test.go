package e2e

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/freshet-io/freshet/deploy/demo"
	"github.com/freshet-io/freshet/internal/testenv"
)

const day = 24 * time.Hour

// flightViews is the demo's definition once more.
var flightViews = []view{
	{
		name: "carrier_delays", joinKeys: []string{"carrier"}, where: present("dep_delay"),
		features: []feature{
			{name: "departures_1h", aggregate: "count", window: time.Hour},
			{name: "departures_24h", aggregate: "count", window: day},
			{name: "mean_delay_1h", aggregate: "mean", of: field("dep_delay"), window: time.Hour},
			{name: "mean_delay_24h", aggregate: "mean", of: field("dep_delay"), window: day},
			{name: "stddev_delay_24h", aggregate: "stddev", of: field("dep_delay"), window: day},
			{name: "late_share_24h", aggregate: "mean", window: day, of: func(r row) any {
				if r["dep_delay"].(float64) > 15 {
					return 1.0
				}
				return 0.0
			}},
			{name: "p90_delay_24h", aggregate: "approx_quantile", q: 0.9, of: field("dep_delay"), window: day},
			{name: "dests_7d", aggregate: "approx_distinct", of: field("dest"), window: 7 * day},
			{name: "top_dests_7d", aggregate: "top_k", n: 3, of: field("dest"), window: 7 * day},
			{name: "departures_ever", aggregate: "count"},
			{name: "last_dest", of: field("dest")},
		},
	},
	{
		name: "airport_departures", joinKeys: []string{"origin"},
		features: []feature{
			{name: "flights_6h", aggregate: "count", window: 6 * time.Hour},
			{name: "cancelled_24h", aggregate: "count", window: day, where: func(r row) bool { return r["dep_delay"] == nil }},
			{name: "delay_minutes_24h", aggregate: "sum", window: day, of: func(r row) any {
				if r["dep_delay"] == nil {
					return nil
				}
				return max(r["dep_delay"].(float64), 0)
			}},
			{name: "worst_delay_24h", aggregate: "max", of: field("dep_delay"), window: day},
			{name: "delay_variance_24h", aggregate: "variance", of: field("dep_delay"), window: day},
			{name: "carriers_7d", aggregate: "approx_distinct", of: field("carrier"), window: 7 * day},
			{name: "long_hauls_7d", aggregate: "count", window: 7 * day, where: func(r row) bool { return r["distance"].(float64) > 2000 }},
			{name: "flights_ever", aggregate: "count"},
		},
	},
	{
		name: "route_delays", joinKeys: []string{"origin", "dest"}, where: present("dep_delay"),
		features: []feature{
			{name: "departures_7d", aggregate: "count", window: 7 * day},
			{name: "route_delay_24h", aggregate: "mean", of: field("dep_delay"), window: day},
			{name: "route_delay_7d", aggregate: "mean", of: field("dep_delay"), window: 7 * day},
			{name: "best_air_time_7d", aggregate: "min", of: field("air_time"), window: 7 * day},
			{name: "last_delays", aggregate: "last_n", n: 5, of: field("dep_delay")},
			{name: "last_carrier_7d", aggregate: "last", of: field("carrier"), window: 7 * day},
			{name: "p50_delay_7d", aggregate: "approx_quantile", q: 0.5, of: field("dep_delay"), window: 7 * day},
			{name: "departures_ever", aggregate: "count"},
		},
	},
	{
		name: "aircraft_use", joinKeys: []string{"tailnum"}, where: present("dep_delay"),
		features: []feature{
			{name: "flights_ever", aggregate: "count"},
			{name: "air_time_7d", aggregate: "sum", of: field("air_time"), window: 7 * day},
			{name: "first_carrier", aggregate: "first", of: field("carrier")},
			{name: "last_dests", aggregate: "last_n", n: 3, of: field("dest")},
			{name: "last_delay", of: field("dep_delay")},
		},
	},
}

// flightRow is what the plane's source reads in a flight's event.
func flightRow(f *demo.Flight) row {
	r := row{"carrier": f.Carrier, "tailnum": nil, "origin": f.Origin, "dest": f.Dest, "dep_delay": nil, "air_time": nil, "distance": float64(f.Distance)}
	if f.Tailnum != "" {
		r["tailnum"] = f.Tailnum
	}
	if !f.Cancelled {
		r["dep_delay"] = float64(f.DepDelay)
	}
	if f.AirTime > 0 {
		r["air_time"] = float64(f.AirTime)
	}
	return r
}

// TestFlights sends the last flights of the year, out of order by up to some days, through one process.
func TestFlights(t *testing.T) {
	t.Parallel()
	const partitions, flights = 6, 60_000
	text := strings.Replace(string(demo.PlaneYAML), "project: flights", "project: %[1]s", 1)
	text = strings.Replace(text, "topic: flights.departures", "topic: %[2]s", 1)
	kafka := testenv.Kafka(t)
	p := newPlane(t, text, kafka, kafka, testenv.Redis(t), partitions)
	year, err := demo.Load()
	if err != nil {
		t.Fatal(err)
	}
	var all []demo.Flight
	skip := year.Len() - flights
	for f := range year.EndingAt(time.Now().UTC().Truncate(time.Second)) {
		if skip--; skip < 0 {
			all = append(all, f)
		}
	}
	rng := rand.New(rand.NewPCG(2013, 1))
	for i := 0; i < len(all); i += 2000 {
		block := all[i:min(i+2000, len(all))]
		rng.Shuffle(len(block), func(i, j int) { block[i], block[j] = block[j], block[i] })
	}
	pr := p.producer(partitions)
	for i := range all {
		f := &all[i]
		pr.send(f.Carrier, f.AppendEvent(nil), &event{row: flightRow(f), at: f.DepartedAt.UnixMicro()})
	}
	in := p.run("one")
	xs := expectAll(flightViews, pr.sent())
	eventually(t, "every feature of every entity", func() error { return checkAll(in.http, xs) })
	eventually(t, "caught up", in.caughtUp)
	n := 0
	for _, x := range xs {
		n += len(x.entities)
	}
	t.Logf("%d entities", n)
	in.stop()
}
