package files

import (
	"fmt"
	"io"
	"path/filepath"
	"strconv"

	"github.com/freshet-io/freshet/monitors/drift"
	"github.com/freshet-io/freshet/monitors/report"
)

// Headings name what Cells has for each column.
func (c *Comparison) Headings() []string {
	out := []string{"effect", "threshold", "p", "n ref", "n cur"}
	for _, col := range c.Columns {
		for _, s := range col.Scores {
			out = appendNew(out, string(s.Method))
		}
	}
	for _, col := range c.Columns {
		for _, o := range col.Others {
			out = appendNew(out, o.Mode)
		}
	}
	return out
}

func appendNew(names []string, name string) []string {
	for _, n := range names {
		if n == name {
			return names
		}
	}
	return append(names, name)
}

// Cells are a column's numbers as text: of the deciding method, then the score of each method of Headings, a dash where
// it has none.
func (c *Comparison) Cells(col *drift.Column) []string {
	effect, threshold, p := "-", "-", "-"
	if len(col.Scores) > 0 {
		s := col.Scores[0]
		effect, threshold, p = report.Number(s.Effect), strconv.FormatFloat(s.Threshold, 'g', 4, 64), report.P(col.PAdjusted)
	}
	out := []string{effect, threshold, p, count(col.NRef), count(col.NCur)}
	for _, h := range c.Headings()[len(out):] {
		cell := "-"
		for _, s := range col.Scores {
			if string(s.Method) == h {
				cell = report.Number(s.Score)
			}
		}
		for _, o := range col.Others {
			if o.Mode == h {
				cell = report.Number(o.Score)
			}
		}
		out = append(out, cell)
	}
	return out
}

// count writes a number with thin groups, as 1,000,000.
func count(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Summary says in a line what came of the comparison.
func (c *Comparison) Summary() string {
	have := "have"
	if c.Changed() == 1 {
		have = "has"
	}
	return fmt.Sprintf("%d of %d columns %s changed; at most %g %% of such findings are expected to be chance.", c.Changed(), len(c.Columns), have, 100*c.Alpha)
}

// WritePage writes the comparison as one page of HTML. ref and cur are the files' names.
func WritePage(w io.Writer, c *Comparison, ref, cur string) error {
	p := report.Page{
		Title:    "Drift: " + filepath.Base(cur) + " against " + filepath.Base(ref),
		Subtitle: c.Summary(),
		Facts:    []report.Fact{{Name: "reference", Value: ref}, {Name: "current", Value: cur}},
		Headings: c.Headings(),
	}
	for _, col := range c.Columns {
		r, k := col.Profiles()
		out := report.Column{
			Name: col.Name, Verdict: string(col.Outcome), Level: level(col.Outcome), Cells: c.Cells(col), Notes: col.Notes,
			Histogram: report.FromProfiles(r, k),
		}
		for _, m := range col.Movers {
			out.Movers = append(out.Movers, report.Mover(m))
		}
		p.Columns = append(p.Columns, out)
	}
	return report.Render(w, p)
}

func level(o drift.Outcome) report.Level {
	switch {
	case o.Changed():
		return report.Bad
	case o == drift.Stable:
		return report.Good
	}
	return report.Neutral
}
