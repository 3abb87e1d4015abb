package clickhouse

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/security"
)

// Bounds of what is waited for. A server that is gone answers nothing, and then the next should be tried soon.
const (
	dialTimeout   = 5 * time.Second
	askTimeout    = 30 * time.Second // a question to the system tables
	insertTimeout = 2 * time.Minute
	alterTimeout  = 10 * time.Minute // statements on every node of a cluster wait for each other
)

// query is one statement with its input or its result.
type query struct {
	sql      string
	settings []param
	params   []param
	input    proto.Input   // one block, for an INSERT
	result   proto.Results // reused for every block of the result
	block    func() error  // called when result holds a block with rows
}

// transport carries queries to one of the servers. It is used by several goroutines at a time.
type transport interface {
	do(ctx context.Context, q *query) error
	close()
}

// address is a connection's URL, taken apart.
type address struct {
	native   bool
	tls      *tls.Config // nil: none
	hosts    []string    // host:port
	user     string
	password string
	database string
	compress string // none, lz4, zstd
}

// parseAddress reads scheme://[user[:password]@]host[:port][,host[:port]...][/database][?compress=none|lz4|zstd]. No error
// shows the URL, which may hold a password.
func parseAddress(c config.ClickHouse) (*address, error) {
	raw := string(c.URL)
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return nil, errors.New("clickhouse: the url has no scheme")
	}
	authority, tail := rest, ""
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		authority, tail = rest[:i], rest[i:]
	}
	userinfo, hosts := "", authority
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		userinfo, hosts = authority[:i+1], authority[i+1:]
	}
	u, err := url.Parse(scheme + "://" + userinfo + "host" + tail) // several hosts are no URL
	if err != nil {
		return nil, errors.New("clickhouse: the url cannot be read")
	}
	a := &address{user: "default", database: "default"}
	if u.User != nil {
		a.user = u.User.Username()
		a.password, _ = u.User.Password()
	}
	if db := strings.Trim(u.Path, "/"); db != "" {
		a.database = db
	}
	if a.hosts, err = parseHosts(scheme, hosts); err != nil {
		return nil, err
	}
	a.native = strings.HasPrefix(scheme, "clickhouse")
	if scheme == "clickhouses" || scheme == "https" {
		t := config.TLS{}
		if c.TLS != nil {
			t = *c.TLS
		}
		if a.tls, err = security.ClientTLS(t); err != nil {
			return nil, fmt.Errorf("clickhouse: %w", err)
		}
	}
	return a, a.options(u.Query())
}

func parseHosts(scheme, hosts string) (out []string, err error) {
	ports := map[string]string{"clickhouse": "9000", "clickhouses": "9440", "http": "8123", "https": "8443"}
	port, ok := ports[scheme]
	if !ok {
		return nil, fmt.Errorf("clickhouse: scheme %q is none of clickhouse, clickhouses, http, https", scheme)
	}
	for _, h := range strings.Split(hosts, ",") {
		host, p, err := net.SplitHostPort(h)
		if err != nil { // it names no port
			host, p = strings.Trim(h, "[]"), port
		}
		if host == "" || p == "" {
			return nil, errors.New("clickhouse: the url names no host")
		}
		out = append(out, net.JoinHostPort(host, p))
	}
	return out, nil
}

// options reads the URL's parameters. Compression costs more than it saves where the server is on this machine.
func (a *address) options(values url.Values) error {
	a.compress = "lz4"
	if host, _, _ := net.SplitHostPort(a.hosts[0]); host == "localhost" || net.ParseIP(host).IsLoopback() {
		a.compress = "none"
	}
	for name, v := range values {
		switch {
		case name != "compress":
			return fmt.Errorf("clickhouse: the url has an unknown parameter %q; known is compress", name)
		case v[0] != "none" && v[0] != "lz4" && v[0] != "zstd":
			return fmt.Errorf("clickhouse: compress=%q; known are none, lz4, zstd", v[0])
		}
		a.compress = v[0]
	}
	return nil
}

func (a *address) open() transport {
	if a.native {
		return newNative(a)
	}
	return newHTTP(a)
}

// ask runs a query that is answered from the system tables.
func ask(ctx context.Context, t transport, q *query) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return t.do(ctx, q)
}
