package notify

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/freshet-io/freshet/monitors/alert"
)

// TestReceiversThatMisbehave is one attempt at real servers.
func TestReceiversThatMisbehave(t *testing.T) {
	private, hits := counting(t, func(http.ResponseWriter, *http.Request) {})
	released := make(chan struct{})
	defer close(released)
	endless := func(w http.ResponseWriter, r *http.Request) {
		chunk := make([]byte, 1<<20)
		for n := 0; n < 1<<10; n++ { // 1 GB, unless the sender hangs up
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
		t.Error("the whole gigabyte was read")
	}
	for _, tc := range []struct {
		name    string
		handler http.HandlerFunc
		result  Result
		after   time.Duration
		slow    bool // throttled
		text    string
	}{
		{name: "200", handler: func(http.ResponseWriter, *http.Request) {}, result: Delivered},
		{name: "204", handler: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, result: Delivered},
		{name: "hangs", handler: func(_ http.ResponseWriter, r *http.Request) { <-released }, result: Failed, text: "no answer within"},
		{name: "hangs up", handler: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, result: Failed, text: "EOF"},
		{name: "redirects to a private address", handler: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://"+private+"/", http.StatusTemporaryRedirect)
		}, result: Failed, text: "status 307"},
		{name: "404", handler: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, result: Failed, text: "status 404"},
		{name: "410", handler: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(410) }, result: Gone},
		{name: "429 with seconds", handler: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "120")
			w.WriteHeader(429)
		}, result: Failed, after: 2 * time.Minute, slow: true},
		{name: "429 for years", handler: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "99999999999")
			w.WriteHeader(429)
		}, result: Failed, after: 24 * time.Hour, slow: true},
		{name: "503 with a wrong Retry-After", handler: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "-7")
			w.WriteHeader(503)
		}, result: Failed, slow: true},
		{name: "502", handler: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) }, result: Failed, slow: true},
		{name: "500 that repeats the key", handler: func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(500)
			_, _ = io.WriteString(w, "no: "+string(testSecret)+strings.Repeat("x", 1000))
		}, result: Failed, text: `"no: [redacted]xxx`},
		{name: "500 with a gigabyte", handler: func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(500)
			endless(w, r)
		}, result: Failed, text: "status 500"},
		{name: "200 with a gigabyte", handler: endless, result: Delivered},
	} {
		t.Run(tc.name, func(t *testing.T) {
			srv := httptest.NewTLSServer(tc.handler)
			defer srv.Close()
			c, err := NewWebhook(WebhookOptions{Name: "hook", URL: srv.URL, Secrets: []Secret{testSecret}, Network: Network{
				Allow: []string{"127.0.0.1"}, Timeout: time.Second,
				RootCAs: srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs,
			}})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if tc.name == "hangs" {
				c.timeout = 100 * time.Millisecond
				defer srv.CloseClientConnections()
				defer func() { released <- struct{}{} }()
			}
			out := c.Send(t.Context(), message("ep_1", alert.FiringType), time.Now())
			if out.Result != tc.result || out.RetryAfter != tc.after || out.Throttled != tc.slow {
				t.Errorf("got %+v, want %s, retry after %s, throttled %v", out, tc.result, tc.after, tc.slow)
			}
			if tc.text != "" && (out.Err == nil || !strings.Contains(out.Err.Error(), tc.text)) {
				t.Errorf("error %v, want %q", out.Err, tc.text)
			}
			if out.Err != nil && len(out.Err.Error()) > 400 {
				t.Errorf("an error of %d bytes", len(out.Err.Error()))
			}
		})
	}
	if hits.Load() != 0 {
		t.Error("the redirect was followed")
	}
}

func TestRetryAfterAsADate(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"Sun, 01 Mar 2026 12:05:00 GMT": 5 * time.Minute,
		"Sun, 01 Mar 2026 11:05:00 GMT": 0,
		"Tue, 01 Mar 2033 11:05:00 GMT": 24 * time.Hour,
		"tomorrow":                      0,
		" 30 ":                          30 * time.Second,
	} {
		if got := retryAfter(value, now); got != want {
			t.Errorf("%q: %s, want %s", value, got, want)
		}
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	o := SlackOptions{Name: "s", URL: "https://hooks.slack.example/services/T0/B0/hush"}
	text, err := json.Marshal(map[string]any{"url": o.URL})
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		text = append(text, fmt.Sprintf(verb, o.URL)+fmt.Sprintf(verb, o)...)
	}
	if s := string(text); strings.Contains(s, "hush") || strings.Contains(s, "68757368") {
		t.Errorf("prints it: %s", s)
	}
	// net/http puts the URL into its errors.
	c, err := NewSlack(o)
	if err != nil {
		t.Fatal(err)
	}
	c.client.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
		return nil, fmt.Errorf("broken on the way to %s", r.URL)
	})
	out := c.Send(t.Context(), message("ep_1", alert.FiringType), time.Now())
	if out.Err == nil || strings.Contains(out.Err.Error(), "hush") || !strings.Contains(out.Err.Error(), "broken on the way") {
		t.Errorf("error %v", out.Err)
	}
}

