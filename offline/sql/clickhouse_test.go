package sql_test

import (
	"strings"
	"testing"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/testenv"
	"github.com/freshet-io/freshet/offline/sql"
)

// TestClickHouseResults: whatever a query may answer with is printed as what it is, by either protocol.
func TestClickHouseResults(t *testing.T) {
	native, http := testenv.ClickHouse(t)
	const query = `SELECT toDecimal64('12345678901234.56', 2) AS d, toNullable(toDecimal256('-0.5', 1)) AS wide, toInt128('170141183460469231731687303715884105727') AS i,
		toUInt64(18446744073709551615) AS u, [1, 2] AS list, [[toDecimal64('1.25', 2)]] AS lists, ['a'] AS words, map('k', toDecimal32(1.5, 1)) AS m, (1, 'x') AS pair, toIPv4('10.0.0.1') AS ip, toIPv6('::1') AS ip6,
		toUUID('61f0c404-5cb3-11e7-907b-a6006ad3dba0') AS id, nan AS nan, NULL AS nothing, toDate('2026-03-01') AS day, toDateTime64('2026-03-01 12:00:00.5', 3, 'UTC') AS at`
	const want = `[
  {"d": 12345678901234.56, "wide": -0.5, "i": 170141183460469231731687303715884105727, "u": 18446744073709551615, "list": [1,2], "lists": [[1.25]], "words": ["a"], "m": {"k":1.5}, ` +
		`"pair": [1,"x"], "ip": "10.0.0.1", "ip6": "::1", "id": "61f0c404-5cb3-11e7-907b-a6006ad3dba0", "nan": "NaN", "nothing": null, "day": "2026-03-01", "at": "2026-03-01T12:00:00.5Z"}
]
`
	for _, url := range []string{native, http} {
		db, err := sql.OpenClickHouse(config.ClickHouse{URL: config.Secret(url)})
		if err != nil {
			t.Fatal(err)
		}
		r, err := sql.Query(t.Context(), db, query)
		if err != nil {
			t.Fatalf("%s: %v", url, err)
		}
		var b strings.Builder
		if err := r.WriteJSON(&b, 0); err != nil || b.String() != want {
			t.Errorf("%s answers %v\n%s\nwant\n%s", url, err, b.String(), want)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}
