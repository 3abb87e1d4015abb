// Package sql is SQL for people over the offline tables: connections to the engine there is, the views that make a folder of
// Parquet files tables of DuckDB, and results as tables' cells, CSV and JSON.
//
// ClickHouse answers where the plane has it, through its published views. Else DuckDB does, in package duckdb, which needs
// cgo and is part of a build by the tag duckdb only: it is larger than all the rest. What writes the tables is in packages
// clickhouse and parquet of the room.
package sql
