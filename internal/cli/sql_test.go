package cli

import (
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/parquet"
)

const minimalPlane = "../../config/testdata/good/minimal.yaml"

// clicksFolder is a folder of Parquet files with two small files of events_clicks.
func clicksFolder(t *testing.T) string {
	t.Helper()
	plane, err := config.Load(minimalPlane)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s, err := parquet.Open(t.Context(), config.Secret("file://"+dir), parquet.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for off := range int64(2) {
		b := &offline.Batch{Width: 1, Values: []feature.Value{feature.StringValue("ann")}, Meta: []offline.Meta{{Time: off, Offset: off, Topic: "clicks", Ordinal: 1}}}
		if err := s.Write(t.Context(), offline.EventsTable(plane.Sources[0]), offline.Range{Topic: "clicks", First: off, End: off + 1}, b); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFilesAndCompact(t *testing.T) {
	dir := clicksFolder(t)
	want := filepath.Join(dir, "events_clicks", "dt=1970-01-01", "clicks-0-0000000000000000000-0000000000000000000.parquet") + "\n" +
		filepath.Join(dir, "events_clicks", "dt=1970-01-01", "clicks-0-0000000000000000001-0000000000000000001.parquet") + "\n"
	if r := run(t, "files", "events_clicks", minimalPlane, "--parquet", dir); r.code != exitOK || r.stdout != want {
		t.Fatalf("files: %+v", r)
	}
	if r := run(t, "sql", "--views", minimalPlane, "--parquet", dir); r.code != exitOK || !strings.Contains(r.stdout, `CREATE OR REPLACE VIEW "events_clicks"`) ||
		strings.Count(r.stdout, dir) != 2 {
		t.Errorf("views: %+v", r)
	}
	if r := run(t, "compact", minimalPlane, "--parquet", dir, "--output", "json"); r.code != exitOK || !strings.Contains(r.stdout, `"replaced": 2,
    "merged": 1,
    "rows": 2,`) {
		t.Errorf("compact: %+v", r)
	}
	if r := run(t, "files", "events_clicks", minimalPlane, "--parquet", dir, "--output", "json"); r.code != exitOK || strings.Count(r.stdout, `"url"`) != 1 ||
		!strings.Contains(r.stdout, `"day": "1970-01-01"`) {
		t.Errorf("files: %+v", r)
	}
	if r := run(t, "files", "events_nothing", minimalPlane, "--parquet", dir); r.code != exitNotFound || !strings.Contains(r.stderr, `no table "events_nothing"`) {
		t.Errorf("a table that is not there: %+v", r)
	}
}

func TestSQLMistakes(t *testing.T) {
	for _, tc := range []struct{ args, want string }{
		{"sql|SELECT 1", "give a query, and the files of the definition"},
		{"sql|SELECT 1|" + minimalPlane, "names no connections.parquet"},
		{"sql|SELECT 1|" + minimalPlane + "|--engine|sqlite", `unknown --engine "sqlite"`},
		{"sql|SELECT 1|" + minimalPlane + "|--engine|clickhouse", "names no connections.clickhouse"},
		{"sql|SELECT 1|" + minimalPlane + "|--limit|-1", "--limit is negative"},
		{"compact|" + minimalPlane + "|--target|0", "--target must be more than 0"},
	} {
		if r := run(t, strings.Split(tc.args, "|")...); r.code != exitUsage || !strings.Contains(r.stderr, tc.want) {
			t.Errorf("%s: exit %d, %s", tc.args, r.code, r.stderr)
		}
	}
}

func TestCutKeepsWithinAWidth(t *testing.T) {
	for text, want := range map[string]string{"short": "short", "exactly ten": "exactly t…", "日本語日本語": "日本語日…"} {
		if got := cut(text, 10); got != want {
			t.Errorf("%q is cut to %q, want %q", text, got, want)
		}
	}
}
