package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
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
	"github.com/freshet-io/freshet/offline/parquet"
	"github.com/freshet-io/freshet/offline/sink"
)

// SinkOptions say what is written, and with which services.
type SinkOptions struct {
	Kafka      string // host:port of a broker
	ClickHouse string // URL
	Parquet    bool   // into files in Dir instead
	Events     int
	Users      int
	Partitions int32
	Dir        string // of the definition and of files; it is left empty
	CPUProfile string // a file for the profile of the sink's pass
	Logger     *slog.Logger
	Out        io.Writer // progress, for people
}

// SinkResult compares the sink, from the topic to acknowledged rows, with bare writes of the same rows that are in memory already,
// one after the other: inserts by the same connection, or files of parquet-go that are synced too.
type SinkResult struct {
	Store       string  `json:"store"`
	Bare        Rate    `json:"bare_write"`
	Sink        Rate    `json:"sink"`
	Ratio       float64 `json:"ratio"`     // rows a second of the sink over the bare writes'
	CPURatio    float64 `json:"cpu_ratio"` // the same by processor time, which a busy machine changes less
	BareBatches int     `json:"bare_batches"`
	SinkBatches int     `json:"sink_batches"`
	Load        string  `json:"load"`
}

// bareRows is the rows of a bare write, about as many as a batch of the sink has.
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

// Sink fills a topic with events, writes their rows from memory, and then runs the sink from its start until all are
// acknowledged and committed. It makes tables or files of its own.
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
	if _, err := fill(ctx, opts, topic, o.Partitions, o.Events, newEventMaker(o.Users).next); err != nil {
		return res, err
	}
	fmt.Fprintf(o.Out, "%d events on %d partitions, %d users; load %s\n", o.Events, o.Partitions, o.Users, Load())
	table := offline.EventsTable(plane.Sources[0])
	to, err := o.open(ctx, filepath.Dir(plane.Processing.StateDir), table)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, to.store.Close()) }()
	res.Store, res.Load = to.name, Load()
	if res.Bare, res.BareBatches, err = o.bareWrites(ctx, opts, to, table); err != nil {
		return res, err
	}
	releaseMemory()
	if res.Sink, res.SinkBatches, err = o.sinkPass(ctx, opts, plane, to, table); err != nil {
		return res, err
	}
	res.Ratio, res.CPURatio = res.Sink.PerSecond/res.Bare.PerSecond, res.Sink.PerCPUSecond/res.Bare.PerCPUSecond
	return res, nil
}

// sinkTarget is a store that is measured.
type sinkTarget struct {
	name  string
	store interface {
		sink.Store
		Close() error
	}
	// bare prepares the bare writing of batch n; what it returns is measured.
	bare func(n int, b *offline.Batch) (write func() error)
}

// open opens the store, and what the bare writes go to.
func (o SinkOptions) open(ctx context.Context, dir string, t *offline.Table) (*sinkTarget, error) {
	if o.Parquet {
		store, err := parquet.Open(ctx, config.Secret("file://"+filepath.Join(dir, "offline")), parquet.Options{Logger: o.Logger})
		if err != nil {
			return nil, err
		}
		bare := newBareParquet(dir)
		return &sinkTarget{name: "parquet", store: store, bare: func(_ int, b *offline.Batch) func() error {
			rows := eventRows(b)
			return func() error { return bare.write(rows) }
		}}, nil
	}
	store, err := clickhouse.Open(config.ClickHouse{URL: config.Secret(o.ClickHouse)}, clickhouse.Options{Logger: o.Logger})
	if err != nil {
		return nil, err
	}
	beside := *t
	beside.Name += "_bare"
	if err := store.Prepare(ctx, &beside); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return &sinkTarget{name: "clickhouse", store: store, bare: func(n int, b *offline.Batch) func() error {
		return func() error {
			return store.Write(ctx, &beside, offline.Range{Topic: "bare", First: int64(n), End: int64(n + 1)}, b)
		}
	}}, nil
}

// bareWrites reads and decodes batches and measures only their writing.
func (o SinkOptions) bareWrites(ctx context.Context, opts []kgo.Opt, to *sinkTarget, t *offline.Table) (Rate, int, error) {
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
		write := to.bare(n, &batch)
		m := startMeter()
		if err := write(); err != nil {
			return Rate{}, 0, err
		}
		total = total.plus(m.rate(batch.Len()))
		batch.Reset(len(fields))
	}
	return total, n, nil
}

// sinkPass measures from when the sink has found its places until it has committed everything.
func (o SinkOptions) sinkPass(ctx context.Context, opts []kgo.Opt, plane *config.Plane, to *sinkTarget, t *offline.Table) (r Rate, batches int, err error) {
	if o.CPUProfile != "" {
		stop, err := profileCPU(o.CPUProfile)
		if err != nil {
			return r, 0, err
		}
		defer stop()
	}
	reg := prometheus.NewRegistry()
	s, err := sink.New(sink.Options{
		Plane: plane, Client: opts, Name: to.name, Store: to.store, Tables: []*offline.Table{t},
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
		committed, err := sink.Committed(ctx, kadm.NewClient(cl), plane, to.name, t)
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
