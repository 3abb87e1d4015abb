//go:build cgo

package duckdb_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/freshet-io/freshet/offline/sql/duckdb"
)

func TestOnlyQuestionsAreAnswered(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.csv")
	db, err := duckdb.Open(t.Context(), "CREATE TABLE t AS SELECT 42 AS x; CREATE VIEW v AS SELECT x + 1 AS y FROM t")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, q := range []string{"SELECT y FROM v", "FROM v", "WITH a AS (SELECT 1) SELECT 43 FROM a", "SELECT max(y) FROM v"} {
		var y int
		if err := db.QueryRowContext(t.Context(), q).Scan(&y); err != nil || y != 43 {
			t.Errorf("%s: %d, %v", q, y, err)
		}
	}
	for _, q := range []string{"DESCRIBE v", "SHOW TABLES", "EXPLAIN SELECT 1", "explain analyze SELECT 1"} {
		rows, err := db.QueryContext(t.Context(), q)
		if err != nil {
			t.Errorf("%s: %v", q, err)
			continue
		}
		if !rows.Next() {
			t.Errorf("%s answers nothing", q)
		}
		if err := rows.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, q := range []string{
		"DROP VIEW v", "INSERT INTO t VALUES (1)", "COPY t TO '" + file + "'", "ATTACH '" + file + "'", "SET threads = 1", "EXPORT DATABASE '" + file + "'",
		"CREATE TABLE u (x INT)", "EXPLAIN ANALYZE INSERT INTO t VALUES (1)", "PRAGMA enable_profiling", "INSTALL httpfs", "SELECT 1; DROP TABLE t", "DROP TABLE t; SELECT 1",
	} {
		rows, err := db.QueryContext(t.Context(), q)
		if err == nil {
			_ = rows.Close()
			t.Errorf("%s is not refused", q)
		}
	}
	var n int
	if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM t").Scan(&n); err != nil || n != 1 {
		t.Errorf("afterwards the table has %d rows, %v", n, err)
	}
}

func TestAQuestionEndsWithItsContext(t *testing.T) {
	db, err := duckdb.Open(t.Context(), "SELECT 1")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	var n int
	err = db.QueryRowContext(ctx, "SELECT count(*) FROM range(1000000000) a, range(1000000000) b WHERE a.range * b.range % 7 = 3").Scan(&n)
	if err == nil || !strings.Contains(err.Error(), "context deadline exceeded") {
		t.Errorf("ended with %v", err)
	}
}
