package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/freshet-io/freshet/internal/testenv"
)

// transcript is what a command prints while it runs.
type transcript struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *transcript) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *transcript) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// running is a command that goes on until it is stopped.
type running struct {
	t              *testing.T
	stdout, stderr transcript
	ended          chan int
	stop           func() // once; it has to end well
}

// start runs a command in this process, at the latest until the test ends.
func start(t *testing.T, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{t: t, ended: make(chan int, 1)}
	go func() {
		r.ended <- Run(ctx, args, Env{
			Program: "freshet", Stdin: strings.NewReader(""), Stdout: &r.stdout, Stderr: &r.stderr, Getenv: func(string) string { return "" },
		})
	}()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if code := <-r.ended; code != exitOK {
			t.Errorf("exit %d: %s", code, r.stderr.String())
		}
	})
	t.Cleanup(r.stop)
	return r
}

// await waits until what the command has printed is enough.
func (r *running) await(enough func(stdout string) bool) {
	r.t.Helper()
	for !enough(r.stdout.String()) {
		select {
		case code := <-r.ended:
			r.ended <- code // for stop
			r.t.Fatalf("exit %d: %s", code, r.stderr.String())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// TestDemoCountsEveryFlightOnce runs the demo, and the commands that it prints: it fails if any entity of any view counts a flight not at all
// or twice, with the whole year if a fault that is made on purpose is not told, and if a command does not work as it is printed.
func TestDemoCountsEveryFlightOnce(t *testing.T) {
	dir, taken := t.TempDir(), take(t) // the commands name the ports that are used instead
	file := filepath.Join(dir, "report.json")
	args := []string{"demo", "--report", file, "--flights", strconv.Itoa(demoFlights), "--http", taken, "--kafka", taken}
	page := filepath.Join(dir, "seen.html")
	if demoFlights == 0 {
		args = append(args, "--html", page)
	}
	r := start(t, args...)
	last := "LIMIT 5"
	if demoFlights == 0 {
		last = "freshet alerts list "
	}
	r.await(func(stdout string) bool { return strings.Contains(stdout, last) })
	checkDemo(t, r.stdout.String(), file)
	if strings.Contains(r.stderr.String(), "baseline create") {
		t.Errorf("it advises what it does itself: %s", r.stderr.String())
	}
	tryDemo(t, dir, r.stdout.String())
	r.stop()
	if demoFlights == 0 {
		if text, err := os.ReadFile(page); err != nil || !bytes.Contains(text, []byte("distance (carrier=UA)")) || !strings.Contains(r.stdout.String(), "file://"+page) {
			t.Errorf("the page that stays has %d bytes, %v", len(text), err)
		}
	}
}

// The demo's own advice is left out of what loggers say that have been given more to say.
func TestTheDemoLeavesOutWhatItDoesItself(t *testing.T) {
	var b strings.Builder
	log := slog.New(demoHandler{slog.NewTextHandler(&b, nil)})
	for _, l := range []*slog.Logger{log, log.With("model", "delays"), log.WithGroup("monitors")} {
		l.Warn("no baseline", "hint", "freshet baseline create "+demoBaseline)
		l.Warn("no baseline", "hint", "freshet baseline create another")
	}
	if text := b.String(); strings.Contains(text, "create "+demoBaseline) || strings.Count(text, "create another") != 3 {
		t.Errorf("%s", text)
	}
}

// take listens on a port and returns its address.
func take(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

func TestDemoEndsWhenItIsToldTo(t *testing.T) {
	r := run(t, "demo", "--exit", "--flights", strconv.Itoa(fewestFlights), "--http", "127.0.0.1:0", "--kafka", "127.0.0.1:0")
	if r.code != exitOK || !strings.Contains(r.stdout, "Counted 10,000 events in ") || strings.Contains(r.stdout, "another terminal") {
		t.Errorf("exit %d: %s%s", r.code, r.stdout, r.stderr)
	}
}

// checkDemo holds what the demo says.
func checkDemo(t *testing.T, stdout, file string) {
	t.Helper()
	events := cmp.Or(demoFlights, 336776)
	wanted := []string{"Counted " + thousands(int64(events)) + " events in ", "CARRIER  ", "B6 ", "JFK     LAX ", "A training set of 20,000 flights with ", "# the worst hours of the year, by SQL over the same files"}
	if demoFlights == 0 {
		wanted = append(wanted, "it was served UA's distances in kilometres", `"summary": "served_like_trained: training-serving skew of distance (carrier=UA)"`,
			"and \"served_like_trained: stale data of boards (origin=LGA), source boards\", which muted what follows from it:\nboard_delay_3h (origin=LGA) (origin=LGA of source boards is stale)",
			"BEGAN       OVER          MONITOR", "seasons              values ", "predictions          performance ", "still firing  served_like_trained  availability  boards (origin=LGA)")
	}
	for _, want := range wanted {
		if !strings.Contains(stdout, want) {
			t.Errorf("stdout lacks %q:\n%s", want, stdout)
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
	if report.Events != events || demoFlights == 0 && report.Entities != 4279 || report.Lookups != timedLookups || report.Seconds <= 0 || report.LookupP50Millis <= 0 || report.DeadLettered != 0 {
		t.Errorf("report %s", b)
	}
	if demoFlights == 0 && (report.Inferences < 80_000 || report.Labels < 75_000 || report.Alerts < 4 || report.Muted != 1 || report.WatchSeconds <= 0) {
		t.Errorf("report of what was watched: %s", b)
	}
}

// tryDemo runs the commands that the demo prints: those of freshet in this process, the others in a shell.
func tryDemo(t *testing.T, dir, stdout string) {
	t.Helper()
	t.Chdir(dir)
	want := map[string]string{ // what each must print
		"curl": `"feature_names":["carrier"`, "freshet get": "carrier_delays__departures_ever", "kcat": `"departed_at":"`, "freshet train": "", "freshet alerts": "firing",
	}
	_, commands, _ := strings.Cut(stdout, "Try, in another terminal:")
	for line := range strings.Lines(commands) {
		line = strings.TrimSpace(line)
		name, _, _ := strings.Cut(line, " ")
		switch name {
		case "freshet":
			args := strings.Fields(line)[1:]
			if args[0] == "sql" { // a program with the engine runs it: see make build
				continue
			}
			name += " " + args[0]
			r := run(t, args...)
			if r.code != exitOK || !strings.Contains(r.stdout, want[name]) {
				t.Errorf("%s: exit %d: %s%s", line, r.code, r.stdout, r.stderr)
			}
		case "curl", "kcat":
			if _, err := exec.LookPath(name); err != nil && os.Getenv(testenv.RequireEnv) != "1" {
				delete(want, name)
				continue
			}
			out, err := exec.Command("sh", "-c", line).CombinedOutput()
			if err != nil || !strings.Contains(string(out), want[name]) {
				t.Errorf("%s: %v: %s", line, err, out)
			}
			if n := bytes.Count(out, []byte("\n")); name == "kcat" && n != 3 {
				t.Errorf("%s prints %d lines: %s", line, n, out)
			}
		default:
			continue
		}
		delete(want, name)
	}
	if demoFlights != 0 {
		delete(want, "freshet alerts")
	}
	for name := range want {
		t.Errorf("the demo does not print a command %q", name)
	}
}
