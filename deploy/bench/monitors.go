package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/kafka"
	"github.com/freshet-io/freshet/processors"
)

// MonitorsOptions say what monitors are measured on. Each of the three parts is left out if its first figure is 0.
type MonitorsOptions struct {
	Kafka      string // host:port of a broker
	Inferences int    // that are profiled
	Partitions int32

	Rate          int           // inferences a second, of which some are skewed from some time on
	Window, Every time.Duration // of their monitor; Every divides Window, and both are whole seconds
	Shift         float64       // how far the mean of one feature moves, in standard deviations

	Columns int // that are held in memory
	Slices  int

	Dir        string // of the definitions; it is left empty
	CPUProfile string // a file for the profile of the profiling pass
	Logger     *slog.Logger
	Out        io.Writer // progress, for people
}

// MonitorsResult is what monitors cost and how soon they tell.
type MonitorsResult struct {
	LoadBefore string         `json:"load_before"` // the machine's, before the run
	Profile    *ProfileResult `json:"profile,omitempty"`
	Alert      *AlertResult   `json:"alert,omitempty"`
	Memory     *MemoryResult  `json:"memory,omitempty"`
}

// ProfileResult compares counting inferences out of Kafka with a bare loop that consumes and decodes the same records with
// the same client and decoder, in the same process.
type ProfileResult struct {
	Columns            int     `json:"columns"`
	BytesPerInference  float64 `json:"bytes_per_inference"`
	Bare               Rate    `json:"bare_consume_and_decode"`
	Profile            Rate    `json:"profile"`
	ValuesPerSecond    float64 `json:"values_per_second"`
	ValuesPerCPUSecond float64 `json:"values_per_cpu_second"`
	RatioCPU           float64 `json:"ratio_of_cpu"` // inferences a CPU-second of profiling over bare
	WindowsJudged      int     `json:"windows_judged"`
}

// profiledColumns is how many columns the inferences have that are profiled, and those that are waited for.
const profiledColumns = 25

// trainedRows is how many rows a baseline is made of.
const trainedRows = 20_000

// Monitors profiles inferences, waits for an alert, and fills the memory of an evaluator.
func Monitors(ctx context.Context, o MonitorsOptions) (res MonitorsResult, err error) {
	res.LoadBefore = Load()
	if o.Inferences > 0 {
		if res.Profile, err = o.profile(ctx); err != nil {
			return res, fmt.Errorf("profiling: %w", err)
		}
	}
	if o.Rate > 0 {
		if res.Alert, err = o.alert(ctx); err != nil {
			return res, fmt.Errorf("waiting for an alert: %w", err)
		}
	}
	if o.Columns > 0 {
		if res.Memory, err = o.memory(); err != nil {
			return res, fmt.Errorf("filling an evaluator: %w", err)
		}
	}
	return res, nil
}

// prepared is a plane with a monitored model in a Kafka.
type prepared struct {
	plane *config.Plane
	opts  []kgo.Opt
	topic string       // of the inferences
	drop  func() error // removes what there is of it
}

// prepare makes the topics of a plane and its baseline. alike is what the definition has besides its names.
func (o MonitorsOptions) prepare(ctx context.Context, alike monitoring) (p *prepared, err error) {
	p = &prepared{topic: runName()}
	alike.Kafka, alike.Prefix, alike.Topic = o.Kafka, p.topic+".", p.topic
	plane, remove, err := alike.load(o.Dir)
	if err != nil {
		return nil, err
	}
	p.plane, p.drop = plane, remove
	defer func() {
		if err != nil {
			err = errors.Join(err, p.drop())
		}
	}()
	if p.opts, err = kafka.Options(*plane.Connections.Kafka, "freshet-bench"); err != nil {
		return nil, err
	}
	drop, err := sourceTopic(ctx, p.opts, p.topic, o.Partitions)
	if err != nil {
		return nil, err
	}
	p.drop = func() error { return errors.Join(drop(), remove()) }
	b, err := trained(plane.Models[0], 0, trainedRows)
	if err != nil {
		return nil, err
	}
	return p, recordBaseline(ctx, p.opts, plane, b)
}

// watch starts the profiler and the evaluator.
func (p *prepared) watch(ctx context.Context, reg prometheus.Registerer, logger *slog.Logger) (*processors.Monitors, *background, error) {
	m, err := processors.NewMonitors(ctx, processors.MonitorOptions{
		Plane: p.plane, Kafka: *p.plane.Connections.Kafka, Client: p.opts, Logger: logger, Registerer: reg,
	})
	if err != nil {
		return nil, nil, err
	}
	if os.Getenv("GOMEMLIMIT") == "" { // as deploy/node does
		debug.SetMemoryLimit(processors.MemoryLimit(p.plane))
	}
	return m, inBackground(ctx, "the monitors", m.Run), nil
}

// profile fills a topic with inferences, measures the bare loop, and then the profiler and the evaluator from their start
// until every inference is counted and committed.
func (o MonitorsOptions) profile(ctx context.Context) (res *ProfileResult, err error) {
	p, err := o.prepare(ctx, monitoring{Window: 10 * time.Minute, Every: 10 * time.Minute, Columns: profiledColumns})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.drop()) }()
	model := p.plane.Models[0]
	bytesSent, err := fill(ctx, p.opts, p.topic, o.Partitions, o.Inferences, newInferenceMaker(model, 0, 2).next)
	if err != nil {
		return nil, err
	}
	res = &ProfileResult{Columns: len(model.Columns), BytesPerInference: float64(bytesSent) / float64(o.Inferences)}
	fmt.Fprintf(o.Out, "%d inferences of %d columns, %.0f bytes, on %d partitions\n", o.Inferences, res.Columns, res.BytesPerInference, o.Partitions)
	if res.Bare, err = bareLoop(ctx, p.opts, model.Inferences, o.Inferences); err != nil {
		return nil, err
	}
	return res, o.measureProfiling(ctx, p, res)
}

func (o MonitorsOptions) measureProfiling(ctx context.Context, p *prepared, res *ProfileResult) (err error) {
	if o.CPUProfile != "" {
		stop, err := profileCPU(o.CPUProfile)
		if err != nil {
			return err
		}
		defer stop()
	}
	releaseMemory() // of the pass before
	reg := prometheus.NewRegistry()
	m := startMeter()
	_, run, err := p.watch(ctx, reg, o.Logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, run.close()) }()
	if err := awaitCount(ctx, run, reg, "freshet_monitor_inferences_total", o.Inferences); err != nil {
		return err
	}
	res.Profile = m.rate(o.Inferences)
	windows, err := counted(reg, "freshet_monitor_windows_total")
	values := float64(res.Columns)
	res.ValuesPerSecond, res.ValuesPerCPUSecond = values*res.Profile.PerSecond, values*res.Profile.PerCPUSecond
	res.RatioCPU, res.WindowsJudged = res.Profile.PerCPUSecond/res.Bare.PerCPUSecond, int(windows)
	return err
}

// awaitCount waits until one of the counters of what runs has come so far.
func awaitCount(ctx context.Context, run *background, reg prometheus.Gatherer, name string, n int) error {
	var failed error
	err := run.wait(ctx, func() bool {
		var have float64
		have, failed = counted(reg, name)
		return failed != nil || int(have) >= n
	})
	return errors.Join(err, failed)
}
