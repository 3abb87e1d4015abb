// Package duckdb opens DuckDB inside this process, for questions over Parquet files. It needs cgo; without it Open says so.
// DuckDB's library is larger than everything else, so only commands of a build with the tag duckdb import this package.
package duckdb
