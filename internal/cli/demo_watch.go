package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/deploy/demo"
	"github.com/freshet-io/freshet/internal/kafka"
	"github.com/freshet-io/freshet/monitors/alert"
	"github.com/freshet-io/freshet/monitors/baseline"
	"github.com/freshet-io/freshet/monitors/drift"
	"github.com/freshet-io/freshet/monitors/topics"
	"github.com/freshet-io/freshet/monitors/watch"
)

const (
	// A monitor of the demo's plane, and its baseline.
	demoMonitor  = "served_like_trained"
	demoBaseline = "departure_delay_training"

	// alertWithin is how long the demo waits for an alert.
	alertWithin = 2 * time.Minute
)

// demoWatched is what the monitors of the demo found.
type demoWatched struct {
	broken, silent *received       // the alerts of the faults
	muted          []alert.Feature // what the silent airport's feed would have set off
	mutedBy        string
	others         []received
	report         string // the page
}

// watchDemo lets the model predict flights as its server would, with the faults in what it is served, and waits for what is told of them.
// The page of it is in the file named, or in the demo's folder.
func (a *app) watchDemo(ctx context.Context, flights *demo.Flights, l local, set *demoSet, rcv *receiver, r *demoReport, page string) (_ *demoWatched, err error) {
	began := time.Now()
	m := &monitored{plane: l.plane, conn: l.conn}
	if m.opts, err = kafka.Options(l.conn, "freshet-demo"); err != nil {
		return nil, err
	}
	if m.client, err = kgo.NewClient(append(m.opts[:len(m.opts):len(m.opts)], kgo.RecordPartitioner(kgo.ManualPartitioner()))...); err != nil {
		return nil, err
	}
	defer m.client.Close()
	mon, err := m.monitorNamed(demoMonitor)
	if err != nil {
		return nil, err
	}
	quiet := *a
	quiet.Stdout, quiet.Stderr, quiet.Terminal = io.Discard, io.Discard, false
	// No inference is there yet to learn from.
	if err := quiet.createBaseline(ctx, m, demoBaseline, createFlags{from: set.set, variation: variationOff}); err != nil {
		return nil, fmt.Errorf("make the demo's baseline: %w", err)
	}
	if err := awaitSilence(ctx, m, mon); err != nil {
		return nil, err
	}
	if page == "" {
		page = filepath.Join(l.dir, "monitor.html")
	}
	if page, err = filepath.Abs(page); err != nil {
		return nil, err
	}
	w := &demoWatched{report: page}
	if err := a.serveDemo(ctx, flights, l, r); err != nil {
		return nil, err
	}
	if err := w.awaitFaults(ctx, rcv); err != nil {
		return nil, err
	}
	r.WatchSeconds = time.Since(began).Seconds()
	if err := w.awaitAll(ctx, m, rcv, r.lastDeparture); err != nil {
		return nil, err
	}
	r.Alerts, r.Muted = len(w.others), len(w.muted)
	return w, quiet.writeReport(ctx, m, mon, scoreFilter{windows: 60}, w.report)
}

