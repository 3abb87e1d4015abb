package clickhouse_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/testenv"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/clickhouse"
)

// openWith is open for a connection with more than a URL.
func openWith(t *testing.T, c config.ClickHouse) *clickhouse.Store {
	t.Helper()
	s, err := clickhouse.Open(c, clickhouse.Options{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func covers(t *testing.T, s *clickhouse.Store, tbl *offline.Table, what string, want ...offline.Range) {
	t.Helper()
	if got, err := s.Covered(t.Context(), tbl); err != nil || !slices.Equal(got, want) {
		t.Errorf("%s: covered %v, %v; want %v", what, got, err, want)
	}
}

// TestWhatWasWrittenIsCoveredAndNothingElse: with rows or without, but not what was gone past, nor rows that are there alone.
func TestWhatWasWrittenIsCoveredAndNothingElse(t *testing.T) {
	native, web := testenv.ClickHouse(t)
	for name, url := range map[string]string{"native": native, "http": web} {
		t.Run(name, func(t *testing.T) {
			s := open(t, url, clickhouse.Options{})
			tbl := small("events_" + name)
			covers(t, s, tbl, "before there is a table")
			if err := s.Prepare(t.Context(), tbl); err != nil {
				t.Fatal(err)
			}
			covers(t, s, tbl, "before there is a row")
			write := func(s *clickhouse.Store, partition int32, first, end int64, empty bool) {
				t.Helper()
				r, b := rows(tbl, first, end, 3600e6)
				r.Partition = partition
				for i := range b.Meta {
					b.Meta[i].Partition = partition
				}
				if empty { // all refused
					b.Reset(len(tbl.Columns))
				}
				if err := s.Write(t.Context(), tbl, r, b); err != nil {
					t.Fatal(err)
				}
			}
			trips := func(partition int32, first, end int64) offline.Range {
				return offline.Range{Topic: "trips", Partition: partition, First: first, End: end}
			}
			write(s, 1, 5, 10, true)
			write(s, 1, 10, 20, false)
			write(s, 1, 10, 20, false) // again
			write(s, 1, 30, 40, false)
			write(s, 2, 0, 5, true)
			write(open(t, url, clickhouse.Options{}), 1, 40, 50, false) // who took it over
			covers(t, s, tbl, "what was written", trips(1, 5, 20), trips(1, 30, 50), trips(2, 0, 5))
			if err := s.Exec(t.Context(), "INSERT INTO db."+tbl.Name+"_rows SELECT * REPLACE (toInt64(60) AS _offset) FROM db."+tbl.Name+"_rows LIMIT 1"); err != nil {
				t.Fatal(err)
			}
			covers(t, s, tbl, "after half of an insert", trips(1, 5, 20), trips(1, 30, 50), trips(2, 0, 5))
		})
	}
}

// TestLongRunsAreFewRows: a partition that is written for long adds few rows of what is whole.
func TestLongRunsAreFewRows(t *testing.T) {
	url, _ := testenv.ClickHouse(t)
	s := open(t, url, clickhouse.Options{})
	tbl := small("events_trips")
	if err := s.Prepare(t.Context(), tbl); err != nil {
		t.Fatal(err)
	}
	for o := range int64(300) {
		r, b := rows(tbl, o, o+1, 3600e6)
		b.Reset(len(tbl.Columns))
		if err := s.Write(t.Context(), tbl, r, b); err != nil {
			t.Fatal(err)
		}
	}
	covers(t, s, tbl, "300 ranges", offline.Range{Topic: "trips", Partition: 1, End: 300})
	if n := count(t, s, "SELECT count() FROM db.events_trips_ranges FINAL"); n != 2 {
		t.Errorf("%d rows, want 2", n)
	}
}

// TestATableKnowsItsTopic: the first id that it is told stays, and is no range.
func TestATableKnowsItsTopic(t *testing.T) {
	url, _ := testenv.ClickHouse(t)
	s := open(t, url, clickhouse.Options{})
	tbl := small("events_trips")
	if err := s.Prepare(t.Context(), tbl); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ topic, id, want string }{{"trips", "a1", "a1"}, {"trips", "b2", "a1"}, {"other", "b2", "b2"}} {
		if got, err := s.Identify(t.Context(), tbl, c.topic, c.id); err != nil || got != c.want {
			t.Errorf("%s with id %s: %q, %v; want %q", c.topic, c.id, got, err, c.want)
		}
	}
	covers(t, s, tbl, "of its topic alone")
}

// TestTTL: it is set on tables that there are, what it removes is not covered, and stays so when rows may live longer again.
func TestTTL(t *testing.T) {
	url, _ := testenv.ClickHouse(t)
	conn := config.ClickHouse{URL: config.Secret(url)}
	tbl := small("events_trips")
	s := openWith(t, conn)
	if err := s.Prepare(t.Context(), tbl); err != nil {
		t.Fatal(err)
	}
	old, b := rows(tbl, 0, 10, 1)
	for i := range b.Meta {
		b.Meta[i].Time = time.Now().Add(-100 * 24 * time.Hour).UnixMicro()
	}
	young, c := rows(tbl, 20, 30, 1)
	for i := range c.Meta {
		c.Meta[i].Time = time.Now().UnixMicro()
	}
	if err := errors.Join(s.Write(t.Context(), tbl, old, b), s.Write(t.Context(), tbl, young, c)); err != nil {
		t.Fatal(err)
	}
	covers(t, s, tbl, "without a TTL", old, young)
	for _, step := range []struct {
		ttl        time.Duration
		statements int
		rows       int
		want       []offline.Range
	}{
		{200 * 24 * time.Hour, 1, 20, []offline.Range{old, young}},
		{50 * 24 * time.Hour, 1, 10, []offline.Range{young}},
		{300 * 24 * time.Hour, 2, 10, []offline.Range{young}},
		{0, 2, 10, []offline.Range{young}},
	} {
		conn.TTL = step.ttl
		s := openWith(t, conn)
		if steps, err := s.Plan(t.Context(), tbl); err != nil || len(steps) != step.statements {
			t.Errorf("TTL %s: plan %q, %v", step.ttl, steps, err)
		}
		if err := s.Prepare(t.Context(), tbl); err != nil {
			t.Fatal(err)
		}
		if steps, err := s.Plan(t.Context(), tbl); err != nil || len(steps) > 0 {
			t.Errorf("TTL %s: after Prepare the plan is %q, %v", step.ttl, steps, err)
		}
		if err := s.Exec(t.Context(), "OPTIMIZE TABLE db.events_trips_rows FINAL"); err != nil {
			t.Fatal(err)
		}
		if n := count(t, s, "SELECT count() FROM db.events_trips"); n != step.rows {
			t.Errorf("TTL %s: %d rows, want %d", step.ttl, n, step.rows)
		}
		covers(t, s, tbl, "TTL "+step.ttl.String(), step.want...)
	}
}

// TestATableStaysWhereItWasMade: a connection that begins to name a cluster, or ends to, does not take a table for another.
func TestATableStaysWhereItWasMade(t *testing.T) {
	url, _ := testenv.ClickHouse(t)
	tbl := small("events_trips")
	if err := open(t, url, clickhouse.Options{}).Prepare(t.Context(), tbl); err != nil {
		t.Fatal(err)
	}
	_, err := openWith(t, config.ClickHouse{URL: config.Secret(url), Cluster: "main"}).Plan(t.Context(), tbl)
	var d *clickhouse.Difference
	if !errors.As(err, &d) || !d.Engine || !errors.Is(err, offline.ErrDiffers) || !strings.Contains(err.Error(), "ReplicatedReplacingMergeTree") {
		t.Errorf("got %v", err)
	}
}

// TestDDLParses has the engine read the statements, of a cluster too, which no test here has.
func TestDDLParses(t *testing.T) {
	url, _ := testenv.ClickHouse(t)
	s := open(t, url, clickhouse.Options{})
	for _, name := range []string{"node", "cluster"} {
		text, err := os.ReadFile(filepath.Join("testdata", name+".sql"))
		if err != nil {
			t.Fatal(err)
		}
		for _, sql := range strings.Split(strings.TrimSuffix(string(text), ";\n"), ";\n\n") {
			quoted := "'" + strings.NewReplacer("\\", "\\\\", "'", "\\'").Replace(sql) + "'"
			if n, err := s.Number(t.Context(), "SELECT length(formatQuery("+quoted+"))"); err != nil || n < 50 {
				t.Errorf("%s: %v in\n%s", name, err, sql)
			}
		}
	}
}
