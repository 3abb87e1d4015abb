//go:build !cgo

package duckdb

import (
	"context"
	"database/sql"
	"errors"
)

var errNoCgo = errors.New("this build has no DuckDB: it was made without cgo")

// Open returns an error: there is no DuckDB without cgo.
func Open(context.Context, string) (*sql.DB, error) { return nil, errNoCgo }

// Export returns an error: there is no DuckDB without cgo.
func Export(context.Context, string, string, string, string) error { return errNoCgo }
