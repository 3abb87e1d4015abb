//go:build duckdb && cgo

package cli

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/deploy/embedded"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/parquet"
)

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

// TestEmbeddedSQLSurvivesACompaction: files that are replaced between their listing and their reading are no error, and what is wrong
// with a question is asked once.
func TestEmbeddedSQLSurvivesACompaction(t *testing.T) {
	dir := clicksFolder(t)
	plane, err := config.Load(minimalPlane)
	if err != nil {
		t.Fatal(err)
	}
	a := &app{Env: Env{Stderr: io.Discard, Getenv: func(string) string { return "" }}}
	asked, n := 0, 0
	if err := a.overFiles(t.Context(), plane, dir, func(views string) error {
		if asked++; asked == 1 {
			ok(t, "compact", minimalPlane, "--parquet", dir)
		}
		db, err := embeddedSQL(t.Context(), views)
		if err != nil {
			return err
		}
		return errors.Join(db.QueryRowContext(t.Context(), "SELECT count(*) FROM events_clicks").Scan(&n), db.Close())
	}); err != nil || asked != 2 || n != 2 {
		t.Errorf("asked %d times: %d rows, %v", asked, n, err)
	}
	asked = 0
	wrong := errors.New("no such column")
	if err := a.overFiles(t.Context(), plane, dir, func(string) error { asked++; return wrong }); !errors.Is(err, wrong) || asked != 1 {
		t.Errorf("asked %d times: %v", asked, err)
	}
}

func TestEmbeddedSQLReadsNoBucket(t *testing.T) {
	for _, url := range []string{"s3://bucket/features?region=eu-central-1", "gs://bucket/features"} {
		r := run(t, "sql", "SELECT 1", minimalPlane, "--parquet", url)
		if r.code != exitFailure || !strings.Contains(r.stderr, "DuckDB in this process reads folders: ask ClickHouse, or DuckDB's own shell") || strings.Contains(r.stderr, "region") {
			t.Errorf("%+v", r)
		}
	}
}

// spineQuery is of 40 flights, an hour before they left.
const spineQuery = `SELECT carrier || flight AS flight, carrier, origin, dest, distance, _event_time - INTERVAL 1 HOUR AS event_timestamp, dep_delay > 15 AS was_late
	FROM events_departures WHERE dt = '2013-02-03' ORDER BY _offset LIMIT 40 -- of one day`

// TestTrainWithSQL: a query makes the set that the same rows in a file make.
func TestTrainWithSQL(t *testing.T) {
	dir, tmp := trainingFolder(t), t.TempDir()
	plane, store := filepath.Join(dir, "plane.yaml"), filepath.Join(dir, "offline")
	rows := ok(t, "sql", spineQuery, plane, "--parquet", store, "--csv")
	spine := filepath.Join(dir, "spine.csv")
	writeText(t, spine, rows.stdout)
	var sets []string
	for name, from := range map[string]string{"file.csv": spine, "query.csv": spineQuery + "\n;"} {
		out := filepath.Join(dir, name)
		r := ok(t, "train", plane, "--store", store, "--service", "delay_model", "--spine", from, "--out", out, "--tmp", tmp)
		expect(t, r.stdout, "40 rows with")
		set, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		sets = append(sets, string(set))
	}
	if sets[0] != sets[1] || strings.Count(sets[0], "\n") != 41 {
		t.Errorf("of a file and of a query:\n%s\n%s", sets[0], sets[1])
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestTrainMistakesInSQL(t *testing.T) {
	dir, tmp := trainingFolder(t), t.TempDir()
	head := func(columns string) string { return "SELECT " + columns + ", 'EWR' AS origin, 'SFO' AS dest" }
	const carrier, distance, at = "'UA' AS carrier, ", "100.0::DOUBLE AS distance, ", "TIMESTAMPTZ '2013-02-03 17:00:00Z' AS timestamp"
	for _, c := range []struct{ name, query, want string }{
		{"no column", head(distance + at), `the spine has no column "carrier" (string), a join key of entity carrier`},
		{"wrong type", head("7 AS carrier, " + distance + at), `column "carrier" of the spine is INT(32,true), not string`},
		{"no zone", head(carrier + distance + "TIMESTAMP '2013-02-03 17:00' AS timestamp"), `column "timestamp" of the spine holds times without a zone; name their zone (--zone`},
		{"a sum", head(carrier + "sum(5) AS distance, " + at), `column "distance" is a HUGEINT, as sums of integers are; cast it: distance::BIGINT`},
		{"two of a name", head(carrier + "1 AS origin, " + distance + at), `two columns are called "origin"`},
		{"a list", head(carrier + "[1] AS tags, " + distance + at), `column "tags": is a list or a group`},
		{"no rows", head(carrier+distance+at) + " WHERE false", "the spine has no rows"},
		{"no table", "SELECT * FROM events_nothing", "Table with name events_nothing does not exist"},
		{"no SQL", "SELECT FROM WHERE", "syntax error"},
		{"two statements", head(carrier+distance+at) + "; COPY (SELECT 1) TO '" + tmp + "/x.csv'", "the query: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "set.csv")
			r := run(t, "train", filepath.Join(dir, "plane.yaml"), "--store", filepath.Join(dir, "offline"), "--service", "delay_model", "--spine", c.query, "--out", out, "--tmp", tmp)
			if r.code != exitFailure || !strings.Contains(r.stderr, c.want) {
				t.Errorf("exit %d: %s\nwant %s", r.code, r.stderr, c.want)
			}
			for _, folder := range []string{tmp, filepath.Dir(out)} {
				if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
					t.Errorf("left behind: %v, %v", left, err)
				}
			}
		})
	}
}

