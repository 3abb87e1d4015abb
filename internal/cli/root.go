package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// Env is what a command line sees of the process it runs in.
type Env struct {
	Program        string // the name that this process was called by, for commands shown to people
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(string) string
	Terminal       bool // Stderr is a terminal: progress may be drawn
}

// Main runs the command line of this process and returns its exit code. The first interrupt or SIGTERM ends what runs
// in good order; a second one ends the process at once.
func Main() int {
	// It writes lines of its own to standard error for what it also returns as errors, which are logged where they matter.
	redis.SetLogger(silent{})
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	return Run(ctx, os.Args[1:], Env{
		Program: os.Args[0],
		Stdin:   os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv, Terminal: term.IsTerminal(int(os.Stderr.Fd())),
	})
}

// silent is a Redis client's logger that says nothing.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// Run runs one command line and returns its exit code. It has printed any error.
func Run(ctx context.Context, args []string, env Env) int {
	a := &app{Env: env}
	root := a.rootCommand()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	if !a.parsed { // cobra refused the line before any command began
		err = usageError(err)
	}
	code := exitCode(err)
	if msg := err.Error(); msg != "" {
		fmt.Fprintf(env.Stderr, "freshet: %s\n", msg)
		if code == exitUsage {
			fmt.Fprintf(env.Stderr, "See '%s --help'.\n", cmd.CommandPath())
		}
	}
	return code
}

const defaultLogLevel = "info"

// app is one run of the command line: its surroundings and the flags that all commands share.
type app struct {
	Env
	parsed bool // the line was understood and a command runs

	output              string
	logLevel, logFormat string
}

const rootLong = `Freshet is a data plane for machine-learning features: events from Kafka become windowed
features in Redis, each event counted exactly once, and model servers look them up.

Exit codes:
  0  done
  1  failed
  2  the command line is wrong
  3  the definition has mistakes (they are printed)
  4  a service cannot be reached, or refuses
  5  what was asked for by name does not exist
  6  plan: there is something for apply to do
  7  drift --fail-on-drift: columns have changed`

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "freshet",
		Short:         "A data plane for machine-learning features",
		Long:          rootLong,
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			a.parsed = true
			return a.checkFlags(cmd)
		},
	}
	root.SetOut(a.Stdout)
	root.SetErr(a.Stderr)
	root.SetIn(a.Stdin)
	f := root.PersistentFlags()
	f.StringVar(&a.output, "output", outputTable, "how results are printed: table or json, html where a command says so")
	f.StringVar(&a.logLevel, "log-level", defaultLogLevel, "what is logged to standard error: debug, info, warn or error")
	f.StringVar(&a.logFormat, "log-format", "", "text or json (default text on a terminal, else json)")
	root.AddCommand(
		a.demoCommand(), a.devCommand(), a.runCommand(), a.checkCommand(), a.planCommand(), a.applyCommand(), a.backfillCommand(), a.forgetCommand(), a.getCommand(), a.sqlCommand(), a.filesCommand(), a.compactCommand(), a.dlqCommand(), a.baselineCommand(), a.monitorCommand(), a.testCommand(), a.alertsCommand(), a.channelCommand(), a.trainCommand(), a.driftCommand(), a.benchCommand(), a.versionCommand(),
	)
	return root
}

func (a *app) checkFlags(cmd *cobra.Command) error {
	if err := cmd.ValidateRequiredFlags(); err != nil {
		return usageError(err)
	}
	if a.output == outputHTML && cmd.Annotations[writesHTML] == "" {
		return usageError(fmt.Errorf("--output html is not for '%s'; use table or json", cmd.CommandPath()))
	}
	if a.output != outputTable && a.output != outputJSON && a.output != outputHTML {
		return usageError(fmt.Errorf("unknown --output %q; use table or json", a.output))
	}
	_, err := a.logger()
	return err
}

// json reports whether results are for programs.
func (a *app) json() bool { return a.output == outputJSON }
