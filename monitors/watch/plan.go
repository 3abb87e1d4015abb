package watch

import (
	"fmt"
	"time"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/monitors/distance"
	"github.com/freshet-io/freshet/monitors/significance"
)

// Expectation is what follows from a monitor's definition before it has seen anything.
type Expectation struct {
	// Level is at or below which a column's adjusted p-value is significant, with a reference as large as a window.
	Level float64
	// Warnings are for whoever defines the monitor.
	Warnings []string
}

// Expect derives what a monitor's definition leads to.
func Expect(m *config.Monitor) (Expectation, error) {
	var e Expectation
	var err error
	if e.Level, err = schedule(m, 0.5).Level(); err != nil {
		return e, fmt.Errorf("monitor %s: %w", m.Name, err)
	}
	if !m.Skew && m.Against == 0 {
		return e, nil // no distance is measured
	}
	told := map[string]bool{}
	for _, c := range m.Columns {
		d, err := distance.Lookup(c.Method)
		if err != nil {
			return e, fmt.Errorf("monitor %s: %w", m.Name, err)
		}
		n := float64(m.MinSample)
		floor := d.NoiseFloor(distance.MergedBins, n, n)
		if key := fmt.Sprint(c.Method, c.Threshold); floor > c.Threshold/2 && !told[key] {
			told[key] = true
			e.Warnings = append(e.Warnings, fmt.Sprintf("with min_sample %d chance alone gives a %s of %.2g, more than half of the threshold %g: raise min_sample",
				m.MinSample, c.Method, floor, c.Threshold))
		}
	}
	return e, nil
}

// schedule is how often a monitor looks at windows and how often it may be wrong; shared is what windows have in common by
// their reference.
func schedule(m *config.Monitor, shared float64) significance.Schedule {
	return significance.Schedule{
		FalseAlarms: falseAlarms(m), Evaluations: float64(30*24*time.Hour) / float64(m.Every), Step: float64(m.Every) / float64(m.Size),
		Windows: m.For, Shared: shared,
	}
}

// volumeSchedule is the schedule of hours' volume.
func volumeSchedule(m *config.Monitor) significance.Schedule {
	return significance.Schedule{FalseAlarms: falseAlarms(m), Evaluations: 30 * 24, Step: 1, Windows: m.For, Shared: volumeShared}
}

// falseAlarms is the part of a monitor's false alarms that each of its lanes with tests, and the sequential one, has.
func falseAlarms(m *config.Monitor) float64 {
	lanes := 0.0
	if testsWindows(m) {
		lanes++
	}
	if m.Volume != nil {
		lanes++
	}
	if m.Sequential {
		lanes++
	}
	return m.FalseAlarms / max(1, lanes)
}

// testsWindows reports whether a monitor tests anything of a window.
func testsWindows(m *config.Monitor) bool { return m.Skew || m.Against > 0 || len(m.Quality) > 0 }
