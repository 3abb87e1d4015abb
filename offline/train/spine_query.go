package train

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strings"
	"time"

	"github.com/freshet-io/freshet/internal/feature"
)

// querySpine is what a database answers.
type querySpine struct {
	db   io.Closer
	rows *sql.Rows
	cols []SpineColumn
	at   []int // of each column among what the database answers
	vals []any
	ptrs []any
}

// QuerySpine asks a database for a spine. Closing the spine closes the database.
func QuerySpine(ctx context.Context, db *sql.DB, query string, l Lists) (Spine, error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("query: %w", err), db.Close())
	}
	s := &querySpine{db: db, rows: rows}
	types, err := rows.ColumnTypes()
	if err == nil {
		err = s.setColumns(types, l)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("query: %w", err), s.Close())
	}
	return s, nil
}

func (s *querySpine) setColumns(types []*sql.ColumnType, l Lists) error {
	s.vals, s.ptrs = make([]any, len(types)), make([]any, len(types))
	for i, t := range types {
		s.ptrs[i] = &s.vals[i]
		if l == SkipLists && nested.MatchString(t.DatabaseTypeName()) {
			continue
		}
		typ, ok := scanned(t)
		if !ok {
			return fmt.Errorf("column %q is a %s; columns of rows are numbers of 64 bits, texts, times and bools: cast it: %s", t.Name(), t.DatabaseTypeName(), cast(t))
		}
		s.at, s.cols = append(s.at, i), append(s.cols, SpineColumn{Name: t.Name(), Type: typ, Zoneless: isDay(t)})
	}
	return checkColumns(s.cols)
}

// nested is how the names of ClickHouse's types of lists and groups begin.
var nested = regexp.MustCompile(`^(Nullable\()?(Array|Tuple|Map|Nested)\(`)

// scanned returns the type of a column's values by what they are scanned into.
func scanned(t *sql.ColumnType) (feature.Type, bool) {
	st := t.ScanType()
	if st == nil {
		return feature.Null, false
	}
	name := st.String()
	for len(name) > 0 && name[0] == '*' { // of a column that can be null
		name = name[1:]
	}
	switch name {
	case "bool", "sql.NullBool":
		return feature.Bool, true
	case "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "sql.NullInt16", "sql.NullInt32", "sql.NullInt64":
		return feature.Int64, true
	case "float32", "float64", "sql.NullFloat64":
		return feature.Float64, true
	case "string", "sql.NullString":
		return feature.String, true
	case "[]uint8", "sql.RawBytes":
		return feature.Bytes, true
	case "time.Time", "sql.NullTime":
		return feature.Timestamp, true
	}
	return feature.Null, false
}

// cast is an expression of ClickHouse that makes a column one that can be read.
func cast(t *sql.ColumnType) string {
	function := "toString"
	switch name := strings.TrimPrefix(t.DatabaseTypeName(), "Nullable("); {
	case strings.HasPrefix(name, "Decimal"):
		function = "toFloat64"
	case strings.HasPrefix(name, "Int"), strings.HasPrefix(name, "UInt"):
		function = "toInt64"
	}
	return function + "(" + t.Name() + ")"
}

// isDay reports whether a column is of days, which begin at other moments in other zones.
func isDay(t *sql.ColumnType) bool {
	name := strings.TrimSuffix(strings.TrimPrefix(t.DatabaseTypeName(), "Nullable("), ")")
	return name == "Date" || name == "Date32"
}

// Columns implements Spine.
func (s *querySpine) Columns() []SpineColumn { return s.cols }

// Next implements Spine.
func (s *querySpine) Next(row []feature.Value) error {
	if !s.rows.Next() {
		if err := s.rows.Err(); err != nil {
			return fmt.Errorf("query: %w", err)
		}
		return io.EOF
	}
	if err := s.rows.Scan(s.ptrs...); err != nil {
		return fmt.Errorf("query: %w", err)
	}
	for i, at := range s.at {
		var err error
		if row[i], err = scannedValue(s.vals[at]); err != nil {
			return fmt.Errorf("query: column %q: %w", s.cols[i].Name, err)
		}
	}
	return nil
}

// scannedValue turns what a driver gives into a value.
func scannedValue(v any) (feature.Value, error) {
	switch x := v.(type) {
	case nil:
		return feature.Value{}, nil
	case bool:
		return feature.BoolValue(x), nil
	case int8:
		return feature.Int64Value(int64(x)), nil
	case int16:
		return feature.Int64Value(int64(x)), nil
	case int32:
		return feature.Int64Value(int64(x)), nil
	case int64:
		return feature.Int64Value(x), nil
	case uint8:
		return feature.Int64Value(int64(x)), nil
	case uint16:
		return feature.Int64Value(int64(x)), nil
	case uint32:
		return feature.Int64Value(int64(x)), nil
	case uint64:
		if x > math.MaxInt64 {
			return feature.Value{}, fmt.Errorf("%d is no int64", x)
		}
		return feature.Int64Value(int64(x)), nil
	case float32:
		return feature.Float64Value(float64(x)), nil
	case float64:
		return feature.Float64Value(x), nil
	case string:
		return feature.StringValue(x), nil
	case []byte:
		return feature.BytesValue(string(x)), nil
	case time.Time:
		return feature.TimestampValue(x.Unix()*feature.Second + int64(x.Nanosecond())/1000), nil // finer is floored, before 1970 too
	}
	return feature.Value{}, fmt.Errorf("a %T is no scalar", v)
}

// Close implements Spine.
func (s *querySpine) Close() error { return errors.Join(s.rows.Close(), s.db.Close()) }
