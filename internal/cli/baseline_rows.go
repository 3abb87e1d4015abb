package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/columns"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/monitors/baseline"
	"github.com/freshet-io/freshet/offline/train"
)

// rowFunc takes a row: a value for each column, and for each slice field.
type rowFunc = func(values, fields []feature.Value) error

// trainingRows are the rows of a file, or of what a database answers, as a model's columns. They are read from the
// beginning as often as they are asked for.
type trainingRows struct {
	ctx   context.Context
	open  func() (train.Spine, error)
	limit uint64 // of rows; 0: all
	nulls []string
	seen  func(rows int64)

	columns []found
	fields  []found
}

// found is where a model's column or slice field is in the rows.
type found struct {
	name string
	at   int
	to   feature.Type
	col  train.SpineColumn
}

// bind finds a model's columns and slice fields, and returns the names of those that are not there.
func (r *trainingRows) bind(model *config.Model) (missing []string, err error) {
	s, err := r.open()
	if err != nil {
		return nil, err
	}
	have := s.Columns()
	if err := s.Close(); err != nil {
		return nil, err
	}
	find := func(names ...string) int {
		for _, n := range names {
			if i := slices.IndexFunc(have, func(c train.SpineColumn) bool { return c.Name == n }); i >= 0 {
				return i
			}
		}
		return -1
	}
	for _, c := range model.Columns {
		names := []string{c.Name, model.Inferences.Schema[c.Field].Name}
		for _, f := range model.Service.Features { // as a training set with full feature names has them
			if f.View.Features[f.Index].Name == c.Name {
				names = append(names, f.View.Name+"__"+c.Name)
			}
		}
		if i := find(names...); i >= 0 {
			r.columns = append(r.columns, found{c.Name, i, c.Type, have[i]})
		} else {
			missing = append(missing, c.Name)
		}
	}
	if len(r.columns) == 0 {
		return nil, fmt.Errorf("it has none of the model's columns (%s)", strings.Join(missing, ", "))
	}
	for _, f := range model.Slices {
		name := model.Inferences.Schema[f].Name
		if i := find(name); i >= 0 {
			r.fields = append(r.fields, found{name, i, feature.String, have[i]})
		} else {
			missing = append(missing, name)
		}
	}
	return missing, nil
}

// each is a baseline.Rows.
func (r *trainingRows) each(fn rowFunc) (err error) {
	s, err := r.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	row := make([]feature.Value, len(s.Columns()))
	values, fields := make([]feature.Value, len(r.columns)), make([]feature.Value, len(r.fields))
	for n := uint64(0); r.limit == 0 || n < r.limit; n++ {
		if n%1024 == 0 {
			if err := r.ctx.Err(); err != nil {
				return err
			}
			r.seen(int64(n))
		}
		if err := s.Next(row); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		for i := range r.columns {
			values[i] = r.columns[i].value(&row[r.columns[i].at], r.nulls)
		}
		for i := range r.fields {
			v := r.fields[i].value(&row[r.fields[i].at], r.nulls)
			fields[i] = v.Clone() // it names a slice, for longer than the row is there
		}
		if err := fn(values, fields); err != nil {
			return err
		}
	}
	return nil
}

// value reads a value as the model's server would have logged it; one that is not of the type counts as mistyped.
func (f *found) value(v *feature.Value, nulls []string) feature.Value {
	switch {
	case v.IsNull():
		return feature.Value{}
	case f.col.Text:
		return f.text(v.Str(), nulls)
	case !f.col.Plain():
		return f.mistyped()
	case f.to == feature.String && v.Type() == feature.Bytes:
		return feature.StringValue(v.Str())
	case v.Type() == feature.Int64 && f.col.Unsigned && v.Int64() < 0:
		return feature.Float64Value(float64(uint64(v.Int64())))
	}
	return *v
}

func (f *found) text(s string, nulls []string) feature.Value {
	if s == "" || slices.Contains(nulls, s) {
		return feature.Value{}
	}
	switch f.to {
	case feature.Bool:
		switch strings.ToLower(s) {
		case "true":
			return feature.BoolValue(true)
		case "false":
			return feature.BoolValue(false)
		}
	case feature.Int64, feature.Float64:
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return feature.Int64Value(n)
		}
		if x, err := strconv.ParseFloat(s, 64); err == nil || errors.Is(err, strconv.ErrRange) {
			return feature.Float64Value(x)
		}
	}
	if f.to == feature.String {
		return feature.StringValue(s)
	}
	return f.mistyped()
}

// mistyped is a value that is not of the column's type.
func (f *found) mistyped() feature.Value {
	if f.to == feature.String {
		return feature.BoolValue(false)
	}
	return feature.StringValue("")
}

// definition is the baseline that the rows make.
func (r *trainingRows) definition(d baseline.Definition) baseline.Definition {
	for _, c := range r.columns {
		d.Columns = append(d.Columns, baseline.Column{Name: c.name, Type: c.to})
	}
	for _, f := range r.fields {
		d.Fields = append(d.Fields, f.name)
	}
	return d
}

// countRows says how many rows a file has, for people: of a CSV file its lines.
func countRows(path string) (_ int64, err error) {
	f, err := columns.Open(path, columns.Options{})
	if err != nil {
		return 0, err
	}
	n := f.Size([]columns.Want{{}})
	if unit := f.Unit(); unit == "values" {
		return n, f.Close()
	}
	if err := f.Close(); err != nil {
		return 0, err
	}
	text, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, text.Close()) }()
	lines, buf := int64(0), make([]byte, 1<<20)
	for {
		n, err := text.Read(buf)
		lines += int64(bytes.Count(buf[:n], []byte{'\n'}))
		if errors.Is(err, io.EOF) {
			return lines, nil
		}
		if err != nil {
			return 0, err
		}
	}
}
