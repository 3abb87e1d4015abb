package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"sync"
	"syscall"
	"text/template"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/ingest"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/kafka"
	"github.com/freshet-io/freshet/internal/online"
	"github.com/freshet-io/freshet/processors"
)

// MaterializeOptions say what is materialized, and with which services.
type MaterializeOptions struct {
	Kafka      string // host:port of a broker
	Redis      string // URL
	Events     int
	Users      int
	Partitions int32
	Sketches   bool // a view of approx_distinct and approx_quantile over 24 h instead of count, sum and max over 1 h
	Commit     time.Duration
	Dir        string // of the local store; it is left empty
	CPUProfile string // a file for the profile of the materializing pass
	Logger     *slog.Logger
	Out        io.Writer // progress, for people
}

// Rate is one measured pass over all events.
type Rate struct {
	Events       int     `json:"events"`
	Seconds      float64 `json:"seconds"`
	PerSecond    float64 `json:"events_per_second"`
	CPUSeconds   float64 `json:"cpu_seconds"`
	PerCPUSecond float64 `json:"events_per_cpu_second"`
	MaxRSSBytes  int64   `json:"max_rss_bytes"`
}

// MaterializeResult compares the whole path with a bare loop that consumes and decodes the same records with the same
// client and decoder, in the same process.
type MaterializeResult struct {
	Bare         Rate    `json:"bare_consume_and_decode"`
	Materialize  Rate    `json:"materialize"`
	RatioCPU     float64 `json:"ratio_of_cpu"` // events per CPU-second of materialize over bare
	BytesPerEven float64 `json:"bytes_per_event"`
}

