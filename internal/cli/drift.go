package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet/internal/columns"
	"github.com/freshet-io/freshet/monitors/distance"
	"github.com/freshet-io/freshet/monitors/drift"
	"github.com/freshet-io/freshet/monitors/files"
)

const driftLong = `Drift compares two files of rows column by column, matched by name: which distributions have changed, by how
much, and whether chance explains it. It needs no plane.

Files are Parquet or CSV (the first line names the columns; an unquoted empty field is null, "" is the empty string).
A column has drifted if its effect, which is the distance without what chance gives at these sizes, reaches the
threshold, and its change is significant at --alpha over all columns together.

Methods are those of Freshet (jensen_shannon, psi, l_infinity, ks, wasserstein, hellinger, chi_square,
total_variation), of which the first decides, and those of other tools by their names (psi.evidently, js.nannyml, ...):
computed as that tool does, with its own binning, they stand beside.`

// driftDefaults are the rows that each side needs, and the rate of false discoveries.
const (
	driftMinSample = 30
	driftAlpha     = 0.01
	driftMovers    = 3
)

// driftFlags are what the command was asked.
type driftFlags struct {
	methods, columns, categorical, nulls []string
	threshold, alpha                     float64
	minSample                            uint64
	fail                                 bool
}

func (a *app) driftCommand() *cobra.Command {
	var flags driftFlags
	cmd := &cobra.Command{
		Use:   "drift REFERENCE CURRENT",
		Short: "Compare two files: which columns have changed",
		Long:  driftLong,
		Example: `  freshet drift train.parquet serving.parquet
  freshet drift train.parquet serving.csv --method jensen_shannon,psi,psi.evidently --columns distance,carrier
  freshet drift train.csv serving.csv --output html > drift.html
  freshet drift train.parquet serving.parquet --fail-on-drift --output json`,
		Annotations: map[string]string{writesHTML: "yes"},
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usageError(fmt.Errorf("name two files: the reference and the current one; got %d", len(args)))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := flags.options(cmd.Flags().Changed("threshold"))
			if err != nil {
				return usageError(err)
			}
			c, err := a.compareFiles(cmd, args[0], args[1], o, flags.nulls)
			if err != nil {
				return err
			}
			if err := a.printDrift(c, args[0], args[1]); err != nil {
				return err
			}
			if flags.fail && c.Changed() > 0 {
				return &exitError{code: exitDrift}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&flags.methods, "method", []string{string(distance.JensenShannon)}, "distances to compute; the first of Freshet's own decides")
	f.Float64Var(&flags.threshold, "threshold", 0, "effect from which a column has drifted, of every method (default each method's own; jensen_shannon: 0.1)")
	f.StringSliceVar(&flags.columns, "columns", nil, "columns to compare (default all)")
	f.StringSliceVar(&flags.categorical, "categorical", nil, "columns of integers that are codes")
	f.StringSliceVar(&flags.nulls, "null", nil, "unquoted texts that are null in CSV files, besides nothing: NA,NULL")
	f.Float64Var(&flags.alpha, "alpha", driftAlpha, "rate of false discoveries among all columns together")
	f.Uint64Var(&flags.minSample, "min-sample", driftMinSample, "rows that each side needs to be judged")
	f.BoolVar(&flags.fail, "fail-on-drift", false, "exit with 7 if a column has changed")
	return cmd
}

func (f *driftFlags) options(thresholdGiven bool) (files.Options, error) {
	o := files.Options{Columns: f.columns, Categorical: f.categorical, Alpha: f.alpha}
	if !(f.alpha > 0 && f.alpha < 1) {
		return o, fmt.Errorf("--alpha must be between 0 and 1, not %v", f.alpha)
	}
	own, modes, err := files.Methods(f.methods, f.threshold, thresholdGiven)
	if err != nil {
		return o, err
	}
	if len(own) == 0 { // something has to decide
		if own, _, err = files.Methods([]string{string(distance.JensenShannon)}, f.threshold, thresholdGiven); err != nil {
			return o, err
		}
	}
	o.Modes = modes
	o.Judge = drift.Options{Methods: own, MinSample: max(1, f.minSample), Movers: driftMovers}
	return o, drift.CheckMethods(own)
}

// compareFiles opens both files and compares them, with progress on standard error.
func (a *app) compareFiles(cmd *cobra.Command, ref, cur string, o files.Options, nulls []string) (_ *files.Comparison, err error) {
	var opened []columns.File
	defer func() {
		for _, f := range opened {
			err = errors.Join(err, f.Close())
		}
	}()
	for _, path := range []string{ref, cur} {
		f, err := columns.Open(path, columns.Options{Nulls: nulls})
		if err != nil {
			if errors.Is(err, columns.ErrNotATable) {
				return nil, usageError(err)
			}
			return nil, err
		}
		opened = append(opened, f)
	}
	var bar *progress
	var shown string
	c, err := files.Compare(cmd.Context(), opened[0], opened[1], o, func(stage, unit string, done, total int64) {
		if stage != shown {
			if bar != nil {
				bar.finish()
			}
			bar, shown = newProgressOf(a.Stderr, a.Terminal, stage, unit, total), stage
		}
		bar.set(done)
	})
	if bar != nil {
		bar.finish()
	}
	var none *files.NoColumn
	if errors.As(err, &none) {
		return nil, notFound(err)
	}
	return c, err
}

func (a *app) printDrift(c *files.Comparison, ref, cur string) error {
	switch a.output {
	case outputJSON:
		out := map[string]*drift.Column{}
		for _, col := range c.Columns {
			out[col.Name] = col
		}
		return printJSON(a.Stdout, out)
	case outputHTML:
		return files.WritePage(a.Stdout, c, ref, cur)
	}
	return printDriftTable(a.Stdout, c)
}

// printDriftTable prints a line a column: the deciding method in full, the scores of the others, what moved most.
func printDriftTable(w io.Writer, c *files.Comparison) error {
	headings := []column{left("COLUMN"), left("VERDICT")}
	for _, h := range c.Headings() {
		headings = append(headings, right(strings.ToUpper(h)))
	}
	t := newTable(append(headings, left("MOVED MOST"))...)
	for _, col := range c.Columns {
		cells := append([]string{col.Name, string(col.Outcome)}, c.Cells(col)...)
		moved := ""
		if len(col.Movers) > 0 && col.Outcome.Changed() {
			m := col.Movers[0]
			moved = fmt.Sprintf("%s: %.1f %% -> %.1f %%", m.Bin, 100*m.Ref, 100*m.Cur)
		}
		t.add(append(cells, moved)...)
	}
	if err := t.print(w); err != nil {
		return err
	}
	fmt.Fprintln(w)
	for _, col := range c.Columns {
		for _, note := range col.Notes {
			fmt.Fprintf(w, "%s: %s\n", printable(col.Name), printable(note))
		}
	}
	_, err := fmt.Fprintln(w, c.Summary())
	return err
}
