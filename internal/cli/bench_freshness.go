package cli

import (
	"encoding/json"
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
			var err error
			if o.Logger, err = a.logger(); err != nil {
				return err
			}
			o.Out = cmd.ErrOrStderr()
			o.Duration, o.Warmup = time.Duration(seconds)*time.Second, time.Duration(warmup)*time.Second
			res, err := bench.Freshness(cmd.Context(), o)
			if err != nil {
				return err
			}
			enc := json.NewEncoder(cmd.OutOrStdout())
			enc.SetIndent("", "  ")
			if err := enc.Encode(res); err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "own key:       %v\nrepartitioned: %v\n%.0f events/s on %.2f cores, load before %s\n",
				res.OwnKey, res.Repartitioned, res.Reached, res.CPU, res.LoadBefore)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Kafka, "kafka", "localhost:9092", "a broker")
	f.StringVar(&o.Redis, "redis", "redis://localhost:6379", "Redis by URL")
	f.IntVar(&o.Rate, "rate", 20_000, "events a second")
	f.IntVar(&seconds, "seconds", 20, "how long to measure")
	f.IntVar(&warmup, "warmup", 5, "seconds before that")
	f.IntVar(&o.Probes, "probes", 100, "probes a second")
	f.IntVar(&o.Users, "users", 100_000, "how many users, by Zipf's law")
	f.IntVar(&o.Merchants, "merchants", 10_000, "how many merchants, uniformly")
	f.Int32Var(&o.Partitions, "partitions", 8, "partitions of the topic")
	f.DurationVar(&o.Commit, "commit", 0, "commit interval (default a plane's)")
	f.DurationVar(&o.Route, "route", 0, "route interval (default a plane's)")
	f.DurationVar(&o.Publish, "publish", 0, "publish interval (default a plane's)")
	f.StringVar(&o.CPUProfile, "cpuprofile", "", "write a CPU profile of the run to a file")
	return cmd
}
