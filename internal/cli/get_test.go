package cli

import (
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/security"
	"github.com/freshet-io/freshet/internal/testenv"
)

// lookupServer answers as a server whose service "m" has the join key store (a string), the request field n (a number)
// and two features. It records what it was sent.
type lookupServer struct {
	*httptest.Server
	token string
	asked []lookupRequest
}

func newLookupServer(t *testing.T) *lookupServer {
	s := &lookupServer{}
	s.Server = httptest.NewServer(http.HandlerFunc(s.answer))
	t.Cleanup(s.Close)
	return s
}

func (s *lookupServer) answer(w http.ResponseWriter, r *http.Request) {
	var req lookupRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil || r.URL.Path != "/get-online-features" {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	s.asked = append(s.asked, req)
	switch {
	case s.token != "" && r.Header.Get("Authorization") != "Bearer "+s.token:
		w.WriteHeader(http.StatusUnauthorized)
		w.Write([]byte(`{"detail":"unknown token"}`))
		return
	case req.FeatureService == "none":
		w.WriteHeader(http.StatusNotFound)
		w.Write([]byte(`"{\"module\":\"feast.errors\",\"class\":\"FeatureServiceNotFoundException\",\"message\":\"Feature service none does not exist\"}"`))
		return
	}
	for row, v := range req.Entities["store"] {
		if v[0] != '"' {
			w.WriteHeader(http.StatusUnprocessableEntity)
			json.NewEncoder(w).Encode(map[string]any{"detail": []any{map[string]any{
				"loc": []any{"body", "entities", "store", row}, "msg": "expected string, got " + string(v), "type": "string_type",
			}}})
			return
		}
	}
	n := len(req.Entities["store"])
	column := func(v, status, at string) map[string]any {
		values, statuses, times := []json.RawMessage{}, []string{}, []string{}
		for range n {
			values, statuses, times = append(values, json.RawMessage(v)), append(statuses, status), append(times, at)
		}
		return map[string]any{"values": values, "statuses": statuses, "event_timestamps": times}
	}
	json.NewEncoder(w).Encode(map[string]any{
		"metadata": map[string]any{"feature_names": []string{"store", "n", "sales__mean_1h", "sales__last_item", "ratio"}},
		"results": []any{
			column(`"x"`, "PRESENT", noEventTime), column("1", "PRESENT", noEventTime), column("12.5", "PRESENT", "2026-05-01T10:00:00.5Z"),
			column("null", "NOT_FOUND", noEventTime), column(`"茶, \"green\""`, "PRESENT", noEventTime),
		},
	})
}

func TestGetPrintsATableForEachEntity(t *testing.T) {
	s := newLookupServer(t)
	r := run(t, "get", "--server", s.URL, "--service", "m", "store=北", "store=south", "n=2.5")
	if r.code != exitOK {
		t.Fatalf("exit %d: %s", r.code, r.stderr)
	}
	golden(t, "get_table.golden", r.stdout)
}

func TestGetPrintsJSON(t *testing.T) {
	s := newLookupServer(t)
	r := run(t, "get", "--server", s.URL, "--service", "m", "--output", "json", "store=a", "n=2.5")
	if r.code != exitOK {
		t.Fatalf("exit %d: %s", r.code, r.stderr)
	}
	golden(t, "get_json.golden", r.stdout)
}

func TestGetSendsTextWhereTheServerWantsText(t *testing.T) {
	s := newLookupServer(t)
	r := run(t, "get", "--server", s.URL, "--features", "sales:mean_1h,sales:last_item", "store=1001", "store=007", "n=3")
	if r.code != exitOK {
		t.Fatalf("exit %d: %s", r.code, r.stderr)
	}
	if len(s.asked) != 2 {
		t.Fatalf("asked %d times, want once with numbers and once with text", len(s.asked))
	}
	got, _ := json.Marshal(s.asked[1].Entities)
	if want := `{"n":[3,3],"store":["1001","007"]}`; string(got) != want {
		t.Errorf("asked for %s, want %s", got, want)
	}
}

func TestGetSaysWhyItWasRefused(t *testing.T) {
	s := newLookupServer(t)
	r := run(t, "get", "--server", s.URL, "--service", "none", "store=a")
	if r.code != exitNotFound || r.stderr != "freshet: the server refused (404): Feature service none does not exist\n" {
		t.Errorf("exit %d, stderr %q", r.code, r.stderr)
	}
	s.token = "secret"
	r = run(t, "get", "--server", s.URL, "--service", "m", "store=a")
	if r.code != exitUnreachable || !strings.Contains(r.stderr, "unknown token") {
		t.Errorf("exit %d, stderr %q", r.code, r.stderr)
	}
}

func TestGetSendsItsToken(t *testing.T) {
	s := newLookupServer(t)
	s.token = "secret"
	if r := runEnv(t, map[string]string{"FRESHET_TOKEN": "secret"}, "get", "--server", s.URL, "--service", "m", "store=a"); r.code != exitOK {
		t.Errorf("with $FRESHET_TOKEN: exit %d: %s", r.code, r.stderr)
	}
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := run(t, "get", "--server", s.URL, "--service", "m", "--token-file", file, "store=a"); r.code != exitOK {
		t.Errorf("with --token-file: exit %d: %s", r.code, r.stderr)
	}
}

func TestGetSaysWhenNothingListens(t *testing.T) {
	s := newLookupServer(t)
	s.Close()
	if r := run(t, "get", "--server", s.URL, "--service", "m", "store=a"); r.code != exitUnreachable {
		t.Errorf("exit %d, want %d; stderr %s", r.code, exitUnreachable, r.stderr)
	}
}

func TestGetSaysWhenAnotherServerListens(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(s.Close)
	r := run(t, "get", "--server", s.URL, "--service", "m", "store=a")
	if r.code != exitUnreachable || !strings.Contains(r.stderr, "does not answer as a feature server does (404 Not Found); is it listen.http") {
		t.Errorf("exit %d, stderr %q", r.code, r.stderr)
	}
}

// TestGetSaysWhenItSpeaksToGRPC: the other listener's port is the likely slip.
func TestGetSaysWhenItSpeaksToGRPC(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	go func() { _ = s.Serve(l) }() // ends with Stop
	t.Cleanup(s.Stop)
	r := run(t, "get", "--server", "http://"+l.Addr().String(), "--service", "m", "store=a")
	if r.code != exitUnreachable || !strings.Contains(r.stderr, "is it listen.grpc?") {
		t.Errorf("exit %d, stderr %q", r.code, r.stderr)
	}
}

func TestGetShowsItsCertificate(t *testing.T) {
	certs := testenv.NewCerts(t)
	s := &lookupServer{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(s.answer))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // of the handshake that fails
	var err error
	if s.TLS, err = security.ListenerTLS(config.TLS{Cert: certs.ServerCert, Key: certs.ServerKey, ClientCA: certs.CA}); err != nil {
		t.Fatal(err)
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	server := strings.Replace(s.URL, "127.0.0.1", "localhost", 1) // by name: else the server shows a certificate of its own
	get := []string{"get", "--server", server, "--ca", certs.CA, "--service", "m", "store=a"}
	if r := run(t, get...); r.code != exitUnreachable || !strings.Contains(r.stderr, "client certificate (--cert, --key)") {
		t.Errorf("without one: exit %d, stderr %q", r.code, r.stderr)
	}
	if r := run(t, append(get, "--cert", certs.ClientCert, "--key", certs.ClientKey)...); r.code != exitOK {
		t.Errorf("exit %d: %s", r.code, r.stderr)
	}
}

// TestPatientLookups asks a server that is busy at first: a command asks once, the demo's client again.
func TestPatientLookups(t *testing.T) {
	s := newLookupServer(t)
	var refused int
	busy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if refused < 2 {
			refused++
			w.WriteHeader(http.StatusServiceUnavailable)
			w.Write([]byte(`{"detail":"the online store is not available"}`))
			return
		}
		s.answer(w, r)
	}))
	t.Cleanup(busy.Close)
	client, err := newLookupClient(busy.URL, "", config.TLS{})
	if err != nil {
		t.Fatal(err)
	}
	ask := lookupRequest{FeatureService: "m", Entities: map[string][]json.RawMessage{"store": {json.RawMessage(`"a"`)}}}
	if _, err := client.get(t.Context(), ask); err == nil || refused != 1 {
		t.Fatalf("without patience: error %v after %d refusals", err, refused)
	}
	client.patience = time.Minute
	if _, err := client.get(t.Context(), ask); err != nil || refused != 2 {
		t.Fatalf("with patience: error %v after %d refusals", err, refused)
	}
}
