package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/deploy/demo"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/kafka"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/parquet"
	"github.com/freshet-io/freshet/offline/train"
)

// inferencesOf is how many flights are predicted, at most.
const inferencesOf = 90_000

// serveDemo computes what the model would have been served an hour before each flight, and sends inferences of it.
// Labels of them follow hours later, in the stream's time.
func (a *app) serveDemo(ctx context.Context, flights *demo.Flights, l local, r *demoReport) (err error) {
	store, err := parquet.Open(ctx, l.plane.Connections.Parquet.URL, parquet.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	opts, err := kafka.Options(l.conn, "freshet-demo")
	if err != nil {
		return err
	}
	cl, err := kgo.NewClient(append(opts, kgo.DefaultProduceTopic(l.plane.Models[0].Inferences.Topic), kgo.ProducerLinger(5*time.Millisecond), kgo.MaxBufferedRecords(20_000))...)
	if err != nil {
		return err
	}
	defer cl.Close()
	model := l.plane.Models[0]
	out := &inferenceOutput{ctx: ctx, client: cl, labels: model.Labels.Source.Topic, last: r.lastDeparture}
	s, err := train.New(train.Options{
		Plane: l.plane, Service: model.Service.Name, Spine: newFlightSpine(flights, r), Store: store, Output: out, Dir: l.dir,
		SpineName: "flights", StoreName: "parquet", OutputName: model.Inferences.Topic,
	})
	if err != nil {
		return err
	}
	stop := a.watchSet(s)
	_, err = s.Build(ctx)
	stop()
	r.Inferences, r.Labels = out.rows, out.labelled
	return err
}

// flightSpine is the flights to predict: what a model server knows of each when it asks for features.
type flightSpine struct {
	next   func() (demo.Flight, bool)
	stop   func()
	step   int
	seen   int
	faults *demoFaults
}

var flightColumns = []train.SpineColumn{
	{Name: "carrier", Type: feature.String},
	{Name: "origin", Type: feature.String},
	{Name: "dest", Type: feature.String},
	{Name: "distance", Type: feature.Float64},
	{Name: "event_timestamp", Type: feature.Timestamp},
	{Name: "dep_delay", Type: feature.Int64}, // null: it was cancelled
}

func newFlightSpine(flights *demo.Flights, r *demoReport) *flightSpine {
	s := &flightSpine{step: max(1, (flights.Len()+inferencesOf-1)/inferencesOf), faults: r.faults}
	s.next, s.stop = iter.Pull(flights.EndingAt(r.lastDeparture))
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
		if f.Carrier == kilometres && !at.Before(s.faults.kilometres) {
			distance *= kmPerMile
		}
		row[0], row[1], row[2] = feature.StringValue(f.Carrier), feature.StringValue(f.Origin), feature.StringValue(f.Dest)
		row[3], row[4] = feature.Float64Value(distance), feature.TimestampValue(at.UnixMicro())
		if row[5] = feature.Int64Value(int64(f.DepDelay)); f.Cancelled {
			row[5] = feature.Value{}
		}
		return nil
	}
}

func (s *flightSpine) Close() error {
	s.stop()
	return nil
}

// inferenceOutput sends each row as an inference, and its label as far as it is known by now.
type inferenceOutput struct {
	ctx            context.Context
	client         *kgo.Client
	labels         string // their topic
	last           time.Time
	names          []string
	rows, labelled int
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
	o.client.Produce(o.ctx, &kgo.Record{Key: []byte(id), Value: demo.AppendInference(nil, id, spine[0].Str(), spine[1].Str(), at, o.names, values)}, nil)
	// Each airline reports in its own time, up to a day later.
	if reported := at.Add(beforeDeparture + time.Duration(o.rows%24)*time.Hour); !spine[5].IsNull() && !reported.After(o.last) {
		o.labelled++
		o.client.Produce(o.ctx, &kgo.Record{Topic: o.labels, Key: []byte(id), Value: demo.AppendLabel(nil, id, int(spine[5].Int64()), reported)}, nil)
	}
	return o.ctx.Err()
}

func (o *inferenceOutput) Commit(ctx context.Context, _ *train.Manifest) error {
	if err := o.client.Flush(ctx); err != nil {
		return fmt.Errorf("send inferences: %w", err)
	}
	return nil
}

func (o *inferenceOutput) Abort() error { return nil }