// awaitSilence waits until it is known that the silent airport's boards are old. All of them came before the first inference: in a year that
// is lived through, each comes in its time.
func awaitSilence(ctx context.Context, m *monitored, mon *config.Monitor) error {
	ctx, cancel := context.WithTimeoutCause(ctx, alertWithin, fmt.Errorf("that %s is silent was not found within %s", silentAirport, alertWithin))
	defer cancel()
	for {
		scores, err := m.scores(ctx, mon, scoreFilter{kind: alert.Freshness, slice: baseline.SliceName("origin", silentAirport)})
		if err != nil {
			return err
		}
		if slices.ContainsFunc(scores, func(s watch.Score) bool { return s.Outcome == string(drift.Exceeded) }) {
			return nil
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// awaitFaults waits for the alerts of both faults.
func (w *demoWatched) awaitFaults(ctx context.Context, rcv *receiver) (err error) {
	told := func(kind alert.Kind, column string) func(*alert.Message) bool {
		return func(m *alert.Message) bool {
			return m.Type == alert.FiringType && m.Monitor == demoMonitor && slices.ContainsFunc(m.Features, func(f alert.Feature) bool { return f.Kind == kind && f.Column == column })
		}
	}
	if w.broken, err = rcv.wait(ctx, "the fault in "+kilometres+"'s distances", alertWithin, told(alert.Skew, "distance")); err != nil {
		return err
	}
	w.silent, err = rcv.wait(ctx, "the silence of "+silentAirport, alertWithin, told(alert.Freshness, "boards"))
	return err
}

// awaitAll waits until every monitor has judged the whole windows of the flights, and every message of theirs that is to be sent is
// delivered.
func (w *demoWatched) awaitAll(ctx context.Context, m *monitored, rcv *receiver, last time.Time) error {
	ctx, cancel := context.WithTimeoutCause(ctx, alertWithin, fmt.Errorf("the monitors had not told everything within %s", alertWithin))
	defer cancel()
	for _, mon := range m.plane.Monitors {
		// The last inferences are of an hour before the last departure, and a window is judged when later ones have come.
		from := last.Add(-beforeDeparture - mon.Grace - mon.Every - time.Hour).UnixMicro()
		for {
			scores, err := m.scores(ctx, mon, scoreFilter{windows: 1})
			if err != nil {
				return err
			}
			if slices.ContainsFunc(scores, func(s watch.Score) bool { return s.Kind != alert.Freshness && s.Window.End > from }) {
				break
			}
			if err := pause(ctx); err != nil {
				return err
			}
		}
	}
	for {
		sent := 0
		w.muted = nil
		err := m.read(ctx, topics.Alerts, 0, time.Time{}, func(rec *kgo.Record) error {
			msg, err := alert.ParseEvent(rec.Value)
			switch {
			case err != nil:
				return err
			case msg.Type.Delivered():
				sent++
			case msg.Type == alert.MutedType:
				w.muted, w.mutedBy = append(w.muted, msg.Features...), msg.MutedBy
			}
			return nil
		})
		if err != nil {
			return err
		}
		all, refused := rcv.all()
		if refused > 0 || len(all) > sent {
			return fmt.Errorf("the webhook was told %d messages of %d, and refused %d", len(all), sent, refused)
		}
		if len(all) == sent {
			slices.SortStableFunc(all, func(a, b received) int { return cmp.Compare(a.StartedAt, b.StartedAt) })
			w.others = all
			return nil
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// pause is a moment in which something may happen.
func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(100 * time.Millisecond):
		return nil
	}
}

// print tells what was found, and shows the alert of the first fault as it was delivered.
func (w *demoWatched) print(out io.Writer, r *demoReport) error {
	fmt.Fprintf(out, `
The model predicted %s flights; %s labels followed, up to a day later. Two faults were made on purpose:
from %s on it was served %s's distances in kilometres, and from %s on %s's hourly boards fell silent. The webhook was told, signed:

`, thousands(int64(r.Inferences)), thousands(int64(r.Labels)), r.faults.kilometres.Format(time.DateOnly), kilometres, r.faults.silence.Format(time.DateOnly), silentAirport)
	d := w.broken.Data // as a person reads it: with the first of its features and pieces of evidence
	d.Features, d.Evidence = d.Features[:min(1, len(d.Features))], d.Evidence[:min(1, len(d.Evidence))]
	text, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s\n\nand %q", text, w.silent.Summary)
	if len(w.muted) > 0 {
		names := make([]string, len(w.muted))
		for i, f := range w.muted {
			names[i] = seriesName(f.Column, f.Slice)
		}
		fmt.Fprintf(out, ", which muted what follows from it:\n%s (%s)", strings.Join(names, ", "), w.mutedBy)
	}
	fmt.Fprintln(out, ".")
	if len(w.silent.Evidence) > 0 { // the year's boards came at once, before the first inference
		fmt.Fprintf(out, "Its newest one was %.0f days old when the last of the others had come.\n", float64(w.silent.Evidence[0].Score)/(24*3600))
	}
	fmt.Fprintf(out, "\nEvery alert of the year, signed and verified, each once:\n\n")
	t := newTable(left("BEGAN"), left("OVER"), left("MONITOR"), left("WHAT"), left("FEATURES"))
	for _, m := range w.others {
		if m.Type == alert.ResolvedType {
			continue // it is told beside its firing
		}
		over := "still firing"
		if i := slices.IndexFunc(w.others, func(r received) bool { return r.Type == alert.ResolvedType && r.Episode == m.Episode }); i >= 0 {
			m = w.others[i] // it has the columns that joined later too
			over = m.ResolvedAt.Time().Format(time.DateOnly)
		}
		var names []string
		for _, f := range m.Features {
			names = append(names, cmp.Or(seriesName(f.Column, f.Slice), string(f.Kind)))
		}
		t.add(m.StartedAt.Time().Format(time.DateOnly), over, m.Monitor, string(m.Class), firstOf(names, 0))
	}
	return t.print(out)
}

// tryWatch prints what somebody who is on call would do next.
func (w *demoWatched) tryWatch(out io.Writer, program, plane string) {
	fmt.Fprintf(out, `
  # the page of what the monitor found: open it in a browser
  file://%s

  # what fires, and the evidence of it
  %s alerts list %s
`, w.report, program, plane)
}
