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
