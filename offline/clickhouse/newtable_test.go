package clickhouse_test

import (
	"errors"
	"testing"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/testenv"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/clickhouse"
	"github.com/freshet-io/freshet/offline/sql"
)

// TestNewTable: a table has its name once it is whole, in place of the one before.
func TestNewTable(t *testing.T) {
	for name, url := range drivers(t) {
		t.Run(name, func(t *testing.T) { testNewTable(t, config.ClickHouse{URL: config.Secret(url)}) })
	}
}

func testNewTable(t *testing.T, conn config.ClickHouse) {
	s, err := clickhouse.Open(conn, clickhouse.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	db, err := sql.OpenClickHouse(conn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	ctx := t.Context()
	columns := []offline.Column{{Name: "a b", Type: feature.Int64, Nullable: true, Description: "it's"}, {Name: "l", Type: feature.ListOf(feature.String), Nullable: true}}
	for n := range 3 {
		table, err := s.CreateTable(ctx, "new table", columns)
		if err != nil {
			t.Fatal(err)
		}
		for i := range n + 1 {
			a := feature.Int64Value(int64(i))
			if i == 1 {
				a = feature.Value{}
			}
			if err := table.Write(ctx, []feature.Value{a}, []feature.Value{feature.ListValue(feature.String, []feature.Value{feature.StringValue("x")})}); err != nil {
				t.Fatal(err)
			}
		}
		if n == 2 {
			if err := table.Abort(ctx); err != nil {
				t.Fatal(err)
			}
		} else if err := table.Commit(ctx); err != nil {
			t.Fatal(err)
		}
		var rows, nulls, lists int
		err = db.QueryRowContext(ctx, "SELECT count(), countIf(`a b` IS NULL), countIf(l = ['x']) FROM `new table`").Scan(&rows, &nulls, &lists)
		want := min(n, 1) + 1 // the last is given up
		if err != nil || rows != want || nulls != want-1 || lists != want {
			t.Errorf("after %d: %d rows, %d nulls, %d lists: %v", n, rows, nulls, lists, err)
		}
	}
	var left int
	if err := db.QueryRowContext(ctx, "SELECT count() FROM system.tables WHERE database = currentDatabase() AND name LIKE 'new table%'").Scan(&left); err != nil || left != 1 {
		t.Errorf("%d tables, %v", left, err)
	}
}

// TestANewTableReplacesItsLikeAlone: what was not made as a new table is neither replaced nor dropped, and what a killed run
// left goes with the next.
func TestANewTableReplacesItsLikeAlone(t *testing.T) {
	url, _ := testenv.ClickHouse(t)
	s := open(t, url, clickhouse.Options{})
	tbl := small("events_trips")
	if err := s.Prepare(t.Context(), tbl); err != nil {
		t.Fatal(err)
	}
	r, b := rows(tbl, 0, 10, 3600e6)
	if err := s.Write(t.Context(), tbl, r, b); err != nil {
		t.Fatal(err)
	}
	columns := []offline.Column{{Name: "a", Type: feature.Int64}}
	for _, name := range []string{"events_trips", "events_trips_rows"} {
		if _, err := s.CreateTable(t.Context(), name, columns); !errors.Is(err, clickhouse.ErrNotReplaced) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// One that comes to be while the new one is written, and two that were killed.
	var last *clickhouse.NewTable
	for range 3 {
		var err error
		if last, err = s.CreateTable(t.Context(), "other", columns); err != nil {
			t.Fatal(err)
		}
	}
	if n := count(t, s, "SELECT count() FROM system.tables WHERE 'db.' = concat('`', database, '`.') AND name LIKE 'other%'"); n != 1 {
		t.Errorf("%d tables are left of killed runs and this one, want 1", n)
	}
	others := []string{"CREATE TABLE db.other (a Int64) ENGINE = Memory", "CREATE TABLE db.other_writing_notmade1 (a Int64) ENGINE = Memory"}
	for _, sql := range others {
		if err := s.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	if err := last.Commit(t.Context()); !errors.Is(err, clickhouse.ErrNotReplaced) {
		t.Errorf("commit over a table that came meanwhile: %v", err)
	}
	if err := last.Abort(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := s.CreateTable(t.Context(), "other", columns); !errors.Is(err, clickhouse.ErrNotReplaced) {
		t.Errorf("a table that somebody made is replaced: %v", err)
	}
	for _, sql := range others {
		if err := s.Exec(t.Context(), sql); err == nil {
			t.Errorf("it was dropped: %s", sql)
		}
	}
	if got := count(t, s, "SELECT count() FROM db.events_trips"); got != 10 {
		t.Errorf("the plane's table has %d rows, want 10", got)
	}
}
