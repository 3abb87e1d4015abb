package security

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/freshet-io/freshet/config"
)

// ClientTLS returns the configuration for dialing a service: the system's roots, or those of t.CA, and a client
// certificate when t.Cert and t.Key name one. An empty t is TLS with the defaults.
func ClientTLS(t config.TLS) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CA != "" {
		pool, err := certPool(t.CA)
		if err != nil {
			return nil, fmt.Errorf("tls ca: %w", err)
		}
		c.RootCAs = pool
	}
	if t.Cert == "" && t.Key == "" {
		return c, nil
	}
	pair, err := newReloader(t.Cert, t.Key)
	if err != nil {
		return nil, err
	}
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair.get(), nil }
	return c, nil
}

// ListenerTLS returns the configuration of a listener: t.Cert and t.Key are its own, and with t.ClientCA every client
// must present a certificate of that authority. Changed certificate files are picked up within a few seconds, without
// a restart; a changed ClientCA needs one.
func ListenerTLS(t config.TLS) (*tls.Config, error) {
	if t.Cert == "" || t.Key == "" {
		return nil, errors.New("listener tls needs both cert and key")
	}
	pair, err := newReloader(t.Cert, t.Key)
	if err != nil {
		return nil, err
	}
	c := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return pair.get(), nil },
	}
	if t.ClientCA != "" {
		pool, err := certPool(t.ClientCA)
		if err != nil {
			return nil, fmt.Errorf("tls client_ca: %w", err)
		}
		c.ClientCAs, c.ClientAuth = pool, tls.RequireAndVerifyClientCert
	}
	return c, nil
}

func certPool(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no PEM certificate", file)
	}
	return pool, nil
}

// recheckEvery bounds how often files are looked at again: a handshake or a request that comes sooner uses what is
// loaded.
const recheckEvery = 2 * time.Second

// reloader holds a key pair and follows its files. A pair that does not load (a rotation half done) leaves the last
// good one in use.
type reloader struct {
	certFile, keyFile string

	mu struct {
		sync.Mutex
		pair    *tls.Certificate
		cert    fileState
		key     fileState
		checked time.Time
	}
}

func newReloader(certFile, keyFile string) (*reloader, error) {
	r := &reloader{certFile: certFile, keyFile: keyFile}
	cert, key := statFile(certFile), statFile(keyFile)
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("tls cert and key: %w", err)
	}
	r.mu.pair, r.mu.cert, r.mu.key, r.mu.checked = &pair, cert, key, time.Now()
	return r, nil
}

func (r *reloader) get() *tls.Certificate {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); now.Sub(r.mu.checked) >= recheckEvery {
		r.mu.checked = now
		r.reloadLocked()
	}
	return r.mu.pair
}

// reloadLocked requires r.mu. The states are read before the contents, so that a file written in between is seen as
// changed at the next check.
func (r *reloader) reloadLocked() {
	cert, key := statFile(r.certFile), statFile(r.keyFile)
	if cert == r.mu.cert && key == r.mu.key {
		return
	}
	pair, err := tls.LoadX509KeyPair(r.certFile, r.keyFile)
	if err != nil {
		return
	}
	r.mu.pair, r.mu.cert, r.mu.key = &pair, cert, key
}

// fileState is what tells one content of a file from the next without reading it.
type fileState struct {
	modified time.Time
	size     int64
}

func statFile(name string) fileState {
	info, err := os.Stat(name)
	if err != nil {
		return fileState{}
	}
	return fileState{modified: info.ModTime(), size: info.Size()}
}
