package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"text/template"
	"time"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/clickhouse"
	"github.com/freshet-io/freshet/offline/parquet"
	"github.com/freshet-io/freshet/offline/replay"
	"github.com/freshet-io/freshet/offline/train"
)

// TrainOptions say what training set is made, from which store.
type TrainOptions struct {
	ClickHouse string // URL of a database; "": Parquet files in Dir
	Events     int
	Rows       int // of the spine
	Users      int
	Memory     int64 // of the join; 0: its default
	Dir        string
	CPUProfile string
	Logger     *slog.Logger
	Out        io.Writer
}

// TrainResult is what a training set of eight windowed features took.
type TrainResult struct {
	Store         string  `json:"store"`
	Events        int     `json:"events"`
	Rows          int     `json:"rows"`
	Features      int     `json:"features"`
	Fill          Rate    `json:"fill"` // writing the events to the store
	Train         Rate    `json:"train"`
	RowsPerSecond float64 `json:"rows_per_second"`
	SpilledBytes  int64   `json:"spilled_bytes"`
	Load          string  `json:"load"`
}

var trainPlane = template.Must(template.New("plane").Parse(`
project: bench
prefix: {{.Prefix}}
connections: {kafka: {brokers: ["127.0.0.1:1"]}, redis: {url: "redis://127.0.0.1:1"}}
entities:
  - {name: user, join_keys: [{name: user_id, type: string}]}
sources:
  - name: {{.Source}}
    topic: events
    format: json
    key: [user_id]
    event_time: {field: ts, format: unix_us}
    schema:
      - {name: user_id, type: string, required: true}
      - {name: amount, type: float64}
      - {name: n, type: int64}
      - {name: country, type: string}
      - {name: session, type: string}
      - {name: ts, type: int64, required: true}
feature_views:
  - name: user_amounts
    entity: user
    source: {{.Source}}
    features:
      - {name: count_1h, aggregate: count, window: 1h}
      - {name: sum_1h, aggregate: sum, of: amount, window: 1h}
      - {name: mean_1h, aggregate: mean, of: amount, window: 1h}
      - {name: max_1h, aggregate: max, of: amount, window: 1h}
      - {name: count_24h, aggregate: count, window: 24h}
      - {name: sum_24h, aggregate: sum, of: n, window: 24h}
      - {name: mean_24h, aggregate: mean, of: amount, window: 24h}
      - {name: min_24h, aggregate: min, of: amount, window: 24h}
feature_services: [{name: model, features: [user_amounts]}]
`))

// trainDays is over how many days the events are spread.
const trainDays = 7

// trainStore is a store that a benchmark fills and reads.
type trainStore interface {
	replay.Scanner
	Prepare(ctx context.Context, t *offline.Table) error
	Write(ctx context.Context, t *offline.Table, r offline.Range, b *offline.Batch) error
	Close() error
}

// Train fills a store with events and makes a training set from it.
func Train(ctx context.Context, o TrainOptions) (res TrainResult, err error) {
	name := runName()
	plane, remove, err := loadPlane(o.Dir, trainPlane, map[string]any{"Prefix": name + ".", "Source": "bench_events"})
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	dir := filepath.Dir(plane.Processing.StateDir)
	store, err := o.open(ctx, dir)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	table := offline.EventsTable(plane.Sources[0])
	table.Name += "_" + name[len(name)-8:]
	res = TrainResult{Store: "parquet", Events: o.Events, Rows: o.Rows, Features: len(plane.Views[0].Features), Load: Load()}
	if o.ClickHouse != "" {
		res.Store = "clickhouse"
	}
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).UnixMicro()
	m := startMeter()
	if err := o.fillStore(ctx, store, table, start); err != nil {
		return res, err
	}
	res.Fill = m.rate(o.Events)
	fmt.Fprintf(o.Out, "%d events of %d users over %d days written to %s in %.1f s\n", o.Events, o.Users, trainDays, res.Store, res.Fill.Seconds)
	spine, err := o.writeSpine(dir, start)
	if err != nil {
		return res, err
	}
	if os.Getenv("GOMEMLIMIT") == "" { // as `freshet train` does
		defer debug.SetMemoryLimit(debug.SetMemoryLimit(train.MemoryLimit(o.Memory)))
	}
	runtime.GC()
	releaseMemory()
	if res.Train, res.SpilledBytes, err = o.train(ctx, plane, renamed{store, table}, spine, filepath.Join(dir, "set.parquet")); err != nil {
		return res, err
	}
	res.RowsPerSecond = float64(o.Rows) / res.Train.Seconds
	return res, nil
}

// renamed reads a table of the run's own where the plane's is asked for.
type renamed struct {
	trainStore
	table *offline.Table
}

