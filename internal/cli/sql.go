package cli

import (
	"context"
	stdsql "database/sql"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/rivo/uniseg"
	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/offline/parquet"
	"github.com/freshet-io/freshet/offline/sql"
)

const sqlLong = `Sql asks the offline tables: in ClickHouse where the definition names it, else in the Parquet files, by DuckDB in
this process. There is a table for each source's events, events_NAME, and for each feature view's log, features_NAME.
A query changes nothing. '-' reads it from standard input.

Embedded SQL is part of bin/freshet-sql that 'make build' makes; other builds say so. With --views the command prints
statements that make the same tables in DuckDB's own shell, of the files that there are now.`

// sqlOptions are the flags of sql.
type sqlOptions struct {
	connections, folder, engine string
	csv, views                  bool
	limit                       int
	timeout                     time.Duration
}

const (
	tableLimit = 100
	cellWidth  = 60
)

func (a *app) sqlCommand() *cobra.Command {
	var o sqlOptions
	cmd := &cobra.Command{
		Use:   "sql {QUERY | --views} FILE...",
		Short: "Ask the offline tables by SQL",
		Long:  sqlLong,
		Example: `  freshet sql "SELECT carrier, count(*) FROM events_flights GROUP BY carrier" plane.yaml
  freshet sql --csv - plane.yaml < query.sql > result.csv
  freshet sql --views plane.yaml > views.sql && duckdb -init views.sql`,
		Args: atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.limit < 0 {
				return usageError(errors.New("--limit is negative"))
			}
			if o.views {
				return a.printViews(cmd.Context(), args, &o)
			}
			if len(args) < 2 {
				return usageError(errors.New("give a query, and the files of the definition"))
			}
			if !cmd.Flags().Changed("limit") && !o.csv && !a.json() {
				o.limit = tableLimit
			}
			return a.runSQL(cmd.Context(), args[0], args[1:], &o)
		},
	}
	addConnections(cmd, &o.connections)
	addParquet(cmd, &o.folder)
	f := cmd.Flags()
	f.StringVar(&o.engine, "engine", "", "clickhouse or parquet (default: clickhouse if the definition names it)")
	f.BoolVar(&o.csv, "csv", false, "print the result as CSV")
	f.IntVar(&o.limit, "limit", 0, "rows to print at most; 0 is all (default 100 for a table)")
	f.DurationVar(&o.timeout, "timeout", 5*time.Minute, "how long the query may take")
	f.BoolVar(&o.views, "views", false, "print statements for DuckDB's own shell instead")
	return cmd
}

func addParquet(cmd *cobra.Command, folder *string) {
	cmd.Flags().StringVar(folder, "parquet", "", "folder or URL of the Parquet files, where the definition does not name it")
}

// openParquet opens the Parquet store of a plane, or the one that a flag names.
func openParquet(ctx context.Context, a *app, plane *config.Plane, folder string) (*parquet.Store, error) {
	logger, err := a.logger()
	if err != nil {
		return nil, err
	}
	address, err := parquetAddress(plane, folder)
	if err != nil {
		return nil, err
	}
	return parquet.Open(ctx, address, parquet.Options{Logger: logger})
}

// parquetAddress is the URL of a plane's Parquet files, or of those that a flag names.
func parquetAddress(plane *config.Plane, folder string) (config.Secret, error) {
	switch {
	case strings.Contains(folder, "://"):
		return config.Secret(folder), nil
	case folder != "":
		abs, err := filepath.Abs(folder)
		return fileURL(abs), err
	case plane.Connections.Parquet != nil:
		return plane.Connections.Parquet.URL, nil
	}
	return "", usageError(errors.New("the definition names no connections.parquet; --parquet names the folder (of a plane of freshet dev: .freshet/parquet)"))
}

func (a *app) printViews(ctx context.Context, files []string, o *sqlOptions) error {
	plane, err := a.loadPlane(files, o.connections)
	if err != nil {
		return err
	}
	v, err := a.parquetViews(ctx, plane, o.folder)
	if err != nil {
		return err
	}
	_, err = io.WriteString(a.Stdout, v.statements)
	return err
}

