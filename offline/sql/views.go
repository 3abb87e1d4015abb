package sql

import (
	"fmt"
	"strings"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/parquet"
)

// View is a table as DuckDB reads it: exactly these files.
type View struct {
	Table *offline.Table
	Files []parquet.File
}

// DuckDB returns the statements that make a view of each table in a DuckDB database, typed and commented, times in UTC.
// They hold for the files that there are when they are made.
func DuckDB(views []View) string {
	var b strings.Builder
	b.WriteString("SET TimeZone = 'UTC';\n")
	for _, v := range views {
		v.write(&b)
	}
	return b.String()
}

func (v *View) write(b *strings.Builder) {
	columns := duckDBColumns(v.Table)
	name := identifier(v.Table.Name)
	fmt.Fprintf(b, "\nCREATE OR REPLACE VIEW %s AS\nSELECT ", name)
	for i, c := range columns {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(identifier(c.name))
	}
	// The first part gives every column its type, those too that no file has yet.
	b.WriteString("\nFROM (SELECT ")
	for i, c := range columns {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(b, "NULL::%s AS %s", c.typ, identifier(c.name))
	}
	b.WriteString(" WHERE false")
	var whole []parquet.File
	for _, f := range v.Files {
		if f.Keep == nil {
			whole = append(whole, f)
		}
	}
	v.read(b, whole, "")
	for _, f := range v.Files {
		for _, k := range f.Keep {
			v.read(b, []parquet.File{f}, fmt.Sprintf(" WHERE %s >= %d AND %s < %d", offline.Offset, k.First, offline.Offset, k.End))
		}
	}
	b.WriteString("\n);\n")
	comment(b, name, describe(v.Table), columns)
	if len(v.Table.Same) > 0 {
		v.writeLatest(b, columns)
	}
}

// writeLatest makes the view of the rows that hold, of a table whose rows are revised.
func (v *View) writeLatest(b *strings.Builder, columns []duckDBColumn) {
	name, t := identifier(v.Table.Name+offline.LatestSuffix), v.Table
	fmt.Fprintf(b, "\nCREATE OR REPLACE VIEW %s AS\nSELECT * FROM %s QUALIFY row_number() OVER (PARTITION BY dt, %s", name, identifier(t.Name), identifier(offline.EventTime))
	for _, c := range t.Same {
		b.WriteString(", " + identifier(t.Columns[c].Name))
	}
	fmt.Fprintf(b, " ORDER BY %s DESC) = 1;\n", identifier(t.Columns[t.Revision].Name))
	comment(b, name, t.LatestAbout(), columns)
}

func comment(b *strings.Builder, view, about string, columns []duckDBColumn) {
	fmt.Fprintf(b, "COMMENT ON VIEW %s IS %s;\n", view, literal(about))
	for _, c := range columns {
		if c.comment != "" {
			fmt.Fprintf(b, "COMMENT ON COLUMN %s.%s IS %s;\n", view, identifier(c.name), literal(c.comment))
		}
	}
}

func (v *View) read(b *strings.Builder, files []parquet.File, where string) {
	if len(files) == 0 {
		return
	}
	b.WriteString("\nUNION ALL BY NAME SELECT * FROM read_parquet([")
	for i, f := range files {
		if i > 0 {
			b.WriteString(",")
		}
		b.WriteString("\n  " + literal(f.URL))
	}
	b.WriteString("\n], union_by_name = true, hive_partitioning = true, hive_types = {'dt': DATE})" + where)
}

func describe(t *offline.Table) string {
	if t.About != "" {
		return t.About
	}
	if t.View != nil {
		return strings.TrimSpace("The log of feature view " + t.View.Name + ": features as they were computed, a row an event. " + t.View.Description)
	}
	return strings.TrimSpace("The events of source " + t.Source.Name + ", a row an event. " + t.Source.Description)
}

type duckDBColumn struct{ name, typ, comment string }

// duckDBColumns are a table's columns, those of every table, and the day of the folder.
func duckDBColumns(t *offline.Table) []duckDBColumn {
	var out []duckDBColumn
	for _, c := range t.Columns {
		typ := duckDBType(c.Type.Elem())
		if c.Type.IsList() {
			typ += "[]"
		}
		out = append(out, duckDBColumn{c.Name, typ, c.Description})
	}
	return append(out,
		duckDBColumn{offline.EventTime, "TIMESTAMPTZ", "when the event happened"},
		duckDBColumn{offline.ArrivedAt, "TIMESTAMPTZ", "when its record was stamped"},
		duckDBColumn{offline.Deleted, "BOOLEAN", "the record deletes its entity"},
		duckDBColumn{offline.Ordinal, "INTEGER", "0 of rows that were loaded, 1 of records"},
		duckDBColumn{offline.Topic, "VARCHAR", "the topic of the record, or backfill/NAME"},
		duckDBColumn{offline.Partition, "INTEGER", "its partition"},
		duckDBColumn{offline.Offset, "BIGINT", "its offset"},
		duckDBColumn{"dt", "DATE", "the day of _event_time, UTC: a condition on it spares the files of other days"},
	)
}

func duckDBType(t feature.Type) string {
	switch t {
	case feature.Bool:
		return "BOOLEAN"
	case feature.Int64:
		return "BIGINT"
	case feature.Float64:
		return "DOUBLE"
	case feature.Bytes:
		return "BLOB"
	case feature.Timestamp:
		return "TIMESTAMPTZ"
	}
	return "VARCHAR"
}

func identifier(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
