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

// embeddedAnswer has a DuckDB that has the views write what it answers to a Parquet file; tmp is a folder that it makes if need be.
func embeddedAnswer(ctx context.Context, views, query, file, tmp string) error {
	return duckdb.Export(ctx, views, query, file, tmp)
}
