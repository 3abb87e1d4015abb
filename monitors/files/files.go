// Package files profiles and compares files of rows: a reference (a training set) becomes bins and profiles, another
// file is profiled on the same bins, and each column is judged. Reading files is internal/columns, judging is
// monitors/drift.
package files

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/freshet-io/freshet/internal/columns"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/monitors/compat"
	"github.com/freshet-io/freshet/monitors/drift"
	"github.com/freshet-io/freshet/monitors/profile"
)

// Options say what is compared and how.
type Options struct {
	Bins        profile.Options
	Columns     []string // those compared, all where none is named
	Categorical []string // columns of integers that are codes
	Judge       drift.Options
	Modes       []compat.Mode // of other tools, beside; they decide nothing
	Alpha       float64       // the false-discovery rate of all columns together
}

// Progress is told how far a stage of the work has come.
type Progress func(stage, unit string, done, total int64)

// Comparison is two files compared.
type Comparison struct {
	Columns []*drift.Column // in the reference's order, then those that only the current file has
	Alpha   float64
}

// Changed returns how many columns are not what they were.
func (c *Comparison) Changed() (n int) {
	for _, col := range c.Columns {
		if col.Outcome.Changed() {
			n++
		}
	}
	return n
}

// Profiled is a column of a reference.
type Profiled struct {
	Name    string
	Profile *profile.Profile // nil: it could not be profiled, for Why
	Why     string
}

// together is how many columns are in work at once: what they keep of a reference is at most half a megabyte each.
const together = 128

// Reference makes bins and profiles of a file's columns: edges from all values of a column of up to Options.Sample rows,
// else from a uniform sample of so many, counts always from all. A file of any size is read in bounded memory, twice where
// it is larger than the sample.
func Reference(ctx context.Context, f columns.File, o Options, progress Progress) ([]Profiled, error) {
	if err := f.Infer(ctx, stage(progress, "types", f, f.Size(nil))); err != nil {
		return nil, err
	}
	cols, err := chosen(f, o)
	if err != nil {
		return nil, err
	}
	out := make([]Profiled, len(cols))
	var wants []columns.Want
	var places []int
	for i, c := range cols {
		col := f.Columns()[c]
		if out[i] = (Profiled{Name: col.Name, Why: col.Why}); col.Type == feature.Null {
			continue
		}
		w := columns.Want{Column: c, Type: col.Type}
		w.Text = slices.Contains(o.Categorical, col.Name) && col.Type == feature.Int64
		wants, places = append(wants, w), append(places, i)
	}
	for from := 0; from < len(wants); from += together {
		to := min(len(wants), from+together)
		profiles, err := referenceOf(ctx, f, wants[from:to], o, progress)
		if err != nil {
			return nil, err
		}
		for k, p := range profiles {
			out[places[from+k]].Profile = p
		}
	}
	return out, nil
}

// chosen returns the columns that are asked for.
func chosen(f columns.File, o Options) (out []int, err error) {
	names := map[string]int{}
	for i, c := range f.Columns() {
		names[c.Name] = i
		if len(o.Columns) == 0 {
			out = append(out, i)
		}
	}
	for _, n := range o.Columns {
		i, ok := names[n]
		if !ok {
			return nil, &NoColumn{n}
		}
		if !slices.Contains(out, i) {
			out = append(out, i)
		}
	}
	for _, n := range o.Categorical {
		i, ok := names[n]
		if !ok {
			return nil, &NoColumn{n}
		}
		if t := f.Columns()[i].Type; t == feature.Float64 || t == feature.Timestamp {
			return nil, fmt.Errorf("column %q has the type %s: only integers can be taken as categories", n, t)
		}
	}
	return out, nil
}

// NoColumn is the error for a column that the reference does not have.
type NoColumn struct{ Name string }

func (e *NoColumn) Error() string { return fmt.Sprintf("the reference has no column %q", e.Name) }

