package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"text/template"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/ingest"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/kafka"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/clickhouse"
	"github.com/freshet-io/freshet/offline/sink"
)

// SinkOptions say what is written, and with which services.
type SinkOptions struct {
	Kafka      string // host:port of a broker
	ClickHouse string // URL
	Events     int
	Users      int
	Partitions int32
	Dir        string // of the definition; it is left empty
	Logger     *slog.Logger
	Out        io.Writer // progress, for people
}

// SinkResult compares the sink, from the topic to acknowledged rows, with inserts of the same rows that are in memory already,
// by the same connection and one after the other.
type SinkResult struct {
	Bare        Rate    `json:"bare_insert"`
	Sink        Rate    `json:"sink"`
	Ratio       float64 `json:"ratio"` // rows a second of the sink over the bare inserts'
	BareBatches int     `json:"bare_batches"`
	SinkBatches int     `json:"sink_batches"`
}

// bareRows is the rows of a bare insert, about as many as a batch of the sink has.
const bareRows = 70_000

var sinkPlane = template.Must(template.New("plane").Parse(`
project: bench
prefix: {{.Prefix}}
connections:
  kafka: {brokers: ["{{.Kafka}}"], replication_factor: 1, min_insync_replicas: 1}
sources:
  - name: {{.Source}}
    topic: {{.Topic}}
    key: [user_id]
    event_time: {field: ts, format: unix_ms}
    schema:
      - {name: user_id, type: string, required: true}
      - {name: amount, type: float64}
      - {name: country, type: string}
      - {name: channel, type: string}
      - {name: session, type: string}
      - {name: ts, type: int64, required: true}
`))

// Sink fills a topic with events, inserts their rows from memory, and then runs the sink from its start until all are
// acknowledged and committed. It makes tables of its own.
func Sink(ctx context.Context, o SinkOptions) (res SinkResult, err error) {
	topic := runName()
	plane, remove, err := loadPlane(o.Dir, sinkPlane, map[string]any{
		"Prefix": topic + ".", "Kafka": o.Kafka, "Topic": topic, "Source": "bench_" + topic[len("bench-"):],
	})
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	opts, err := kafka.Options(*plane.Connections.Kafka, "freshet-bench")
	if err != nil {
		return res, err
	}
	drop, err := sourceTopic(ctx, opts, topic, o.Partitions)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, drop()) }()
	if _, err := fill(ctx, opts, topic, o.Partitions, o.Events, newEventMaker(o.Users)); err != nil {
		return res, err
	}
	fmt.Fprintf(o.Out, "%d events on %d partitions, %d users; load %s\n", o.Events, o.Partitions, o.Users, Load())
	store, err := clickhouse.Open(config.ClickHouse{URL: config.Secret(o.ClickHouse)}, clickhouse.Options{Logger: o.Logger})
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	table := offline.EventsTable(plane.Sources[0])
	if res.Bare, res.BareBatches, err = o.bareInserts(ctx, opts, store, table); err != nil {
		return res, err
	}
	releaseMemory()
	if res.Sink, res.SinkBatches, err = o.sinkPass(ctx, opts, plane, store, table); err != nil {
		return res, err
	}
	res.Ratio = res.Sink.PerSecond / res.Bare.PerSecond
	return res, nil
}

// bareInserts reads and decodes batches and measures only their inserts, into a table beside the sink's.
func (o SinkOptions) bareInserts(ctx context.Context, opts []kgo.Opt, store *clickhouse.Store, t *offline.Table) (Rate, int, error) {
	bare := *t
	bare.Name += "_bare"
	if err := store.Prepare(ctx, &bare); err != nil {
		return Rate{}, 0, err
	}
	cl, err := kgo.NewClient(append(opts[:len(opts):len(opts)], kgo.ConsumeTopics(t.Source.Topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	if err != nil {
		return Rate{}, 0, err
	}
	defer cl.Close()
	reader, err := ingest.NewReader(t.Source)
	if err != nil {
		return Rate{}, 0, err
	}
	var (
		batch  offline.Batch
		fields = make([]feature.Value, len(t.Columns))
		total  Rate
		n      int
	)
	batch.Reset(len(fields))
	for seen := 0; seen < o.Events; {
		fetches := cl.PollRecords(ctx, bareRows-batch.Len())
		if err := errors.Join(ctx.Err(), fetches.Err()); err != nil {
			return Rate{}, 0, err
		}
		fetches.EachRecord(func(rec *kgo.Record) {
			seen++
			if at, _, cause := reader.Read(rec, fields); cause == nil {
				batch.Values = append(batch.Values, fields...)
				batch.Meta = append(batch.Meta, offline.Meta{
					Time: at, Arrived: rec.Timestamp.UnixMicro(), Offset: rec.Offset, Topic: rec.Topic, Partition: rec.Partition, Ordinal: 1,
				})
			}
		})
		if batch.Len() < bareRows && seen < o.Events {
			continue
		}
		n++
		m := startMeter()
		if err := store.Write(ctx, &bare, offline.Range{Topic: "bare", First: int64(n), End: int64(n + 1)}, &batch); err != nil {
			return Rate{}, 0, err
		}
		r := m.rate(batch.Len())
		total.Events, total.Seconds, total.CPUSeconds = total.Events+r.Events, total.Seconds+r.Seconds, total.CPUSeconds+r.CPUSeconds
		total.MaxRSSBytes = max(total.MaxRSSBytes, r.MaxRSSBytes)
		batch.Reset(len(fields))
	}
	total.PerSecond, total.PerCPUSecond = float64(total.Events)/total.Seconds, float64(total.Events)/total.CPUSeconds
	return total, n, nil
}

// sinkPass measures from when the sink has found its places until it has committed everything.
func (o SinkOptions) sinkPass(ctx context.Context, opts []kgo.Opt, plane *config.Plane, store *clickhouse.Store, t *offline.Table) (r Rate, batches int, err error) {
	reg := prometheus.NewRegistry()
	s, err := sink.New(sink.Options{
		Plane: plane, Client: opts, Name: "clickhouse", Store: store, Tables: []*offline.Table{t},
		Budget: sink.NewBudget(plane.Offline.Memory), Metrics: sink.NewMetrics(reg), Logger: o.Logger,
	})
	if err != nil {
		return r, 0, err
	}
	runCtx, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- s.Run(runCtx) }()
	defer func() {
		stop()
		err = errors.Join(err, <-done)
	}()
	if err := until(ctx, func() (bool, error) { return s.Ready() == nil, nil }); err != nil {
		return r, 0, fmt.Errorf("%w: %w", err, s.Ready())
	}
	m := startMeter()
	if err := until(ctx, func() (bool, error) {
		rows, err := counted(reg, "freshet_offline_rows_total")
		return int(rows) >= o.Events, err
	}); err != nil {
		return r, 0, err
	}
	r = m.rate(o.Events)
	written, err := counted(reg, "freshet_offline_batches_total")
	if err != nil {
		return r, 0, err
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return r, 0, err
	}
	defer cl.Close()
	err = until(ctx, func() (bool, error) { // a coordinator that is busy is asked again
		committed, err := sink.Committed(ctx, kadm.NewClient(cl), plane, "clickhouse", t)
		var sum int64
		for _, at := range committed {
			sum += at
		}
		return err == nil && sum >= int64(o.Events), nil
	})
	return r, int(written), err
}

// until asks every few milliseconds whether something is so.
func until(ctx context.Context, so func() (bool, error)) error {
	for {
		if ok, err := so(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}
