package cli

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const devPlane = `project: rides
listen: {http: "127.0.0.1:0", grpc: "127.0.0.1:0", admin: "127.0.0.1:0"}
offline: {flush_interval: 200ms}
entities:
  - name: driver
    join_keys: [{name: driver, type: string}]
sources:
  - name: rides
    topic: rides
    key: [driver]
    event_time: {field: at}
    schema:
      - {name: driver, type: string, required: true}
      - {name: fare, type: float64}
      - {name: at, type: timestamp, required: true}
feature_views:
  - name: driver_rides
    entity: driver
    source: rides
    features:
      - {name: rides, aggregate: count}
      - {name: fares, aggregate: sum, of: fare}
feature_services:
  - name: pricing
    features: [driver_rides]
`

// dev runs `freshet dev` until stop, and returns where it listens.
func dev(t *testing.T, plane, data string) (at struct{ HTTP string }, stop func()) {
	t.Helper()
	r := start(t, "dev", plane, "--data", data, "--kafka", "127.0.0.1:0", "--output", "json")
	r.await(func(stdout string) bool { return json.Unmarshal([]byte(stdout), &at) == nil })
	return at, r.stop
}

// TestDevGoesOnWhereItStopped: what was sent and what was made of it outlive the process, and its events are in files unasked.
func TestDevGoesOnWhereItStopped(t *testing.T) {
	dir := t.TempDir()
	plane, data := filepath.Join(dir, "plane.yaml"), filepath.Join(dir, "data")
	spine, set := filepath.Join(dir, "spine.csv"), filepath.Join(dir, "set.csv")
	for name, text := range map[string]string{plane: devPlane, spine: "driver,timestamp\nana,2026-01-05T11:00:00Z\nana,2026-01-05T09:00:00Z\n"} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	at, stop := dev(t, plane, data)
	send := func(events string) {
		t.Helper()
		res, err := http.Post("http://"+at.HTTP+"/v1/events/rides", "application/x-ndjson", strings.NewReader(events))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Fatalf("status %s", res.Status)
		}
	}
	await := func(want string) {
		t.Helper()
		var r result
		for deadline := time.Now().Add(30 * time.Second); !strings.Contains(r.stdout, want); time.Sleep(20 * time.Millisecond) {
			if r = run(t, "get", "driver=ana", "--service", "pricing", "--server", "http://"+at.HTTP); time.Now().After(deadline) {
				t.Fatalf("got %s%s, want %s", r.stdout, r.stderr, want)
			}
		}
	}
	send(`{"driver":"ana","fare":10,"at":"2026-01-05T10:00:00Z"}` + "\n" + `{"driver":"ana","fare":2.5,"at":"2026-01-05T10:30:00Z"}`)
	await("12.5")
	stop()
	at, stop = dev(t, plane, data)
	await("12.5") // Redis was empty again
	send(`{"driver":"ana","fare":30,"at":"2026-01-05T12:00:00Z"}`)
	await("42.5")
	files := func() []string {
		names, err := filepath.Glob(filepath.Join(data, "parquet", "events_rides", "dt=2026-01-05", "*.parquet"))
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	for deadline := time.Now().Add(30 * time.Second); len(files()) < 2; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the events are in %q", files())
		}
	}
	stop()
	r := run(t, "train", plane, "--service", "pricing", "--store", filepath.Join(data, "parquet"), "--spine", spine, "--out", set)
	got, err := os.ReadFile(set)
	if want := "driver,timestamp,rides,fares\nana,2026-01-05T11:00:00Z,2,12.5\nana,2026-01-05T09:00:00Z,,\n"; r.code != exitOK || err != nil || string(got) != want {
		t.Errorf("exit %d, %v: %s\ngot %swant %s", r.code, err, r.stderr, got, want)
	}
}
