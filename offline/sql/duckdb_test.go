//go:build cgo

package sql_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/parquet"
	"github.com/freshet-io/freshet/offline/sql"
	"github.com/freshet-io/freshet/offline/sql/duckdb"
)

func table() *offline.Table {
	return &offline.Table{
		Name: "events_orders", Source: &config.Source{Name: "orders", Topic: "orders", Description: "What customers' carts become."}, Key: []int{0},
		Columns: []offline.Column{
			{Name: "user", Type: feature.String, Description: `who "buys"`},
			{Name: "amount", Type: feature.Float64, Nullable: true},
			{Name: "items", Type: feature.Int64},
			{Name: "paid", Type: feature.Bool, Nullable: true},
			{Name: "raw", Type: feature.Bytes, Nullable: true},
			{Name: "seen", Type: feature.Timestamp, Nullable: true},
			{Name: "tags", Type: feature.ListOf(feature.String), Nullable: true},
		},
	}
}

var start = time.Date(2026, 3, 1, 23, 0, 0, 0, time.UTC)

// write stores rows of a range of partition 0, one a minute: a function of the offset.
func write(t *testing.T, s *parquet.Store, first, end int64) {
	t.Helper()
	b := &offline.Batch{Width: 7}
	for off := first; off < end; off++ {
		at := start.Add(time.Duration(off) * time.Minute).UnixMicro()
		tags := feature.Value{}
		if off%2 == 0 {
			tags = feature.ListValue(feature.String, []feature.Value{feature.StringValue("even"), feature.StringValue("x,y")})
		}
		b.Values = append(b.Values, feature.StringValue(fmt.Sprint("u", off%3)), feature.Float64Value(float64(off)/4), feature.Int64Value(off), feature.BoolValue(off%2 == 0),
			feature.BytesValue("\x00\xff"), feature.TimestampValue(at), tags)
		b.Meta = append(b.Meta, offline.Meta{Time: at, Arrived: at, Offset: off, Topic: "orders", Ordinal: 1})
	}
	if err := s.Write(t.Context(), table(), offline.Range{Topic: "orders", First: first, End: end}, b); err != nil {
		t.Fatal(err)
	}
}

func views(t *testing.T, s *parquet.Store, tables ...*offline.Table) string {
	t.Helper()
	var out []sql.View
	for _, table := range tables {
		files, err := s.Files(t.Context(), table.Name)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, sql.View{Table: table, Files: files})
	}
	return sql.DuckDB(out)
}