// referenceOf profiles some columns of a reference.
func referenceOf(ctx context.Context, f columns.File, wants []columns.Want, o Options, progress Progress) ([]*profile.Profile, error) {
	builders := make([]*profile.Builder, len(wants))
	for i := range wants {
		bins := o.Bins
		bins.Categorical = wants[i].Text
		b, err := profile.NewBuilder(wants[i].Type, bins)
		if err != nil {
			return nil, fmt.Errorf("column %q: %w", f.Columns()[wants[i].Column].Name, err)
		}
		builders[i], wants[i].Sink = b, b
	}
	if err := f.Read(ctx, wants, stage(progress, "reference", f, f.Size(wants))); err != nil {
		return nil, err
	}
	out := make([]*profile.Profile, len(wants))
	var again []columns.Want
	for i, b := range builders {
		p, err := b.Profile(false)
		if errors.Is(err, profile.ErrIncomplete) {
			var bins *profile.Bins
			if bins, err = b.Bins(); err == nil {
				p = profile.New(bins, false)
				w := wants[i]
				w.Sink = p
				again = append(again, w)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("column %q: %w", f.Columns()[wants[i].Column].Name, err)
		}
		out[i], builders[i], wants[i].Sink = p, nil, nil
	}
	if len(again) == 0 {
		return out, nil
	}
	return out, f.Read(ctx, again, stage(progress, "reference, counting", f, f.Size(again)))
}

func stage(p Progress, name string, f columns.File, total int64) func(int64) {
	if p == nil {
		return nil
	}
	return func(done int64) { p(name, f.Unit(), done, total) }
}

// Compare compares two files column by column, matched by name. A column that one of them does not have, or that is of no
// type that can be compared, is reported as such.
func Compare(ctx context.Context, ref, cur columns.File, o Options, progress Progress) (*Comparison, error) {
	if err := drift.CheckMethods(o.Judge.Methods); err != nil {
		return nil, err
	}
	reference, err := Reference(ctx, ref, o, progress)
	if err != nil {
		return nil, err
	}
	current, rows, err := profiles(ctx, reference, cur, progress)
	if err != nil {
		return nil, err
	}
	out := &Comparison{Alpha: o.Alpha}
	var judge drift.Judge
	for i, r := range reference {
		c := &drift.Column{Name: r.Name, P: 1, PAdjusted: 1, Outcome: drift.Missing, Notes: []string{"the current file does not have it"}}
		if r.Profile != nil {
			c.NRef, c.Type, c.Kind = r.Profile.Rows(), r.Profile.Bins().Type().String(), r.Profile.Bins().Kind()
		}
		switch {
		case r.Profile == nil:
			c.Outcome, c.Notes = drift.Unsupported, []string{r.Why}
		case current[i] != nil:
			if c, err = judge.Column(r.Name, drift.Side{Profile: r.Profile}, drift.Side{Profile: current[i]}, o.Judge); err != nil {
				return nil, err
			}
		}
		out.Columns = append(out.Columns, c)
	}
	if len(o.Columns) == 0 {
		out.Columns = append(out.Columns, extra(reference, cur, rows)...)
	}
	drift.Family(out.Columns, o.Alpha)
	return out, compatible(ctx, ref, cur, out.Columns, o, progress)
}

// profiles profiles the current file on the reference's bins; nil where it does not have the column. It returns how many rows the
// file has, too: where it shares no column one is read for that, unless none can be.
func profiles(ctx context.Context, reference []Profiled, cur columns.File, progress Progress) (out []*profile.Profile, rows uint64, err error) {
	out = make([]*profile.Profile, len(reference))
	var wants []columns.Want
	for i, r := range reference {
		at := slices.IndexFunc(cur.Columns(), func(c columns.Column) bool { return c.Name == r.Name })
		if r.Profile == nil || at < 0 {
			continue
		}
		b := r.Profile.Bins()
		out[i] = profile.New(b, false)
		text := b.Kind() == profile.Categorical && b.Type() == feature.Int64
		wants = append(wants, columns.Want{Column: at, Type: b.Type(), Text: text, Sink: out[i]})
	}
	if len(wants) == 0 {
		if at := slices.IndexFunc(cur.Columns(), func(c columns.Column) bool { return c.Type != feature.Null }); at >= 0 {
			wants = append(wants, columns.Want{Column: at, Type: cur.Columns()[at].Type, Sink: (*counter)(&rows)})
		}
	}
	if err := cur.Read(ctx, wants, stage(progress, "current", cur, cur.Size(wants))); err != nil {
		return nil, 0, err
	}
	for _, p := range out {
		if p != nil {
			rows = p.Rows()
		}
	}
	return out, rows, nil
}

// counter is a columns.Sink that counts a column's rows.
type counter uint64

func (c *counter) AddFloat64s(values []float64)     { *c += counter(len(values)) }
func (c *counter) AddString(_ string, count uint64) { *c += counter(count) }
func (c *counter) AddNulls(n uint64)                { *c += counter(n) }
func (c *counter) AddMistyped(n uint64)             { *c += counter(n) }

// extra reports the columns that only the current file has.
func extra(reference []Profiled, cur columns.File, rows uint64) (out []*drift.Column) {
	for _, c := range cur.Columns() {
		if !slices.ContainsFunc(reference, func(r Profiled) bool { return r.Name == c.Name }) {
			out = append(out, &drift.Column{
				Name: c.Name, NCur: rows, P: 1, PAdjusted: 1, Outcome: drift.Extra, Notes: []string{"the reference does not have it"},
			})
		}
	}
	return out
}
