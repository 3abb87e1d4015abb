//go:build cgo

package duckdb_test

import (
	"context"
	stdsql "database/sql"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/testenv"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/clickhouse"
	"github.com/freshet-io/freshet/offline/parquet"
	"github.com/freshet-io/freshet/offline/replay"
	"github.com/freshet-io/freshet/offline/sql"
	"github.com/freshet-io/freshet/offline/sql/duckdb"
	"github.com/freshet-io/freshet/offline/train"
)

const trainingPlane = `
project: sqlparity
connections: {kafka: {brokers: ["127.0.0.1:1"]}, redis: {url: "redis://127.0.0.1:1"}}
entities:
  - {name: user, join_keys: [{name: user, type: string}]}
sources:
  - name: sqlparity
    topic: sqlparity
    format: json
    key: [user]
    event_time: {field: at, format: unix_us}
    schema:
      - {name: user, type: string, required: true}
      - {name: amount, type: float64}
      - {name: n, type: int64}
      - {name: at, type: int64, required: true}
feature_views:
  - name: orders
    entity: user
    source: sqlparity
    features:
      - {name: events, aggregate: count, window: 7m}
      - {name: sum_n, aggregate: sum, of: n, window: 7m}
      - {name: min_amount, aggregate: min, of: amount, window: 7m}
      - {name: max_amount, aggregate: max, of: amount, window: 7m}
      - {name: mean_amount, aggregate: mean, of: amount, window: 7m}
feature_services: [{name: model, features: [orders]}]
`

// The window rule in SQL: floor_h(t - W) <= at <= t, W seven minutes and h seven seconds, times in microseconds.
const windowQuery = `SELECT s.i AS i, count(e.user) AS events, sum(e.n) AS sum_n, min(e.amount) AS min_amount, max(e.amount) AS max_amount, avg(e.amount) AS mean_amount
FROM %s AS s LEFT JOIN events_sqlparity AS e ON e.user = s.u
WHERE e.at <= s.t AND e.at >= (s.t - 420000000) - (s.t - 420000000) %% 7000000
GROUP BY s.i ORDER BY s.i`

// answer is a row of the query; events is 0 where there is none.
type answer struct {
	events         int64
	sum            stdsql.NullInt64
	low, high, avg stdsql.NullFloat64
}

