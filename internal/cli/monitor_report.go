package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/monitors/alert"
	"github.com/freshet-io/freshet/monitors/drift"
	"github.com/freshet-io/freshet/monitors/report"
	"github.com/freshet-io/freshet/monitors/topics"
	"github.com/freshet-io/freshet/monitors/watch"
)

func (a *app) monitorReportCommand() *cobra.Command {
	var place monitorPlace
	var flags scoreFlags
	var page string
	cmd := &cobra.Command{
		Use:   "report NAME [FILE...]",
		Short: "Write a page of what a monitor has found",
		Long: `Report writes one page of HTML that loads nothing from anywhere: a table of columns, and for each its effect over
time and the distributions of the reference and of the last window over each other.`,
		Example: "  freshet monitor report delays plane.yaml --html report.html\n  freshet monitor report delays plane.yaml --html day.html --column distance --slice all --windows 24",
		Args:    atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if page == "" {
				return usageError(errors.New("give the file to write: --html report.html"))
			}
			return a.withMonitored(cmd.Context(), args[1:], &place, func(m *monitored) error {
				mon, err := m.monitorNamed(args[0])
				if err != nil {
					return err
				}
				f, err := flags.filter(mon, time.Now())
				if err != nil {
					return err
				}
				return a.writeReport(cmd.Context(), m, mon, f, page)
			})
		},
	}
	place.addFlags(cmd)
	flags.addFlags(cmd, 200)
	cmd.Flags().StringVar(&page, "html", "", "the file to write")
	return cmd
}

func (a *app) writeReport(ctx context.Context, m *monitored, mon *config.Monitor, f scoreFilter, page string) error {
	every := f
	if every.slice == "" {
		every.slice = allSlices // which slices are shown is decided by all of their windows
	}
	scores, err := m.scores(ctx, mon, every)
	if err != nil {
		return err
	}
	if len(scores) == 0 {
		return notFound(notJudged(f))
	}
	pairs, err := m.lastPairs(ctx, mon)
	if err != nil {
		return err
	}
	p := monitorPage(m.plane, mon, seriesOf(scores, f.slice), pairs)
	var text bytes.Buffer
	if err := report.Render(&text, p); err != nil {
		return err
	}
	if err := os.WriteFile(page, text.Bytes(), 0o644); err != nil {
		return err
	}
	if a.json() {
		return printJSON(a.Stdout, map[string]any{"report": page, "columns": len(p.Columns)})
	}
	_, err = fmt.Fprintf(a.Stdout, "%s: %s\n", page, p.Subtitle)
	return err
}

