//go:build !duckdb || !cgo

package cli

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestABuildWithoutEmbeddedSQLSaysSo(t *testing.T) {
	r := run(t, "sql", "SELECT 1", minimalPlane, "--parquet", clicksFolder(t))
	if r.code != exitFailure || !strings.Contains(r.stderr, "this build has no embedded SQL; bin/freshet-sql") {
		t.Errorf("%+v", r)
	}
}

// TestASelectWithoutEmbeddedSQLSaysWhatToDo: nothing is begun.
func TestASelectWithoutEmbeddedSQLSaysWhatToDo(t *testing.T) {
	dir := trainingFolder(t)
	out := filepath.Join(dir, "set.csv")
	r := run(t, "train", filepath.Join(dir, "plane.yaml"), "--store", filepath.Join(dir, "offline"), "--service", "delay_model", "--spine", "SELECT * FROM labels", "--out", out)
	if r.code != exitFailure || !strings.Contains(r.stderr, "--spine: a SELECT is answered by ClickHouse") || !strings.Contains(r.stderr, "bin/freshet-sql, which `make build` makes") {
		t.Errorf("%+v", r)
	}
	if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there is an output: %v", err)
	}
	s := newShop(t)
	for _, args := range [][]string{
		{"baseline", "create", "scorer_1", s.plane, "--from", "SELECT 1 AS spend_1d"},
		{"monitor", "backtest", "inputs", s.plane, "--events", "SELECT 1 AS spend_1d", "--baseline", "SELECT 1 AS spend_1d"},
	} {
		if r := run(t, args...); r.code != exitFailure || !strings.Contains(r.stderr, "a SELECT is answered by ClickHouse") {
			t.Errorf("%v: %+v", args, r)
		}
	}
}
