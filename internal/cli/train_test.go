package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/deploy/demo"
	"github.com/freshet-io/freshet/ingest"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/parquet"
)

// trainingFolder is a folder with the demo's definition, and Parquet files of January's and February's flights.
func trainingFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "plane.yaml"), demo.PlaneYAML, 0o600); err != nil {
		t.Fatal(err)
	}
	plane, err := config.Load(filepath.Join(dir, "plane.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	store, err := parquet.Open(t.Context(), config.Secret("file://"+filepath.Join(dir, "offline")), parquet.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	flights, err := demo.Load()
	if err != nil {
		t.Fatal(err)
	}
	src := plane.Sources[0]
	reader, err := ingest.NewReader(src)
	if err != nil {
		t.Fatal(err)
	}
	table, b := offline.EventsTable(src), &offline.Batch{Width: len(src.Schema)}
	row := make([]feature.Value, len(src.Schema))
	for f := range flights.All() {
		if f.DepartedAt.Month() > time.February {
			break
		}
		at, _, bad := reader.Read(&kgo.Record{Key: []byte(f.Carrier), Value: f.AppendEvent(nil), Timestamp: f.DepartedAt}, row)
		if bad != nil {
			t.Fatal(bad)
		}
		b.Values = append(b.Values, row...)
		b.Meta = append(b.Meta, offline.Meta{Time: at, Arrived: at, Ordinal: 1, Topic: src.Topic, Offset: int64(b.Len())})
	}
	if err := store.Prepare(t.Context(), table); err != nil {
		t.Fatal(err)
	}
	if err := store.Write(t.Context(), table, offline.Range{Topic: src.Topic, End: int64(b.Len())}, b); err != nil {
		t.Fatal(err)
	}
	return dir
}

func writeText(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestTrain makes the manual's training set.
func TestTrain(t *testing.T) {
	dir := trainingFolder(t)
	manual, err := os.ReadFile("../../docs/training.md")
	if err != nil {
		t.Fatal(err)
	}
	_, spine, _ := strings.Cut(string(manual), "$ cat spine.csv\n")
	spine, _, _ = strings.Cut(spine, "\n\n")
	writeText(t, filepath.Join(dir, "spine.csv"), spine+"\n")
	out := filepath.Join(dir, "train.csv")
	args := []string{"train", filepath.Join(dir, "plane.yaml"), "--store", filepath.Join(dir, "offline"), "--service", "delay_model", "--spine", filepath.Join(dir, "spine.csv")}
	r := run(t, append(args, "--out", out)...)
	if r.code != exitOK || !strings.Contains(r.stdout, "2 rows with") || !strings.Contains(r.stdout, "delay_per_mile") {
		t.Fatalf("exit %d: %s%s", r.code, r.stdout, r.stderr)
	}
	set, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(set)), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[1], "UA,EWR,SFO,2565,2013-02-03T17:00:00Z,1,") || !strings.HasPrefix(lines[2], "AA,JFK,LAX,2475,2013-02-03T12:00:00-05:00,0,") ||
		strings.Contains(lines[1], ",,,,") {
		t.Errorf("set\n%s", set)
	}
	r = run(t, append(args, "--out", filepath.Join(dir, "train.parquet"), "--output", "json", "--as-served", "--full-feature-names")...)
	var m struct {
		Rows      int
		Semantics string
		Warnings  []string
		Features  []struct{ Name string }
	}
	if err := json.Unmarshal([]byte(r.stdout), &m); err != nil || m.Rows != 2 || m.Semantics != "as served" || len(m.Warnings) != 1 || !strings.Contains(m.Features[0].Name, "__") {
		t.Errorf("exit %d: %v: %s%s", r.code, err, r.stdout, r.stderr)
	}
}

func TestTrainMistakes(t *testing.T) {
	dir := t.TempDir()
	writeText(t, filepath.Join(dir, "plane.yaml"), string(demo.PlaneYAML))
	writeText(t, filepath.Join(dir, "spine.csv"), "carrier\nUA\n")
	base := []string{"train", filepath.Join(dir, "plane.yaml"), "--spine", filepath.Join(dir, "spine.csv"), "--out", filepath.Join(dir, "out.csv")}
	for _, c := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"no service", nil, exitUsage, "--service is missing"},
		{"no store", []string{"--service", "delay_model"}, exitUsage, "names no offline store"},
		{"unknown service", []string{"--service", "delay_modle", "--store", dir}, exitNotFound, "delay_model"},
		{"no such folder", []string{"--service", "delay_model", "--store", dir + "/none"}, exitNotFound, "--store"},
		{"no such zone", []string{"--service", "delay_model", "--store", dir, "--zone", "Mars"}, exitUsage, "Mars"},
		{"no size", []string{"--service", "delay_model", "--store", dir, "--memory", "much"}, exitUsage, "much"},
		{"no time", []string{"--service", "delay_model", "--store", dir}, exitFailure, `no column "event_timestamp" or "timestamp"`},
		{"no table", []string{"--service", "delay_model", "--store", dir, "--out", "clickhouse:t"}, exitUsage, "connections.clickhouse"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := run(t, append(base[:len(base):len(base)], c.args...)...)
			if r.code != c.code || !strings.Contains(r.stderr, c.want) {
				t.Errorf("exit %d, want %d: %s", r.code, c.code, r.stderr)
			}
		})
	}
}

