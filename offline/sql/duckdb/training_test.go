//go:build cgo

package duckdb_test

import (
	"context"
	stdsql "database/sql"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
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
      - {name: amounts, aggregate: count, of: amount, window: 7m}
      - {name: many, aggregate: count, where: n > 5, window: 7m}
      - {name: sum_n, aggregate: sum, of: n, window: 7m}
      - {name: last_n, aggregate: last_n, n: 3, of: n, window: 7m}
      - {name: min_amount, aggregate: min, of: amount, window: 7m}
      - {name: max_amount, aggregate: max, of: amount, window: 7m}
      - {name: mean_amount, aggregate: mean, of: amount, window: 7m}
      - {name: first_amount, aggregate: first, of: amount, window: 7m}
      - {name: last_amount, aggregate: last, of: amount, where: n <= 5, window: 7m}
  - name: lifetimes
    entity: user
    source: sqlparity
    features:
      - {name: ever, aggregate: count}
      - {name: many_ever, aggregate: count, where: n > 5}
      - {name: sum_ever, aggregate: sum, of: n}
      - {name: lasts_ever, aggregate: last_n, n: 3, of: n}
      - {name: max_ever, aggregate: max, of: amount}
      - {name: first_ever, aggregate: first, of: amount}
      - {name: last_ever, aggregate: last, of: amount}
      - {name: newest, of: amount}
feature_services: [{name: model, features: [orders, lifetimes]}]
`

// windowed is the number of features of the first view, which has neither lifetime nor row features.
const windowed = 10

// The rules in SQL: a window is floor_h(t - W) <= at <= t, W seven minutes and h seven seconds, times in microseconds; o is the order of
// events, (event time, partition, offset); kw counts a window's values of n from the newest back, k all of them, and kr the events.
const parityQuery = `WITH
j AS (
	SELECT s.i AS i, e.amount AS amount, e.n AS n, (e.at - 1800000000000000) * 100000 + e._partition * 50000 + e._offset AS o,
		e.at >= (s.t - 420000000) - (s.t - 420000000) %% 7000000 AS w
	FROM %s AS s JOIN events_sqlparity AS e ON e.user = s.u WHERE e.at <= s.t
),
r AS (
	SELECT *, row_number() OVER (PARTITION BY i ORDER BY CASE WHEN w AND n IS NOT NULL THEN 0 ELSE 1 END, o DESC) AS kw,
		row_number() OVER (PARTITION BY i ORDER BY CASE WHEN n IS NOT NULL THEN 0 ELSE 1 END, o DESC) AS k,
		row_number() OVER (PARTITION BY i ORDER BY o DESC) AS kr
	FROM j
)
SELECT i, count(CASE WHEN w THEN 1 END), count(CASE WHEN w THEN amount END), count(CASE WHEN w AND n > 5 THEN 1 END), sum(CASE WHEN w THEN n END),
	max(CASE WHEN w AND kw = 3 THEN n END), max(CASE WHEN w AND kw = 2 THEN n END), max(CASE WHEN w AND kw = 1 THEN n END),
	min(CASE WHEN w THEN amount END), max(CASE WHEN w THEN amount END), avg(CASE WHEN w THEN amount END),
	argMin(CASE WHEN w THEN amount END, o), argMax(CASE WHEN w AND n <= 5 THEN amount END, o),
	count(*), count(CASE WHEN n > 5 THEN 1 END), sum(n),
	max(CASE WHEN k = 3 THEN n END), max(CASE WHEN k = 2 THEN n END), max(CASE WHEN k = 1 THEN n END),
	max(amount), argMin(amount, o), argMax(amount, o), max(CASE WHEN kr = 1 THEN amount END)
FROM r GROUP BY i ORDER BY i`

// columns are the query's after i: an integer, a float, or a place of a list of integers, which the next letter goes on with until L ends it.
const columns = "iiiillLfffffiiillLffff"

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
		compareSQL(t, plane, store, spine, ask(t, db, fmt.Sprintf(parityQuery, values), len(spine.rows)))
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
		compareSQL(t, plane, store, spine, ask(t, db, fmt.Sprintf(parityQuery, values), len(spine.rows)))
	})
}

const parts = 2

// randomEvents draws events of each partition. Times are in no order of the offsets, so that nearly every event is late, and many are
// those of an earlier event of the user, in either partition.
func randomEvents(rng *rand.Rand, width int) (out [parts]*offline.Batch) {
	for p := range out {
		out[p] = &offline.Batch{Width: width}
	}
	var times [12][]int64
	for i := range 3000 {
		user, at := rng.IntN(len(times)), 1_800_000_000_000_000+rng.Int64N(7200)*500_000
		if n := len(times[user]); n > 0 && rng.IntN(3) == 0 {
			at = times[user][rng.IntN(n)]
		}
		times[user] = append(times[user], at)
		amount, n := feature.Float64Value(float64(rng.IntN(800)-400)/4), feature.Int64Value(int64(rng.IntN(50)-20))
		if rng.IntN(8) == 0 {
			amount = feature.Value{}
		}
		if rng.IntN(8) == 0 {
			n = feature.Value{}
		}
		b := out[i%parts]
		b.Meta = append(b.Meta, offline.Meta{Time: at, Arrived: at, Ordinal: 1, Topic: "sqlparity", Partition: int32(i % parts), Offset: int64(b.Len())})
		b.Values = append(b.Values, feature.StringValue(fmt.Sprint("u", user)), amount, n, feature.Int64Value(at))
	}
	return out
}

func writeEvents(t *testing.T, store interface {
	Prepare(ctx context.Context, t *offline.Table) error
	Write(ctx context.Context, t *offline.Table, r offline.Range, b *offline.Batch) error
}, table *offline.Table, events [parts]*offline.Batch,
) {
	t.Helper()
	if err := store.Prepare(t.Context(), table); err != nil {
		t.Fatal(err)
	}
	for p, b := range events {
		if err := store.Write(t.Context(), table, offline.Range{Topic: "sqlparity", Partition: int32(p), End: int64(b.Len())}, b); err != nil {
			t.Fatal(err)
		}
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

// ask runs the query and returns the features of each row of the spine; nil where the user has no events.
func ask(t *testing.T, db *stdsql.DB, query string, n int) [][]feature.Value {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	out := make([][]feature.Value, n)
	for rows.Next() {
		var i int
		into := []any{&i}
		for _, c := range columns {
			if c == 'f' {
				into = append(into, &stdsql.NullFloat64{})
			} else {
				into = append(into, &stdsql.NullInt64{})
			}
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		out[i] = features(into[1:])
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// features turns a row of the query into values.
func features(row []any) (out []feature.Value) {
	var list []feature.Value
	for k, c := range columns {
		var v feature.Value
		switch x := row[k].(type) {
		case *stdsql.NullInt64:
			if x.Valid {
				v = feature.Int64Value(x.Int64)
			}
		case *stdsql.NullFloat64:
			if x.Valid {
				v = feature.Float64Value(x.Float64)
			}
		}
		if c != 'l' && c != 'L' {
			out = append(out, v)
			continue
		}
		if !v.IsNull() {
			list = append(list, v)
		}
		if c == 'L' {
			v = feature.Value{}
			if len(list) > 0 {
				v = feature.ListValue(feature.Int64, list)
			}
			out, list = append(out, v), nil
		}
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
	row := slices.Clone(features)
	for i := range row {
		row[i] = row[i].Clone()
	}
	o.rows = append(o.rows, row)
	return nil
}

func compareSQL(t *testing.T, plane *config.Plane, store replay.Scanner, spine *sqlSpine, want [][]feature.Value) {
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
	for i, expect := range want {
		if len(out.rows[i]) != windowed+8 {
			t.Fatalf("row %d has %d features", i, len(out.rows[i]))
		}
		switch {
		case expect == nil:
			expect = make([]feature.Value, len(out.rows[i]))
		case expect[0].Int64() == 0: // without an event in its window the first view is not found, and its counts null
			clear(expect[:windowed])
		default:
			found++
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
