package clickhouse_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/testenv"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/clickhouse"
)

var update = flag.Bool("update", false, "write testdata anew")

// TestDDL shows the statements for one node and for a cluster, which no test here has.
func TestDDL(t *testing.T) {
	for name, c := range map[string]config.ClickHouse{
		"node":    {URL: "clickhouse://127.0.0.1/features"},
		"cluster": {URL: "clickhouse://127.0.0.1/features", Cluster: "main", TTL: 90 * 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			tbl := small("events_trips")
			tbl.Columns = append(tbl.Columns, offline.Column{Name: "stops", Type: feature.ListOf(feature.String), Nullable: true})
			got := strings.Join(append(clickhouse.DDL(c, tbl), clickhouse.DDL(c, revised())...), ";\n\n") + ";\n"
			file := filepath.Join("testdata", name+".sql")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("the statements are\n%s\nwant (go test -update writes them)\n%s", got, want)
			}
		})
	}
}

// TestTableFollowsItsDefinition: columns are added and made nullable, comments change, what is gone stays until dropping is
// allowed, and rows from before are read with null in what they did not have.
func TestTableFollowsItsDefinition(t *testing.T) {
	url, _ := testenv.ClickHouse(t)
	s := open(t, url, clickhouse.Options{})
	tbl := small("events_trips")
	if steps, err := s.Plan(t.Context(), tbl); err != nil || len(steps) != 3 {
		t.Fatalf("plan of a new table: %q, %v", steps, err)
	}
	prepare := func(s *clickhouse.Store, tbl *offline.Table) {
		t.Helper()
		if err := s.Prepare(t.Context(), tbl); err != nil {
			t.Fatal(err)
		}
		if steps, err := s.Plan(t.Context(), tbl); err != nil || len(steps) > 0 {
			t.Fatalf("after Prepare the plan is %q, %v", steps, err)
		}
	}
	prepare(s, tbl)
	r, b := rows(tbl, 0, 10, 3600e6)
	if err := s.Write(t.Context(), tbl, r, b); err != nil {
		t.Fatal(err)
	}
	changed := small("events_trips")
	changed.Columns[3].Nullable = true // req_bool
	changed.Columns[0].Description = "who drove; it's a name"
	changed.Columns = append(changed.Columns,
		offline.Column{Name: "tip", Type: feature.Float64, Nullable: true, Description: "added"},
		offline.Column{Name: "note", Type: feature.String, Nullable: true})
	steps, err := s.Plan(t.Context(), changed)
	if err != nil || len(steps) != 5 {
		t.Fatalf("plan of two columns, a null and a comment: %q, %v", steps, err)
	}
	prepare(s, changed)
	r, b = rows(changed, 10, 20, 3600e6)
	if err := s.Write(t.Context(), changed, r, b); err != nil {
		t.Fatal(err)
	}
	for i, row := range scan(t, s, changed, offline.Query{}) {
		if tip := row.values[6]; tip.IsNull() != (i < 10) {
			t.Errorf("row %d has tip %v", i, tip)
		}
	}
	if got := count(t, s, "SELECT countIf(tip IS NULL) FROM db.events_trips"); got != 10 {
		t.Errorf("the view has %d rows without a tip, want 10", got)
	}

	// The first definition again: nothing is dropped, and its rows still fit.
	prepare(s, tbl)
	r, b = rows(tbl, 20, 30, 3600e6)
	if err := s.Write(t.Context(), tbl, r, b); err != nil {
		t.Fatal(err)
	}
	if got := count(t, s, "SELECT countIf(note IS NOT NULL) FROM db.events_trips"); got != 10 {
		t.Errorf("%d notes are left, want 10", got)
	}
	dropping := open(t, url, clickhouse.Options{AllowDrop: true})
	if steps, err := dropping.Plan(t.Context(), tbl); err != nil || !slices.ContainsFunc(steps, func(s string) bool { return strings.Contains(s, "DROP COLUMN IF EXISTS `tip`") }) {
		t.Errorf("plan with dropping allowed: %q, %v", steps, err)
	}
	prepare(dropping, tbl)
	if got := count(t, s, "SELECT count() FROM system.columns WHERE 'db.' = concat('`', database, '`.') AND name = 'tip'"); got != 0 {
		t.Errorf("%d columns called tip are left", got)
	}
}

