//go:build !duckdb || !cgo

package cli

import (
	"strings"
	"testing"
)

func TestABuildWithoutEmbeddedSQLSaysSo(t *testing.T) {
	r := run(t, "sql", "SELECT 1", minimalPlane, "--parquet", clicksFolder(t))
	if r.code != exitFailure || !strings.Contains(r.stderr, "this build has no embedded SQL; bin/freshet-sql") {
		t.Errorf("%+v", r)
	}
}
