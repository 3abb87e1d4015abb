package clickhouse_test

import (
	"testing"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/testenv"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/clickhouse"
)

// TestTheLastRevisionHolds: a table whose rows are revised has a view of those that hold, which follows the table's columns.
func TestTheLastRevisionHolds(t *testing.T) {
	url, _ := testenv.ClickHouse(t)
	s := open(t, url, clickhouse.Options{})
	tbl := revised()
	if err := s.Prepare(t.Context(), tbl); err != nil {
		t.Fatal(err)
	}
	b := &offline.Batch{Width: 3}
	add := func(at int64, slice string, revision int64) {
		b.Values = append(b.Values, feature.StringValue("m"), feature.StringValue(slice), feature.Int64Value(revision))
		b.Meta = append(b.Meta, offline.Meta{Time: march + at, Arrived: march, Offset: int64(len(b.Meta)), Topic: "scores", Ordinal: 1})
	}
	add(0, "", 0)
	add(0, "eu", 0)
	add(1, "", 0)
	add(0, "eu", 2)
	add(0, "eu", 1) // what comes late is no later revision
	add(1, "", 1)
	r := offline.Range{Topic: "scores", End: int64(b.Len())}
	for range 2 {
		if err := s.Write(t.Context(), tbl, r, b); err != nil {
			t.Fatal(err)
		}
	}
	number := func(sql string, want int64) {
		t.Helper()
		if got, err := s.Number(t.Context(), sql); err != nil || got != want {
			t.Errorf("%s is %d, %v, want %d", sql, got, err, want)
		}
	}
	number("SELECT toInt64(count()) FROM db.scores", 6)
	number("SELECT toInt64(count()) FROM db.scores_latest", 3)
	number("SELECT toInt64(sum(revision)) FROM db.scores_latest", 3)
	number("SELECT revision FROM db.scores_latest WHERE slice = 'eu'", 2)
	tbl.Columns = append(tbl.Columns, offline.Column{Name: "note", Type: feature.String, Nullable: true})
	if err := s.Prepare(t.Context(), tbl); err != nil {
		t.Fatal(err)
	}
	number("SELECT toInt64(countIf(note IS NULL)) FROM db.scores_latest", 3)
	if steps, err := s.Plan(t.Context(), tbl); err != nil || len(steps) > 0 {
		t.Errorf("after Prepare the plan is %q, %v", steps, err)
	}
}

// revised is a table whose rows are revised.
func revised() *offline.Table {
	return &offline.Table{
		Name: "scores", Source: &config.Source{Name: "scores", Topic: "scores"}, Key: []int{0}, Same: []int{0, 1}, Revision: 2,
		Columns: []offline.Column{{Name: "monitor", Type: feature.String}, {Name: "slice", Type: feature.String}, {Name: "revision", Type: feature.Int64}},
	}
}
