package sql

import (
	"context"
	"database/sql"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/big"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Result is the rows of a query, one at a time.
type Result struct {
	Columns []string
	Numeric []bool // by column: numbers, which people read from the right

	rows   *sql.Rows
	types  []string
	values []any
}

// Query asks an engine. The result must be closed.
func Query(ctx context.Context, db *sql.DB, text string) (*Result, error) {
	rows, err := db.QueryContext(ctx, text)
	if err != nil {
		return nil, err
	}
	types, err := rows.ColumnTypes()
	if err != nil {
		_ = rows.Close() // the first error tells
		return nil, err
	}
	r := &Result{rows: rows, values: make([]any, len(types))}
	for _, t := range types {
		r.Columns = append(r.Columns, t.Name())
		r.types = append(r.types, t.DatabaseTypeName())
		kind := reflect.Invalid
		if s := t.ScanType(); s != nil {
			kind = s.Kind()
		}
		r.Numeric = append(r.Numeric, kind >= reflect.Int && kind <= reflect.Float64 || isWide(t.DatabaseTypeName()))
	}
	return r, nil
}

// Close lets the query go.
func (r *Result) Close() error { return r.rows.Close() }

// Next moves to the next row. After the last one it returns false, with the error that ended the query, if one did.
func (r *Result) Next() (bool, error) {
	if !r.rows.Next() {
		return false, r.rows.Err()
	}
	into := make([]any, len(r.values))
	for i := range into {
		r.values[i] = nil
		into[i] = &r.values[i]
	}
	return true, r.rows.Scan(into...)
}

// Texts returns the row as text, null as the given word.
func (r *Result) Texts(null string) []string {
	out := make([]string, len(r.values))
	for i, v := range r.values {
		out[i] = null
		if v = plain(v, r.types[i]); v == nil {
			continue
		}
		switch v := v.(type) {
		case string:
			out[i] = v
		case json.Number:
			out[i] = string(v)
		default:
			text, err := json.Marshal(v)
			if err != nil {
				text = []byte(fmt.Sprint(v))
			}
			out[i] = string(text)
		}
	}
	return out
}

// WriteCSV writes the rows that are left, at most limit of them (0: all), after a line of the columns' names; null is empty.
func (r *Result) WriteCSV(w io.Writer, limit int) error {
	out := csv.NewWriter(w)
	if err := out.Write(r.Columns); err != nil {
		return err
	}
	for n := 0; limit == 0 || n < limit; n++ {
		more, err := r.Next()
		if err != nil {
			out.Flush()
			return err
		}
		if !more {
			break
		}
		if err := out.Write(r.Texts("")); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// WriteJSON writes the rows that are left, at most limit of them (0: all), as a list of objects whose members are in the order
// of the columns.
func (r *Result) WriteJSON(w io.Writer, limit int) error {
	names := make([][]byte, len(r.Columns))
	for i, c := range r.Columns {
		names[i], _ = json.Marshal(c) // a string always encodes
	}
	line := []byte("[")
	for n := 0; limit == 0 || n < limit; n++ {
		more, err := r.Next()
		if err != nil {
			return err
		}
		if !more {
			break
		}
		if n > 0 {
			line = append(line, ',')
		}
		line = append(line, "\n  {"...)
		for i, v := range r.values {
			if i > 0 {
				line = append(line, ", "...)
			}
			text, err := json.Marshal(plain(v, r.types[i]))
			if err != nil {
				return fmt.Errorf("column %s: %w", r.Columns[i], err)
			}
			line = append(append(append(line, names[i]...), ": "...), text...)
		}
		if _, err := w.Write(append(line, '}')); err != nil {
			return err
		}
		line = line[:0]
	}
	_, err := w.Write(append(line, "\n]\n"...))
	return err
}

// isWide reports whether a type of an engine is of numbers that no machine word holds.
func isWide(typ string) bool {
	typ = strings.TrimPrefix(strings.ToUpper(typ), "NULLABLE(")
	return strings.HasPrefix(typ, "DECIMAL") || strings.HasPrefix(typ, "HUGEINT") || strings.HasPrefix(typ, "UHUGEINT")
}

// plain turns what a driver returns into what JSON has: numbers that keep their digits, times in UTC, bytes in
// hexadecimal, NaN and infinities as text.
func plain(v any, typ string) any {
	switch v := v.(type) {
	case nil, bool, json.Number:
		return v
	case string:
		if isWide(typ) { // as ClickHouse's driver answers
			return json.Number(v)
		}
		return v
	case time.Time:
		if typ == "DATE" || typ == "Date" || typ == "Date32" {
			return v.UTC().Format(time.DateOnly)
		}
		return v.UTC().Format(time.RFC3339Nano)
	case []byte:
		if strings.HasPrefix(typ, "Array(") { // ClickHouse's lists of UInt8
			return plainList(reflect.ValueOf(v))
		}
		return hex.EncodeToString(v)
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return strconv.FormatFloat(v, 'g', -1, 64)
		}
		return json.Number(strconv.FormatFloat(v, 'g', -1, 64))
	case *big.Int:
		return json.Number(v.String())
	case big.Int:
		return json.Number(v.String())
	case fmt.Stringer:
		// Of an element of a list only its own type says that it is a number; both drivers call theirs so.
		if isWide(typ) || strings.HasSuffix(reflect.TypeOf(v).String(), ".Decimal") {
			return json.Number(v.String())
		}
		return v.String()
	}
	rv := reflect.ValueOf(v)
	switch rv.Kind() {
	case reflect.Pointer:
		if rv.IsNil() {
			return nil
		}
		return plain(rv.Elem().Interface(), typ)
	case reflect.Slice, reflect.Array:
		return plainList(rv)
	case reflect.Map:
		object := make(map[string]any, rv.Len())
		for it := rv.MapRange(); it.Next(); {
			object[fmt.Sprint(it.Key().Interface())] = plain(it.Value().Interface(), "")
		}
		return object
	}
	return v
}

func plainList(v reflect.Value) []any {
	list := make([]any, v.Len())
	for i := range list {
		list[i] = plain(v.Index(i).Interface(), "")
	}
	return list
}
