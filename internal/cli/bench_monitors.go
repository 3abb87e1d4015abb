package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet/deploy/bench"
)

const benchMonitorsLong = `Monitors measures three things: how many inferences of 25 columns of JSON a second and a CPU-second are profiled out of a real
Kafka and judged, beside a bare loop that consumes and decodes the same records; how soon a signed webhook to this process
tells of a change, by the real clock; and what an evaluator of a wide model holds in memory. It uses topics of its own and
deletes them. A part whose first figure is 0 is left out.`

func (a *app) benchMonitorsCommand() *cobra.Command {
	var o bench.MonitorsOptions
	cmd := &cobra.Command{
		Use:     "monitors",
		Short:   "Measure profiling, alerting and the memory of monitors",
		Long:    benchMonitorsLong,
		Example: "  freshet bench monitors --kafka localhost:9092\n  freshet bench monitors --kafka localhost:9092 --rate 0 --columns 0 --inferences 3000000",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.measure(cmd, &o.Logger, &o.Out, func(ctx context.Context) (any, string, error) {
				res, err := bench.Monitors(ctx, o)
				return res, monitorsLines(&res), err
			})
		},
	}
	f := cmd.Flags()
	kafkaFlag(f, &o.Kafka)
	f.IntVar(&o.Inferences, "inferences", 1_000_000, "how many inferences to profile")
	partitionsFlag(f, &o.Partitions, 8)
	f.IntVar(&o.Rate, "rate", 100, "inferences a second while an alert is waited for")
	f.DurationVar(&o.Window, "window", time.Minute, "window of the monitor that alerts")
	f.DurationVar(&o.Every, "every", 5*time.Second, "step of that window")
	f.Float64Var(&o.Shift, "shift", 1, "by how many standard deviations the mean of one feature moves")
	f.IntVar(&o.Columns, "columns", 1000, "columns that an evaluator holds in memory")
	f.IntVar(&o.Slices, "slices", 20, "slices of each")
	f.StringVar(&o.Dir, "dir", "", "folder for files (default the system's for temporary files)")
	cpuProfileFlag(f, &o.CPUProfile, "the profiling pass")
	return cmd
}

// monitorsLines is the result for people: a line for each part that was measured.
func monitorsLines(res *bench.MonitorsResult) string {
	var lines []string
	if p := res.Profile; p != nil {
		lines = append(lines, fmt.Sprintf("profile: %.0f inferences/s, %.0f inferences and %.2f M values a CPU-second, %.2f of the bare loop, %s at most",
			p.Profile.PerSecond, p.Profile.PerCPUSecond, p.ValuesPerCPUSecond/1e6, p.RatioCPU, byteSize(int(p.Profile.MaxRSSBytes))))
	}
	if w := res.Alert; w != nil {
		lines = append(lines, fmt.Sprintf("alert: %.1f s from the first shifted inference to the webhook, at a window of %v judged every %v", w.Seconds,
			time.Duration(w.Window*float64(time.Second)), time.Duration(w.Every*float64(time.Second))))
	}
	if m := res.Memory; m != nil {
		lines = append(lines, fmt.Sprintf("memory: %d columns x %d slices and all rows: %.0f bytes each in the evaluator, %s in all with the baseline, %s resident at most",
			m.Columns, m.Slices, m.BytesPerColumnAndSlice, byteSize(int(m.BaselineBytes+m.ProfilerBytes+m.WatchBytes)), byteSize(int(m.MaxRSSBytes))))
	}
	return strings.Join(lines, "\n")
}
