package config

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestFingerprintsNeverDrift: stored state, topics and Redis fields carry fingerprints. A change of this golden file
// makes every plane in the world refuse to start: do not update it, keep the text as it is.
func TestFingerprintsNeverDrift(t *testing.T) {
	p, err := parseTestFile(t, "testdata/good/flights.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, v := range p.Views {
		fmt.Fprintf(&b, "%s\n%s\n", v.Fingerprint, v.Describe())
	}
	golden(t, "testdata/fingerprints.txt", b.String())
}

// TestFingerprintCoversWhatChangesNumbers edits one thing of the plane at a time.
func TestFingerprintCoversWhatChangesNumbers(t *testing.T) {
	data, err := os.ReadFile("testdata/good/flights.yaml")
	if err != nil {
		t.Fatal(err)
	}
	base := parseText(t, string(data)).Views[0]
	tests := []struct {
		name, from, to string
		want           []string // the difference; nil: none
	}{
		{"description", "description: How late a carrier is.", "description: Lateness.", nil},
		{"ttl", "ttl: 2w", "ttl: 8d", nil},
		{"history", "history: events", "history: none", nil},
		{"bound", "max_entity_bytes: 128KiB", "max_entity_bytes: 256KiB", nil},
		{"layout of an expression", `"dep_delay > 15.0 ? 1.0 : 0.0"`, `"dep_delay > 15.0  ?\n 1.0 : 0.0"`, nil},
		{"order of features", "      - {name: last_dest,       of: dest}\n", "", []string{"- feature last_dest value string latest of dest"}},
		{"a field that is not read", "- {name: flight_id, ", "- {name: gate, type: int64}\n      - {name: flight_id, ", nil},
		{"required", "name: origin,      type: string, required: true", "name: origin,      type: string", nil},
		{"where", "where: dep_delay != null", "where: dep_delay > 0.0", []string{"- where dep_delay != null", "+ where dep_delay > 0.0"}},
		{
			"window", "aggregate: mean, of: dep_delay, window: 1h}", "aggregate: mean, of: dep_delay, window: 2h}",
			[]string{"- feature mean_delay_1h mean float64 1h of dep_delay", "+ feature mean_delay_1h mean float64 2h of dep_delay"},
		},
		{
			"feature where", "where: distance > 2000,", "where: distance > 1000,",
			[]string{"- feature long_hauls_7d count int64 1w where distance > 2000", "+ feature long_hauls_7d count int64 1w where distance > 1000"},
		},
		{
			"parameter", "q: 0.9", "q: 0.95",
			[]string{"- feature p90_delay_24h approx_quantile(0.9) float64 1d of dep_delay", "+ feature p90_delay_24h approx_quantile(0.95) float64 1d of dep_delay"},
		},
		{"topic", "topic: flights.departures", "topic: flights.departures2", []string{"- topic flights.departures", "+ topic flights.departures2"}},
		{"partitioning", "partitioning: murmur2", "partitioning: unknown", []string{"- input direct", "+ input repartitioned"}},
		{"skew", "allowed_skew: 10m", "allowed_skew: 5m", []string{"- allowed_skew 10m", "+ allowed_skew 5m"}},
		{"zone", "zone: America/New_York", "zone: UTC", []string{"- event_time departed_at rfc3339 America/New_York", "+ event_time departed_at rfc3339 UTC"}},
		{"tombstones", "tombstones: reject", "tombstones: delete", []string{"+ tombstones delete"}},
	}
	for _, tt := range tests {
		if !strings.Contains(string(data), tt.from) {
			t.Fatalf("%s: the plane has no %q", tt.name, tt.from)
		}
		v := parseText(t, strings.Replace(string(data), tt.from, tt.to, 1)).Views[0]
		if got := Diff(base.Describe(), v.Describe()); !slices.Equal(got, tt.want) {
			t.Errorf("%s:\n got %q\nwant %q", tt.name, got, tt.want)
		}
		if same := v.Fingerprint == base.Fingerprint; same != (tt.want == nil) {
			t.Errorf("%s: same fingerprint: %v", tt.name, same)
		}
	}
}

func parseText(t testing.TB, text string) *Plane {
	t.Helper()
	p, err := Parse([]File{{Name: "testdata/good/plane.yaml", Data: []byte(text)}}, environment)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestDiffOfJoinKeyOrder(t *testing.T) {
	if got := Diff("key a\nkey b\n", "key b\nkey a\n"); !slices.Equal(got, []string{"the order of the join keys differs"}) {
		t.Errorf("got %q", got)
	}
	if got := Diff("key a\n", "key a\n"); len(got) != 0 {
		t.Errorf("got %q", got)
	}
}

// TestCanonicalKeepsExpressionsApart: only layout is folded, never what stands in quotes.
func TestCanonicalKeepsExpressionsApart(t *testing.T) {
	tests := []struct{ src, want string }{
		{"a  >\n\t b", "a > b"},
		{" a > b ", "a > b"},
		{"a // why\n > b // the end", "a > b"},
		{`s == "a  b"`, `s == "a  b"`},
		{`s == "a \"  b"  && c`, `s == "a \"  b" && c`},
		{`s == 'it  is // x'`, `s == 'it  is // x'`},
		{`s == r"\"  + t`, `s == r"\" + t`},
		{"s == '''a  'b'  '''  ", "s == '''a  'b'  '''"},
		{`s == "open  `, `s == "open  `},
	}
	for _, tt := range tests {
		if got := canonical(tt.src); got != tt.want {
			t.Errorf("canonical(%q) = %q, want %q", tt.src, got, tt.want)
		}
	}
}
