package cli

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/freshet-io/freshet/monitors/alert"
	"github.com/freshet-io/freshet/monitors/notify"
)

// receiver takes the demo's alerts as whoever is on call would: a webhook that checks signatures and knows a message by
// its id.
type receiver struct {
	url, secret string
	server      *http.Server
	verifier    *notify.Verifier

	mu       sync.Mutex
	messages []received
	ids      map[string]bool
	refused  int
	came     chan struct{} // has room for one: a message came
}

// received is a message as it came.
type received struct {
	alert.Message
	body []byte
}

// The variables of the demo's channel.
const (
	webhookVariable = "DEMO_WEBHOOK"
	secretVariable  = "DEMO_SECRET"
)

// maxMessage bounds a request's body; messages are 20,000 bytes at most.
const maxMessage = 64 << 10

func startReceiver() (*receiver, error) {
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return nil, err
	}
	r := &receiver{secret: "whsec_" + base64.StdEncoding.EncodeToString(key), ids: map[string]bool{}, came: make(chan struct{}, 1)}
	var err error
	if r.verifier, err = notify.NewVerifier(notify.Secret(r.secret)); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the demo's alerts: %w", err)
	}
	r.url = "http://" + l.Addr().String() + "/alerts"
	r.server = &http.Server{Handler: http.HandlerFunc(r.take), ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
	go func() { _ = r.server.Serve(l) }() // ends with Close
	return r, nil
}

func (r *receiver) Close() error { return r.server.Close() }

// lookup gives the variables of the demo's channel.
func (r *receiver) lookup(name string) (string, bool) {
	v, ok := map[string]string{webhookVariable: r.url, secretVariable: r.secret}[name]
	return v, ok
}

func (r *receiver) take(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxMessage))
	if err != nil {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	}
	id, err := r.verifier.Verify(req.Header, body, time.Now())
	var m alert.Message
	if err == nil {
		m, err = alert.ParseEvent(body)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.refused++
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if !r.ids[id] {
		r.ids[id] = true
		r.messages = append(r.messages, received{m, body})
		select {
		case r.came <- struct{}{}:
		default:
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

// all returns the messages so far, and how many requests were refused.
func (r *receiver) all() ([]received, int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]received{}, r.messages...), r.refused
}

// wait returns the first message that is wanted, or an error that says what was waited for.
func (r *receiver) wait(ctx context.Context, what string, within time.Duration, wanted func(*alert.Message) bool) (*received, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("%s was not told within %s", what, within))
	defer cancel()
	for {
		messages, _ := r.all()
		for i := range messages {
			if wanted(&messages[i].Message) {
				return &messages[i], nil
			}
		}
		select {
		case <-r.came:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
