package bench

import (
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/monitors/baseline"
	"github.com/freshet-io/freshet/monitors/watch"
)

// MemoryResult is what the monitors of one wide model hold in memory.
type MemoryResult struct {
	Columns int `json:"columns"`
	Slices  int `json:"slices"` // besides all rows
	Panes   int `json:"panes_per_window"`
	Windows int `json:"windows_judged"`
	// The heap that the baseline holds, that the profiler's open panes hold, and that the evaluator does with the panes of a
	// whole window and of the one that follows it.
	BaselineBytes int64 `json:"baseline_bytes"`
	ProfilerBytes int64 `json:"profiler_bytes"`
	WatchBytes    int64 `json:"evaluator_bytes"`
	// The evaluator's, divided by columns and by slices and one.
	BytesPerColumnAndSlice float64 `json:"evaluator_bytes_per_column_and_slice"`
	MaxRSSBytes            int64   `json:"max_rss_bytes"` // of the process, while all of them were there and windows were judged
}

const (
	rowsPerPane   = 30 // of each slice and commit, with which most bins of a column have something
	memoryLimit   = 1 << 30
	memoryWindow  = 10 * time.Minute
	memoryWindows = 3 // which are judged: an evaluator without drifts keeps the panes of two
)

// memory counts inferences of a wide model into panes, gives them to an evaluator, and lets that judge its windows. There
// is no Kafka in it. The garbage collector is told to stay within a GiB, as a process of monitors would be.
func (o MonitorsOptions) memory() (res *MemoryResult, err error) {
	alike := monitoring{Kafka: "127.0.0.1:1", Prefix: "bench.", Topic: "bench", Window: memoryWindow, Every: memoryWindow, Columns: o.Columns, Sliced: true}
	plane, remove, err := alike.load(o.Dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	releaseMemory()
	if os.Getenv("GOMEMLIMIT") == "" {
		defer debug.SetMemoryLimit(debug.SetMemoryLimit(memoryLimit))
	}
	model := plane.Models[0]
	start := liveHeap()
	b, err := trained(model, o.Slices, 200*o.Slices)
	if err != nil {
		return nil, err
	}
	res = &MemoryResult{Columns: o.Columns, Slices: o.Slices, BaselineBytes: liveHeap() - start}
	fmt.Fprintf(o.Out, "%d columns in %d slices; the baseline holds %d MiB\n", o.Columns, o.Slices, res.BaselineBytes>>20)
	pane := watch.Pane(plane, model)
	res.Panes = int(memoryWindow / pane)
	counted, err := o.countPane(model, b, pane, res)
	if err != nil {
		return nil, err
	}
	return res, fillWatch(plane, b, counted, res)
}

// liveHeap is how much the heap holds that is still used.
func liveHeap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// countPane counts the inferences of one pane, as a profiler does, and returns what it tells of them.
func (o MonitorsOptions) countPane(model *config.Model, b *baseline.Baseline, pane time.Duration, res *MemoryResult) ([]*watch.Delta, error) {
	before := liveHeap()
	acc := watch.NewAccumulator(model, pane)
	acc.SetBaseline(b.Name, b)
	acc.Partitions([]int32{0}, 1)
	maker := newInferenceMaker(model, o.Slices, 2)
	row := make([]feature.Value, len(model.Inferences.Schema))
	for range rowsPerPane * o.Slices {
		values, region := maker.values()
		for i, c := range model.Columns {
			row[c.Field] = values[i]
		}
		row[model.Slices[0]] = region[0]
		acc.Add(0, row, 0)
	}
	res.ProfilerBytes = liveHeap() - before
	deltas := acc.Flush(math.MaxInt64)
	if len(deltas) == 0 {
		return nil, errors.New("nothing was counted")
	}
	return deltas, nil
}

// fillWatch tells an evaluator of the same counts pane after pane, twice each as of two commits, until it has judged its
// windows.
func fillWatch(plane *config.Plane, b *baseline.Baseline, counts []*watch.Delta, res *MemoryResult) error {
	forgetPeak()
	before := liveHeap()
	w, err := watch.New(plane, plane.Models[0])
	if err != nil {
		return err
	}
	w.SetBaseline(b.Name, b)
	w.KeepProfiles()                    // as where there is an offline store
	last := memoryWindows*res.Panes - 1 // of the last window that is judged
	for k := range last + 2 {
		for range 2 {
			if err := tell(w, counts, int64(k)*counts[0].Pane); err != nil {
				return err
			}
		}
		if k == last { // there is never more: this window, and the one before it
			res.WatchBytes = liveHeap() - before
		}
		judged, _, err := w.Advance(1)
		if err != nil {
			return err
		}
		res.Windows += len(judged)
		if _, err := w.Changes(); err != nil {
			return err
		}
	}
	res.MaxRSSBytes = maxRSS()
	res.BytesPerColumnAndSlice = float64(res.WatchBytes) / float64(res.Columns*(res.Slices+1))
	runtime.KeepAlive(w)
	return nil
}

// tell gives counts to an evaluator as those of the pane that starts at some time, in memory of their own as they come out of
// Kafka.
func tell(w *watch.Watch, counts []*watch.Delta, start int64) error {
	for _, d := range counts {
		d.Clock = start + d.Pane
		for i := range d.Marks {
			d.Marks[i].Watermark = start + d.Pane - 1
		}
		for i := range d.Panes {
			d.Panes[i].Start = start
		}
		encoded, err := d.AppendBinary(nil)
		if err != nil {
			return err
		}
		told, err := watch.DecodeDelta(encoded)
		if err != nil {
			return err
		}
		if err := w.Add(told); err != nil {
			return err
		}
	}
	return nil
}
