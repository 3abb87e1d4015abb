package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/monitors/alert"
	"github.com/freshet-io/freshet/monitors/baseline"
	"github.com/freshet-io/freshet/monitors/drift"
	"github.com/freshet-io/freshet/monitors/report"
	"github.com/freshet-io/freshet/monitors/topics"
	"github.com/freshet-io/freshet/monitors/watch"
)

const monitorLong = `A monitor compares windows of a model's inferences with its training data, or with earlier windows. These commands
read what the processes with the role monitor have written to Kafka.

The definition is FILE..., or else $FRESHET_PLANE, or else plane.yaml.`

func (a *app) monitorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "monitor",
		Short: "Show what monitors have found",
		Long:  monitorLong,
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.monitorListCommand(), a.monitorScoresCommand(), a.monitorReportCommand(), a.monitorBacktestCommand())
	return cmd
}

func (a *app) monitorListCommand() *cobra.Command {
	var place monitorPlace
	cmd := &cobra.Command{
		Use:     "list [FILE...]",
		Short:   "List the monitors: their last window, their worst column and what fires",
		Example: "  freshet monitor list plane.yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withMonitored(cmd.Context(), args, &place, func(m *monitored) error { return a.listMonitors(cmd.Context(), m) })
		},
	}
	place.addFlags(cmd)
	return cmd
}

// monitorRow is a monitor as printed.
type monitorRow struct {
	Name       string       `json:"name"`
	Model      string       `json:"model"`
	Window     string       `json:"window"`
	Baseline   string       `json:"baseline"`
	Made       string       `json:"baseline_made,omitempty"` // absent: it has not been made
	LastWindow string       `json:"last_window,omitempty"`   // its end
	Judged     int          `json:"judged"`                  // columns and slices of the last window
	Changed    int          `json:"changed"`                 // of them
	Worst      *watch.Score `json:"worst,omitempty"`
	Firing     []string     `json:"firing"`
	// Unbaselined are the inferences of the model so far that are compared with nothing, by version.
	Unbaselined map[string]uint64 `json:"unbaselined,omitempty"`
}

func (a *app) listMonitors(ctx context.Context, m *monitored) error {
	made, warnings, err := m.baselines(ctx)
	if err != nil {
		return err
	}
	open, err := m.firing(ctx)
	if err != nil {
		return err
	}
	a.warn(warnings)
	strays, err := a.unbaselined(ctx, m, made)
	if err != nil {
		return err
	}
	rows := []monitorRow{}
	for _, mon := range m.plane.Monitors {
		scores, err := m.scores(ctx, mon, scoreFilter{slice: allSlices, windows: 1})
		if err != nil {
			return err
		}
		row := newMonitorRow(mon, made[mon.BinsName()], scores, open[mon.Name])
		row.Unbaselined = strays[mon.Model.Name]
		rows = append(rows, row)
	}
	if a.json() {
		return printJSON(a.Stdout, rows)
	}
	t := newTable(left("MONITOR"), left("MODEL"), left("WINDOW"), left("BASELINE"), left("LAST WINDOW"), left("CHANGED"), left("WORST COLUMN"), left("FIRING"))
	for _, r := range rows {
		state, last, changed, worst := r.Baseline, "none yet", "", ""
		if r.Baseline != "" && r.Made == "" {
			state += " (not made)"
		}
		if r.LastWindow != "" {
			last, changed = r.LastWindow, fmt.Sprintf("%d of %d", r.Changed, r.Judged)
		}
		if r.Worst != nil {
			worst = fmt.Sprintf("%s %s (threshold %g)", nameOf(r.Worst.Series()), report.Number(float64(r.Worst.Effect)), r.Worst.Threshold)
		}
		t.add(r.Name, r.Model, r.Window, state, last, changed, worst, firstOf(r.Firing, 0))
	}
	return t.print(a.Stdout)
}

func newMonitorRow(mon *config.Monitor, b *baseline.Baseline, scores []watch.Score, firing []string) monitorRow {
	r := monitorRow{Name: mon.Name, Model: mon.Model.Name, Window: windowText(mon.Size), Baseline: mon.BinsName(), Judged: len(scores), Firing: firing}
	if mon.Every != mon.Size {
		r.Window += " every " + windowText(mon.Every)
	}
	if b != nil && b.Model == mon.Model.Name {
		r.Made = instant(b.Build)
	}
	if firing == nil {
		r.Firing = []string{}
	}
	if last := lastWindow(scores); last > 0 {
		r.LastWindow = instant(last)
	}
	for i := range scores {
		s := &scores[i]
		if s.Changed() {
			r.Changed++
		}
		if r.Worst == nil || times(s) > times(r.Worst) {
			r.Worst = s
		}
	}
	return r
}

// lastWindow is the end of the last window of some scores, in microseconds: of the monitor's own windows, if there are any, for hours of volume
// and ticks of freshness end otherwise. 0: there are no scores.
func lastWindow(scores []watch.Score) (last int64) {
	own := slices.ContainsFunc(scores, func(s watch.Score) bool { return sequenceOf(s.Kind) == "" })
	for i := range scores {
		if !own || sequenceOf(scores[i].Kind) == "" {
			last = max(last, scores[i].Window.End)
		}
	}
	return last
}

// times is how many thresholds an effect is; one that was not measured, or on too few rows or labels, is below any.
func times(s *watch.Score) float64 {
	if o := drift.Outcome(s.Outcome); o == drift.TooFewRows || o == drift.NoRows || o == watch.TooFewLabels {
		return -1
	}
	if x := float64(s.Effect) / s.Threshold; x >= 0 {
		return x
	}
	return -1
}

func seriesName(column, slice string) string {
	if slice == "" {
		return column
	}
	return column + " (" + slice + ")"
}

// nameOf is a series as lists name it: its column, or what it watches where it has none.
func nameOf(s alert.Series) string {
	name := cmp.Or(s.Column, string(s.Kind))
	if s.Check != "" {
		name += " " + s.Check
	}
	return seriesName(name, s.Slice)
}

// kindOf is what a series watches, with which of the kind's checks it is.
func kindOf(s alert.Series) string { return strings.TrimSpace(string(s.Kind) + " " + s.Check) }

// firing returns the series of episodes that are not over, by monitor.
func (m *monitored) firing(ctx context.Context) (map[string][]string, error) {
	type episode struct {
		monitor  string
		features map[alert.Series]alert.Feature
	}
	open := map[string]*episode{}
	err := m.read(ctx, topics.Alerts, 0, time.Time{}, func(rec *kgo.Record) error {
		msg, err := alert.ParseEvent(rec.Value)
		if err != nil {
			return fmt.Errorf("%s, offset %d: %w", rec.Topic, rec.Offset, err)
		}
		if msg.Type == alert.ResolvedType || msg.Type == alert.UnheardType {
			delete(open, msg.Episode)
			return nil
		}
		e := open[msg.Episode]
		if e == nil {
			e = &episode{msg.Monitor, map[alert.Series]alert.Feature{}}
			open[msg.Episode] = e
		}
		for _, f := range msg.Features {
			e.features[f.Series] = f
		}
		return nil
	})
	out := map[string][]string{}
	for _, e := range open {
		for _, f := range e.features {
			if f.Until != 0 {
				continue
			}
			out[e.monitor] = append(out[e.monitor], nameOf(f.Series))
		}
	}
	for name, of := range out {
		slices.Sort(of)
		out[name] = slices.Compact(of)
	}
	return out, err
}