// TestAnswersAreInAFolderOfTheirOwn, which nobody else can enter, and which leaves nothing when DuckDB fails midway.
func TestAnswersAreInAFolderOfTheirOwn(t *testing.T) {
	dir := t.TempDir()
	query := "SELECT CASE WHEN range = 900000 THEN error('a late row') ELSE range::VARCHAR END AS n FROM range(1000000)"
	s := &rowSource{ctx: t.Context(), from: query, dir: dir, over: func(ask func(string) error) error { return ask("") }}
	for range 2 { // whoever asks again
		if _, err := s.open(); err == nil || !strings.Contains(err.Error(), "a late row") {
			t.Fatalf("error %v", err)
		}
		made, err := os.ReadDir(dir)
		if err != nil || len(made) != 1 {
			t.Fatalf("made %v, %v", made, err)
		}
		if info, err := made[0].Info(); err != nil || info.Mode() != os.ModeDir|0o700 {
			t.Errorf("%s: %v, %v", made[0].Name(), info.Mode(), err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestBaselineFromSQL: without ClickHouse, DuckDB answers, over the tables and over other files.
func TestBaselineFromSQL(t *testing.T) {
	s := newShop(t)
	_, csv, _ := trainingFiles(t)
	query := "SELECT * REPLACE (try_cast(spend_1d AS DOUBLE) AS spend_1d) FROM read_csv('" + csv + "', all_varchar = false, types = {'spend_1d': 'VARCHAR'})"
	r := ok(t, "baseline", "create", "scorer_1", s.plane, "--from", query, "--parquet", t.TempDir())
	expect(t, r.stdout, "scorer_1: 3,000 rows of a query", "spend_1d      float64  10.0 %", "slices by region: eu (1,500), us (1,500)")
	expect(t, r.stderr, "a query does not have prediction: not watched")
	r = ok(t, "baseline", "create", "scorer_1", s.plane, "--from", "SELECT * FROM inferences_scorer WHERE region = 'eu'", "--variation", "off", "--parquet", scoredFolder(t, s))
	expect(t, r.stdout, "scorer_1: 300 rows of a query", "spend_1d      float64", "slices by region: eu (300)")
	if r.stderr != "" {
		t.Errorf("a table's rows are the model's: %s", r.stderr)
	}
	if r := run(t, "baseline", "create", "scorer_1", s.plane, "--from", "SELECT 1 AS spend_1d"); r.code != exitUsage || !strings.Contains(r.stderr, "--parquet names the folder") {
		t.Errorf("without files: %+v", r)
	}
}

// TestBackfillWithSQL loads what DuckDB answers, in one order and in another.
func TestBackfillWithSQL(t *testing.T) {
	kafka, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "clicks"))
	if err != nil {
		t.Fatal(err)
	}
	defer kafka.Close()
	redis, err := embedded.StartRedis()
	if err != nil {
		t.Fatal(err)
	}
	defer redis.Close()
	dir := t.TempDir()
	plane := filepath.Join(dir, "plane.yaml") // without views: to build them the real Redis is needed
	writeText(t, plane, fmt.Sprintf("project: tiny\nsources:\n  - {name: clicks, topic: clicks, key: [user_id], schema: [{name: user_id, type: string, required: true}]}\nconnections:\n  kafka: {brokers: [%q]}\n  redis: {url: %q}\n  parquet: {url: \"file://%s/lake\"}\n", kafka.ListenAddrs()[0], redis.URL(), dir))
	for _, order := range []string{"ORDER BY range", "ORDER BY range % 7, range"} {
		query := "SELECT 'u' || range % 10 AS user_id, TIMESTAMPTZ '2026-01-01 00:00:00Z' + range * INTERVAL 1 MINUTE AS _event_time FROM range(100) " + order
		expect(t, ok(t, "backfill", plane, "--source", "clicks", "--from", query).stdout, "loaded 100 rows")
	}
	r := ok(t, "sql", "SELECT count(*) AS n, count(DISTINCT _event_time) AS d, max(_ordinal) AS o FROM events_clicks", plane, "--csv")
	if r.stdout != "n,d,o\n100,100,0\n" {
		t.Errorf("%s", r.stdout)
	}
	bad := run(t, "backfill", plane, "--source", "clicks", "--from", "SELECT NULL AS user_id, TIMESTAMPTZ '2026-01-01 00:00:00Z' AS _event_time")
	if bad.code != exitFailure || !strings.Contains(bad.stdout, "the query row 1: ") || !strings.Contains(bad.stderr, "nothing was loaded") {
		t.Errorf("%+v", bad)
	}
}

// scoredFolder is a folder of Parquet files with 600 inferences of the shop's model.
func scoredFolder(t *testing.T, s *shop) string {
	t.Helper()
	plane, err := config.Load(s.plane)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	store, err := parquet.Open(t.Context(), config.Secret("file://"+dir), parquet.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	table := offline.InferencesTable(plane.Models[0])
	b := &offline.Batch{Width: len(table.Columns)}
	for off := range int64(600) { // id, version, at, p, region, spend_1d, orders_1d, last_country
		b.Values = table.AppendRow(b.Values, []feature.Value{
			feature.StringValue(fmt.Sprint(off)), feature.StringValue("1"), feature.Int64Value(off), feature.Float64Value(0.5), feature.StringValue([]string{"eu", "us"}[off%2]),
			feature.Float64Value(float64(off)), feature.Int64Value(off % 12), feature.StringValue("de"),
		})
		b.Meta = append(b.Meta, offline.Meta{Time: off, Offset: off, Topic: "scores", Ordinal: 1})
	}
	if err := store.Write(t.Context(), table, offline.Range{Topic: "scores", End: 600}, b); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestBacktestWithSQL plays what a query answers.
func TestBacktestWithSQL(t *testing.T) {
	s, h := newShop(t), newHistory(t)
	played := func(events, training string) string {
		return ok(t, "monitor", "backtest", "inputs", s.plane, "--events", events, "--baseline", training, "--parquet", t.TempDir(), "--output", "json").stdout
	}
	of := func(csv string) string {
		return "SELECT * FROM read_csv('" + csv + "', types = {'version': 'VARCHAR'})"
	}
	if got, want := played(of(h.csv), "SELECT * FROM read_csv('"+h.train+"')"), played(h.csv, h.train); got != want || !strings.Contains(got, `"episodes": [`) {
		t.Errorf("of queries\n%s\nof files\n%s", got, want)
	}
}
