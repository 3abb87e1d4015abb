package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/deploy/demo"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/kafka"
	"github.com/freshet-io/freshet/monitors/alert"
	"github.com/freshet-io/freshet/monitors/topics"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/parquet"
	"github.com/freshet-io/freshet/offline/train"
)

const (
	// The monitors of the demo's plane, and its baseline.
	demoMonitor  = "served_like_trained"
	demoSeasons  = "seasons"
	demoBaseline = "departure_delay_training"

	// kilometres is the carrier whose distances are served in kilometres from the last quarter of the flights on: a
	// fault that the demo makes and announces.
	kilometres   = "UA"
	kmPerMile    = 1.609344
	inferencesOf = 120_000 // at most so many flights are predicted

	// alertWithin is how long the demo waits for an alert.
	alertWithin = 2 * time.Minute
)

// demoWatched is what the monitors of the demo found.
type demoWatched struct {
	broken  *received // the alert of the fault
	others  []received
	from    time.Time // of the fault
	report  string    // the page
	columns int
}

// watchDemo lets the model predict flights as its server would, with a fault in what it is served, and waits for the alert.
func (a *app) watchDemo(ctx context.Context, flights *demo.Flights, l local, set *demoSet, rcv *receiver, r *demoReport) (_ *demoWatched, err error) {
	began := time.Now()
	m := &monitored{plane: l.plane, conn: l.conn}
	if m.opts, err = kafka.Options(l.conn, "freshet-demo"); err != nil {
		return nil, err
	}
	if m.client, err = kgo.NewClient(append(m.opts[:len(m.opts):len(m.opts)], kgo.RecordPartitioner(kgo.ManualPartitioner()))...); err != nil {
		return nil, err
	}
	defer m.client.Close()
	quiet := *a
	quiet.Stdout, quiet.Stderr, quiet.Terminal = io.Discard, io.Discard, false
	if err := quiet.createBaseline(ctx, m, demoBaseline, createFlags{from: set.set}); err != nil {
		return nil, fmt.Errorf("make the demo's baseline: %w", err)
	}
	w := &demoWatched{report: filepath.Join(l.dir, "monitor.html")}
	if r.Inferences, err = a.serveDemo(ctx, flights, l, w, r.lastDeparture); err != nil {
		return nil, err
	}
	w.broken, err = rcv.wait(ctx, "the fault in "+kilometres+"'s distances", alertWithin, func(m *alert.Message) bool {
		return m.Type == alert.FiringType && m.Monitor == demoMonitor && slices.ContainsFunc(m.Features, func(f alert.Feature) bool { return f.Column == "distance" })
	})
	if err != nil {
		return nil, err
	}
	r.WatchSeconds = time.Since(began).Seconds()
	if w.others, err = a.allAlerts(ctx, m, rcv, r.lastDeparture); err != nil {
		return nil, err
	}
	r.Alerts = len(w.others)
	mon, err := m.monitorNamed(demoMonitor)
	if err != nil {
		return nil, err
	}
	w.columns = len(mon.Columns)
	return w, quiet.writeReport(ctx, m, mon, scoreFilter{windows: 60}, w.report)
}

// allAlerts waits until every monitor has judged the whole windows of the flights, and every message of theirs that is to be sent is
// delivered.
func (a *app) allAlerts(ctx context.Context, m *monitored, rcv *receiver, last time.Time) ([]received, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, alertWithin, fmt.Errorf("the monitors had not told everything within %s", alertWithin))
	defer cancel()
	for _, mon := range m.plane.Monitors {
		for {
			scores, err := m.scores(ctx, mon, scoreFilter{windows: 1})
			if err != nil {
				return nil, err
			}
			// The last inferences are of an hour before the last departure, and a window is judged when later ones have come.
			if len(scores) > 0 && time.UnixMicro(scores[0].Window.End).After(last.Add(-beforeDeparture-mon.Grace-mon.Every-time.Hour)) {
				break
			}
			if err := pause(ctx); err != nil {
				return nil, err
			}
		}
	}
	sent := 0
	err := m.read(ctx, topics.Alerts, 0, time.Time{}, func(rec *kgo.Record) error {
		msg, err := alert.ParseEvent(rec.Value)
		if err == nil && msg.Type.Delivered() {
			sent++
		}
		return err
	})
	for err == nil {
		all, refused := rcv.all()
		switch {
		case refused > 0 || len(all) > sent:
			return nil, fmt.Errorf("the webhook was told %d messages of %d, and refused %d", len(all), sent, refused)
		case len(all) == sent:
			return all, nil
		}
		err = pause(ctx)
	}
	return nil, err
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

// serveDemo computes what the model would have been served an hour before each flight, and sends inferences of it.
func (a *app) serveDemo(ctx context.Context, flights *demo.Flights, l local, w *demoWatched, last time.Time) (sent int, err error) {
	store, err := parquet.Open(ctx, l.plane.Connections.Parquet.URL, parquet.Options{})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	opts, err := kafka.Options(l.conn, "freshet-demo")
	if err != nil {
		return 0, err
	}
	cl, err := kgo.NewClient(append(opts, kgo.DefaultProduceTopic(l.plane.Models[0].Inferences.Topic), kgo.ProducerLinger(5*time.Millisecond), kgo.MaxBufferedRecords(20_000))...)
	if err != nil {
		return 0, err
	}
	defer cl.Close()
	spine := newFlightSpine(flights, last)
	w.from = spine.fault
	out := &inferenceOutput{ctx: ctx, client: cl}
	s, err := train.New(train.Options{
		Plane: l.plane, Service: demoService, Spine: spine, Store: store, Output: out, Dir: l.dir,
		SpineName: "flights", StoreName: "parquet", OutputName: l.plane.Models[0].Inferences.Topic,
	})
	if err != nil {
		return 0, err
	}
	stop := a.watchSet(s)
	_, err = s.Build(ctx)
	stop()
	return out.rows, err
}

