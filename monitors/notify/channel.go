package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/freshet-io/freshet/monitors/alert"
)

// kind is what is particular to one sort of channel.
type kind struct {
	name    string
	refused []int         // statuses that no retry will change
	spacing time.Duration // least time between attempts; 0: a few at once
	resend  time.Duration // how often a firing is sent again while it fires; 0: never
}

// The channels there are.
var (
	webhookKind      = kind{name: "webhook"}
	alertmanagerKind = kind{name: "alertmanager", refused: []int{400}, resend: time.Minute}
	slackKind        = kind{name: "slack", refused: []int{400}, spacing: time.Second}
	pagerDutyKind    = kind{name: "pagerduty", refused: []int{400}, spacing: 500 * time.Millisecond}
)

// Network is how channels reach the world.
type Network struct {
	Allow    []string       // CIDRs, addresses and host names that may be connected to though they are not public
	Timeout  time.Duration  // of an attempt, default 20 s
	Resolver *net.Resolver  // default: the system's
	RootCAs  *x509.CertPool // default: the system's
}

const (
	defaultTimeout = 20 * time.Second
	maxAnswer      = 4 << 10
	maxRetryAfter  = 24 * time.Hour
)

// Result is what became of an attempt.
type Result string

// The results.
const (
	Delivered Result = "delivered"
	Failed    Result = "failed"  // try again
	Refused   Result = "refused" // the receiver will never take this message
	Gone      Result = "gone"    // the receiver wants no messages any more
)

// Outcome is an attempt's result. Err has no secrets in it.
type Outcome struct {
	Result     Result
	Throttled  bool          // the receiver is under load
	RetryAfter time.Duration // what the receiver asks for, at most a day
	Err        error
}

// Channel is one configured endpoint.
type Channel struct {
	name    string
	kind    kind
	target  string // fingerprint
	client  *http.Client
	timeout time.Duration
	secrets []Secret
	render  func(m *alert.Message, now time.Time) (*http.Request, error)
}

// Name is the channel's name in the configuration.
func (c *Channel) Name() string { return c.name }

// Kind is webhook, alertmanager, slack or pagerduty.
func (c *Channel) Kind() string { return c.kind.name }

// Close lets go of idle connections.
func (c *Channel) Close() { c.client.CloseIdleConnections() }

// newChannel makes what all kinds share. raw is the URL; host names in implied are allowed besides the network's.
func newChannel(name string, k kind, raw Secret, n Network, secrets []Secret, implied ...string) (*Channel, *url.URL, error) {
	fail := func(err error) (*Channel, *url.URL, error) {
		return nil, nil, fmt.Errorf("channel %q (%s): %w", name, k.name, err)
	}
	if name == "" {
		return fail(errors.New("it has no name"))
	}
	g, err := newGuard(slices.Concat(n.Allow, implied))
	if err != nil {
		return fail(err)
	}
	u, err := g.target(raw)
	if err != nil {
		return fail(err)
	}
	timeout := n.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	c := &Channel{name: name, kind: k, target: fingerprint(k.name, string(raw)), timeout: timeout, secrets: secrets}
	c.client = &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                  nil, // a proxy would connect where this may not
			DialContext:            g.dial(n.Resolver),
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: n.RootCAs},
			TLSHandshakeTimeout:    10 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
			DisableCompression:     true, // little that unpacks to much
			MaxIdleConns:           4,
			IdleConnTimeout:        time.Minute,
			ForceAttemptHTTP2:      true,
		},
	}
	return c, u, nil
}

// post is a request with a JSON body.
func post(u *url.URL, contentType string, body []byte) (*http.Request, error) {
	r, err := http.NewRequest(http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("make the request") // the error has the URL in it
	}
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("User-Agent", "freshet")
	return r, nil
}

// Send makes one attempt at now.
func (c *Channel) Send(ctx context.Context, m *alert.Message, now time.Time) Outcome {
	req, err := c.render(m, now)
	if err != nil {
		return Outcome{Result: Refused, Err: errors.New(redact(err.Error(), c.secrets))}
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	resp, err := c.client.Do(req.WithContext(ctx))
	if err != nil {
		return Outcome{Result: Failed, Err: c.plain(ctx, err)}
	}
	// The rest of a long answer is not read: closing ends the connection.
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	_ = resp.Body.Close()
	if err != nil && resp.StatusCode/100 == 2 {
		// The receiver has accepted it; whatever it wanted to say besides is not needed.
		answer = nil
	}
	return c.judge(resp, answer, now)
}

// plain is an error without the request's URL, which net/http puts first.
func (c *Channel) plain(ctx context.Context, err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %s", c.timeout)
	}
	if errors.Is(err, ErrBlocked) {
		return err
	}
	return errors.New(redact(err.Error(), c.secrets))
}

func (c *Channel) judge(resp *http.Response, answer []byte, now time.Time) Outcome {
	code := resp.StatusCode
	if code/100 == 2 {
		return Outcome{Result: Delivered}
	}
	out := Outcome{Result: Failed, RetryAfter: retryAfter(resp.Header.Get("Retry-After"), now)}
	text := strings.Map(printable, redact(strings.ToValidUTF8(string(answer), "�"), c.secrets))
	text = cut(strings.TrimSpace(text), 200)
	out.Err = fmt.Errorf("status %d %s", code, http.StatusText(code))
	if text != "" {
		out.Err = fmt.Errorf("%w: %q", out.Err, text)
	}
	switch {
	case code == http.StatusGone:
		out.Result = Gone
	case slices.Contains(c.kind.refused, code):
		out.Result = Refused
	case code == http.StatusTooManyRequests, code == http.StatusBadGateway, code == http.StatusServiceUnavailable, code == http.StatusGatewayTimeout:
		out.Throttled = true
	}
	return out
}

func printable(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return ' '
}

// retryAfter reads the header, seconds or an HTTP date (RFC 9110, 10.2.3).
func retryAfter(value string, now time.Time) time.Duration {
	if value == "" {
		return 0
	}
	if n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64); err == nil {
		return time.Duration(min(max(n, 0), int64(maxRetryAfter/time.Second))) * time.Second
	}
	t, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(t.Sub(now), 0), maxRetryAfter)
}