// Scan implements replay.Scanner.
func (r renamed) Scan(ctx context.Context, _ *offline.Table, q offline.Query, fn func(worker int, b *offline.Batch) error) error {
	return r.trainStore.Scan(ctx, r.table, q, fn)
}

// Covered implements replay.Scanner.
func (r renamed) Covered(ctx context.Context, _ *offline.Table) ([]offline.Range, error) {
	return r.trainStore.Covered(ctx, r.table)
}

func (o TrainOptions) open(ctx context.Context, dir string) (trainStore, error) {
	if o.ClickHouse != "" {
		return clickhouse.Open(config.ClickHouse{URL: config.Secret(o.ClickHouse)}, clickhouse.Options{Logger: o.Logger})
	}
	return parquet.Open(ctx, config.Secret("file://"+filepath.Join(dir, "offline")), parquet.Options{Logger: o.Logger})
}

// fillRange is how many events are written at a time.
const fillRange = 250_000

// fillStore writes the events, over the days, in about the order of their times, as a topic of one partition has them.
func (o TrainOptions) fillStore(ctx context.Context, store trainStore, t *offline.Table, start int64) error {
	if err := store.Prepare(ctx, t); err != nil {
		return err
	}
	rng := rand.New(rand.NewPCG(7, 7))
	user := rand.NewZipf(rng, 1.1, 8, uint64(o.Users-1))
	countries := []string{"DE", "FR", "US", "GB", "JP", "BR", "IN", "CN", "ZA", "AU"}
	names := make([]string, o.Users)
	for i := range names {
		names[i] = fmt.Sprint("user-", i)
	}
	step := float64(trainDays*24*3600*feature.Second) / float64(o.Events)
	b := &offline.Batch{}
	for first := 0; first < o.Events; first += fillRange {
		end := min(first+fillRange, o.Events)
		b.Reset(len(t.Columns))
		for i := first; i < end; i++ {
			at := start + int64(float64(i)*step) - rng.Int64N(60)*feature.Second
			b.Values = append(b.Values, feature.StringValue(names[user.Uint64()]), feature.Float64Value(float64(rng.IntN(50_000))/100),
				feature.Int64Value(int64(rng.IntN(20))), feature.StringValue(countries[rng.IntN(len(countries))]),
				feature.StringValue(fmt.Sprintf("%08x", rng.Uint32())), feature.Int64Value(at))
			b.Meta = append(b.Meta, offline.Meta{Time: at, Arrived: at + feature.Second, Offset: int64(i), Topic: t.Source.Topic, Ordinal: 1})
		}
		if err := store.Write(ctx, t, offline.Range{Topic: t.Source.Topic, First: int64(first), End: int64(end)}, b); err != nil {
			return fmt.Errorf("fill the store: %w", err)
		}
	}
	return nil
}

// writeSpine writes rows of users, drawn as the events' are, and times over all the days.
func (o TrainOptions) writeSpine(dir string, start int64) (path string, err error) {
	path = filepath.Join(dir, "spine.csv")
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriter(f)
	fmt.Fprintln(w, "user_id,event_timestamp,label")
	rng := rand.New(rand.NewPCG(8, 8))
	user := rand.NewZipf(rng, 1.1, 8, uint64(o.Users-1))
	for range o.Rows {
		at := time.UnixMicro(start + rng.Int64N(trainDays*24*3600*feature.Second)).UTC()
		fmt.Fprintf(w, "user-%d,%s,%d\n", user.Uint64(), at.Format(time.RFC3339Nano), rng.IntN(2))
	}
	return path, w.Flush()
}

// train makes the set.
func (o TrainOptions) train(ctx context.Context, plane *config.Plane, store replay.Scanner, spine, out string) (r Rate, spilled int64, err error) {
	if o.CPUProfile != "" {
		stop, err := profileCPU(o.CPUProfile)
		if err != nil {
			return r, 0, err
		}
		defer stop()
	}
	m := startMeter()
	sp, err := train.OpenSpine(spine, train.NoLists)
	if err != nil {
		return r, 0, err
	}
	to, err := train.NewFile(out)
	if err != nil {
		return r, 0, errors.Join(err, sp.Close())
	}
	set, err := train.New(train.Options{
		Plane: plane, Service: "model", Spine: sp, Store: store, Output: to, Dir: filepath.Dir(out), Memory: o.Memory,
	})
	if err != nil {
		return r, 0, errors.Join(err, sp.Close())
	}
	manifest, err := set.Build(ctx)
	if err != nil {
		return r, 0, err
	}
	for _, g := range manifest.Sources {
		spilled += g.Spilled
	}
	return m.rate(o.Events), spilled, nil
}
