package security

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// IsLoopback tells whether only this machine reaches a listener at addr. An empty host, or a name that is not known to
// be local, is not.
func IsLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// OpenWarning returns what to say of a listener that others reach readable, or without being asked who they are, and "" of
// one that is safe. t is the listener's TLS, nil for none.
func OpenWarning(face, addr string, t *tls.Config, hasTokens bool) string {
	asks := hasTokens || t != nil && t.ClientAuth == tls.RequireAndVerifyClientCert
	open := fmt.Sprintf("%s listens on %s, which other machines reach, ", face, addr)
	switch {
	case IsLoopback(addr), t != nil && asks:
		return ""
	case t == nil && !asks:
		return open + "with neither TLS nor tokens: anyone may read and write features; set listen.tls and listen.tokens_file, or listen on 127.0.0.1"
	case t == nil:
		return open + "without TLS: tokens and features cross the network readable; set listen.tls, or end TLS in front of it"
	default:
		return open + "with neither tokens nor client certificates: anyone may read and write features; set listen.tokens_file or listen.tls.client_ca, or listen on 127.0.0.1"
	}
}

// OpenAdminWarning is OpenWarning for the admin listener, which asks nobody anything.
func OpenAdminWarning(addr string) string {
	if IsLoopback(addr) {
		return ""
	}
	return fmt.Sprintf("admin listens on %s, which other machines reach, and has neither TLS nor tokens: anyone may read metrics and health there; listen on 127.0.0.1, or let a firewall admit the monitoring alone", addr)
}

// HTTPLimits bounds what a client can make an HTTP server hold. The zero value has defaults for requests that are
// answered from memory or Redis.
type HTTPLimits struct {
	Read  time.Duration // of a whole request; default 30 s
	Write time.Duration // of a whole response; default 60 s, -1 none (streams)
	Idle  time.Duration // between requests of a connection; default 2 min
}

// NewHTTPServer returns a server that no slow or greedy client holds up: headers within 10 s and 64 KiB, and the
// limits given.
func NewHTTPServer(handler http.Handler, limits HTTPLimits, logger *slog.Logger) *http.Server {
	or := func(d, otherwise time.Duration) time.Duration {
		switch {
		case d < 0:
			return 0
		case d == 0:
			return otherwise
		default:
			return d
		}
	}
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       or(limits.Read, 30*time.Second),
		WriteTimeout:      or(limits.Write, time.Minute),
		IdleTimeout:       or(limits.Idle, 2*time.Minute),
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelDebug), // clients that come and go
	}
}

// ServeHTTP serves on ln until ctx ends, then finishes requests under way within drain and closes what is left. With a
// TLS configuration in srv it speaks TLS. It is a part as internal/lifecycle runs it.
func ServeHTTP(srv *http.Server, ln net.Listener, drain time.Duration) func(ctx context.Context, ready func()) error {
	return func(ctx context.Context, ready func()) error {
		served := make(chan error, 1)
		go func() {
			if srv.TLSConfig != nil {
				served <- srv.ServeTLS(ln, "", "")
			} else {
				served <- srv.Serve(ln)
			}
		}()
		ready()
		select {
		case err := <-served:
			return fmt.Errorf("serve http on %s: %w", ln.Addr(), err)
		case <-ctx.Done():
		}
		drainCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
		defer cancel()
		err := srv.Shutdown(drainCtx)
		if err != nil {
			err = errors.Join(fmt.Errorf("requests under way on %s: %w", ln.Addr(), err), srv.Close())
		}
		<-served
		return err
	}
}
