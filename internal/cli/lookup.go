package cli

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"time"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/security"
)

// maxResponse bounds what a server can make a command read.
const maxResponse = 64 << 20

// lookupClient asks a running server for features over the Feast HTTP protocol.
type lookupClient struct {
	base  string // without a slash at the end
	token string
	http  *http.Client

	certified bool        // shows a certificate of its own
	greeted   atomic.Bool // by a server that speaks HTTP/2 before it is spoken to, as those of gRPC do

	// patience is how long a server that is too busy to answer in time is asked again; 0 asks once.
	patience time.Duration
}

// lookupRequest is the body of POST /get-online-features.
type lookupRequest struct {
	FeatureService   string                       `json:"feature_service,omitempty"`
	Features         []string                     `json:"features,omitempty"`
	Entities         map[string][]json.RawMessage `json:"entities"`
	FullFeatureNames bool                         `json:"full_feature_names"`
}

// lookupResponse is its answer: one element of Results for each name in Metadata, each with one element a row.
type lookupResponse struct {
	Metadata struct {
		FeatureNames []string `json:"feature_names"`
	} `json:"metadata"`
	Results []struct {
		Values     []json.RawMessage `json:"values"`
		Statuses   []string          `json:"statuses"`
		EventTimes []string          `json:"event_timestamps"`
	} `json:"results"`
}

// refusal is an answer other than 200.
type refusal struct {
	status  int
	message string
	loc     []string // where in the request the mistake is, when the server says it
}

func (e *refusal) Error() string {
	return fmt.Sprintf("the server refused (%d): %s", e.status, e.message)
}

// busy tells whether the same lookup may succeed a moment later.
func (e *refusal) busy() bool {
	switch e.status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// newLookupClient returns a client of the server at a URL or a bare host:port, which certificates, where they are given,
// authenticate to each other.
func newLookupClient(server, token string, certs config.TLS) (*lookupClient, error) {
	if !strings.Contains(server, "://") {
		server = "http://" + server
	}
	tr := http.DefaultTransport.(*http.Transport).Clone()
	var err error
	if tr.TLSClientConfig, err = security.ClientTLS(certs); err != nil {
		return nil, err
	}
	c := &lookupClient{
		base: strings.TrimRight(server, "/"), token: token, certified: certs.Cert != "", http: &http.Client{Transport: tr, Timeout: 30 * time.Second},
	}
	dial := tr.DialContext
	tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &greeting{Conn: conn, greeted: &c.greeted}, nil
	}
	return c, nil
}

// greeting looks at the first bytes that a server sends: those of HTTP/2 begin with a frame of settings (RFC 9113, 3.4 and 4.1). It keeps them from the
// transport, which makes of them one thing or another as they come before its request is written or after.
type greeting struct {
	net.Conn
	heard   bool
	greeted *atomic.Bool
}

func (g *greeting) Read(p []byte) (int, error) {
	n, err := g.Conn.Read(p)
	if n > 0 && !g.heard {
		g.heard = true
		const settings = 4
		if n >= 9 && p[3] == settings && [4]byte(p[5:9]) == [4]byte{} {
			g.greeted.Store(true)
			return 0, io.ErrUnexpectedEOF
		}
	}
	return n, err
}

// askAgain is the pause before a busy server is asked again.
const askAgain = 100 * time.Millisecond

// get looks features up. An error that the server gave is a *refusal.
func (c *lookupClient) get(ctx context.Context, req lookupRequest) (*lookupResponse, error) {
	body, err := json.Marshal(req)
	if err != nil {
		return nil, err
	}
	for start := time.Now(); ; {
		resp, err := c.post(ctx, body)
		if refused := (*refusal)(nil); !errors.As(err, &refused) || !refused.busy() || time.Since(start) >= c.patience {
			return resp, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(askAgain):
		}
	}
}

// post sends one lookup.
func (c *lookupClient) post(ctx context.Context, body []byte) (*lookupResponse, error) {
	hr, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/get-online-features", bytes.NewReader(body))
	if err != nil {
		return nil, usageError(fmt.Errorf("--server: %w", err))
	}
	hr.Header.Set("Content-Type", "application/json")
	if c.token != "" {
		hr.Header.Set("Authorization", "Bearer "+c.token)
	}
	// A server that wants a certificate says so only after the handshake, and its word may be lost with the connection.
	var shook atomic.Bool
	hr = hr.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{TLSHandshakeDone: func(_ tls.ConnectionState, err error) { shook.Store(err == nil) }}))
	resp, err := c.http.Do(hr)
	if err != nil && shook.Load() && !c.certified && ctx.Err() == nil {
		err = fmt.Errorf("%w; does the server ask for a client certificate (--cert, --key)?", err)
	}
	if err != nil && c.greeted.Load() {
		err = fmt.Errorf("%s speaks HTTP/2, as gRPC does; is it listen.grpc? this command speaks to listen.http", c.base)
	}
	if err != nil {
		return nil, unreachable(fmt.Errorf("look features up: %w", err))
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxResponse))
	if err != nil {
		return nil, unreachable(fmt.Errorf("read the answer of %s: %w", c.base, err))
	}
	if !json.Valid(answer) { // not even an error is anything else
		return nil, unreachable(fmt.Errorf("%s does not answer as a feature server does (%s); is it listen.http of a process with the role serve?", c.base, resp.Status))
	}
	if resp.StatusCode != http.StatusOK {
		return nil, parseRefusal(resp.StatusCode, answer)
	}
	var out lookupResponse
	if err := json.Unmarshal(answer, &out); err != nil {
		return nil, fmt.Errorf("%s does not answer as a feature server does: %w", c.base, err)
	}
	return &out, out.check()
}

// check holds the answer to its shape, so that printing it cannot go wrong.
func (r *lookupResponse) check() error {
	if len(r.Results) != len(r.Metadata.FeatureNames) {
		return errors.New("the answer's names and results differ in number")
	}
	for i := range r.Results {
		col := &r.Results[i]
		if n := len(r.Results[0].Values); len(col.Values) != n || len(col.Statuses) != n || len(col.EventTimes) != n {
			return fmt.Errorf("the answer's column %q has another number of rows", r.Metadata.FeatureNames[i])
		}
	}
	return nil
}

// parseRefusal reads the forms in which feature servers tell errors: an object with detail (text, or a list with loc
// and msg), or a JSON string that holds an object with a message.
func parseRefusal(status int, body []byte) *refusal {
	r := &refusal{status: status, message: strings.TrimSpace(string(body))}
	var text string
	if json.Unmarshal(body, &text) == nil {
		r.message, body = text, []byte(text)
	}
	var object struct {
		Message string          `json:"message"`
		Error   string          `json:"error"`
		Detail  json.RawMessage `json:"detail"`
	}
	if json.Unmarshal(body, &object) != nil {
		return r
	}
	var list []struct {
		Loc []any  `json:"loc"`
		Msg string `json:"msg"`
	}
	switch {
	case object.Message != "":
		r.message = object.Message
	case object.Error != "":
		r.message = object.Error
	case json.Unmarshal(object.Detail, &text) == nil:
		r.message = text
	case json.Unmarshal(object.Detail, &list) == nil && len(list) > 0:
		r.message = list[0].Msg
		for _, l := range list[0].Loc {
			r.loc = append(r.loc, fmt.Sprint(l))
		}
		if len(r.loc) > 0 {
			r.message = strings.Join(r.loc, ".") + ": " + r.message
		}
	}
	return r
}