// answer is a query's result, and the engine that it comes from.
type answer struct {
	*sql.Result
	db *stdsql.DB
}

// Close lets both go.
func (a *answer) Close() error { return errors.Join(a.Result.Close(), a.db.Close()) }

// ask asks the engine that is there for it.
func (a *app) ask(ctx context.Context, plane *config.Plane, query string, o *sqlOptions) (got *answer, err error) {
	switch {
	case o.engine != "" && o.engine != "clickhouse" && o.engine != "parquet":
		return nil, usageError(fmt.Errorf("unknown --engine %q; use clickhouse or parquet", o.engine))
	case o.engine == "clickhouse" && plane.Connections.ClickHouse == nil:
		return nil, usageError(errors.New("the definition names no connections.clickhouse"))
	case o.engine != "parquet" && o.folder == "" && plane.Connections.ClickHouse != nil:
		db, err := sql.OpenClickHouse(*plane.Connections.ClickHouse)
		if err != nil {
			return nil, err
		}
		return askOf(ctx, db, query)
	}
	err = a.overFiles(ctx, plane, o.folder, func(views string) error {
		db, err := embeddedSQL(ctx, views)
		if err != nil {
			return err
		}
		got, err = askOf(ctx, db, query)
		return err
	})
	return got, err
}

func askOf(ctx context.Context, db *stdsql.DB, query string) (*answer, error) {
	result, err := sql.Query(ctx, db, query)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &answer{result, db}, nil
}

func (a *app) runSQL(ctx context.Context, query string, files []string, o *sqlOptions) (err error) {
	plane, err := a.loadPlane(files, o.connections)
	if err != nil {
		return err
	}
	if query == "-" {
		text, err := io.ReadAll(a.Stdin)
		if err != nil {
			return fmt.Errorf("read the query: %w", err)
		}
		query = string(text)
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	result, err := a.ask(ctx, plane, strings.TrimRight(strings.TrimSpace(query), ";"), o)
	if err != nil {
		return a.ended(ctx, o, err)
	}
	defer func() { err = errors.Join(err, result.Close()) }()
	switch {
	case o.csv:
		err = result.WriteCSV(a.Stdout, o.limit)
	case a.json():
		err = result.WriteJSON(a.Stdout, o.limit)
	default:
		err = a.printResult(result.Result, o.limit)
	}
	return a.ended(ctx, o, err)
}

// ended says that a query was cut short by --timeout, where it was.
func (a *app) ended(ctx context.Context, o *sqlOptions, err error) error {
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("the query took longer than --timeout %s", o.timeout)
	}
	return err
}

// printResult prints rows as a table: cells are cut where they are wide, rows where they are many, and both is said.
func (a *app) printResult(r *sql.Result, limit int) error {
	var columns []column
	for i, c := range r.Columns {
		if r.Numeric[i] {
			columns = append(columns, right(printable(c)))
		} else {
			columns = append(columns, left(printable(c)))
		}
	}
	t := newTable(columns...)
	for n := 0; ; n++ {
		more, err := r.Next()
		if err != nil {
			return err
		}
		if more && limit > 0 && n == limit {
			if err := t.print(a.Stdout); err != nil {
				return err
			}
			_, err := fmt.Fprintf(a.Stdout, "\nThere are more rows; --limit 0 prints all.\n")
			return err
		}
		if !more {
			return t.print(a.Stdout)
		}
		cells := r.Texts("-")
		for i := range cells {
			cells[i] = cut(printable(cells[i]), cellWidth)
		}
		t.add(cells...)
	}
}

// cut shortens text to a width in terminal cells.
func cut(s string, width int) string {
	if uniseg.StringWidth(s) <= width {
		return s
	}
	var b strings.Builder
	used := 0
	for g := uniseg.NewGraphemes(s); g.Next(); {
		if used += g.Width(); used > width-1 {
			break
		}
		b.WriteString(g.Str())
	}
	return b.String() + "…"
}
