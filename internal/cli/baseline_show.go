package cli

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet/internal/spell"
	"github.com/freshet-io/freshet/monitors/baseline"
	"github.com/freshet-io/freshet/monitors/distance"
	"github.com/freshet-io/freshet/monitors/drift"
	"github.com/freshet-io/freshet/monitors/files"
)

func (a *app) baselineShowCommand() *cobra.Command {
	var place monitorPlace
	var column, slice string
	cmd := &cobra.Command{
		Use:   "show NAME [FILE...]",
		Short: "Show a baseline's columns, or the bins of one",
		Example: `  freshet baseline show delays_1 plane.yaml
  freshet baseline show delays_1 plane.yaml --column distance --slice carrier=UA`,
		Args: atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if slice != "" && column == "" {
				return usageError(errors.New("--slice needs --column"))
			}
			return a.withMonitored(cmd.Context(), args[1:], &place, func(m *monitored) error {
				b, err := m.baseline(cmd.Context(), a, args[0])
				if err != nil {
					return err
				}
				if column == "" {
					return a.printBaseline(b)
				}
				return a.printBins(b, column, slice)
			})
		},
	}
	place.addFlags(cmd)
	cmd.Flags().StringVar(&column, "column", "", "the bins of this column, with their shares")
	cmd.Flags().StringVar(&slice, "slice", "", "of the rows of this slice, as region=eu")
	return cmd
}

// binRow is a bin as printed.
type binRow struct {
	Bin   string  `json:"bin"`
	Count uint64  `json:"count"`
	Share float64 `json:"share"`
}

// printBins prints the bins of a column that have a value, and all regular ones.
func (a *app) printBins(b *baseline.Baseline, column, slice string) error {
	at := b.Column(column)
	if at < 0 {
		var names []string
		for _, c := range b.Columns {
			names = append(names, c.Name)
		}
		return notFound(fmt.Errorf("the baseline %s has no column %q%s", b.Name, column, spell.Suggest(column, names)))
	}
	p := b.Profile(at, slice)
	if p == nil {
		var names []string
		for _, s := range b.Slices {
			names = append(names, baseline.SliceName(s.Field, s.Value))
		}
		return notFound(fmt.Errorf("the baseline %s has no slice %q%s", b.Name, slice, spell.Suggest(slice, names)))
	}
	rows := []binRow{}
	for i, n := range p.Counts.Counts() {
		if n > 0 || i < p.Bins().Regular() {
			rows = append(rows, binRow{p.Bins().Name(i), n, float64(n) / float64(max(1, p.Rows()))})
		}
	}
	if a.json() {
		return printJSON(a.Stdout, rows)
	}
	t := newTable(left("BIN"), right("ROWS"), right("SHARE"))
	for _, r := range rows {
		t.add(r.Bin, thousands(int64(r.Count)), percentText(r.Share))
	}
	return t.print(a.Stdout)
}

func (a *app) baselineDiffCommand() *cobra.Command {
	var place monitorPlace
	cmd := &cobra.Command{
		Use:         "diff A B [FILE...]",
		Short:       "Compare two baselines column by column",
		Long:        "Diff compares the columns of two baselines, as of two versions of a model, as 'freshet drift' compares files. Rows count for as\nmany independent ones as each baseline knows; without that, as independent.",
		Example:     "  freshet baseline diff delays_1 delays_2 plane.yaml",
		Annotations: map[string]string{writesHTML: "yes"},
		Args:        atLeast(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withMonitored(cmd.Context(), args[2:], &place, func(m *monitored) error {
				ref, err := m.baseline(cmd.Context(), a, args[0])
				if err != nil {
					return err
				}
				cur, err := m.baseline(cmd.Context(), a, args[1])
				if err != nil {
					return err
				}
				c, err := compareBaselines(ref, cur)
				if err != nil {
					return err
				}
				return a.printDrift(c, ref.Name, cur.Name)
			})
		},
	}
	place.addFlags(cmd)
	return cmd
}

// compareBaselines judges each column that both have.
func compareBaselines(ref, cur *baseline.Baseline) (*files.Comparison, error) {
	asked, err := drift.Ask(string(distance.JensenShannon))
	if err != nil {
		return nil, err
	}
	o := drift.Options{Methods: []drift.Asked{asked}, MinSample: driftMinSample, Movers: driftMovers}
	out := &files.Comparison{Alpha: driftAlpha}
	var judge drift.Judge
	for _, r := range ref.Columns {
		c := &drift.Column{Name: r.Name, Type: r.Type.String(), Kind: r.Profile.Bins().Kind(), NRef: r.Profile.Rows(), P: 1, PAdjusted: 1}
		switch at := cur.Column(r.Name); {
		case at < 0:
			c.Outcome, c.Notes = drift.Missing, []string{cur.Name + " does not have it"}
		case cur.Columns[at].Profile.Bins().Kind() != r.Profile.Bins().Kind():
			c.Outcome, c.NCur = drift.TypeChanged, cur.Columns[at].Profile.Rows()
			c.Notes = []string{fmt.Sprintf("%s in %s, %s in %s", r.Type, ref.Name, cur.Columns[at].Type, cur.Name)}
		default:
			if c, err = judge.Column(r.Name, drift.Side{Profile: r.Profile, Known: r.Dispersion}, drift.Side{Profile: cur.Columns[at].Profile, Known: cur.Columns[at].Dispersion}, o); err != nil {
				return nil, err
			}
			if r.Dispersion != nil || cur.Columns[at].Dispersion != nil {
				c.Notes = append(c.Notes, knownText(ref, r), knownText(cur, cur.Columns[at]))
			}
		}
		out.Columns = append(out.Columns, c)
	}
	for _, c := range cur.Columns {
		if !slices.ContainsFunc(ref.Columns, func(r baseline.Column) bool { return r.Name == c.Name }) {
			out.Columns = append(out.Columns, &drift.Column{
				Name: c.Name, P: 1, PAdjusted: 1, Outcome: drift.Extra, Notes: []string{ref.Name + " does not have it"},
			})
		}
	}
	drift.Family(out.Columns, out.Alpha)
	return out, nil
}

// knownText says what a baseline knows of how a column's rows vary.
func knownText(b *baseline.Baseline, c baseline.Column) string {
	if c.Dispersion == nil {
		return b.Name + ": how rows vary over time is not known"
	}
	return fmt.Sprintf("%s: %s, design effect %s", b.Name, variationText(b.Variation), effectText(&c.Dispersion.Effect))
}
