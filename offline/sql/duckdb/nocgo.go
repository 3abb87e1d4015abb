//go:build !cgo

package duckdb

import (
	"context"
	"database/sql"
	"errors"
)

// Open returns an error: there is no DuckDB without cgo.
func Open(context.Context, string) (*sql.DB, error) {
	return nil, errors.New("this build has no DuckDB: it was made without cgo")
}
