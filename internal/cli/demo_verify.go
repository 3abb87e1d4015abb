package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/freshet-io/freshet/deploy/demo"
)

// tally is a lifetime count that the demo's plane keeps for each entity of one kind, and what it must come to: each
// flight counted once. The demo is done when lookups say so, for every entity of every view.
type tally struct {
	feature  string   // view:feature
	joinKeys []string // of the entity
	keys     [][]string
	want     map[string]int64 // by the key's values, joined
	total    int64
}

// tallies reads off the flights what every view must come to.
func tallies(flights *demo.Flights) []*tally {
	carriers := &tally{feature: "carrier_delays:departures_ever", joinKeys: []string{"carrier"}, want: map[string]int64{}}
	airports := &tally{feature: "airport_departures:flights_ever", joinKeys: []string{"origin"}, want: map[string]int64{}}
	routes := &tally{feature: "route_delays:departures_ever", joinKeys: []string{"origin", "dest"}, want: map[string]int64{}}
	aircraft := &tally{feature: "aircraft_use:flights_ever", joinKeys: []string{"tailnum"}, want: map[string]int64{}}
	for f := range flights.All() {
		airports.count(f.Origin)
		if f.Cancelled {
			continue
		}
		carriers.count(f.Carrier)
		routes.count(f.Origin, f.Dest)
		aircraft.count(f.Tailnum)
	}
	return []*tally{carriers, airports, routes, aircraft}
}

func (t *tally) count(key ...string) {
	id := fmt.Sprint(key)
	if t.want[id] == 0 {
		t.keys = append(t.keys, key)
	}
	t.want[id]++
	t.total++
}

// errCountedTwice is returned when an entity has counted more events than there are.
var errCountedTwice = errors.New("an entity has counted more flights than there are")

// lookupBatch is how many entities one lookup asks for.
const lookupBatch = 256

// reached looks all entities up and returns the sum of their counts; it equals total only when each entity's count is
// the one that the flights give.
func (t *tally) reached(ctx context.Context, client *lookupClient) (int64, error) {
	var sum int64
	for keys := range slices.Chunk(t.keys, lookupBatch) {
		req := lookupRequest{Features: []string{t.feature}, FullFeatureNames: true, Entities: map[string][]json.RawMessage{}}
		for _, key := range keys {
			for i, name := range t.joinKeys {
				req.Entities[name] = append(req.Entities[name], json.RawMessage(strconv.Quote(key[i])))
			}
		}
		resp, err := client.get(ctx, req)
		if err != nil {
			return 0, err
		}
		counts := resp.Results[len(resp.Results)-1].Values
		if len(counts) != len(keys) {
			return 0, fmt.Errorf("asked for %d entities, got %d", len(keys), len(counts))
		}
		for i, key := range keys {
			if string(counts[i]) == "null" { // not yet seen
				continue
			}
			n, err := strconv.ParseInt(string(counts[i]), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("%s of %v: %w", t.feature, key, err)
			}
			if want := t.want[fmt.Sprint(key)]; n > want {
				return 0, fmt.Errorf("%w: %s of %v is %d of %d", errCountedTwice, t.feature, key, n, want)
			}
			sum += n
		}
	}
	return sum, nil
}

const (
	verifyEvery = 200 * time.Millisecond
	// stalledAfter is how long no count may move before the demo gives up.
	stalledAfter = time.Minute
	// manyKeys is from how many entities on a tally waits for the others: asking for them costs what is measured.
	manyKeys = 1000
)

// awaitAll returns when every tally has reached its total. show is told which share of the flights the slowest tally
// that was looked at has counted.
func awaitAll(ctx context.Context, client *lookupClient, all []*tally, show func(share float64)) error {
	pending := slices.SortedFunc(slices.Values(all), func(a, b *tally) int { return len(a.keys) - len(b.keys) })
	last := map[*tally]int64{}
	for moved := time.Now(); ; {
		var behind []*tally
		slowest := 1.0
		for _, t := range pending {
			if len(behind) > 0 && len(t.keys) > manyKeys {
				behind = append(behind, t)
				continue
			}
			n, err := t.reached(ctx, client)
			if err != nil {
				return err
			}
			if n != last[t] {
				last[t], moved = n, time.Now()
			}
			if n < t.total {
				behind, slowest = append(behind, t), min(slowest, float64(n)/float64(t.total))
			}
		}
		show(slowest)
		if pending = behind; len(pending) == 0 {
			return nil
		}
		if time.Since(moved) > stalledAfter {
			t := pending[0]
			return fmt.Errorf("%s has counted %d of %d flights and nothing has moved for %v", t.feature, last[t], t.total, stalledAfter)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(verifyEvery):
		}
	}
}
