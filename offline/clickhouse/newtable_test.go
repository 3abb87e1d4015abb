package clickhouse_test

import (
	"testing"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
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