// TestTrainingSetsEqualSQL: exact aggregations are what SQL over the raw events gives, on both engines, from both stores.
func TestTrainingSetsEqualSQL(t *testing.T) {
	plane, err := config.Parse([]config.File{{Name: "plane.yaml", Data: []byte(trainingPlane)}}, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	table := offline.EventsTable(plane.Sources[0])
	rng := rand.New(rand.NewPCG(4, 4))
	events := randomEvents(rng, len(table.Columns))
	spine := randomSpine(rng)
	t.Run("parquet", func(t *testing.T) {
		store, err := parquet.Open(t.Context(), config.Secret("file://"+t.TempDir()), parquet.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		writeEvents(t, store, table, events)
		files, err := store.Files(t.Context(), table.Name)
		if err != nil {
			t.Fatal(err)
		}
		db, err := duckdb.Open(t.Context(), sql.DuckDB([]sql.View{{Table: table, Files: files}}))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		values := fmt.Sprintf("(SELECT * FROM (VALUES %s) AS v(i, u, t))", spine.literals())
		compareSQL(t, plane, store, spine, ask(t, db, fmt.Sprintf(windowQuery, values), len(spine.rows)))
	})
	t.Run("clickhouse", func(t *testing.T) {
		native, _ := testenv.ClickHouse(t)
		conn := config.ClickHouse{URL: config.Secret(native)}
		store, err := clickhouse.Open(conn, clickhouse.Options{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		writeEvents(t, store, table, events)
		db, err := sql.OpenClickHouse(conn)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		values := fmt.Sprintf("values('i Int64, u String, t Int64', %s)", spine.literals())
		compareSQL(t, plane, store, spine, ask(t, db, fmt.Sprintf(windowQuery, values), len(spine.rows)))
	})
}

func randomEvents(rng *rand.Rand, width int) *offline.Batch {
	b := &offline.Batch{Width: width}
	for i := range 3000 {
		at := 1_800_000_000_000_000 + rng.Int64N(7200)*500_000
		amount, n := feature.Float64Value(float64(rng.IntN(800)-400)/4), feature.Int64Value(int64(rng.IntN(50)-20))
		if rng.IntN(8) == 0 {
			amount = feature.Value{}
		}
		if rng.IntN(8) == 0 {
			n = feature.Value{}
		}
		b.Values = append(b.Values, feature.StringValue(fmt.Sprint("u", rng.IntN(12))), amount, n, feature.Int64Value(at))
		b.Meta = append(b.Meta, offline.Meta{Time: at, Arrived: at, Ordinal: 1, Topic: "sqlparity", Offset: int64(i)})
	}
	return b
}

func writeEvents(t *testing.T, store interface {
	Prepare(ctx context.Context, t *offline.Table) error
	Write(ctx context.Context, t *offline.Table, r offline.Range, b *offline.Batch) error
}, table *offline.Table, b *offline.Batch,
) {
	t.Helper()
	if err := store.Prepare(t.Context(), table); err != nil {
		t.Fatal(err)
	}
	if err := store.Write(t.Context(), table, offline.Range{Topic: "sqlparity", End: int64(b.Len())}, b); err != nil {
		t.Fatal(err)
	}
}

// sqlSpine is a spine in memory, which SQL can be told too.
type sqlSpine struct {
	rows [][]feature.Value
	next int
}

func randomSpine(rng *rand.Rand) *sqlSpine {
	s := &sqlSpine{}
	for range 400 {
		at := 1_800_000_000_000_000 + rng.Int64N(8000)*500_000 + rng.Int64N(3) - 1
		s.rows = append(s.rows, []feature.Value{feature.StringValue(fmt.Sprint("u", rng.IntN(13))), feature.TimestampValue(at)})
	}
	return s
}

func (s *sqlSpine) literals() string {
	var out []string
	for i, r := range s.rows {
		out = append(out, fmt.Sprintf("(%d, '%s', %d)", i, r[0].Str(), r[1].Int64()))
	}
	return strings.Join(out, ", ")
}

func (s *sqlSpine) Columns() []train.SpineColumn {
	return []train.SpineColumn{{Name: "user", Type: feature.String}, {Name: "timestamp", Type: feature.Timestamp}}
}
func (s *sqlSpine) Close() error { return nil }
func (s *sqlSpine) Next(row []feature.Value) error {
	if s.next == len(s.rows) {
		return io.EOF
	}
	copy(row, s.rows[s.next])
	s.next++
	return nil
}

// ask runs the query and returns an answer for each row of the spine.
func ask(t *testing.T, db *stdsql.DB, query string, n int) []answer {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	out := make([]answer, n)
	for rows.Next() {
		var i int
		var a answer
		if err := rows.Scan(&i, &a.events, &a.sum, &a.low, &a.high, &a.avg); err != nil {
			t.Fatal(err)
		}
		out[i] = a
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// sink is an Output that keeps the features.
type sink struct{ rows [][]feature.Value }

func (o *sink) Text() bool { return false }

func (o *sink) Begin(context.Context, []train.SpineColumn, []offline.Column) error { return nil }

func (o *sink) Commit(context.Context, *train.Manifest) error { return nil }

func (o *sink) Abort() error { return nil }

func (o *sink) Write(_, features []feature.Value) error {
	o.rows = append(o.rows, append([]feature.Value(nil), features...))
	return nil
}

func compareSQL(t *testing.T, plane *config.Plane, store replay.Scanner, spine *sqlSpine, want []answer) {
	t.Helper()
	out := &sink{}
	s, err := train.New(train.Options{Plane: plane, Service: "model", Spine: &sqlSpine{rows: spine.rows}, Store: store, Output: out, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Build(t.Context()); err != nil {
		t.Fatal(err)
	}
	found := 0
	for i, a := range want {
		expect := make([]feature.Value, 5)
		if a.events > 0 { // without an event in the window the view is not found, and its count null
			found++
			expect[0] = feature.Int64Value(a.events)
			if a.sum.Valid {
				expect[1] = feature.Int64Value(a.sum.Int64)
			}
			for k, f := range []stdsql.NullFloat64{a.low, a.high, a.avg} {
				if f.Valid {
					expect[2+k] = feature.Float64Value(f.Float64)
				}
			}
		}
		for k := range expect {
			if !out.rows[i][k].Equal(&expect[k]) {
				t.Errorf("row %d, %v: feature %d is %s, SQL says %s", i, spine.rows[i], k, out.rows[i][k], expect[k])
			}
		}
	}
	if found < len(want)/2 {
		t.Errorf("only %d of %d rows have events: the test asks too little", found, len(want))
	}
}
