package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet-io/freshet/internal/telemetry"
)

func TestParseLevel(t *testing.T) {
	for in, want := range map[string]slog.Level{"": slog.LevelInfo, "debug": slog.LevelDebug, "INFO": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError} {
		if got, err := telemetry.ParseLevel(in); err != nil || got != want {
			t.Errorf("%q: %v, %v; want %v", in, got, err, want)
		}
	}
	if _, err := telemetry.ParseLevel("loud"); err == nil || !strings.Contains(err.Error(), "known are debug, info, warn, error") {
		t.Errorf("got %v", err)
	}
}

func TestLogIsJSONOffTheTerminal(t *testing.T) {
	var out bytes.Buffer
	l := telemetry.NewLogger(&out, slog.LevelInfo, telemetry.Automatic)
	l.Debug("not shown")
	l.Info("started", "part", "router", "took", 1500*time.Millisecond)
	var line struct{ Level, Msg, Part, Time, Took string }
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("%v in %s", err, out.String())
	}
	if line.Msg != "started" || line.Part != "router" || line.Level != "INFO" || line.Time == "" || line.Took != "1.5s" {
		t.Errorf("logged %+v", line)
	}
}

func TestLogFormats(t *testing.T) {
	for name, want := range map[string]string{"": "{", "json": "{", "text": "time="} {
		f, err := telemetry.ParseFormat(name)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		telemetry.NewLogger(&out, slog.LevelInfo, f).Info("started")
		if !strings.HasPrefix(out.String(), want) {
			t.Errorf("%q: %s", name, out.String())
		}
	}
	if _, err := telemetry.ParseFormat("csv"); err == nil || !strings.Contains(err.Error(), "known are text, json") {
		t.Errorf("got %v", err)
	}
}

func get(t *testing.T, h http.Handler, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Code, w.Body.String()
}

func TestAdmin(t *testing.T) {
	var health telemetry.Health
	h := telemetry.Admin{Addr: "127.0.0.1:6580", Registry: telemetry.NewRegistry("v1.2.3", "abc"), Health: &health}.Handler()
	if code, body := get(t, h, "/metrics"); code != 200 ||
		!strings.Contains(body, `freshet_build_info{go_version="go`) || !strings.Contains(body, `revision="abc",version="v1.2.3"} 1`) ||
		!strings.Contains(body, "go_goroutines ") || !strings.Contains(body, "process_start_time_seconds ") {
		t.Errorf("metrics: %d\n%s", code, body)
	}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/": 200, "/debug/pprof/": 200, "/debug/pprof/cmdline": 200, "/nothing": 404} {
		if code, body := get(t, h, path); code != want {
			t.Errorf("%s: %d, want %d\n%s", path, code, want, body)
		}
	}
	if code, body := get(t, h, "/debug/pprof/goroutine?debug=1"); code != 200 || !strings.Contains(body, "goroutine profile") {
		t.Errorf("goroutine profile: %d %s", code, body)
	}
}

func TestProfilesStayOnTheMachine(t *testing.T) {
	for addr, want := range map[string]int{"127.0.0.1:6580": 200, "0.0.0.0:6580": 403, ":6580": 403} {
		h := telemetry.Admin{Addr: addr, Registry: telemetry.NewRegistry("", ""), Health: &telemetry.Health{}}.Handler()
		for _, path := range []string{"/debug/pprof/", "/debug/pprof/cmdline"} {
			if code, _ := get(t, h, path); code != want {
				t.Errorf("%s on %s: %d, want %d", path, addr, code, want)
			}
		}
	}
}

func TestReadyzGivesReasons(t *testing.T) {
	var health telemetry.Health
	health.Set("redis", func(context.Context) error { return nil })
	health.Set("kafka", func(context.Context) error { return errors.New("partition 3 is restoring: 40 of 90") })
	code, body := get(t, &health, "/readyz")
	var got telemetry.Report
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	if code != 503 || got.Ready || len(got.Checks) != 2 ||
		got.Checks[0] != (telemetry.CheckResult{Name: "kafka", Reason: "partition 3 is restoring: 40 of 90"}) ||
		got.Checks[1] != (telemetry.CheckResult{Name: "redis", Ready: true}) {
		t.Errorf("%d %s", code, body)
	}
	health.Set("kafka", func(context.Context) error { return nil })
	if code, body := get(t, &health, "/readyz"); code != 200 || strings.Count(body, `"ready": true`) != 3 {
		t.Errorf("after it mended: %d %s", code, body)
	}
}

func TestReadyzDoesNotWaitForAHangingCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var health telemetry.Health
		health.Set("redis", func(context.Context) error { <-release; return nil })
		began := time.Now()
		r := health.Report(t.Context())
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("took %s", took)
		}
		if r.Ready || !strings.Contains(r.Checks[0].Reason, "no answer within") {
			t.Errorf("%+v", r)
		}
		close(release)
	})
}

func TestTracesAreOffUnlessACollectorIsNamed(t *testing.T) {
	for _, name := range []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"} {
		t.Setenv(name, "")
	}
	p, shutdown, err := telemetry.NewTracer(t.Context(), "v1", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if _, span := p.Tracer("test").Start(t.Context(), "lookup"); span.IsRecording() {
		t.Error("a span is recorded")
	}
	if err := shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestTracesReachTheCollector(t *testing.T) {
	got := make(chan []byte, 1)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/traces" {
			body, _ := io.ReadAll(r.Body)
			got <- body
		}
	}))
	defer collector.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
	p, shutdown, err := telemetry.NewTracer(t.Context(), "v1", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	_, span := p.Tracer("test").Start(t.Context(), "lookup of a vector")
	span.End()
	if err := shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	body := <-got
	for _, want := range []string{"lookup of a vector", "freshet", "deployment.environment"} {
		if !bytes.Contains(body, []byte(want)) {
			t.Errorf("the export does not hold %q", want)
		}
	}
}

func TestTracesRefuseAnotherProtocol(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317")
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
	_, _, err := telemetry.NewTracer(t.Context(), "v1", slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "http/protobuf") {
		t.Errorf("got %v", err)
	}
}
