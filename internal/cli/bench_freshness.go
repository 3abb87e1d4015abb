package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet/deploy/bench"
)

const benchFreshnessLong = `Freshness runs the processors in this process on a real Kafka and a real Redis, produces events at a steady rate, and
times probes among them: from the producer's acknowledgement until a lookup shows the probe, through a view on the
source's own key and through a repartitioned one. It uses topics of its own and deletes them; it leaves its entities in
Redis.`

func (a *app) benchFreshnessCommand() *cobra.Command {
	var o bench.FreshnessOptions
	var seconds, warmup int
	cmd := &cobra.Command{
		Use:     "freshness",
		Short:   "Measure how soon lookups show an event",
		Long:    benchFreshnessLong,
		Example: "  freshet bench freshness --kafka localhost:9092 --redis redis://localhost:6379 --rate 20000",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Duration, o.Warmup = time.Duration(seconds)*time.Second, time.Duration(warmup)*time.Second
			return a.measure(cmd, &o.Logger, &o.Out, func(ctx context.Context) (any, string, error) {
				res, err := bench.Freshness(ctx, o)
				return res, fmt.Sprintf("own key:       %v\nrepartitioned: %v\n%.0f events/s on %.2f cores, load before %s",
					res.OwnKey, res.Repartitioned, res.Reached, res.CPU, res.LoadBefore), err
			})
		},
	}
	f := cmd.Flags()
	kafkaFlag(f, &o.Kafka)
	redisFlag(f, &o.Redis)
	f.IntVar(&o.Rate, "rate", 20_000, "events a second")
	f.IntVar(&seconds, "seconds", 20, "how long to measure")
	f.IntVar(&warmup, "warmup", 5, "seconds before that")
	f.IntVar(&o.Probes, "probes", 100, "probes a second")
	usersFlag(f, &o.Users, 100_000)
	f.IntVar(&o.Merchants, "merchants", 10_000, "how many merchants, uniformly")
	partitionsFlag(f, &o.Partitions, 8)
	f.DurationVar(&o.Commit, "commit", 0, "commit interval (default a plane's)")
	f.DurationVar(&o.Route, "route", 0, "route interval (default a plane's)")
	f.DurationVar(&o.Publish, "publish", 0, "publish interval (default a plane's)")
	cpuProfileFlag(f, &o.CPUProfile, "the run")
	return cmd
}