// ask returns a query's result as CSV.
func ask(t *testing.T, setup, query string) string {
	t.Helper()
	db, err := duckdb.Open(t.Context(), setup)
	if err != nil {
		t.Fatalf("%v in\n%s", err, setup)
	}
	defer db.Close()
	r, err := sql.Query(t.Context(), db, query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer r.Close()
	var b bytes.Buffer
	if err := r.WriteCSV(&b, 0); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return b.String()
}

func open(t *testing.T) *parquet.Store {
	t.Helper()
	s, err := parquet.Open(t.Context(), config.Secret("file://"+t.TempDir()), parquet.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestDuckDBReadsTheTables(t *testing.T) {
	s := open(t)
	write(t, s, 0, 100)
	write(t, s, 100, 130)
	wider := table()
	wider.Columns = append(wider.Columns, offline.Column{Name: "country", Type: feature.String, Nullable: true})
	empty := table()
	empty.Name = "events_nothing"
	for _, compact := range []bool{false, true} {
		if compact {
			if _, err := s.Compact(t.Context(), "events_orders", parquet.CompactOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		setup := views(t, s, wider, empty)
		for query, want := range map[string]string{
			"SELECT count(*) AS n, sum(items) AS s, count(DISTINCT _offset) AS d, count(country) AS c FROM events_orders": "n,s,d,c\n130,8385,130,0\n",
			"SELECT dt, count(*) AS n FROM events_orders GROUP BY dt ORDER BY dt":                                         "dt,n\n2026-03-01,60\n2026-03-02,70\n",
			`SELECT "user", amount, paid, raw, seen, tags, _event_time, _topic FROM events_orders WHERE _offset = 61`:     "user,amount,paid,raw,seen,tags,_event_time,_topic\nu1,15.25,false,00ff,2026-03-02T00:01:00Z,,2026-03-02T00:01:00Z,orders\n",
			"SELECT tags FROM events_orders WHERE _offset = 2":                                                            "tags\n\"[\"\"even\"\",\"\"x,y\"\"]\"\n",
			"SELECT count(*) AS n FROM events_nothing":                                                                    "n\n0\n",
			"SELECT count(*) AS n FROM events_orders WHERE _event_time >= TIMESTAMPTZ '2026-03-02 01:00:00+01:00'":        "n\n70\n",
			"SELECT comment FROM duckdb_columns() WHERE table_name = 'events_orders' AND column_name = 'user'":            "comment\n\"who \"\"buys\"\"\"\n",
			"SELECT comment LIKE '%customers'' carts%' AS said FROM duckdb_views() WHERE view_name = 'events_orders'":     "said\ntrue\n",
			"SELECT string_agg(DISTINCT column_type, ' ' ORDER BY column_type) AS types FROM (DESCRIBE events_orders)":    "types\nBIGINT BLOB BOOLEAN DATE DOUBLE INTEGER TIMESTAMP WITH TIME ZONE VARCHAR VARCHAR[]\n",
		} {
			if got := ask(t, setup, query); got != want {
				t.Errorf("%s\nanswers\n%s\nwant\n%s", query, got, want)
			}
		}
	}
}

func TestViewsReadAnOffsetOnce(t *testing.T) {
	s := open(t)
	write(t, s, 0, 100)
	write(t, s, 80, 120) // by who went on after losing the partition
	if got := ask(t, views(t, s, table()), "SELECT count(*) AS n, count(DISTINCT _offset) AS d FROM events_orders"); got != "n,d\n120,120\n" {
		t.Errorf("answers %s", got)
	}
}

func TestResultsAsJSON(t *testing.T) {
	db, err := duckdb.Open(t.Context(), "SET TimeZone = 'UTC'")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	r, err := sql.Query(t.Context(), db, `SELECT 1::BIGINT AS b, 2::HUGEINT AS "h ""q""", 1.5 AS d, 0.1::DOUBLE AS f, 'nan'::DOUBLE AS nan, NULL AS nothing, [1, NULL] AS list, {'a': 'x'} AS s, [[1.25], NULL] AS lists,
		DATE '2026-03-01' AS day, TIMESTAMPTZ '2026-03-01 12:00:00.5Z' AS at FROM range(3)`)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var b strings.Builder
	if err := r.WriteJSON(&b, 1); err != nil {
		t.Fatal(err)
	}
	want := `[
  {"b": 1, "h \"q\"": 2, "d": 1.5, "f": 0.1, "nan": "NaN", "nothing": null, "list": [1,null], "s": {"a":"x"}, "lists": [[1.25],null], "day": "2026-03-01", "at": "2026-03-01T12:00:00.5Z"}
]
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestAQueryThatIsWrongSaysWhy(t *testing.T) {
	db, err := duckdb.Open(context.Background(), "SELECT 1")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := sql.Query(t.Context(), db, "SELECT nothing FROM nowhere"); err == nil || !strings.Contains(err.Error(), "Table with name nowhere does not exist") {
		t.Errorf("%v", err)
	}
}

// Of a table whose rows are revised there is a view of those that hold.
func TestTheLastRevisionHolds(t *testing.T) {
	s := open(t)
	write(t, s, 0, 120)
	revised := table()
	revised.Same, revised.Revision = []int{0, 3}, 2 // the user and whether it is paid; the items are the offset
	// A window of a user, as it were: by the minute no two rows are the same.
	if got := ask(t, views(t, s, revised), "SELECT count(*) AS n FROM events_orders_latest"); got != "n\n120\n" {
		t.Errorf("answers %s", got)
	}
	b := &offline.Batch{Width: 7}
	for off := int64(120); off < 130; off++ { // ten say the first row anew
		b.Values = append(b.Values, feature.StringValue("u0"), feature.Value{}, feature.Int64Value(250-off), feature.BoolValue(true), feature.BytesValue(""), feature.Value{}, feature.Value{})
		b.Meta = append(b.Meta, offline.Meta{Time: start.UnixMicro(), Arrived: start.UnixMicro(), Offset: off, Topic: "orders", Ordinal: 1})
	}
	if err := s.Write(t.Context(), table(), offline.Range{Topic: "orders", First: 120, End: 130}, b); err != nil {
		t.Fatal(err)
	}
	want := "n,items\n120,130\n"
	query := "SELECT count(*) AS n, max(items) FILTER (WHERE _event_time = TIMESTAMPTZ '2026-03-01 23:00:00Z') AS items FROM events_orders_latest"
	if got := ask(t, views(t, s, revised), query); got != want {
		t.Errorf("answers %s, want %s", got, want)
	}
}