func TestSlackMessages(t *testing.T) {
	m := message("ep_1", alert.FiringType)
	m.Summary = "delays <!channel> & " + strings.Repeat("ü", 5000)
	m.Monitor = strings.Repeat("m", 300)
	m.Evidence[0].Query = strings.Repeat("`", 4000)
	text, err := json.Marshal(slackOf(m))
	if err != nil {
		t.Fatal(err)
	}
	var got slackMessage
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(got.Text, "<!") || !strings.HasPrefix(got.Text, "delays &lt;!channel&gt; &amp; ü") {
		t.Errorf("a name can mention people: %.60s", got.Text)
	}
	for i, b := range got.Blocks {
		limit := slackSection
		if b.Type == "header" {
			limit = slackHeader
		}
		if b.Text != nil && len([]rune(b.Text.Text)) > limit {
			t.Errorf("block %d (%s) has %d characters", i, b.Type, len([]rune(b.Text.Text)))
		}
	}
	if over := slackOf(message("ep_1", alert.ResolvedType)); over.Blocks[0].Text.Text != "Resolved: delays" || len(over.Blocks) != 3 {
		t.Errorf("resolved: %+v", over.Blocks)
	}
}

func TestPagerDutyEvents(t *testing.T) {
	const key = "0123456789abcdef0123456789abcdef"
	c, err := NewPagerDuty(PagerDutyOptions{Name: "pd", RoutingKey: key})
	if err != nil {
		t.Fatal(err)
	}
	m := message("ep_1", alert.FiringType)
	m.Summary = strings.Repeat("ü", 5000)
	r, body := sent(t, c, m, time.Now())
	if r.URL.String() != "https://events.pagerduty.com/v2/enqueue" {
		t.Errorf("posts to %s", r.URL)
	}
	var firing, over struct {
		RoutingKey string `json:"routing_key"`
		Action     string `json:"event_action"`
		DedupKey   string `json:"dedup_key"`
		Payload    struct{ Summary, Source, Severity, Timestamp string }
	}
	if err := json.Unmarshal(body, &firing); err != nil {
		t.Fatal(err)
	}
	p := firing.Payload
	if firing.RoutingKey != key || firing.Action != "trigger" || p.Source != "flights" || p.Severity != "warning" || p.Timestamp != "2026-03-01T12:00:00Z" {
		t.Errorf("event %+v", firing)
	}
	if n := len([]rune(p.Summary)); n != 1024 {
		t.Errorf("summary of %d characters", n)
	}
	_, body = sent(t, c, message("ep_1", alert.ResolvedType), time.Now())
	if err := json.Unmarshal(body, &over); err != nil {
		t.Fatal(err)
	}
	if over.Action != "resolve" || over.DedupKey != firing.DedupKey || over.DedupKey != "ep_1" {
		t.Errorf("resolve %+v", over)
	}
	for code, want := range map[int]Result{202: Delivered, 400: Refused, 429: Failed, 500: Failed} {
		c.client.Transport = roundTrip(func(*http.Request) (*http.Response, error) { return answer(code), nil })
		if out := c.Send(t.Context(), m, time.Now()); out.Result != want {
			t.Errorf("status %d: %s, want %s", code, out.Result, want)
		}
	}
	for _, o := range []PagerDutyOptions{{Name: "pd", RoutingKey: "hush"}, {Name: "pd", RoutingKey: key, Severity: "fatal"}, {RoutingKey: key}} {
		if _, err := NewPagerDuty(o); err == nil || strings.Contains(err.Error(), "hush") {
			t.Errorf("%v: %v", o, err)
		}
	}
}

func TestTrySendsBoth(t *testing.T) {
	var got []string
	c := stubbed(t, "hook", func(r *http.Request) (*http.Response, error) {
		got = append(got, r.Header.Get(IDHeader))
		return answer(200), nil
	})
	if err := Try(t.Context(), c, "/freshet/x", time.Now()); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || !strings.HasSuffix(got[0], "-firing") || !strings.HasSuffix(got[1], "-resolved") {
		t.Errorf("sent %q", got)
	}
	c.client.Transport = roundTrip(func(*http.Request) (*http.Response, error) { return answer(500), nil })
	if err := Try(t.Context(), c, "/freshet/x", time.Now()); err == nil || !strings.Contains(err.Error(), "status 500") {
		t.Errorf("error %v", err)
	}
}
