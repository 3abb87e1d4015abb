package train_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/testenv"
	"github.com/freshet-io/freshet/offline/sql"
	"github.com/freshet-io/freshet/offline/train"
)

// TestClickHouse: a query is a spine, and a table a training set.
func TestClickHouse(t *testing.T) {
	native, _ := testenv.ClickHouse(t)
	conn := config.ClickHouse{URL: config.Secret(native)}
	db, err := sql.OpenClickHouse(conn)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	out, err := train.NewTable(parsePlane(t, filesPlane), conn, "training", dir)
	if err != nil {
		t.Fatal(err)
	}
	spine, err := train.QuerySpine(t.Context(), db, `SELECT toInt64(number + 6) AS user_id, toDateTime64('2026-03-01 12:01:00', 3, 'UTC') + number AS timestamp,
		toNullable(toFloat32(number)) AS budget, number = 1 AS label, 'x' AS note FROM numbers(3)`, train.NoLists)
	if err != nil {
		t.Fatal(err)
	}
	s, err := train.New(train.Options{Plane: parsePlane(t, filesPlane), Service: "model", Spine: spine, Store: orders(), Output: out})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Build(t.Context()); err != nil {
		t.Fatal(err)
	}
	if db, err = sql.OpenClickHouse(conn); err != nil {
		t.Fatal(err)
	}
	days, err := train.QuerySpine(t.Context(), db, "SELECT toInt64(7) AS user_id, toDate('2026-03-01') AS timestamp, 1.5 AS budget", train.NoLists)
	if err != nil {
		t.Fatal(err)
	}
	_, err = train.New(train.Options{Plane: parsePlane(t, filesPlane), Service: "model", Spine: days, Store: orders(), Output: out})
	if err == nil || !strings.Contains(err.Error(), `column "timestamp" of the spine holds times without a zone`) {
		t.Errorf("days are taken for times: %v", err)
	}
	if err := days.Close(); err != nil {
		t.Fatal(err)
	}
	if db, err = sql.OpenClickHouse(conn); err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var users []int64
	var at time.Time
	var orders *int64
	var spent, share *float64
	var items []string
	row := db.QueryRowContext(t.Context(), "SELECT (SELECT groupArray(user_id) FROM training), timestamp, orders_1h, spent_1h, share, items FROM training WHERE label = 1")
	if err := row.Scan(&users, &at, &orders, &spent, &share, &items); err != nil {
		t.Fatal(err)
	}
	if len(users) != 3 || !at.Equal(noon.Add(61*time.Second)) || *orders != 2 || *spent != 2 || *share != 2 || len(items) != 2 || items[0] != "tea" {
		t.Error(users, at, *orders, *spent, *share, items)
	}
	var m train.Manifest
	text, err := os.ReadFile(filepath.Join(dir, "training"+train.ManifestSuffix))
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err != nil || m.Rows != 3 {
		t.Errorf("manifest %s, %v", text, err)
	}
}

// TestOnlyListsOfQueriesAreLeftOut: a column that is none and cannot be read is refused, with its type.
func TestOnlyListsOfQueriesAreLeftOut(t *testing.T) {
	native, _ := testenv.ClickHouse(t)
	conn := config.ClickHouse{URL: config.Secret(native)}
	for _, c := range []struct{ columns, want string }{
		{"[1, 2] AS a, (1, 'x') AS b, map('k', 1) AS c, [(1, 'x')] AS d, CAST([(1)], 'Nested(n Int64)') AS e", "id"},
		{"toInt128(7) AS big", `column "big" is a Int128; columns of rows are numbers of 64 bits, texts, times and bools: cast it: toInt64(big)`},
		{"toDecimal64(1.5, 2) AS price", `column "price" is a Decimal(18, 2); columns of rows are numbers of 64 bits, texts, times and bools: cast it: toFloat64(price)`},
		{"toNullable(toDecimal256(1.5, 2)) AS price", `cast it: toFloat64(price)`},
		{"toInt64(toDecimal64(1.5, 2)) AS price, toFloat64(toDecimal32(2.5, 1)) AS other", "priceotherid"},
		{"generateUUIDv4() AS request", `numbers of 64 bits, texts, times and bools: cast it: toString(request)`},
		{"toNullable(generateUUIDv4()) AS request", `column "request" is a Nullable(UUID); `},
	} {
		db, err := sql.OpenClickHouse(conn)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		s, err := train.QuerySpine(t.Context(), db, "SELECT "+c.columns+", 7 AS id", train.SkipLists)
		if err != nil {
			got = err.Error()
		} else {
			for _, col := range s.Columns() {
				got += col.Name
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%s\ngot  %s\nwant %s", c.columns, got, c.want)
		}
	}
}
