package cli

import (
	"cmp"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestDemoCountsEveryFlightOnce runs the demo to its end: it fails if any entity of any view counts a flight not at all
// or twice.
func TestDemoCountsEveryFlightOnce(t *testing.T) {
	events := cmp.Or(demoFlights, 336776)
	file := filepath.Join(t.TempDir(), "report.json")
	r := run(t, "demo", "--exit", "--report", file, "--flights", strconv.Itoa(demoFlights))
	if r.code != exitOK {
		t.Fatalf("exit %d: %s", r.code, r.stderr)
	}
	for _, want := range []string{"Counted " + thousands(int64(events)) + " events in ", "CARRIER  ", "B6 ", "JFK     LAX "} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("stdout lacks %q:\n%s", want, r.stdout)
		}
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var report demoReport
	if err := json.Unmarshal(b, &report); err != nil {
		t.Fatal(err)
	}
	if report.Events != events || demoFlights == 0 && report.Entities != 4279 || report.Lookups != timedLookups || report.Seconds <= 0 || report.LookupP50Millis <= 0 {
		t.Errorf("report %s", b)
	}
}
