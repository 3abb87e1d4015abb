package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet/offline/parquet"
)

const filesLong = `Files prints exactly the Parquet files that hold a table at this moment, one a line: what a program that reads
them by itself should be given while 'freshet compact' may run. Where of a file only the rows of some offsets count,
they are printed beside it, and 'freshet compact' puts that in order.`

func (a *app) filesCommand() *cobra.Command {
	var connections, folder string
	cmd := &cobra.Command{
		Use:     "files TABLE FILE...",
		Short:   "List the Parquet files of a table",
		Long:    filesLong,
		Example: "  freshet files events_orders plane.yaml\n  freshet files events_orders plane.yaml --parquet .freshet/parquet --output json",
		Args:    atLeast(2),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			store, names, err := a.openTables(cmd.Context(), args[1:], connections, folder, args[:1])
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, store.Close()) }()
			files, err := store.Files(cmd.Context(), names[0])
			if err != nil {
				return err
			}
			if a.json() {
				return printJSON(a.Stdout, fileRows(files))
			}
			for _, f := range fileRows(files) {
				line := f.URL
				for _, k := range f.Offsets {
					line += fmt.Sprintf("\toffsets %d to %d only", k.First, k.Last)
				}
				if _, err := fmt.Fprintln(a.Stdout, line); err != nil {
					return err
				}
			}
			return nil
		},
	}
	addConnections(cmd, &connections)
	addParquet(cmd, &folder)
	return cmd
}

// fileRow is a file as printed.
type fileRow struct {
	URL     string       `json:"url"`
	Day     string       `json:"day"`
	Bytes   int64        `json:"bytes"`
	Offsets []offsetsRow `json:"offsets,omitempty"`
}

type offsetsRow struct {
	First int64 `json:"first"`
	Last  int64 `json:"last"`
}

func fileRows(files []parquet.File) []fileRow {
	rows := []fileRow{}
	for _, f := range files {
		r := fileRow{URL: f.URL, Day: f.Day, Bytes: f.Bytes}
		for _, k := range f.Keep {
			r.Offsets = append(r.Offsets, offsetsRow{k.First, k.End - 1})
		}
		rows = append(rows, r)
	}
	return rows
}