// TestTrainBadSpines: what cannot be a spine is told with its place and a way out, and leaves nothing under the name of the set.
func TestTrainBadSpines(t *testing.T) {
	dir := t.TempDir()
	writeText(t, filepath.Join(dir, "plane.yaml"), string(demo.PlaneYAML))
	const head = "carrier,origin,dest,distance,event_timestamp\n"
	for name, c := range map[string]struct {
		file, spine, want string
		code              int
	}{
		"an unknown entity is a row":  {"s.csv", head + "??,EWR,SFO,2565,2013-02-03T17:00:00Z\n", "has no events before 2013-02-03T17:00:00Z: all features of carrier_delays are empty\n", exitOK},
		"a key is missing":            {"s.csv", "carrier,dest,distance,event_timestamp\nUA,SFO,2565,2013-02-03T17:00:00Z\n", "origin", exitFailure},
		"a field of the request":      {"s.csv", "carrier,origin,dest,event_timestamp\nUA,EWR,SFO,2013-02-03T17:00:00Z\n", "distance", exitFailure},
		"a number is a word":          {"s.csv", head + "UA,EWR,SFO,far,2013-02-03T17:00:00Z\n", "far", exitFailure},
		"a time without a zone":       {"s.csv", head + "UA,EWR,SFO,2565,2013-02-03 17:00:00\n", "--zone", exitFailure},
		"no time at all":              {"s.csv", head + "UA,EWR,SFO,2565,\n", "event_timestamp", exitFailure},
		"a row is short":              {"s.csv", head + "UA,EWR,SFO\n", "s.csv", exitFailure},
		"an empty file":               {"s.csv", "", "s.csv", exitFailure},
		"a head alone":                {"s.csv", head, "the spine has no rows", exitFailure},
		"no Parquet":                  {"s.parquet", head, "s.parquet", exitFailure},
		"an unknown ending":           {"s.xlsx", head, "a .csv or a .parquet file", exitFailure},
		"a file that is not there":    {"", "", "none.csv", exitNotFound},
		"a quote that does not close": {"s.csv", head + "\"UA,EWR,SFO,2565,2013-02-03T17:00:00Z\n", "s.csv", exitFailure},
	} {
		t.Run(name, func(t *testing.T) {
			in, out := filepath.Join(dir, "none.csv"), filepath.Join(t.TempDir(), "set.csv")
			if c.file != "" {
				in = filepath.Join(t.TempDir(), c.file)
				writeText(t, in, c.spine)
			}
			r := run(t, "train", filepath.Join(dir, "plane.yaml"), "--service", "delay_model", "--store", dir, "--spine", in, "--out", out)
			if r.code != c.code || !strings.Contains(r.stdout+r.stderr, c.want) {
				t.Errorf("exit %d, want %d with %q: %s%s", r.code, c.code, c.want, r.stdout, r.stderr)
			}
			left, err := filepath.Glob(filepath.Join(filepath.Dir(out), "*"))
			if err != nil || c.code != exitOK && len(left) > 0 || c.code == exitOK && len(left) != 2 {
				t.Errorf("there is %q, %v", left, err)
			}
		})
	}
}

func TestAFileIsNoQueryWhateverItsName(t *testing.T) {
	for _, name := range []string{"selected.csv", "select.parquet", "SELECT.csv", "within.csv", "with.csv", "./select 2024.csv", "spine.csv"} {
		if isQuery(name) {
			t.Errorf("%s is taken for a query", name)
		}
	}
	for _, text := range []string{"SELECT 1", "select\n1", "  SELECT(1)", "SELECT*FROM x", "with a AS (SELECT 1) SELECT 1", `SELECT"a" FROM b`} {
		if !isQuery(text) {
			t.Errorf("%s is not taken for a query", text)
		}
	}
	t.Chdir(t.TempDir())
	for _, name := range []string{"with data.csv", "SELECT (1).parquet"} {
		if !isQuery(name) {
			t.Errorf("%s is taken for a file that is not there", name)
		}
		writeText(t, name, "user_id\n")
		if isQuery(name) {
			t.Errorf("%s, which is there, is taken for a query", name)
		}
	}
}
