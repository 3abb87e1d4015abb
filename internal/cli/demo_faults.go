package cli

import (
	"time"

	"github.com/freshet-io/freshet/deploy/demo"
)

const (
	// kilometres is the carrier whose distances are served in kilometres from the last quarter of the flights on, and
	// silentAirport the one whose boards are not posted any more some weeks later: faults that the demo makes and announces.
	kilometres    = "UA"
	kmPerMile     = 1.609344
	silentAirport = "LGA"
	silentAfter   = 4 * 7 * 24 * time.Hour
)

// demoFaults say from when on each fault is. The model was trained on what was before.
type demoFaults struct{ kilometres, silence time.Time }

// faultsOf places the faults in the flights, of which the last leaves at last.
func faultsOf(flights *demo.Flights, last time.Time) *demoFaults {
	first := last
	for f := range flights.EndingAt(last) {
		first = f.DepartedAt
		break
	}
	from := first.Add(last.Sub(first) * 3 / 4).Truncate(24 * time.Hour)
	return &demoFaults{kilometres: from, silence: from.Add(silentAfter)}
}

// trained reports whether the model was trained on what happened at a time.
func (f *demoFaults) trained(at time.Time) bool { return f == nil || at.Before(f.kilometres) }
