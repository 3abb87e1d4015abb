package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func (a *app) benchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure on your own machine",
		Long: `Bench measures Freshet's paths on real services, each beside the bare ceiling of the same work in the same run.
Figures depend on the machine and on what else it does: compare the ratios.`,
		Args: cobra.NoArgs,
	}
	cmd.AddCommand(a.benchMaterializeCommand())
	cmd.AddCommand(a.benchLookupCommand())
	cmd.AddCommand(a.benchLookupServerCommand())
	cmd.AddCommand(a.benchFreshnessCommand())
	cmd.AddCommand(a.benchStateCommand())
	cmd.AddCommand(a.benchSinkCommand())
	cmd.AddCommand(a.benchTrainCommand())
	cmd.AddCommand(a.benchMonitorsCommand())
	return cmd
}

// measure is the frame of a benchmark: progress goes to standard error, the result as JSON to standard output, then a line
// for people to standard error. logger and out are fields of the benchmark's options, set before run is called.
func (a *app) measure(cmd *cobra.Command, logger **slog.Logger, out *io.Writer, run func(context.Context) (result any, line string, err error)) error {
	l, err := a.logger()
	if err != nil {
		return err
	}
	*logger, *out = l, cmd.ErrOrStderr()
	result, line, err := run(cmd.Context())
	if err != nil {
		return err
	}
	if err := printJSON(cmd.OutOrStdout(), result); err != nil {
		return err
	}
	_, err = fmt.Fprintln(cmd.ErrOrStderr(), line)
	return err
}

// Flags that several benchmarks have.

func kafkaFlag(f *pflag.FlagSet, broker *string) {
	f.StringVar(broker, "kafka", "localhost:9092", "a broker")
}

func redisFlag(f *pflag.FlagSet, url *string) {
	f.StringVar(url, "redis", "redis://localhost:6379", "Redis by URL")
}

func usersFlag(f *pflag.FlagSet, users *int, n int) {
	f.IntVar(users, "users", n, "how many users, by Zipf's law")
}

func partitionsFlag(f *pflag.FlagSet, partitions *int32, n int32) {
	f.Int32Var(partitions, "partitions", n, "partitions of the topic")
}

func cpuProfileFlag(f *pflag.FlagSet, file *string, of string) {
	f.StringVar(file, "cpuprofile", "", "write a CPU profile of "+of+" to a file")
}
