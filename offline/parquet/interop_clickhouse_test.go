package parquet_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// askClickHouseFiles sends each file of a folder to the server as the input of a query: it reads Parquet wherever it comes
// from in the same way, and its own folders are not this test's.
func askClickHouseFiles(t *testing.T, web, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "events_orders", "dt=*", "*.parquet"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	var lines []string
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		query := "SELECT _offset, user, amount, items, paid, hex(raw), toString(seen), tags, scores, toString(_event_time), _deleted, _topic, _partition " +
			"FROM format(Parquet, unhex('" + fmt.Sprintf("%x", content) + "')) ORDER BY _offset FORMAT TSV"
		base := web[:strings.LastIndexByte(web, '/')]
		resp, err := http.Post(base+"/?max_query_size=100000000", "text/plain", bytes.NewReader([]byte(query)))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %v", body, err)
		}
		lines = append(lines, strings.Split(strings.TrimSpace(string(body)), "\n")...)
	}
	want := []string{
		"10\tzoë\t1.5\t1152921504606846976\ttrue\t00FF\t2026-03-01 23:59:59.999999\t['a','b']\t[0.25]\t2026-03-01 23:59:59.999999\tfalse\torders\t4",
		"11\tmax\t\\N\t-2\t\\N\t\\N\t\\N\t[]\t[]\t2026-03-02 00:00:00.000000\ttrue\torders\t4",
		"12\tmax\t-0.5\t3\tfalse\t\t1970-01-01 00:00:00.000000\t[]\t[]\t2026-03-02 00:00:00.000001\tfalse\torders\t4",
	}
	for i := range want {
		if i >= len(lines) || lines[i] != want[i] {
			t.Fatalf("clickhouse reads\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
		}
	}
}
