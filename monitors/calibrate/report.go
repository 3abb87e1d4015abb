package calibrate

import (
	"fmt"
	"io"
	"math"
	"strings"
)

// Run does the whole experiment.
func (e Experiment) Run() ([]Table, error) {
	var out []Table
	for _, part := range []func() (Table, error){
		e.Independent,
		func() (Table, error) { return e.Power(200) },
		func() (Table, error) { return e.Power(500) },
		e.Dependent, e.Families, e.Episodes, e.Production, e.Sequential,
	} {
		t, err := part()
		if err != nil {
			return nil, fmt.Errorf("calibrate: %w", err)
		}
		out = append(out, t)
	}
	return out, nil
}

// Write writes the tables as a page in Markdown.
func (e Experiment) Write(w io.Writer, tables []Table) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Calibration\n\nWhether the monitors' statistics keep their word, as an experiment: `make calibrate` draws everything anew from seed %d and writes this page. "+
		"A level is kept if the share of false alarms on data that do not change is the level, within the error of so many repetitions; a configured rate of false episodes is kept if no more come.\n", e.Seed)
	for _, t := range tables {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| |", t.Title, t.Note)
		for _, c := range t.Columns {
			fmt.Fprintf(&b, " %s |", c)
		}
		b.WriteString("\n|---|" + strings.Repeat("---:|", len(t.Columns)) + "\n")
		for _, r := range t.Rows {
			fmt.Fprintf(&b, "| %s |", r.Name)
			for _, v := range r.Values {
				if math.IsNaN(v) {
					b.WriteString(" – |")
					continue
				}
				fmt.Fprintf(&b, " %.*f |", t.Decimals, v)
			}
			b.WriteString("\n")
		}
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write the summary: %w", err)
	}
	return nil
}
