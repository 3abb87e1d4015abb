//go:build cgo

package duckdb

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"

	engine "github.com/duckdb/duckdb-go/v2"
)

// Export writes what one question answers to a Parquet file, in the answer's order, over a database that setup's statements have
// made. DuckDB streams it, so that memory does not hold the answer; what a question itself does not hold goes to the
// folder tmp. Columns that Parquet would have as something else are refused.
func Export(ctx context.Context, setup, question, file, tmp string) (err error) {
	c, err := engine.NewConnector("", nil)
	if err != nil {
		return fmt.Errorf("open DuckDB: %w", err)
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	opened, err := c.Connect(ctx)
	if err != nil {
		return fmt.Errorf("open DuckDB: %w", err)
	}
	defer func() { err = errors.Join(err, opened.Close()) }()
	conn, ok := opened.(*engine.Conn)
	if !ok {
		return fmt.Errorf("BUG: DuckDB's connection is a %T", opened)
	}
	if _, err := conn.ExecContext(ctx, "SET temp_directory = "+literal(tmp)+";\n"+setup, nil); err != nil {
		return err
	}
	r := &reader{conn}
	stmt, err := r.Prepare(question)
	if err != nil {
		return err
	}
	if err := errors.Join(checkExported(stmt), stmt.Close()); err != nil {
		return err
	}
	// It has been prepared, so it is one question, and a comment at its end ends with the line.
	_, err = conn.ExecContext(ctx, "COPY (\n"+question+"\n) TO "+literal(file)+" (FORMAT parquet)", nil)
	return err
}

func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// checkExported refuses columns of one name, which DuckDB would rename, and numbers that Parquet has no integers for.
func checkExported(s driver.Stmt) error {
	stmt, ok := s.(*engine.Stmt)
	if !ok {
		return fmt.Errorf("BUG: DuckDB's statement is a %T", s)
	}
	n, err := stmt.ColumnCount()
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for i := range n {
		name, err := stmt.ColumnName(i)
		if err != nil {
			return err
		}
		typ, err := stmt.ColumnType(i)
		if err != nil {
			return err
		}
		switch {
		case seen[name]:
			return fmt.Errorf("two columns are called %q", name)
		case typ == engine.TYPE_HUGEINT || typ == engine.TYPE_UHUGEINT:
			return fmt.Errorf("column %q is a HUGEINT, as sums of integers are; cast it: %s::BIGINT", name, name)
		}
		seen[name] = true
	}
	return nil
}
