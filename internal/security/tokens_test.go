package security_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet-io/freshet/internal/security"
)

const (
	adminToken = "admin-0123456789abcdef"
	shopToken  = "shop-0123456789abcdef"
	modelToken = "model-0123456789abcdef"
	starToken  = "star-0123456789abcdef"
)

const tokensText = `
# who may do what
admin ` + adminToken + `
shop  ` + shopToken + ` sources=clicks,orders
model ` + modelToken + ` services=ranking_v1
star  ` + starToken + ` sources=* services=*
`

func tokensFile(t testing.TB, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func loadTokens(t testing.TB, text string) *security.Tokens {
	t.Helper()
	tokens, err := security.LoadTokens(tokensFile(t, text), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

func TestTokensSayWhatMayBeUsed(t *testing.T) {
	tokens := loadTokens(t, tokensText)
	for _, tc := range []struct {
		token, name              string
		clicks, payments         bool
		ranking, fraud, features bool
	}{
		{adminToken, "admin", true, true, true, true, true},
		{shopToken, "shop", true, false, false, false, false},
		{modelToken, "model", false, false, true, false, false},
		{starToken, "star", true, true, true, true, true},
	} {
		p, err := tokens.Authenticate("Bearer " + tc.token)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		got := [...]any{p.Name, p.Allow("clicks"), p.Allow("payments"), p.AllowService("ranking_v1"), p.AllowService("fraud"), p.AllowFeatures()}
		want := [...]any{tc.name, tc.clicks, tc.payments, tc.ranking, tc.fraud, tc.features}
		if got != want {
			t.Errorf("%s: name, clicks, payments, ranking, fraud, features\n got %v\nwant %v", tc.name, got, want)
		}
	}
}

func TestAuthenticateRefuses(t *testing.T) {
	tokens := loadTokens(t, tokensText)
	for header, want := range map[string]string{
		"":                               "a bearer token is needed",
		"Basic " + adminToken:            "not of the form",
		adminToken:                       "not of the form",
		"Bearer":                         "not known",
		"Bearer " + adminToken[1:]:       "not known",
		"Bearer " + adminToken + "0":     "not known",
		"Bearer admin " + adminToken:     "not known",
		"Bearer #":                       "not known",
		"Bearer " + "sources=clicks,xxx": "not known",
	} {
		p, err := tokens.Authenticate(header)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, %v; want an error with %q", header, p, err, want)
		}
		if err != nil && len(header) > 10 && strings.Contains(err.Error(), header[7:]) {
			t.Errorf("the error shows the token: %v", err)
		}
	}
	if _, err := tokens.Authenticate("bearer  " + adminToken + " "); err != nil {
		t.Errorf("scheme in lower case and blanks around the token: %v", err)
	}
}

func TestTokensFileMistakes(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"empty":         {"# nobody\n", "holds no token"},
		"no token":      {"admin " + adminToken + "\nshop\n", "line 2: want a name and a token"},
		"short":         {"shop secret", `line 1: the token of "shop" is shorter than 16`},
		"unknown limit": {"shop " + shopToken + " topics=a", `"topics" of "shop" is neither`},
		"empty entry":   {"shop " + shopToken + " sources=a,,b", "empty entry"},
		"twins":         {"shop " + shopToken + "\nmodel " + shopToken, `line 2: "model" has the token of "shop"`},
	} {
		_, err := security.LoadTokens(tokensFile(t, tc.text), slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, tc.want)
		}
		if err != nil && (strings.Contains(err.Error(), shopToken) || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%s: the error shows a token: %v", name, err)
		}
	}
	if _, err := security.LoadTokens("missing", slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a file that is not there was loaded")
	}
}

func TestTokensAreReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := tokensFile(t, "shop "+shopToken)
		var logged bytes.Buffer
		tokens, err := security.LoadTokens(file, slog.New(slog.NewTextHandler(&logged, nil)))
		if err != nil {
			t.Fatal(err)
		}
		check := func(when, token string, known bool) {
			t.Helper()
			if _, err := tokens.Authenticate("Bearer " + token); (err == nil) != known {
				t.Errorf("%s: %s known: %v, want %v", when, token, err == nil, known)
			}
		}
		write := func(text string) {
			t.Helper()
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			time.Sleep(3 * time.Second)
		}
		check("at first", shopToken, true)
		check("at first", modelToken, false)
		write("shop " + shopToken + "\nmodel " + modelToken)
		check("after a line was added", shopToken, true)
		check("after a line was added", modelToken, true)
		write("model")
		check("while the file is wrong", modelToken, true)
		if !strings.Contains(logged.String(), "the former tokens stay in force") || strings.Contains(logged.String(), modelToken) {
			t.Errorf("log:\n%s", logged.String())
		}
		write("model " + modelToken)
		check("after a line was taken away", shopToken, false)
		check("after a line was taken away", modelToken, true)
	})
}

func TestAllowSource(t *testing.T) {
	tokens := loadTokens(t, tokensText)
	for _, tc := range []struct {
		tokens        *security.Tokens
		header        string
		source        string
		status        int
		reasonMention string
	}{
		{tokens, "Bearer " + shopToken, "clicks", 0, ""},
		{tokens, "Bearer " + shopToken, "payments", http.StatusForbidden, `"shop" may not write to "payments"`},
		{tokens, "", "clicks", http.StatusUnauthorized, "bearer token is needed"},
		{nil, "", "clicks", 0, ""},
	} {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		if tc.header != "" {
			r.Header.Set("Authorization", tc.header)
		}
		status, reason := tc.tokens.AllowSource(r, tc.source)
		if status != tc.status || !strings.Contains(reason, tc.reasonMention) {
			t.Errorf("%q for %s: %d %q, want %d", tc.header, tc.source, status, reason, tc.status)
		}
	}
}

func FuzzTokensFile(f *testing.F) {
	f.Add(tokensText)
	f.Add("a b c=d")
	f.Add("name 0123456789abcdef sources=")
	f.Fuzz(func(t *testing.T, text string) {
		tokens, err := security.LoadTokens(tokensFile(t, text), slog.New(slog.DiscardHandler))
		if err != nil {
			return
		}
		known := 0
		for line := range strings.Lines(text) {
			if words := strings.Fields(line); len(words) >= 2 && !strings.HasPrefix(words[0], "#") {
				if p, err := tokens.Authenticate("Bearer " + words[1]); err == nil && p.Name != "" {
					known++
				}
			}
		}
		if known == 0 {
			t.Errorf("no token of an accepted file is known:\n%s", text)
		}
	})
}

func BenchmarkAuthenticate(b *testing.B) {
	var text strings.Builder
	for i := range 100 {
		fmt.Fprintf(&text, "user%d token-%016d sources=clicks\n", i, i)
	}
	tokens := loadTokens(b, text.String())
	for b.Loop() {
		if p, err := tokens.Authenticate("Bearer token-0000000000000042"); err != nil || !p.Allow("clicks") {
			b.Fatal(err)
		}
	}
}