// lastPairs restores what the evaluator knows of a model and returns the profiles of the window judged last.
func (m *monitored) lastPairs(ctx context.Context, mon *config.Monitor) ([]watch.Pair, error) {
	w, err := watch.New(m.plane, mon.Model)
	if err != nil {
		return nil, err
	}
	made, _, err := m.baselines(ctx)
	if err != nil {
		return nil, err
	}
	for name, b := range made {
		w.SetBaseline(name, b)
	}
	last := map[string][]byte{} // of each key, what compaction would leave
	err = m.read(ctx, topics.State, modelPartition(mon.Model), time.Time{}, func(rec *kgo.Record) error {
		if rec.Value == nil {
			delete(last, string(rec.Key))
		} else if watch.Model(rec.Key) == mon.Model.Name {
			last[string(rec.Key)] = rec.Value
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for key, value := range last {
		if err := w.Restore([]byte(key), value); err != nil {
			return nil, err
		}
	}
	return w.Last(mon.Name)
}

// seriesOf puts the scores of each series together, in the order of time. Where no slice is asked for, all rows are shown
// and slices that have changed in any of the windows.
func seriesOf(scores []watch.Score, slice string) [][]watch.Score {
	by, changed := map[alert.Series][]watch.Score{}, map[alert.Series]bool{}
	var order []alert.Series
	for _, s := range scores {
		k := s.Series()
		if by[k] == nil {
			order = append(order, k)
		}
		by[k] = append(by[k], s)
		changed[k] = changed[k] || s.Changed()
	}
	var out [][]watch.Score
	for _, k := range order {
		if slice != "" || k.Slice == "" || changed[k] {
			out = append(out, by[k])
		}
	}
	worst := func(of []watch.Score) float64 { return times(&of[len(of)-1]) }
	slices.SortStableFunc(out, func(a, b []watch.Score) int {
		x, y := a[len(a)-1].Changed(), b[len(b)-1].Changed()
		if x != y {
			if x {
				return -1
			}
			return 1
		}
		return cmp.Compare(worst(b), worst(a))
	})
	return out
}

func monitorPage(plane *config.Plane, mon *config.Monitor, series [][]watch.Score, pairs []watch.Pair) report.Page {
	p := report.Page{
		Title:    "Monitor " + mon.Name,
		Headings: []string{"effect", "threshold", "p", "n ref", "n cur", "n eff", "method"},
	}
	ends, changed := map[int64]bool{}, 0
	lastOf := map[string]int64{} // the last window of each sequence
	for _, of := range series {
		for i := range of {
			end, sequence := of[i].Window.End, sequenceOf(of[i].Kind)
			ends[end] = true
			lastOf[sequence] = max(lastOf[sequence], end)
		}
	}
	for _, of := range series {
		c := reportColumn(of, pairs)
		if s := &of[len(of)-1]; s.Window.End == lastOf[sequenceOf(s.Kind)] && c.Level == report.Bad {
			changed++
		}
		p.Columns = append(p.Columns, c)
	}
	p.Subtitle = fmt.Sprintf("%d of %d series changed in the window that ends at %s.", changed, len(series), instant(lastWindow(slices.Concat(series...))))
	window := windowText(mon.Size)
	if mon.Every != mon.Size {
		window += " every " + windowText(mon.Every)
	}
	p.Facts = []report.Fact{
		{Name: "model", Value: mon.Model.Name + " of " + plane.Project},
		{Name: "window", Value: window},
		{Name: "shown", Value: plural(len(ends), "window", "windows")},
		{Name: "baseline", Value: mon.BinsName()},
		{Name: "fires after", Value: plural(mon.For, "window", "disjoint windows") + " in a row"},
	}
	if mon.Against > 0 {
		p.Facts = append(p.Facts, report.Fact{Name: "drift against", Value: windowText(mon.Against) + " earlier"})
	}
	return p
}

// reportColumn is a series: its last window in the table, all of them as a line.
func reportColumn(of []watch.Score, pairs []watch.Pair) report.Column {
	s := &of[len(of)-1]
	c := report.Column{
		Name: nameOf(s.Series()), Verdict: s.Outcome, Level: outcomeLevel(s.Outcome), Notes: slices.Clone(s.Notes),
		Cells: []string{
			report.Number(float64(s.Effect)), fmt.Sprint(s.Threshold), report.P(float64(s.PAdjusted)), countOf(s, s.NRef), countOf(s, s.NCur), rowsText(float64(s.NEffCur)), s.Method,
		},
	}
	c.Notes = append([]string{fmt.Sprintf("%s against %s", s.Kind, s.Against)}, c.Notes...)
	for _, m := range s.Movers {
		c.Movers = append(c.Movers, report.Mover(m))
	}
	series := report.Series{Threshold: s.Threshold}
	for i := range of {
		series.Times = append(series.Times, instant(of[i].Window.End))
		series.Scores = append(series.Scores, float64(of[i].Effect))
	}
	c.Series = &series
	for _, p := range pairs {
		if p.Series == s.Series() && p.Window == s.Window && p.Reference != nil && p.Current != nil {
			c.Histogram = report.FromProfiles(p.Reference, p.Current)
		}
	}
	return c
}

// countOf is how many rows of a side a score is of: an age is of none.
func countOf(s *watch.Score, n uint64) string {
	if s.Kind == alert.Freshness {
		return "-"
	}
	return thousands(int64(n))
}

// rowsText is a number of rows, which not every check has.
func rowsText(n float64) string {
	if math.IsNaN(n) {
		return "-"
	}
	return thousands(int64(n))
}

func outcomeLevel(outcome string) report.Level {
	switch o := drift.Outcome(outcome); {
	case o.Changed() || o == watch.Worse:
		return report.Bad
	case o == drift.Stable:
		return report.Good
	}
	return report.Neutral
}
