package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/parquet"
)

const compactLong = `Compact merges the small Parquet files of each day. Everything in Freshet that reads them sees each row once at
every moment; a program that lists the folder by itself may see rows twice for the moment between a merged file's
coming and the going of those that it replaces. Files that were replaced stay out of sight for --grace, for those
who are reading them. It may be interrupted at any moment and run again, and runs beside the sinks.`

func (a *app) compactCommand() *cobra.Command {
	var connections, folder string
	var tables []string
	var target int64
	var grace time.Duration
	cmd := &cobra.Command{
		Use:     "compact FILE...",
		Short:   "Merge small Parquet files",
		Long:    compactLong,
		Example: "  freshet compact plane.yaml\n  freshet compact features/ --connections production.yaml --table events_orders --grace 1h",
		Args:    atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if target <= 0 || grace < 0 {
				return usageError(errors.New("--target must be more than 0 and --grace not negative"))
			}
			if grace == 0 {
				grace = -1
			}
			store, names, err := a.openTables(cmd.Context(), args, connections, folder, tables)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, store.Close()) }()
			return a.compact(cmd.Context(), store, names, parquet.CompactOptions{Target: target << 20, Grace: grace})
		},
	}
	addConnections(cmd, &connections)
	addParquet(cmd, &folder)
	f := cmd.Flags()
	f.StringSliceVar(&tables, "table", nil, "tables to compact (default all)")
	f.Int64Var(&target, "target", 128, "MiB that a merged file should have")
	f.DurationVar(&grace, "grace", 15*time.Minute, "how long replaced files stay for those who are reading them")
	return cmd
}

// openTables opens the Parquet store of a definition and returns the names of its tables, or of those that were asked for.
func (a *app) openTables(ctx context.Context, files []string, connections, folder string, only []string) (*parquet.Store, []string, error) {
	plane, err := a.loadPlane(files, connections)
	if err != nil {
		return nil, nil, err
	}
	var names []string
	for _, t := range offline.Tables(plane) {
		names = append(names, t.Name)
	}
	for _, name := range only {
		if !slices.Contains(names, name) {
			return nil, nil, notFound(fmt.Errorf("the definition has no table %q; it has %q", name, names))
		}
	}
	if len(only) > 0 {
		names = only
	}
	store, err := openParquet(ctx, a, plane, folder)
	return store, names, err
}

// compactRow is what was done to one table, as printed.
type compactRow struct {
	Table    string `json:"table"`
	Replaced int    `json:"replaced"`
	Merged   int    `json:"merged"`
	Rows     int64  `json:"rows"`
	Deleted  int    `json:"deleted"`
}

func (a *app) compact(ctx context.Context, store *parquet.Store, names []string, o parquet.CompactOptions) error {
	rows := []compactRow{}
	var failed error
	for _, name := range names {
		done, err := store.Compact(ctx, name, o)
		rows = append(rows, compactRow{Table: name, Replaced: done.Replaced, Merged: done.Merged, Rows: done.Rows, Deleted: done.Deleted})
		if err != nil {
			failed = fmt.Errorf("compact %s: %w", name, err)
			break
		}
	}
	if a.json() {
		return errors.Join(failed, printJSON(a.Stdout, rows))
	}
	t := newTable(left("TABLE"), right("FILES"), right("MERGED INTO"), right("ROWS"), right("OLD FILES DELETED"))
	for _, r := range rows {
		t.add(r.Table, strconv.Itoa(r.Replaced), strconv.Itoa(r.Merged), thousands(r.Rows), strconv.Itoa(r.Deleted))
	}
	return errors.Join(failed, t.print(a.Stdout))
}
