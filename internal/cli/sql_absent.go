//go:build !duckdb || !cgo

package cli

import (
	"context"
	"database/sql"
	"errors"
)

// hasEmbeddedSQL says whether the build has DuckDB.
const hasEmbeddedSQL = false

var errNoEmbeddedSQL = errors.New("this build has no embedded SQL; bin/freshet-sql, which `make build` makes, has it (go build -tags duckdb, with cgo). " +
	"A plane with ClickHouse needs none, and --views prints statements for DuckDB's own shell")

// embeddedSQL says that this build has no DuckDB.
func embeddedSQL(context.Context, string) (*sql.DB, error) { return nil, errNoEmbeddedSQL }

// embeddedAnswer says so too.
func embeddedAnswer(context.Context, string, string, string, string) error { return errNoEmbeddedSQL }
