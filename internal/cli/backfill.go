package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/deploy/change"
	"github.com/freshet-io/freshet/offline/train"
)

const backfillLong = `Backfill loads history that was never in Kafka: rows of CSV or Parquet files, or of a SELECT that the engine of 'freshet
sql' answers, with the source's fields as columns, into the offline stores that the plane names, and builds the source's
views anew from all there is, so that training sets and lookups include it. The running plane goes on meanwhile, and
takes the new states up by itself.

Rows are judged as the source's records are. Nothing is loaded unless every row is good, or --skip-bad is given. A file
that is loaded again changes nothing, nor does a query that answers the same rows, in whatever order.`

func (a *app) backfillCommand() *cobra.Command {
	var connections string
	var o change.Options
	var b change.Backfill
	var from []string
	cmd := &cobra.Command{
		Use:   "backfill FILE... --source NAME --from ROWS",
		Short: "Load history that was never in Kafka",
		Long:  backfillLong,
		Example: `  freshet backfill plane.yaml --source orders --from 2023.csv --from 2024.parquet
  freshet backfill plane.yaml --source orders --from "SELECT who AS user, n, at FROM read_csv('old/*.csv')"`,
		Args: atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if b.Source == "" || len(from) == 0 {
				return usageError(errors.New("name --source and at least one file or SELECT with --from"))
			}
			plane, err := a.loadPlane(args, connections)
			if err != nil {
				return err
			}
			return a.backfill(cmd.Context(), plane, o, b, from)
		},
	}
	addConnections(cmd, &connections)
	f := cmd.Flags()
	f.StringVar(&b.Source, "source", "", "the source whose events the rows are")
	f.StringArrayVar(&from, "from", nil, "a .csv or .parquet file, or a SELECT; may be given several times")
	f.BoolVar(&b.SkipBad, "skip-bad", false, "load the good rows of files that have bad ones")
	f.BoolVar(&o.AcceptGap, "accept-gap", false, "build although neither a topic nor an offline store has some of the past")
	return cmd
}

func (a *app) backfill(ctx context.Context, plane *config.Plane, o change.Options, b change.Backfill, from []string) (err error) {
	for _, f := range from {
		rows, err := a.openRows(ctx, plane, "", f)
		if err != nil {
			return fmt.Errorf("--from: %w", err)
		}
		defer func() { err = errors.Join(err, rows.Close()) }()
		r := change.Rows{Name: f, Open: rows.open}
		if rows.lists = train.NoLists; isQuery(f) {
			r.Name, r.Query = "the query", true
		}
		b.From = append(b.From, r)
	}
	c, err := a.openChangeOf(ctx, plane, o)
	if err != nil {
		return err
	}
	defer c.Close()
	done, err := c.Backfill(ctx, b, a.tellBuild())
	if errors.Is(err, change.ErrNoSource) {
		return notFound(err)
	}
	if done != nil {
		if printErr := a.printBackfilled(done, err == nil); printErr != nil {
			return printErr
		}
	}
	return err
}

func (a *app) printBackfilled(done *change.Backfilled, loaded bool) error {
	if a.json() {
		return printJSON(a.Stdout, done)
	}
	for _, b := range done.First {
		fmt.Fprintf(a.Stdout, "%s row %d: %s\n", printable(b.File), b.Row, printable(b.Reason))
	}
	if left := done.Bad - int64(len(done.First)); left > 0 {
		fmt.Fprintf(a.Stdout, "and %s\n", plural(int(left), "more bad row", "more bad rows"))
	}
	if loaded {
		fmt.Fprintf(a.Stdout, "loaded %s\n", plural(int(done.Rows), "row", "rows"))
	}
	for _, v := range done.Built {
		fmt.Fprintf(a.Stdout, "built %s\n", printable(v))
	}
	return nil
}
