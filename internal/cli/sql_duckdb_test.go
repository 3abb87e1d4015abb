//go:build duckdb && cgo

package cli

import "testing"

func TestEmbeddedSQLAnswers(t *testing.T) {
	dir := clicksFolder(t)
	r := run(t, "sql", "SELECT user_id, count(*) AS n FROM events_clicks GROUP BY user_id", minimalPlane, "--parquet", dir)
	if r.code != exitOK || r.stdout != "user_id  n\nann      2\n" {
		t.Errorf("%+v", r)
	}
	if r := run(t, "sql", "SELECT count(*) AS n FROM features_activity", minimalPlane, "--parquet", dir, "--csv"); r.code != exitOK || r.stdout != "n\n0\n" {
		t.Errorf("%+v", r)
	}
}
