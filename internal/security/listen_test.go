package security_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/security"
	"github.com/freshet-io/freshet/internal/testenv"
)

func TestIsLoopback(t *testing.T) {
	for addr, want := range map[string]bool{
		"127.0.0.1:80": true, "127.9.9.9:80": true, "[::1]:80": true, "localhost:80": true,
		":80": false, "0.0.0.0:80": false, "[::]:80": false, "10.0.0.1:80": false, "example.org:80": false, "127.0.0.1": false,
	} {
		if got := security.IsLoopback(addr); got != want {
			t.Errorf("%s: %v, want %v", addr, got, want)
		}
	}
}

func TestOpenWarning(t *testing.T) {
	anyone, known := &tls.Config{}, &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert}
	for _, tc := range []struct {
		addr   string
		tls    *tls.Config
		tokens bool
		want   string
	}{
		{"127.0.0.1:80", nil, false, ""},
		{"127.0.0.1:80", anyone, false, ""},
		{"0.0.0.0:80", anyone, true, ""},
		{"0.0.0.0:80", known, false, ""},
		{"0.0.0.0:80", known, true, ""},
		{"0.0.0.0:80", anyone, false, "neither tokens nor client certificates: anyone may read and write"},
		{"0.0.0.0:80", nil, false, "neither TLS nor tokens"},
		{":80", nil, true, "without TLS"},
	} {
		got := security.OpenWarning("http", tc.addr, tc.tls, tc.tokens)
		if (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
			t.Errorf("%s, tls %v, tokens %v: %q", tc.addr, tc.tls, tc.tokens, got)
		}
	}
}

func TestOpenAdminWarning(t *testing.T) {
	if got := security.OpenAdminWarning("127.0.0.1:80"); got != "" {
		t.Errorf("on loopback: %s", got)
	}
	if got := security.OpenAdminWarning(":80"); !strings.Contains(got, "admin listens on :80") {
		t.Errorf("on every address: %q", got)
	}
}

// serve runs an HTTP server until the test or stop ends it, and returns what it ended with.
func serve(t *testing.T, srv *http.Server) (addr string, stop func() error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- security.ServeHTTP(srv, ln, 2*time.Second)(ctx, func() { close(ready) })
	}()
	<-ready
	t.Cleanup(cancel)
	return ln.Addr().String(), func() error { cancel(); return <-ended }
}

func TestServeHTTPFinishesRequestsUnderWay(t *testing.T) {
	began := make(chan struct{})
	addr, stop := serve(t, security.NewHTTPServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(began)
		time.Sleep(100 * time.Millisecond)
		_, _ = io.WriteString(w, "done")
	}), security.HTTPLimits{}, slog.New(slog.DiscardHandler)))
	answer := make(chan string, 1)
	go func() {
		resp, err := http.Get("http://" + addr)
		if err != nil {
			answer <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		answer <- string(body)
	}()
	<-began
	if err := stop(); err != nil {
		t.Error(err)
	}
	if got := <-answer; got != "done" {
		t.Errorf("the request under way got %q", got)
	}
	if _, err := net.Dial("tcp", addr); err == nil {
		t.Error("it still listens")
	}
}

func TestServerLimitsHeaders(t *testing.T) {
	addr, stop := serve(t, security.NewHTTPServer(whoami, security.HTTPLimits{}, slog.New(slog.DiscardHandler)))
	defer func() { _ = stop() }()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go func() {
		_, _ = fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: x\r\nX-Large: %s\r\n\r\n", strings.Repeat("x", 1<<20)) // it may be cut off
	}()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a megabyte of headers: %s", resp.Status)
	}
}

// tlsServer is a listener as config describes it, and a get as a client that config describes.
func tlsServer(t *testing.T, listener config.TLS) func(client config.TLS) (*tls.ConnectionState, error) {
	t.Helper()
	c, err := security.ListenerTLS(listener)
	if err != nil {
		t.Fatal(err)
	}
	srv := security.NewHTTPServer(whoami, security.HTTPLimits{}, slog.New(slog.DiscardHandler))
	srv.TLSConfig = c
	addr, _ := serve(t, srv)
	return func(client config.TLS) (*tls.ConnectionState, error) {
		c, err := security.ClientTLS(client)
		if err != nil {
			return nil, err
		}
		hc := &http.Client{Transport: &http.Transport{TLSClientConfig: c, DisableKeepAlives: true}, Timeout: 5 * time.Second}
		resp, err := hc.Get("https://" + addr)
		if err != nil {
			return nil, err
		}
		resp.Body.Close()
		return resp.TLS, nil
	}
}

func TestListenerTLS(t *testing.T) {
	certs := testenv.NewCerts(t)
	other := testenv.NewCerts(t)
	plain := config.TLS{Cert: certs.ServerCert, Key: certs.ServerKey}
	mutual := plain
	mutual.ClientCA = certs.CA
	for _, tc := range []struct {
		name             string
		listener, client config.TLS
		want             string
	}{
		{"verified", plain, config.TLS{CA: certs.CA}, ""},
		{"other authority", plain, config.TLS{CA: other.CA}, "certificate signed by unknown authority"},
		{"mutual", mutual, config.TLS{CA: certs.CA, Cert: certs.ClientCert, Key: certs.ClientKey}, ""},
		{"mutual without a certificate", mutual, config.TLS{CA: certs.CA}, "certificate required"},
		{"mutual with a stranger's", mutual, config.TLS{CA: certs.CA, Cert: other.ClientCert, Key: other.ClientKey}, "remote error: tls"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			state, err := tlsServer(t, tc.listener)(tc.client)
			switch {
			case tc.want == "" && err != nil:
				t.Error(err)
			case tc.want == "" && state.Version < tls.VersionTLS12:
				t.Errorf("version %x", state.Version)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
	t.Run("refuses old versions", func(t *testing.T) {
		c, err := security.ListenerTLS(plain)
		if err != nil {
			t.Fatal(err)
		}
		srv := security.NewHTTPServer(whoami, security.HTTPLimits{}, slog.New(slog.DiscardHandler))
		srv.TLSConfig = c
		addr, _ := serve(t, srv)
		_, err = tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
		var op *net.OpError
		if !errors.As(err, &op) {
			t.Errorf("TLS 1.1: %v", err)
		}
	})
	t.Run("needs a certificate", func(t *testing.T) {
		if _, err := security.ListenerTLS(config.TLS{Cert: certs.ServerCert}); err == nil {
			t.Error("no key was needed")
		}
		if _, err := security.ListenerTLS(config.TLS{Cert: certs.ServerCert, Key: certs.ServerKey, ClientCA: certs.ServerKey}); err == nil || !strings.Contains(err.Error(), "no PEM certificate") {
			t.Errorf("a key as authority: %v", err)
		}
	})
}

func TestListenerTLSFollowsItsFiles(t *testing.T) {
	first, second := testenv.NewCerts(t), testenv.NewCerts(t)
	get := tlsServer(t, config.TLS{Cert: first.ServerCert, Key: first.ServerKey})
	if _, err := get(config.TLS{CA: first.CA}); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{second.ServerCert: first.ServerCert, second.ServerKey: first.ServerKey} {
		pem, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, pem, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if _, err = get(config.TLS{CA: second.CA}); err == nil {
			return
		}
	}
	t.Errorf("the new certificate is not served: %v", err)
}
