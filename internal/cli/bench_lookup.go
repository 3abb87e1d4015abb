package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet/deploy/bench"
)

const benchLookupLong = `Lookup fills a Redis with entities as the processors would and measures lookups of them over HTTP and gRPC: the times of
one client, then the highest rate of many, and the CPU time of a request in each process. Next to them stand a bare
net/http server, which reads the same bytes and writes an answer that it has, and the bare reading of the same bytes: by
the same Redis client, and by redis-benchmark if it is on the PATH.

The server is a process of its own, this binary again; the clients are in the process that you start. Without --redis the
run starts the redis-server on the PATH, or, if there is none, a Redis embedded in the clients' process. In a Redis that
you name the entities are under a project of their own and expire within the hour.`

func (a *app) benchLookupCommand() *cobra.Command {
	var o bench.LookupOptions
	cmd := &cobra.Command{
		Use:     "lookup",
		Short:   "Measure lookups",
		Long:    benchLookupLong,
		Example: "  freshet bench lookup\n  freshet bench lookup --redis redis://localhost:6379 --duration 10s --output json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Clients < 1 || o.Entities < 1 || o.Duration <= 0 {
				return usageError(errors.New("--clients, --entities and --duration must be positive"))
			}
			var err error
			if o.Logger, err = a.logger(); err != nil {
				return err
			}
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("this program's file: %w", err)
			}
			o.Server = []string{self, "bench", lookupServerName, "--log-level", a.logLevel}
			o.Out = cmd.ErrOrStderr()
			res, err := bench.Lookup(cmd.Context(), o)
			if err != nil {
				return err
			}
			if a.json() {
				return printJSON(cmd.OutOrStdout(), res)
			}
			return printLookups(cmd.OutOrStdout(), res)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Redis, "redis", "", "Redis by URL (default one that the run starts)")
	f.DurationVar(&o.Duration, "duration", 3*time.Second, "how long each figure is measured")
	f.IntVar(&o.Clients, "clients", 16, "clients for the highest rate")
	f.IntVar(&o.Entities, "entities", 10_000, "entities of each view")
	return cmd
}

func printLookups(w io.Writer, res bench.LookupResult) error {
	fmt.Fprintf(w, "redis: %s\n%s, load before %s, after %s\n\n", res.Redis, plural(res.CPUs, "CPU", "CPUs"), res.LoadBefore, res.LoadAfter)
	t := newTable(left("REQUEST"), right("FROM REDIS"), left("OVER"), right("P50 MS"), right("P99 MS"), right(fmt.Sprintf("REQ/S OF %d", res.Clients)),
		right("P99 MS"), right("SERVER CPU MS"), right("REDIS CPU MS"), right("CLIENT CPU MS"))
	number := func(x float64, digits int) string {
		if x == 0 {
			return ""
		}
		return strconv.FormatFloat(x, 'f', digits, 64)
	}
	for _, c := range res.Cases {
		name, size := c.Name, byteSize(c.Stored)
		for _, m := range c.Measured {
			t.add(name, size, m.Way, number(m.P50, 2), number(m.P99, 2), thousands(int64(m.Rate)), number(m.RateP99, 2),
				number(m.ServerCPU, 3), number(m.RedisCPU, 3), number(m.ClientCPU, 3))
			name, size = "", ""
		}
	}
	return t.print(w)
}

// lookupServerName is the subcommand that `bench lookup` starts this binary with.
const lookupServerName = "lookup-server"

// benchLookupServerCommand is the server's half of `bench lookup`. People do not start it.
func (a *app) benchLookupServerCommand() *cobra.Command {
	var o bench.ServerOptions
	cmd := &cobra.Command{
		Use:    lookupServerName,
		Short:  "Serve lookups to bench lookup",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if o.Logger, err = a.logger(); err != nil {
				return err
			}
			o.Stdin, o.Stdout = cmd.InOrStdin(), cmd.OutOrStdout()
			return bench.ServeLookups(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Plane, "plane", "", "file of the definition")
	f.StringVar(&o.Redis, "redis", "", "Redis by URL")
	f.BoolVar(&o.Embedded, "embedded", false, "Redis is embedded in another process")
	return cmd
}