var materializePlane = template.Must(template.New("plane").Parse(`
project: bench
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
	name := "bench-" + strconv.FormatInt(time.Now().UnixMilli(), 36)
	plane, cleanup, err := o.plane(name)
	if err != nil {
		return res, err
	}
	defer cleanup()
	opts, err := kafka.Options(*plane.Connections.Kafka, "freshet-bench")
	if err != nil {
		return res, err
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return res, err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	if _, err := adm.CreateTopic(ctx, o.Partitions, 1, nil, plane.Sources[0].Topic); err != nil {
		return res, fmt.Errorf("create topic %s: %w", plane.Sources[0].Topic, err)
	}
	defer func() { err = errors.Join(err, dropTopics(context.WithoutCancel(ctx), adm, name)) }()
	bytesSent, err := fill(ctx, opts, plane.Sources[0].Topic, o)
	if err != nil {
		return res, err
	}
	res.BytesPerEven = float64(bytesSent) / float64(o.Events)
	fmt.Fprintf(o.Out, "%d events of %.0f bytes on %d partitions, %d users\n", o.Events, res.BytesPerEven, o.Partitions, o.Users)
	if res.Bare, err = bareLoop(ctx, opts, plane.Sources[0], o); err != nil {
		return res, err
	}
	if res.Materialize, err = o.measure(ctx, plane, opts); err != nil {
		return res, err
	}
	res.RatioCPU = res.Materialize.PerCPUSecond / res.Bare.PerCPUSecond
	return res, nil
}

// plane writes and loads the definition.
func (o MaterializeOptions) plane(name string) (*config.Plane, func(), error) {
	dir, err := os.MkdirTemp(o.Dir, "freshet-bench-")
	if err != nil {
		return nil, nil, err
	}
	cleanup := func() { os.RemoveAll(dir) }
	var b bytes.Buffer
	err = materializePlane.Execute(&b, map[string]any{
		"Prefix": name + ".", "Kafka": o.Kafka, "Topic": name, "Commit": o.Commit, "Sketches": o.Sketches,
	})
	file := filepath.Join(dir, "plane.yaml")
	if err == nil {
		err = os.WriteFile(file, b.Bytes(), 0o600)
	}
	var p *config.Plane
	if err == nil {
		p, err = config.Load(file)
	}
	if err != nil {
		cleanup()
		return nil, nil, err
	}
	p.Processing.StateDir, p.Processing.InstanceID = dir, "bench"
	return p, cleanup, nil
}

func dropTopics(ctx context.Context, adm *kadm.Client, prefix string) error {
	topics, err := adm.ListTopics(ctx)
	if err != nil {
		return err
	}
	var names []string
	for _, n := range topics.Names() {
		if len(n) >= len(prefix) && n[:len(prefix)] == prefix {
			names = append(names, n)
		}
	}
	_, err = adm.DeleteTopics(ctx, names...)
	return err
}

// fill produces the events: an hour of event time ending now, users by Zipf's law, about 120 bytes of JSON each.
func fill(ctx context.Context, opts []kgo.Opt, topic string, o MaterializeOptions) (int64, error) {
	cl, err := kgo.NewClient(append(opts[:len(opts):len(opts)], kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DefaultProduceTopic(topic),
		kgo.ProducerBatchCompression(kgo.Lz4Compression()), kgo.MaxBufferedRecords(200_000), kgo.ProducerLinger(20*time.Millisecond))...)
	if err != nil {
		return 0, err
	}
	defer cl.Close()
	countries := []string{"DE", "FR", "US", "GB", "JP", "BR", "IN", "CN", "ZA", "AU"}
	rng := rand.New(rand.NewPCG(7, 7))
	zipf := rand.NewZipf(rng, 1.1, 8, uint64(o.Users-1))
	start := time.Now().Add(-time.Hour).UnixMilli()
	var mu sync.Mutex
	var failed error
	var sent int64
	for i := range o.Events {
		user := "user-" + strconv.FormatUint(zipf.Uint64(), 10)
		v := make([]byte, 0, 128)
		v = fmt.Appendf(v, `{"user_id":"%s","amount":%d.%02d,"country":"%s","channel":"web","session":"%08x","ts":%d}`,
			user, rng.IntN(500), rng.IntN(100), countries[rng.IntN(len(countries))], rng.Uint32(), start+int64(i)*3_600_000/int64(o.Events))
		key := []byte(user)
		sent += int64(len(v))
		cl.Produce(ctx, &kgo.Record{Key: key, Value: v, Partition: ingest.Partition(key, o.Partitions)}, func(_ *kgo.Record, err error) {
			if err != nil {
				mu.Lock()
				failed = err
				mu.Unlock()
			}
		})
	}
	if err := cl.Flush(ctx); err != nil {
		return 0, err
	}
	mu.Lock()
	defer mu.Unlock()
	return sent, failed
}

// bareLoop is the ceiling: one consumer that decodes every record and does nothing with it.
func bareLoop(ctx context.Context, opts []kgo.Opt, src *config.Source, o MaterializeOptions) (Rate, error) {
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
	for n := 0; n < o.Events; {
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
	return m.rate(o.Events), nil
}

// measure runs the runtime until it has done everything.
func (o MaterializeOptions) measure(ctx context.Context, plane *config.Plane, opts []kgo.Opt) (Rate, error) {
	reg := prometheus.NewRegistry()
	rdb, err := online.Open(ctx, config.Redis{URL: config.Secret(o.Redis)}, online.Options{Logger: o.Logger, Registerer: reg})
	if err != nil {
		return Rate{}, err
	}
	defer rdb.Close()
	if o.CPUProfile != "" {
		f, err := os.Create(o.CPUProfile)
		if err != nil {
			return Rate{}, err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return Rate{}, err
		}
		defer pprof.StopCPUProfile()
	}
	m := startMeter()
	rt, err := processors.New(ctx, processors.Options{
		Plane: plane, Kafka: *plane.Connections.Kafka, Client: opts, Online: rdb, Loss: online.NewLoss(rdb), Logger: o.Logger, Registerer: reg,
	})
	if err != nil {
		return Rate{}, err
	}
	runCtx, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- rt.Run(runCtx) }()
	for shown := time.Now(); ; {
		p := rt.Progress()
		if p.Events >= int64(o.Events) && p.Waiting == 0 && p.Idle {
			break
		}
		if time.Since(shown) > 2*time.Second {
			shown = time.Now()
			fmt.Fprintf(o.Out, "  %d of %d events, %d entities wait for Redis\n", p.Events, o.Events, p.Waiting)
		}
		select {
		case <-ctx.Done():
			stop()
			return Rate{}, errors.Join(ctx.Err(), <-done)
		case err := <-done:
			stop()
			return Rate{}, fmt.Errorf("the runtime ended: %w", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
	r := m.rate(o.Events)
	stop()
	return r, <-done
}

// meter measures wall time and this process's CPU time.
type meter struct {
	wall time.Time
	cpu  time.Duration
}

func startMeter() meter { return meter{time.Now(), cpuTime()} }

func (m meter) rate(n int) Rate {
	wall, cpu := time.Since(m.wall).Seconds(), (cpuTime() - m.cpu).Seconds()
	return Rate{
		Events: n, Seconds: wall, PerSecond: float64(n) / wall, CPUSeconds: cpu, PerCPUSecond: float64(n) / cpu, MaxRSSBytes: maxRSS(),
	}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func maxRSS() int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return int64(u.Maxrss) * 1024
}
