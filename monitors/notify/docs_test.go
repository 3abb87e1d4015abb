package notify

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/freshet-io/freshet/internal/testenv"
	"github.com/freshet-io/freshet/monitors/alert"
)

// TestVerifierOfTheDocumentation runs the lines of docs/alerts.md.
func TestVerifierOfTheDocumentation(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil && os.Getenv(testenv.RequireEnv) != "1" {
		t.Skip("no python3")
	} else if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "alerts.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, code, _ := strings.Cut(string(page), "\n```python\n")
	code, _, ok := strings.Cut(code, "\n```\n")
	if !ok {
		t.Fatal("docs/alerts.md has no verifier")
	}
	code += "\nimport json, sys\nc = json.load(sys.stdin)\nverify(c['secret'], c['headers'], c['body'].encode())\n"
	c, err := NewWebhook(WebhookOptions{Name: "hook", URL: "https://receiver.example/", Secrets: []Secret{testSecret, otherSecret}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, secret, want string
		ago                time.Duration
		tamper             bool
	}{
		{"as sent", string(testSecret), "", 0, false},
		{"with the other secret", string(otherSecret), "", 0, false},
		{"tampered", string(testSecret), "not signed", 0, true},
		{"stale", string(testSecret), "five minutes", 6 * time.Minute, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, body := sent(t, c, message("ep_1", alert.FiringType), time.Now().Add(-tc.ago))
			if tc.tamper {
				body = bytes.Replace(body, []byte("distance"), []byte("distanct"), 1)
			}
			headers := map[string]string{}
			for name := range r.Header {
				headers[strings.ToLower(name)] = r.Header.Get(name)
			}
			in, err := json.Marshal(map[string]any{"secret": tc.secret, "headers": headers, "body": string(body)})
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), python, "-c", code)
			cmd.Stdin = bytes.NewReader(in)
			out, err := cmd.CombinedOutput()
			if (err == nil) != (tc.want == "") || !strings.Contains(string(out), tc.want) {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}
