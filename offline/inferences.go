package offline

import (
	"strings"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
)

// Mistyped is the last column of a table of inferences, a list of strings: the columns that are null in this row because
// what was logged there is of another type than theirs.
const Mistyped = "_mistyped"

// InferencesTable returns the table of a model's inferences, "inferences_NAME": what was logged beside the inputs, then the
// inputs. It is sorted by time, for that is how windows are read.
func InferencesTable(m *config.Model) *Table {
	t := &Table{
		Name: "inferences_" + m.Name, Source: m.Inferences, Model: m,
		About: strings.TrimSpace("The inferences of model " + m.Name + ", a row an inference, as its server logged them. " + m.Description),
	}
	t.columns()
	taken := map[string]bool{}
	for i := range t.Columns {
		c := &t.Columns[i]
		for taken[strings.ToLower(c.Name)] { // engines tell names apart by more than their case
			c.Name = m.Inferences.Nested + "__" + c.Name
		}
		taken[strings.ToLower(c.Name)] = true
	}
	t.Columns = append(t.Columns, Column{
		Name: Mistyped, Type: feature.ListOf(feature.String), Nullable: true, Description: "columns that are null because a value of another type was logged",
	})
	return t
}

// AppendRow appends the values of the table's columns for a record that was decoded into the fields of its source. What a
// model was served is kept as it was logged as long as it fits its column; else the column is null and Mistyped names it.
func (t *Table) AppendRow(dst, fields []feature.Value) []feature.Value {
	if t.Model == nil {
		return append(dst, fields[:len(t.Columns)]...)
	}
	var mistyped []feature.Value
	for i := range fields {
		v := fields[i]
		if i >= t.Source.NestedFrom && !v.IsNull() && v.Type() != t.Columns[i].Type {
			mistyped = append(mistyped, feature.StringValue(t.Columns[i].Name))
			v = feature.Value{}
		}
		dst = append(dst, v)
	}
	if mistyped == nil {
		return append(dst, feature.Value{})
	}
	return append(dst, feature.ListValue(feature.String, mistyped))
}

// Unique reports whether no two records have the same value in a column, as far as is known: it holds ids.
func (t *Table) Unique(column int) bool {
	return t.Source.EventID == column || t.Model != nil && t.Model.ID == column
}