// TestATableThatChangesUnderAWriter: a process that knows the table as it was writes on, by every driver, while another has made a
// column nullable and added one; its scans read on as well.
func TestATableThatChangesUnderAWriter(t *testing.T) {
	for name, url := range drivers(t) {
		t.Run(name, func(t *testing.T) {
			old, fresh := open(t, url, clickhouse.Options{}), open(t, url, clickhouse.Options{})
			tbl := small("events_" + strings.ReplaceAll(name, " ", "_"))
			if err := old.Prepare(t.Context(), tbl); err != nil {
				t.Fatal(err)
			}
			r, b := rows(tbl, 0, 10, 3600e6)
			if err := old.Write(t.Context(), tbl, r, b); err != nil {
				t.Fatal(err)
			}
			changed := *tbl
			changed.Columns = slices.Clone(tbl.Columns)
			changed.Columns[3].Nullable = true
			changed.Columns = append(changed.Columns, offline.Column{Name: "tip", Type: feature.Float64, Nullable: true})
			if err := fresh.Prepare(t.Context(), &changed); err != nil {
				t.Fatal(err)
			}
			r, b = rows(tbl, 10, 20, 3600e6)
			if err := old.Write(t.Context(), tbl, r, b); err != nil {
				t.Errorf("the process that knows the old table writes: %v", err)
			}
			r, b = rows(&changed, 20, 30, 3600e6)
			if err := fresh.Write(t.Context(), &changed, r, b); err != nil {
				t.Fatal(err)
			}
			want := scan(t, fresh, &changed, offline.Query{})
			if len(want) != 30 {
				t.Fatalf("%d rows, want 30", len(want))
			}
			got := scan(t, old, tbl, offline.Query{})
			for i := range want {
				if tip := want[i].values[len(tbl.Columns)]; i < 20 && !tip.IsNull() {
					t.Errorf("row %d has tip %v, nobody wrote one", i, tip)
				}
				want[i].values = want[i].values[:len(tbl.Columns)]
				if want[i].String() != got[i].String() {
					t.Errorf("row %d is %v, read as before %v", i, want[i], got[i])
				}
			}
		})
	}
}

// TestWhatItWillNotChange names column and both types.
func TestWhatItWillNotChange(t *testing.T) {
	url, _ := testenv.ClickHouse(t)
	s := open(t, url, clickhouse.Options{AllowDrop: true})
	tbl := small("events_trips")
	if err := s.Prepare(t.Context(), tbl); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		change func(*offline.Table)
		want   clickhouse.Difference
	}{
		"another type": {
			func(t *offline.Table) { t.Columns[3].Type = feature.String },
			clickhouse.Difference{Table: "events_trips_rows", Column: "req_bool", Have: "Bool", Want: "LowCardinality(String)"},
		},
		"a list of it": {
			func(t *offline.Table) { t.Columns[1].Type = feature.ListOf(feature.Int64) },
			clickhouse.Difference{Table: "events_trips_rows", Column: "shift", Have: "Int64", Want: "Array(Int64)"},
		},
		"another key": {
			func(t *offline.Table) { t.Key = []int{1} },
			clickhouse.Difference{
				Table: "events_trips_rows", Have: "driver, shift, _event_time, _topic, _partition, _offset", Want: "shift, _event_time, _topic, _partition, _offset",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			changed := small("events_trips")
			tc.change(changed)
			var d *clickhouse.Difference
			if err := s.Prepare(t.Context(), changed); !errors.As(err, &d) || *d != tc.want {
				t.Errorf("got %v, want %v", err, &tc.want)
			}
		})
	}
}

func TestAddressesAreRead(t *testing.T) {
	for url, want := range map[string]string{
		"":                                    "no scheme",
		"redis://x":                           "none of clickhouse",
		"clickhouse://":                       "names no host",
		"clickhouse://h/db?compress=gzip":     "known are none, lz4, zstd",
		"clickhouse://u:secret@h/db?timeout=": `unknown parameter "timeout"`,
		"http://h:8123/db?compress=lz4":       "",
		"clickhouse://u:p%40ss@a:9000,b/db":   "",
		"clickhouses://[::1]:9440/db":         "",
	} {
		s, err := clickhouse.Open(config.ClickHouse{URL: config.Secret(url)}, clickhouse.Options{})
		if err == nil {
			_ = s.Close()
		}
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%q: %v, want %q", url, err, want)
		}
	}
}
