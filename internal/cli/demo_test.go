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
// or twice, and with the whole year if the fault in what the model is served is not told.
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
	if demoFlights == 0 {
		for _, want := range []string{"served UA's distances in kilometres, on purpose", `"summary": "served_like_trained: training-serving skew of distance (carrier=UA)"`, "seasons "} {
			if !strings.Contains(r.stdout, want) {
				t.Errorf("stdout lacks %q:\n%s", want, r.stdout)
			}
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
	if demoFlights == 0 && (report.Inferences < 100_000 || report.Alerts < 2 || report.WatchSeconds <= 0) {
		t.Errorf("report of what was watched: %s", b)
	}
}
