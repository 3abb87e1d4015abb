//go:build cgo

package duckdb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"regexp"
	"sync"

	engine "github.com/duckdb/duckdb-go/v2"
)

// Open returns a database in memory that setup's statements have made. After that it only answers questions: one statement
// at a time, of the kinds that change nothing.
func Open(ctx context.Context, setup string) (*sql.DB, error) {
	var once sync.Once
	c, err := engine.NewConnector("", func(e driver.ExecerContext) (err error) {
		once.Do(func() { _, err = e.ExecContext(ctx, setup, nil) })
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open DuckDB: %w", err)
	}
	db := sql.OpenDB(&readOnly{c})
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// readOnly makes connections that only read.
type readOnly struct{ *engine.Connector }

// Connect opens a connection.
func (r *readOnly) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := r.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	conn, ok := c.(*engine.Conn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("BUG: DuckDB's connection is a %T", c), c.Close())
	}
	return &reader{conn}, nil
}

// reader is a connection that prepares nothing but questions.
type reader struct{ conn *engine.Conn }

// PrepareContext prepares a statement if it changes nothing.
func (r *reader) PrepareContext(_ context.Context, text string) (driver.Stmt, error) {
	return r.Prepare(text)
}

// Prepare prepares a statement if it changes nothing. DuckDB's own PrepareContext would run all but the last of several.
func (r *reader) Prepare(text string) (driver.Stmt, error) {
	prepared, err := r.conn.Prepare(text)
	if err != nil {
		return nil, err
	}
	stmt, ok := prepared.(*engine.Stmt)
	if !ok {
		return nil, errors.Join(fmt.Errorf("BUG: DuckDB's statement is a %T", prepared), prepared.Close())
	}
	kind, err := stmt.StatementType()
	switch {
	case err != nil:
	case kind == engine.STATEMENT_TYPE_EXPLAIN:
		err = r.checkExplained(text)
	case kind != engine.STATEMENT_TYPE_SELECT:
		err = errNoQuestion
	}
	if err != nil {
		return nil, errors.Join(err, stmt.Close())
	}
	return stmt, nil
}

var errNoQuestion = errors.New("only questions are answered here, one at a time (SELECT, FROM, WITH, DESCRIBE, SHOW, SUMMARIZE, EXPLAIN)")

var explain = regexp.MustCompile(`(?is)^\s*explain\s+(analyze\s+)?(\([^)]*\)\s*)?`)

// checkExplained refuses what EXPLAIN ANALYZE would do.
func (r *reader) checkExplained(text string) error {
	what := explain.ReplaceAllString(text, "")
	if what == text {
		return errNoQuestion
	}
	stmt, err := r.Prepare(what)
	if err != nil {
		return err
	}
	return stmt.Close()
}

// Close closes the connection.
func (r *reader) Close() error { return r.conn.Close() }

// Begin is part of driver.Conn.
func (r *reader) Begin() (driver.Tx, error) {
	return nil, errors.New("questions need no transaction")
}
