package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	pq "github.com/parquet-go/parquet-go"
)

// driftFiles are a training set in Parquet and two files of what was served: one alike, one with distances in kilometres
// for a carrier, a column that is gone and one that is new.
func driftFiles(t *testing.T) (train, same, served string) {
	t.Helper()
	dir := t.TempDir()
	train, same, served = filepath.Join(dir, "train.parquet"), filepath.Join(dir, "same.csv"), filepath.Join(dir, "served.csv")
	type row struct {
		Distance float64 `parquet:"distance"`
		Carrier  string  `parquet:"carrier"`
		Hour     int64   `parquet:"hour"`
	}
	var rows []row
	alike, other := "distance,carrier,hour\n", "carrier,distance,extra\n"
	for i := range 2000 {
		r := row{float64(200 + i*7919%2000), []string{"UA", "AA", "DL"}[i%3], int64(i % 24)}
		rows = append(rows, r)
		alike += fmt.Sprintf("%v,%s,%d\n", r.Distance+1, r.Carrier, r.Hour)
		if r.Carrier == "UA" {
			r.Distance *= 1.609
		}
		other += fmt.Sprintf("%s,%v,\n", r.Carrier, r.Distance)
	}
	if err := pq.WriteFile(train, rows); err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string]string{same: alike, served: other} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return train, same, served
}

// Of two files that share no column the rows of both are told all the same, in either format.
func TestDriftOfFilesWithoutACommonColumn(t *testing.T) {
	train, _, _ := driftFiles(t)
	other := filepath.Join(t.TempDir(), "other.csv")
	if err := os.WriteFile(other, []byte("a,b\n1,x\n,y\n3,\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	expect(t, ok(t, "drift", train, other).stdout, "a         extra         -          -  -      0      3", "b         extra         -          -  -      0      3")
	expect(t, ok(t, "drift", other, train).stdout, "carrier   extra         -          -  -      0  2,000")
}

func TestDrift(t *testing.T) {
	train, same, served := driftFiles(t)
	r := run(t, "drift", train, served, "--method", "jensen_shannon,ks,psi.evidently")
	if r.code != exitOK {
		t.Fatalf("%+v", r)
	}
	for _, want := range []string{
		"COLUMN    VERDICT", "JENSEN_SHANNON", "KS", "PSI.EVIDENTLY", "distance  drifted", "carrier   stable", "hour      missing", "extra     extra         -          -        -      0  2,000",
		"hour: the current file does not have it", "2 of 4 columns have changed",
	} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("no %q in\n%s", want, r.stdout)
		}
	}
	if r := run(t, "drift", train, served, "--fail-on-drift"); r.code != exitDrift || r.stderr != "" {
		t.Errorf("with drift: %d %q", r.code, r.stderr)
	}
	if r := run(t, "drift", train, same, "--fail-on-drift"); r.code != exitOK {
		t.Errorf("without drift: %+v", r)
	}
	if r := run(t, "drift", train, served, "--threshold", "0.9", "--columns", "distance,carrier", "--fail-on-drift"); r.code != exitOK {
		t.Errorf("below the threshold: %+v", r)
	}
}

// TestDriftForPrograms holds the shape {column: {method: {score, p_value, n_ref, n_cur, drifted}}}.
func TestDriftForPrograms(t *testing.T) {
	train, _, served := driftFiles(t)
	r := run(t, "drift", train, served, "--output", "json", "--method", "psi,js.nannyml")
	if r.code != exitOK {
		t.Fatalf("%+v", r)
	}
	var got map[string]map[string]struct {
		Score   *float64 `json:"score"`
		PValue  *float64 `json:"p_value"`
		NRef    *int     `json:"n_ref"`
		NCur    *int     `json:"n_cur"`
		Drifted *bool    `json:"drifted"`
	}
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil {
		t.Fatal(err)
	}
	for column, methods := range map[string][]string{"distance": {"psi", "js.nannyml"}, "carrier": {"psi", "js.nannyml"}} {
		for _, m := range methods {
			s := got[column][m]
			if s.Score == nil || s.PValue == nil || s.NRef == nil || *s.NRef != 2000 || s.NCur == nil || *s.NCur != 2000 || s.Drifted == nil {
				t.Errorf("%s of %s: %+v", m, column, s)
			}
		}
	}
	if !*got["distance"]["psi"].Drifted || *got["carrier"]["psi"].Drifted {
		t.Errorf("%s", r.stdout)
	}
	if gone := got["hour"]["outcome"]; gone.Score != nil || gone.Drifted == nil || !*gone.Drifted {
		t.Errorf("a column that is gone: %+v", gone)
	}
}

func TestDriftAsAPage(t *testing.T) {
	train, _, served := driftFiles(t)
	r := run(t, "drift", train, served, "--output", "html")
	if r.code != exitOK || !strings.HasPrefix(r.stdout, "<!doctype html>") || strings.Count(r.stdout, "<svg") < 4 {
		t.Errorf("%d %q %.200s", r.code, r.stderr, r.stdout)
	}
	if r := run(t, "version", "--output", "html"); r.code != exitUsage || !strings.Contains(r.stderr, "--output html is not for") {
		t.Errorf("a command without a page: %+v", r)
	}
}

func TestDriftRefuses(t *testing.T) {
	train, same, _ := driftFiles(t)
	empty := filepath.Join(t.TempDir(), "empty.csv")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"one file", []string{train}, exitUsage, "name two files"},
		{"an unknown method", []string{train, same, "--method", "js"}, exitUsage, `unknown distance "js"`},
		{"an unknown tool", []string{train, same, "--method", "psi.acme"}, exitUsage, `unknown compatibility mode "psi.acme"`},
		{"an unknown column", []string{train, same, "--columns", "weight"}, exitNotFound, `no column "weight"`},
		{"fractions as codes", []string{train, same, "--categorical", "distance"}, exitFailure, "only integers"},
		{"a level of one", []string{train, same, "--alpha", "1"}, exitUsage, "--alpha must be between 0 and 1"},
		{"a negative threshold", []string{train, same, "--threshold", "-1"}, exitUsage, "threshold of jensen_shannon is -1"},
		{"no such file", []string{train, filepath.Join(t.TempDir(), "none.csv")}, exitNotFound, "none.csv"},
		{"another kind of file", []string{train, "x.json"}, exitUsage, "not a .parquet or .csv file"},
		{"an empty file", []string{train, empty}, exitFailure, "the file is empty"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := run(t, append([]string{"drift"}, tc.args...)...)
			if r.code != tc.code || !strings.Contains(r.stderr, tc.want) {
				t.Errorf("%d %q, want %d with %q", r.code, r.stderr, tc.code, tc.want)
			}
		})
	}
}