// flightSpine is the flights to predict: what a model server knows of each when it asks for features.
type flightSpine struct {
	next  func() (demo.Flight, bool)
	stop  func()
	step  int
	seen  int
	fault time.Time // from when on the fault is
}

var flightColumns = []train.SpineColumn{
	{Name: "carrier", Type: feature.String},
	{Name: "origin", Type: feature.String},
	{Name: "dest", Type: feature.String},
	{Name: "distance", Type: feature.Float64},
	{Name: "event_timestamp", Type: feature.Timestamp},
}

func newFlightSpine(flights *demo.Flights, last time.Time) *flightSpine {
	s := &flightSpine{step: max(1, (flights.Len()+inferencesOf-1)/inferencesOf)}
	first := last
	for f := range flights.EndingAt(last) {
		first = f.DepartedAt
		break
	}
	s.fault = first.Add(last.Sub(first) * 3 / 4).Truncate(24 * time.Hour)
	s.next, s.stop = iter.Pull(flights.EndingAt(last))
	return s
}

func (s *flightSpine) Columns() []train.SpineColumn { return flightColumns }

func (s *flightSpine) Next(row []feature.Value) error {
	for {
		f, ok := s.next()
		if !ok {
			return io.EOF
		}
		if s.seen++; (s.seen-1)%s.step != 0 {
			continue
		}
		at, distance := f.DepartedAt.Add(-beforeDeparture), float64(f.Distance)
		if f.Carrier == kilometres && !at.Before(s.fault) {
			distance *= kmPerMile
		}
		row[0], row[1], row[2] = feature.StringValue(f.Carrier), feature.StringValue(f.Origin), feature.StringValue(f.Dest)
		row[3], row[4] = feature.Float64Value(distance), feature.TimestampValue(at.UnixMicro())
		return nil
	}
}

func (s *flightSpine) Close() error {
	s.stop()
	return nil
}

// inferenceOutput sends each row as an inference.
type inferenceOutput struct {
	ctx    context.Context
	client *kgo.Client
	names  []string
	rows   int
}

func (o *inferenceOutput) Text() bool { return false }

func (o *inferenceOutput) Begin(_ context.Context, _ []train.SpineColumn, features []offline.Column) error {
	for _, f := range features {
		o.names = append(o.names, f.Name)
	}
	o.names = append(o.names, "distance") // a request field is part of what a model is served
	return nil
}

func (o *inferenceOutput) Write(spine, features []feature.Value) error {
	id := fmt.Sprintf("f%06d", o.rows)
	values := append(slices.Clone(features), spine[3])
	at := time.UnixMicro(spine[4].Int64())
	o.rows++
	o.client.Produce(o.ctx, &kgo.Record{Key: []byte(id), Value: demo.AppendInference(nil, id, spine[0].Str(), at, o.names, values)}, nil)
	return o.ctx.Err()
}

func (o *inferenceOutput) Commit(ctx context.Context, _ *train.Manifest) error {
	if err := o.client.Flush(ctx); err != nil {
		return fmt.Errorf("send inferences: %w", err)
	}
	return nil
}

func (o *inferenceOutput) Abort() error { return nil }

// print tells what was found, and shows the alert of the fault as it was delivered.
func (w *demoWatched) print(out io.Writer, r *demoReport) error {
	fmt.Fprintf(out, "\nThe model predicted %s flights. From %s on it was served %s's distances in kilometres, on purpose; the webhook was told:\n\n",
		thousands(int64(r.Inferences)), w.from.Format("2006-01-02"), kilometres)
	d := w.broken.Data // as a person reads it: with the first of its features and pieces of evidence
	d.Features, d.Evidence = d.Features[:min(1, len(d.Features))], d.Evidence[:min(1, len(d.Evidence))]
	text, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s\n", text)
	fmt.Fprintf(out, "\nEvery alert of the year, signed and verified, each once:\n\n")
	t := newTable(left("TOLD OF"), left("MONITOR"), left("STATUS"), left("WHAT"), left("FEATURES"))
	for _, m := range w.others {
		var names []string
		for _, f := range m.Features {
			names = append(names, cmp.Or(seriesName(f.Column, f.Slice), string(f.Kind)))
		}
		more := ""
		if len(names) > 3 {
			more, names = fmt.Sprintf(" and %d more", len(names)-3), names[:3]
		}
		t.add(m.StartedAt.Time().Format("2006-01-02"), m.Monitor, m.Status, string(m.Class), strings.Join(names, ", ")+more)
	}
	return t.print(out)
}

// tryWatch prints what somebody who is on call would do next.
func (w *demoWatched) tryWatch(out io.Writer, program string, l local, plane string) {
	fmt.Fprintf(out, `
  # the page of what the monitor found: open it in a browser
  file://%s

  # what fires, and the evidence of it
  %s alerts list %s --brokers %s
`, w.report, program, plane, strings.Join(l.conn.Brokers, ","))
}
