package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet/deploy/bench"
)

const benchMaterializeLong = `Materialize fills a topic of a real Kafka with JSON events and measures the whole path: consuming, decoding,
window state, changelog in exactly-once transactions, the local store, and guarded writes to a real Redis; and, in the
same run, a bare loop that consumes and decodes the same records. It uses topics of its own and deletes them; it
leaves its entities in Redis.`

func (a *app) benchMaterializeCommand() *cobra.Command {
	o := bench.MaterializeOptions{Partitions: 8}
	cmd := &cobra.Command{
		Use:     "materialize",
		Short:   "Measure the path from Kafka to Redis",
		Long:    benchMaterializeLong,
		Example: "  freshet bench materialize --kafka localhost:9092 --redis redis://localhost:6379",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.measure(cmd, &o.Logger, &o.Out, func(ctx context.Context) (any, string, error) {
				res, err := bench.Materialize(ctx, o)
				line := fmt.Sprintf("materialize: %.0f events/s, %.0f events a CPU-second, %.2f of the bare loop, %d MiB at most",
					res.Materialize.PerSecond, res.Materialize.PerCPUSecond, res.RatioCPU, res.Materialize.MaxRSSBytes>>20)
				if res.Logged != nil {
					line += fmt.Sprintf("\nwith the view's log: %.0f events/s, %.0f events a CPU-second, %.2f of without, %d MiB at most",
						res.Logged.PerSecond, res.Logged.PerCPUSecond, res.LogRatioCPU, res.Logged.MaxRSSBytes>>20)
				}
				return res, line, err
			})
		},
	}
	f := cmd.Flags()
	kafkaFlag(f, &o.Kafka)
	redisFlag(f, &o.Redis)
	f.IntVar(&o.Events, "events", 5_000_000, "how many events")
	usersFlag(f, &o.Users, 100_000)
	partitionsFlag(f, &o.Partitions, 8)
	f.BoolVar(&o.Sketches, "sketches", false, "a view of approx_distinct and approx_quantile over 24 h instead of count, sum and max over 1 h")
	f.BoolVar(&o.History, "history", false, "a second pass with the view's log (history: events), which a plane without an offline store does not write")
	f.DurationVar(&o.Commit, "commit", time.Second, "commit interval")
	cpuProfileFlag(f, &o.CPUProfile, "the materializing pass")
	return cmd
}
