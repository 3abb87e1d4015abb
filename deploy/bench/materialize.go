package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"text/template"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/ingest"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/kafka"
)

// MaterializeOptions say what is materialized, and with which services.
type MaterializeOptions struct {
	Kafka      string // host:port of a broker
	Redis      string // URL
	Events     int
	Users      int
	Partitions int32
	Sketches   bool // a view of approx_distinct and approx_quantile over 24 h instead of count, sum and max over 1 h
	History    bool // a second pass with the view's log
	Commit     time.Duration
	Dir        string // of the local store; it is left empty
	CPUProfile string // a file for the profile of the materializing pass
	Logger     *slog.Logger
	Out        io.Writer // progress, for people
}

// MaterializeResult compares the whole path with a bare loop that consumes and decodes the same records with the same
// client and decoder, in the same process.
type MaterializeResult struct {
	Bare          Rate    `json:"bare_consume_and_decode"`
	Materialize   Rate    `json:"materialize"`
	RatioCPU      float64 `json:"ratio_of_cpu"` // events per CPU-second of materialize over bare
	Logged        *Rate   `json:"materialize_with_log,omitempty"`
	LogRatioCPU   float64 `json:"log_ratio_of_cpu,omitempty"` // events per CPU-second with the log over without
	BytesPerEvent float64 `json:"bytes_per_event"`
}

var materializePlane = template.Must(template.New("plane").Parse(`
project: {{.Project}}
prefix: {{.Prefix}}
connections:
  kafka: {brokers: ["{{.Kafka}}"], replication_factor: 1, min_insync_replicas: 1}
processing: {commit_interval: {{.Commit}}, state_cache_bytes: 1073741824}
entities:
  - {name: user, join_keys: [{name: user_id, type: string}]}
sources:
  - name: events
    topic: {{.Topic}}
    format: json
    key: [user_id]
    event_time: {field: ts, format: unix_ms}
    schema:
      - {name: user_id, type: string, required: true}
      - {name: amount, type: float64}
      - {name: country, type: string}
      - {name: ts, type: int64, required: true}
feature_views:
  - name: user_amounts
    entity: user
    source: events
    features:
{{- if .Sketches}}
      - {name: countries_24h, aggregate: approx_distinct, of: country, window: 24h}
      - {name: p90_24h, aggregate: approx_quantile, q: 0.9, of: amount, window: 24h}
{{- else}}
      - {name: count_1h, aggregate: count, window: 1h}
      - {name: sum_1h, aggregate: sum, of: amount, window: 1h}
      - {name: max_1h, aggregate: max, of: amount, window: 1h}
{{- end}}
`))

// Materialize fills a topic with events, measures the bare loop, and then the runtime from its start until every event
// is committed and published.
func Materialize(ctx context.Context, o MaterializeOptions) (res MaterializeResult, err error) {
	topic := runName()
	plane, remove, err := o.plane("bench", topic+".", topic)
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
	bytesSent, err := fill(ctx, opts, topic, o.Partitions, o.Events, newEventMaker(o.Users).next)
	if err != nil {
		return res, err
	}
	res.BytesPerEvent = float64(bytesSent) / float64(o.Events)
	fmt.Fprintf(o.Out, "%d events of %.0f bytes on %d partitions, %d users\n", o.Events, res.BytesPerEvent, o.Partitions, o.Users)
	if res.Bare, err = bareLoop(ctx, opts, plane.Sources[0], o.Events); err != nil {
		return res, err
	}
	if res.Materialize, err = o.measure(ctx, plane, opts); err != nil {
		return res, err
	}
	res.RatioCPU = res.Materialize.PerCPUSecond / res.Bare.PerCPUSecond
	if o.History {
		err = o.withLog(ctx, topic, opts, &res)
	}
	return res, err
}

// plane loads the definition of a pass.
func (o MaterializeOptions) plane(project, prefix, topic string) (*config.Plane, func() error, error) {
	return loadPlane(o.Dir, materializePlane, map[string]any{
		"Project": project, "Prefix": prefix, "Kafka": o.Kafka, "Topic": topic, "Commit": o.Commit, "Sketches": o.Sketches,
	})
}

// withLog materializes the same events once more, as a plane with an offline store does. Nothing reads the log here.
func (o MaterializeOptions) withLog(ctx context.Context, topic string, opts []kgo.Opt, res *MaterializeResult) (err error) {
	plane, remove, err := o.plane("bench-log", topic+".log.", topic)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	plane.Connections.Parquet = &config.Parquet{}
	logged, err := o.measure(ctx, plane, opts)
	if err != nil {
		return err
	}
	res.Logged, res.LogRatioCPU = &logged, logged.PerCPUSecond/res.Materialize.PerCPUSecond
	return nil
}

// bareLoop is the ceiling: one consumer that decodes every record and does nothing with it.
func bareLoop(ctx context.Context, opts []kgo.Opt, src *config.Source, events int) (Rate, error) {
	cl, err := kgo.NewClient(append(opts[:len(opts):len(opts)], kgo.ConsumeTopics(src.Topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxBytes(32<<20), kgo.FetchMaxPartitionBytes(4<<20))...)
	if err != nil {
		return Rate{}, err
	}
	defer cl.Close()
	rd, err := ingest.NewReader(src)
	if err != nil {
		return Rate{}, err
	}
	row := make([]feature.Value, len(src.Schema))
	m := startMeter()
	for n := 0; n < events; {
		fetches := cl.PollRecords(ctx, 20_000)
		if err := fetches.Err0(); err != nil {
			return Rate{}, err
		}
		for it := fetches.RecordIter(); !it.Done(); n++ {
			if _, _, bad := rd.Read(it.Next(), row); bad != nil {
				return Rate{}, bad
			}
		}
	}
	return m.rate(events), nil
}

// measure runs the runtime until it has done everything.
func (o MaterializeOptions) measure(ctx context.Context, plane *config.Plane, opts []kgo.Opt) (r Rate, err error) {
	if o.CPUProfile != "" {
		stop, err := profileCPU(o.CPUProfile)
		if err != nil {
			return r, err
		}
		defer stop()
	}
	releaseMemory() // of the pass before
	m := startMeter()
	run, err := startRuntime(ctx, plane, opts, o.Redis, o.Logger)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, run.close()) }()
	defer run.tell(ctx, o.Out, int64(o.Events))()
	if err := run.settled(ctx, int64(o.Events)); err != nil {
		return r, err
	}
	return m.rate(o.Events), nil
}
