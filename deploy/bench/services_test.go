package bench

import (
	"io"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/freshet-io/freshet/internal/testenv"
)

// Each benchmark runs once on real services with a few events, and must come to an end with figures of the right order.
// No test looks at how fast it was.

func TestFreshnessSeesEveryProbeInBothViews(t *testing.T) {
	kafka, redis := testenv.Kafka(t), testenv.Redis(t)
	res, err := Freshness(t.Context(), FreshnessOptions{
		Kafka: kafka, Redis: "redis://" + redis, Rate: 500, Duration: 2 * time.Second, Probes: 20, Users: 100, Merchants: 20, Partitions: 2,
		Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler), Out: io.Discard,
	})
	if err != nil {
		t.Fatal(err)
	}
	if res.Probes != 40 || res.OwnKey.Count+res.Repartitioned.Count+res.Unseen != 2*res.Probes {
		t.Errorf("of %d probes %d and %d were timed, %d not seen", res.Probes, res.OwnKey.Count, res.Repartitioned.Count, res.Unseen)
	}
	for name, l := range map[string]Latency{"own key": res.OwnKey, "repartitioned": res.Repartitioned} {
		if l.Count == 0 {
			t.Errorf("%s: no probe was timed", name)
		}
		if l.P50 < 0 || l.P50 > l.P90 || l.P90 > l.P99 || l.P99 > l.Max {
			t.Errorf("%s: percentiles out of order: %v", name, l)
		}
	}
	if res.Reached < 100 || res.CPU <= 0 {
		t.Errorf("%.0f events/s on %.2f cores", res.Reached, res.CPU)
	}
	if res.Stages["transaction_end_materialize"].Count == 0 || res.Stages["publish"].Count == 0 {
		t.Errorf("stages: %v", res.Stages)
	}
}

func TestStateComparesAndRestores(t *testing.T) {
	kafka, redis := testenv.Kafka(t), testenv.Redis(t)
	for name, rate := range map[string]int{"at a rate": 4000, "at once": 0} {
		t.Run(name, func(t *testing.T) {
			res, err := State(t.Context(), StateOptions{
				Kafka: kafka, Redis: "redis://" + redis, Entities: 2000, Few: 10, PerEntity: 1, Events: 2000, Rate: rate, Partitions: 2,
				Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler), Out: io.Discard,
			})
			if err != nil {
				t.Fatal(err)
			}
			if res.Many.Random.Events == 0 && rate > 0 || res.Many.MaxRSSBytes < 1<<20 {
				t.Errorf("many: %+v", res.Many)
			}
			// Each of the entities has a cell at least.
			if res.RestoreRecords < 2000 || res.RestoreSeconds <= 0 {
				t.Errorf("restored %.0f records in %.1f s", res.RestoreRecords, res.RestoreSeconds)
			}
		})
	}
}

func TestMaterializeMeasuresBothLoops(t *testing.T) {
	kafka, redis := testenv.Kafka(t), testenv.Redis(t)
	res, err := Materialize(t.Context(), MaterializeOptions{
		Kafka: kafka, Redis: "redis://" + redis, Events: 3000, Users: 50, Partitions: 2, Commit: time.Second,
		Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler), Out: io.Discard,
	})
	if err != nil {
		t.Fatal(err)
	}
	if res.Bare.Events != 3000 || res.Materialize.Events != 3000 || res.RatioCPU <= 0 || res.BytesPerEvent < 80 || res.BytesPerEvent > 160 {
		t.Errorf("%+v", res)
	}
}

func TestMaterializeMeasuresTheLog(t *testing.T) {
	kafka, redis := testenv.Kafka(t), testenv.Redis(t)
	res, err := Materialize(t.Context(), MaterializeOptions{
		Kafka: kafka, Redis: "redis://" + redis, Events: 2000, Users: 50, Partitions: 2, History: true, Commit: 200 * time.Millisecond,
		Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler), Out: io.Discard,
	})
	if err != nil {
		t.Fatal(err)
	}
	if res.Logged == nil || res.Logged.Events != 2000 || res.LogRatioCPU <= 0 || res.Logged.MaxRSSBytes < 1<<20 {
		t.Errorf("%+v", res)
	}
}

func TestSinkMeasuresBoth(t *testing.T) {
	native, _ := testenv.ClickHouse(t)
	for name, o := range map[string]SinkOptions{"clickhouse": {ClickHouse: native}, "parquet": {Parquet: true}} {
		t.Run(name, func(t *testing.T) {
			o.Kafka, o.Events, o.Users, o.Partitions = testenv.Kafka(t), 3000, 50, 2
			o.Dir, o.Logger, o.Out = t.TempDir(), slog.New(slog.DiscardHandler), io.Discard
			res, err := Sink(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if res.Store != name || res.Bare.Events != 3000 || res.Sink.Events != 3000 || res.Ratio <= 0 || res.SinkBatches < 2 || res.BareBatches != 1 {
				t.Errorf("%+v", res)
			}
			if left, err := os.ReadDir(o.Dir); err != nil || len(left) > 0 {
				t.Errorf("%v is left, %v", left, err)
			}
		})
	}
}

func TestTrainMakesTheSet(t *testing.T) {
	native, _ := testenv.ClickHouse(t)
	for name, url := range map[string]string{"parquet": "", "clickhouse": native} {
		t.Run(name, func(t *testing.T) {
			res, err := Train(t.Context(), TrainOptions{
				ClickHouse: url, Events: 5000, Rows: 300, Users: 40, Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler), Out: io.Discard,
			})
			if err != nil {
				t.Fatal(err)
			}
			if res.Store != name || res.Features != 8 || res.Fill.Events != 5000 || res.Train.Events != 5000 || res.RowsPerSecond <= 0 || res.Train.MaxRSSBytes < 1<<20 {
				t.Errorf("%+v", res)
			}
		})
	}
}

func TestMonitorsMeasureAllThree(t *testing.T) {
	dir := t.TempDir()
	res, err := Monitors(t.Context(), MonitorsOptions{
		Kafka: testenv.Kafka(t), Inferences: 2000, Partitions: 2, Rate: 500, Window: 2 * time.Second, Every: time.Second, Shift: 3, Columns: 30, Slices: 3,
		Dir: dir, Logger: slog.New(slog.DiscardHandler), Out: io.Discard,
	})
	if err != nil {
		t.Fatal(err)
	}
	if p := res.Profile; p.Columns != 25 || p.Bare.Events != 2000 || p.Profile.Events != 2000 || p.RatioCPU <= 0 || p.BytesPerInference < 300 || p.BytesPerInference > 500 {
		t.Errorf("profiling: %+v", p)
	}
	if a := res.Alert; a.Column != "f0" || a.Seconds <= 0 {
		t.Errorf("alerting: %+v", a)
	}
	// A numeric column's profile is encoded in about a hundred bytes; a window and the one before it have 48 panes.
	if m := res.Memory; m.Windows != 3 || m.Panes != 24 || m.BytesPerColumnAndSlice < 2000 || m.BytesPerColumnAndSlice > 20_000 || m.MaxRSSBytes < m.WatchBytes {
		t.Errorf("memory: %+v", m)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}
