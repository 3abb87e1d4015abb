package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet/deploy/bench"
)

const benchSinkLong = `Sink fills a topic of a real Kafka with JSON events and measures the way into ClickHouse, or with --parquet into files:
consuming, decoding, recording ranges and writing; and, in the same run, bare writes of the same rows from memory: columnar
inserts, or files of parquet-go. It uses a topic of its own and deletes it, and so it does with the files; in ClickHouse
two tables, events_bench_RUN and events_bench_RUN_bare, stay for a look.`

func (a *app) benchSinkCommand() *cobra.Command {
	var o bench.SinkOptions
	cmd := &cobra.Command{
		Use:     "sink",
		Short:   "Measure the way from Kafka to an offline store",
		Long:    benchSinkLong,
		Example: "  freshet bench sink --kafka localhost:9092 --clickhouse clickhouse://localhost:9000/bench\n  freshet bench sink --kafka localhost:9092 --parquet",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.measure(cmd, &o.Logger, &o.Out, func(ctx context.Context) (any, string, error) {
				res, err := bench.Sink(ctx, o)
				return res, fmt.Sprintf("sink: %.0f rows/s, %.2f of bare writes (%.0f rows/s), by processor time %.2f, %d MiB at most",
					res.Sink.PerSecond, res.Ratio, res.Bare.PerSecond, res.CPURatio, res.Sink.MaxRSSBytes>>20), err
			})
		},
	}
	f := cmd.Flags()
	kafkaFlag(f, &o.Kafka)
	f.StringVar(&o.ClickHouse, "clickhouse", "clickhouse://localhost:9000/bench", "ClickHouse by URL")
	f.BoolVar(&o.Parquet, "parquet", false, "into Parquet files instead")
	f.StringVar(&o.Dir, "dir", "", "folder for files (default the system's for temporary files)")
	f.IntVar(&o.Events, "events", 1_000_000, "how many events")
	usersFlag(f, &o.Users, 100_000)
	partitionsFlag(f, &o.Partitions, 4)
	cpuProfileFlag(f, &o.CPUProfile, "the sink")
	return cmd
}
