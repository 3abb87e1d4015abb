package notify

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"
)

// ErrBlocked is in the error of an attempt whose address may not be connected to.
var ErrBlocked = errors.New("the address is not public and not allowed")

// reserved are the networks that nothing public is in, by the IANA special-purpose registries, and two addresses of
// clouds' metadata. What is never for hosts that are allowed by name: their name may come to mean it. IPv6 is blocked
// outside of 2000::/3 altogether.
var reserved = []struct {
	prefix netip.Prefix
	never  bool
	what   string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), true, "this network"},
	{netip.MustParsePrefix("10.0.0.0/8"), false, "private"},
	{netip.MustParsePrefix("100.100.100.200/32"), true, "metadata"},
	{netip.MustParsePrefix("100.64.0.0/10"), false, "carrier-grade NAT"},
	{netip.MustParsePrefix("127.0.0.0/8"), false, "loopback"},
	{netip.MustParsePrefix("168.63.129.16/32"), true, "metadata"},
	{netip.MustParsePrefix("169.254.0.0/16"), true, "link-local, metadata"},
	{netip.MustParsePrefix("172.16.0.0/12"), false, "private"},
	{netip.MustParsePrefix("192.0.0.0/24"), true, "protocol assignments"},
	{netip.MustParsePrefix("192.0.2.0/24"), true, "documentation"},
	{netip.MustParsePrefix("192.88.99.0/24"), true, "6to4 relays"},
	{netip.MustParsePrefix("192.168.0.0/16"), false, "private"},
	{netip.MustParsePrefix("198.18.0.0/15"), false, "benchmarks"},
	{netip.MustParsePrefix("198.51.100.0/24"), true, "documentation"},
	{netip.MustParsePrefix("203.0.113.0/24"), true, "documentation"},
	{netip.MustParsePrefix("224.0.0.0/4"), true, "multicast"},
	{netip.MustParsePrefix("240.0.0.0/4"), true, "reserved"},
	{netip.MustParsePrefix("::1/128"), false, "loopback"},
	{netip.MustParsePrefix("fd00:ec2::254/128"), true, "metadata"},
	{netip.MustParsePrefix("fc00::/7"), false, "unique local"},
	{netip.MustParsePrefix("2001::/23"), true, "protocol assignments"},
	{netip.MustParsePrefix("2001:db8::/32"), true, "documentation"},
	{netip.MustParsePrefix("2002::/16"), true, "6to4"},
	{netip.MustParsePrefix("3fff::/20"), true, "documentation"},
}

var globalV6 = netip.MustParsePrefix("2000::/3")

// guard decides what may be connected to.
type guard struct {
	prefixes []netip.Prefix // allowed
	hosts    []string       // allowed, lower case
}

// newGuard reads an allow list of CIDRs, addresses and host names.
func newGuard(allow []string) (*guard, error) {
	g := &guard{}
	for _, entry := range allow {
		if p, err := netip.ParsePrefix(entry); err == nil {
			g.prefixes = append(g.prefixes, p.Masked())
			continue
		}
		if a, err := netip.ParseAddr(strings.Trim(entry, "[]")); err == nil {
			a = a.Unmap().WithZone("")
			g.prefixes = append(g.prefixes, netip.PrefixFrom(a, a.BitLen()))
			continue
		}
		if entry == "" || strings.ContainsAny(entry, "/:*@ ") {
			return nil, fmt.Errorf("allow %q: want a network such as 10.0.0.0/8, an address or a host name", entry)
		}
		g.hosts = append(g.hosts, hostName(entry))
	}
	return g, nil
}

func hostName(name string) string { return strings.TrimSuffix(strings.ToLower(name), ".") }

// named tells whether a host is allowed by its name.
func (g *guard) named(host string) bool { return slices.Contains(g.hosts, hostName(host)) }

func (g *guard) inAllowed(a netip.Addr) bool {
	return slices.ContainsFunc(g.prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}

// check refuses an address; named tells that its host is allowed by name.
func (g *guard) check(a netip.Addr, named bool) error {
	a = a.Unmap().WithZone("")
	if g.inAllowed(a) {
		return nil
	}
	for _, r := range reserved {
		if r.prefix.Contains(a) {
			if named && !r.never {
				return nil
			}
			return fmt.Errorf("%w: %s (%s)", ErrBlocked, a, r.what)
		}
	}
	if a.Is6() && !globalV6.Contains(a) {
		return fmt.Errorf("%w: %s (not global unicast)", ErrBlocked, a)
	}
	return nil
}

// dial returns a function that connects to host:port as http.Transport asks. The system has resolved the name by the time an
// address is checked, right before the connection, so a name that changes its mind gains nothing (N6).
func (g *guard) dial(resolver *net.Resolver) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		named := g.named(host)
		d := net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second, Resolver: resolver}
		d.Control = func(network, address string, _ syscall.RawConn) error {
			if network != "tcp4" && network != "tcp6" {
				return fmt.Errorf("%w: network %s", ErrBlocked, network)
			}
			ap, err := netip.ParseAddrPort(address)
			if err != nil {
				return fmt.Errorf("%w: %w", ErrBlocked, err)
			}
			return g.check(ap.Addr(), named)
		}
		return d.DialContext(ctx, network, addr)
	}
}

// target checks a channel's URL. Errors do not contain it: it may be a secret.
func (g *guard) target(raw Secret) (*url.URL, error) {
	u, err := url.Parse(string(raw))
	if err != nil {
		return nil, errors.New("its url cannot be parsed") // the error has the URL in it
	}
	host := u.Hostname()
	plain := g.named(host)
	if a, err := netip.ParseAddr(host); err == nil {
		plain = g.inAllowed(a.Unmap().WithZone(""))
	}
	switch {
	case host == "":
		return nil, errors.New("its url names no host")
	case u.User != nil:
		return nil, errors.New("its url has a user or password in it")
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("its url must begin with https://")
	case u.Scheme == "http" && !plain:
		return nil, errors.New("its url begins with http://, which is for hosts that are allowed by name or address")
	}
	u.Fragment = ""
	return u, nil
}
