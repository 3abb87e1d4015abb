package cli

import (
	"os"
	"strings"
	"testing"

	"github.com/freshet-io/freshet/internal/testenv"
)

// A query makes a baseline as a file does, with its nulls and its slices; columns that are lists are left out.
func TestBaselineFromQuery(t *testing.T) {
	native, _ := testenv.ClickHouse(t)
	s := newShop(t)
	text, err := os.ReadFile(s.plane)
	if err != nil {
		t.Fatal(err)
	}
	text = []byte(strings.Replace(string(text), "connections:\n", "connections:\n  clickhouse: {url: \""+native+"\"}\n", 1))
	if err := os.WriteFile(s.plane, text, 0o600); err != nil {
		t.Fatal(err)
	}
	r := ok(t, "baseline", "create", "scorer_1", s.plane, "--from",
		"SELECT ['x'] AS _mistyped, if(number % 4 = 0, NULL, toFloat32(number)) AS spend_1d, toUInt16(number % 12) AS orders_1d, if(number % 2 = 0, 'eu', 'us') AS region FROM numbers(2000) ORDER BY number")
	expect(t, r.stdout, "scorer_1: 2,000 rows of a query", "spend_1d   float64  25.0 %", "orders_1d  int64", "slices by region: eu (1,000), us (1,000)")
	expect(t, r.stderr, "a query does not have last_country, prediction: not watched")
}
