package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet/deploy/bench"
)

const benchTrainLong = `Train fills an offline store with events of a week and makes a training set of eight windowed features from it: Parquet
files in a folder of its own, which it deletes, or a ClickHouse database, in which it leaves a table. It prints seconds, rows
a second and the greatest memory.`

func (a *app) benchTrainCommand() *cobra.Command {
	var o bench.TrainOptions
	cmd := &cobra.Command{
		Use:     "train",
		Short:   "Measure how long a training set takes",
		Long:    benchTrainLong,
		Example: "  freshet bench train\n  freshet bench train --events 10000000 --clickhouse clickhouse://localhost:9000/default",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.measure(cmd, &o.Logger, &o.Out, func(ctx context.Context) (any, string, error) {
				res, err := bench.Train(ctx, o)
				return res, fmt.Sprintf("train: %s rows in %.2f s from %s events, %s at most", thousands(int64(res.Rows)), res.Train.Seconds,
					thousands(int64(res.Events)), byteSize(int(res.Train.MaxRSSBytes))), err
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.ClickHouse, "clickhouse", "", "a ClickHouse database by URL (default: Parquet files)")
	f.IntVar(&o.Events, "events", 1_000_000, "how many events")
	f.IntVar(&o.Rows, "rows", 100_000, "how many rows the spine has")
	usersFlag(f, &o.Users, 20_000)
	f.Int64Var(&o.Memory, "memory", 0, "bytes that the join may hold (default 160 MiB)")
	f.StringVar(&o.Dir, "dir", "", "folder for files (default the system's for temporary files)")
	cpuProfileFlag(f, &o.CPUProfile, "the training set")
	return cmd
}
