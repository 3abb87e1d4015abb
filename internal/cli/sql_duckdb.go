//go:build duckdb && cgo

package cli

import (
	"context"
	"database/sql"

	"github.com/freshet-io/freshet/offline/sql/duckdb"
)

// hasEmbeddedSQL says whether the build has DuckDB.
const hasEmbeddedSQL = true

// embeddedSQL returns a DuckDB that has the views.
func embeddedSQL(ctx context.Context, views string) (*sql.DB, error) { return duckdb.Open(ctx, views) }
