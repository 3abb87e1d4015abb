package cli

import (
	"encoding/json"
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
			var err error
			if o.Logger, err = a.logger(); err != nil {
				return err
			}
			o.Out = cmd.ErrOrStderr()
			res, err := bench.Materialize(cmd.Context(), o)
			if err != nil {
				return err
			}
			enc := json.NewEncoder(cmd.OutOrStdout())
			enc.SetIndent("", "  ")
			if err := enc.Encode(res); err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "materialize: %.0f events/s, %.0f events a CPU-second, %.2f of the bare loop\n",
				res.Materialize.PerSecond, res.Materialize.PerCPUSecond, res.RatioCPU)
			if res.Logged != nil {
				fmt.Fprintf(cmd.ErrOrStderr(), "with the view's log: %.0f events/s, %.0f events a CPU-second, %.2f of without\n",
					res.Logged.PerSecond, res.Logged.PerCPUSecond, res.LogRatioCPU)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Kafka, "kafka", "localhost:9092", "a broker")
	f.StringVar(&o.Redis, "redis", "redis://localhost:6379", "Redis by URL")
	f.IntVar(&o.Events, "events", 5_000_000, "how many events")
	f.IntVar(&o.Users, "users", 100_000, "how many users, by Zipf's law")
	f.Int32Var(&o.Partitions, "partitions", 8, "partitions of the topic")
	f.BoolVar(&o.Sketches, "sketches", false, "a view of approx_distinct and approx_quantile over 24 h instead of count, sum and max over 1 h")
	f.BoolVar(&o.History, "history", false, "a second pass with the view's log (history: events), which a plane without an offline store does not write")
	f.DurationVar(&o.Commit, "commit", time.Second, "commit interval")
	f.StringVar(&o.CPUProfile, "cpuprofile", "", "write a CPU profile of the materializing pass to a file")
	return cmd
}
