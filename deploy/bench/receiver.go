package bench

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/freshet-io/freshet/monitors/alert"
	"github.com/freshet-io/freshet/monitors/notify"
)

// hookSecret signs the benchmark's own webhooks, which go to this process.
const hookSecret = "whsec_ZnJlc2hldC1iZW5jaC1yZWNlaXZlci1zZWNyZXQ="

// receiver takes signed webhooks, as whoever is on call would.
type receiver struct {
	url      string
	server   *http.Server
	verifier *notify.Verifier
	first    chan told // has the first message of something that fires
}

// told is a message with when it was received.
type told struct {
	at      time.Time
	message alert.Message
}

func startReceiver() (*receiver, error) {
	v, err := notify.NewVerifier(notify.Secret(hookSecret))
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for alerts: %w", err)
	}
	r := &receiver{url: "http://" + l.Addr().String(), verifier: v, first: make(chan told, 1)}
	r.server = &http.Server{Handler: http.HandlerFunc(r.take), ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second}
	go func() { _ = r.server.Serve(l) }() // ends with Close
	return r, nil
}

func (r *receiver) Close() error { return r.server.Close() }

func (r *receiver) take(w http.ResponseWriter, req *http.Request) {
	now := time.Now()
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, 64<<10))
	if err == nil {
		_, err = r.verifier.Verify(req.Header, body, now)
	}
	var m alert.Message
	if err == nil {
		m, err = alert.ParseEvent(body)
	}
	switch {
	case err != nil:
		w.WriteHeader(http.StatusBadRequest)
	case m.Status == "firing":
		select {
		case r.first <- told{now, m}:
		default: // there is one already
		}
	}
}
