package cli

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet/deploy/bench"
)

const benchSinkLong = `Sink fills a topic of a real Kafka with JSON events and measures the way into ClickHouse: consuming, decoding,
recording ranges and columnar inserts; and, in the same run, bare inserts of the same rows from memory. It uses a topic of
its own and deletes it; its two tables, events_bench_RUN and events_bench_RUN_bare, stay for a look.`

func (a *app) benchSinkCommand() *cobra.Command {
	var o bench.SinkOptions
	cmd := &cobra.Command{
		Use:     "sink",
		Short:   "Measure the way from Kafka to ClickHouse",
		Long:    benchSinkLong,
		Example: "  freshet bench sink --kafka localhost:9092 --clickhouse clickhouse://localhost:9000/bench",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if o.Logger, err = a.logger(); err != nil {
				return err
			}
			o.Out = cmd.ErrOrStderr()
			res, err := bench.Sink(cmd.Context(), o)
			if err != nil {
				return err
			}
			enc := json.NewEncoder(cmd.OutOrStdout())
			enc.SetIndent("", "  ")
			if err := enc.Encode(res); err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "sink: %.0f rows/s, %.2f of bare inserts (%.0f rows/s), %d MiB\n",
				res.Sink.PerSecond, res.Ratio, res.Bare.PerSecond, res.Sink.MaxRSSBytes>>20)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Kafka, "kafka", "localhost:9092", "a broker")
	f.StringVar(&o.ClickHouse, "clickhouse", "clickhouse://localhost:9000/bench", "ClickHouse by URL")
	f.IntVar(&o.Events, "events", 1_000_000, "how many events")
	f.IntVar(&o.Users, "users", 100_000, "how many users, by Zipf's law")
	f.Int32Var(&o.Partitions, "partitions", 4, "partitions of the topic")
	return cmd
}
