// Package report draws comparisons for people: one self-contained page of HTML with a table of columns, and for each
// column the two distributions over each other, what moved most and, for a monitor, its score over time. It loads
// nothing from anywhere, has no script, and follows the reader's light or dark setting. Everything that comes from data
// is escaped by html/template. What the numbers are is decided elsewhere.
package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"strconv"
)

// Page is what a page shows.
type Page struct {
	Title    string
	Subtitle string
	Facts    []Fact // shown above the table: "rows", "1,000,000 and 50,000"
	Headings []string
	Columns  []Column
}

// Fact is a line of the summary.
type Fact struct{ Name, Value string }

// Level says how a verdict looks.
type Level string

// The levels.
const (
	Bad     Level = "bad"     // it changed
	Good    Level = "good"    // it did not
	Neutral Level = "neutral" // nothing was judged
)

// Column is a line of the table and a section below it.
type Column struct {
	Name    string
	Verdict string
	Level   Level
	Cells   []string // under Page.Headings
	Notes   []string
	// Histogram is both distributions; nil where there are none.
	Histogram *Histogram
	Movers    []Mover
	// Series is the score over time; nil where there is one comparison.
	Series *Series
}

// Mover is a bin and its share of both sides, 0 to 1.
type Mover struct {
	Bin      string
	Ref, Cur float64
}

// Series is a score at consecutive times, the oldest first; NaN where there is none.
type Series struct {
	Times     []string
	Scores    []float64
	Threshold float64
}

//go:embed page.html
var pageHTML string

// Render writes the page.
func Render(w io.Writer, p Page) error {
	t, err := template.New("page").Funcs(template.FuncMap{
		"percent": percent, "anchor": func(i int) string { return "c" + strconv.Itoa(i) },
		"plot": plot, "mini": mini, "line": line, "spark": spark,
	}).Parse(pageHTML)
	if err != nil {
		return fmt.Errorf("the report's template: %w", err)
	}
	if err := t.Execute(w, p); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

func percent(share float64) string {
	switch {
	case share-share != 0:
		return "-"
	case share > 0 && share < 0.0001:
		return "< 0.01 %"
	case share > 0 && share < 0.01:
		return strconv.FormatFloat(100*share, 'f', 2, 64) + " %"
	}
	return strconv.FormatFloat(100*share, 'f', 1, 64) + " %"
}

// P writes a p-value for people.
func P(p float64) string {
	if p == 0 {
		return "< 1e-300"
	}
	return Number(p)
}

// Number writes a score for people.
func Number(x float64) string {
	switch {
	case math.IsNaN(x):
		return "-"
	case x == 0:
		return "0"
	case math.Abs(x) < 0.001 || math.Abs(x) >= 1e6:
		return strconv.FormatFloat(x, 'g', 2, 64)
	}
	return strconv.FormatFloat(x, 'f', 3, 64)
}
