package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet/deploy/bench"
)

const benchStateLong = `State runs the processors in this process on a real Kafka and a real Redis, over a view with three windows, first of a
few and then of many entities that are touched at random: the process's memory and the CPU time of an event. Then it
deletes the local store and times the restore from the changelog. It uses topics of its own and deletes them; it leaves
its entities in Redis.`

func (a *app) benchStateCommand() *cobra.Command {
	var o bench.StateOptions
	cmd := &cobra.Command{
		Use:     "state",
		Short:   "Measure memory, many entities and restoring",
		Long:    benchStateLong,
		Example: "  freshet bench state --kafka localhost:9092 --redis redis://localhost:6379 --entities 1000000",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.measure(cmd, &o.Logger, &o.Out, func(ctx context.Context) (any, string, error) {
				res, err := bench.State(ctx, o)
				return res, fmt.Sprintf("%d entities: at most %d MiB resident, %.1f us of CPU an event, %.2f times that of %d entities; restored in %.1f s; load before %s",
					res.Many.Entities, res.Many.MaxRSSBytes>>20, res.Many.CPUMicros, res.RatioCPU, res.Few.Entities, res.RestoreSeconds, res.LoadBefore), err
			})
		},
	}
	f := cmd.Flags()
	kafkaFlag(f, &o.Kafka)
	redisFlag(f, &o.Redis)
	f.IntVar(&o.Entities, "entities", 1_000_000, "how many entities")
	f.IntVar(&o.Few, "few", 1000, "how many entities to compare with")
	f.IntVar(&o.PerEntity, "per-entity", 2, "events of each entity before measuring")
	f.IntVar(&o.Events, "events", 400_000, "how many events to measure")
	f.IntVar(&o.Rate, "rate", 20_000, "events a second to measure (0: as many as there is room for, which coalesces what few entities change)")
	partitionsFlag(f, &o.Partitions, 8)
	f.DurationVar(&o.Commit, "commit", 0, "commit interval (default a plane's)")
	f.Int64Var(&o.Cache, "state-cache", 0, "bytes of entities in memory (default a plane's)")
	cpuProfileFlag(f, &o.CPUProfile, "the measured events of the many entities")
	f.StringVar(&o.HeapProfile, "memprofile", "", "write a heap profile after them to a file")
	return cmd
}
