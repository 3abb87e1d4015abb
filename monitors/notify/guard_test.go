package notify

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/freshet-io/freshet/monitors/alert"
)

func TestGuardChecksAddresses(t *testing.T) {
	for _, tc := range []struct {
		addr, allow string
		named       bool
		ok          bool
	}{
		{addr: "8.8.8.8", ok: true},
		{addr: "2606:4700:4700::1111", ok: true},
		{addr: "127.0.0.1"},
		{addr: "127.8.9.10"},
		{addr: "10.1.2.3"},
		{addr: "172.31.255.255"},
		{addr: "172.32.0.1", ok: true},
		{addr: "192.168.1.1"},
		{addr: "169.254.169.254"},
		{addr: "168.63.129.16"},
		{addr: "100.64.0.1"},
		{addr: "100.100.100.200"},
		{addr: "192.0.0.192"},
		{addr: "0.0.0.0"},
		{addr: "224.0.0.1"},
		{addr: "255.255.255.255"},
		{addr: "198.18.0.1"},
		{addr: "::"},
		{addr: "::1"},
		{addr: "::ffff:127.0.0.1"},
		{addr: "::ffff:169.254.169.254"},
		{addr: "::ffff:8.8.8.8", ok: true},
		{addr: "::7f00:1"},           // IPv4-compatible
		{addr: "64:ff9b::a9fe:a9fe"}, // NAT64 of metadata
		{addr: "2002:7f00:1::"},      // 6to4 of loopback
		{addr: "2001:0:7f00:1::"},    // Teredo
		{addr: "fd00:ec2::254"},
		{addr: "fc00::1"},
		{addr: "fe80::1%eth0"},
		{addr: "fec0::1"},
		{addr: "ff02::1"},
		{addr: "2001:db8::1"},
		{addr: "10.1.2.3", allow: "10.1.0.0/16", ok: true},
		{addr: "10.2.2.3", allow: "10.1.0.0/16"},
		{addr: "::ffff:10.1.2.3", allow: "10.1.0.0/16", ok: true},
		{addr: "::1", allow: "[::1]", ok: true},
		{addr: "169.254.169.254", allow: "169.254.169.254", ok: true}, // who says so may
		{addr: "10.1.2.3", named: true, ok: true},
		{addr: "fd12::1", named: true, ok: true},
		{addr: "169.254.169.254", named: true},
		{addr: "100.100.100.200", named: true},
		{addr: "fd00:ec2::254", named: true},
		{addr: "fe80::1", named: true},
		{addr: "::ffff:169.254.169.254", named: true},
	} {
		var allow []string
		if tc.allow != "" {
			allow = []string{tc.allow}
		}
		g, err := newGuard(allow)
		if err != nil {
			t.Fatal(err)
		}
		err = g.check(netip.MustParseAddr(tc.addr), tc.named)
		if (err == nil) != tc.ok || err != nil && !errors.Is(err, ErrBlocked) {
			t.Errorf("%s, allowed %q, named %v: %v", tc.addr, tc.allow, tc.named, err)
		}
	}
	for _, entry := range []string{"", "https://a", "a b", "10.0.0.0/33", "*.corp"} {
		if _, err := newGuard([]string{entry}); err == nil {
			t.Errorf("allows %q", entry)
		}
	}
}

func TestURLsAreCheckedWithoutBeingTold(t *testing.T) {
	for _, tc := range []struct {
		url, want string
		allow     []string
	}{
		{url: "https://hooks.example/hush"},
		{url: "http://hooks.example/hush", want: "http://"},
		{url: "http://hooks.example/hush", allow: []string{"HOOKS.example"}},
		{url: "http://127.0.0.1:80/hush", allow: []string{"127.0.0.0/8"}},
		{url: "http://127.0.0.1:80/hush", allow: []string{"10.0.0.0/8"}, want: "http://"},
		{url: "ftp://hooks.example/hush", want: "must begin with"},
		{url: "file:///etc/hush", want: "no host"},
		{url: "https://u:hush@hooks.example/", want: "password"},
		{url: "https://hooks.example:hush/", want: "cannot be parsed"},
		{url: "", want: "no host"},
	} {
		_, err := NewSlack(SlackOptions{Name: "s", URL: Secret(tc.url), Network: Network{Allow: tc.allow}})
		switch {
		case (err == nil) != (tc.want == ""), err != nil && !strings.Contains(err.Error(), tc.want):
			t.Errorf("%s: %v, want %q", tc.url, err, tc.want)
		case err != nil && strings.Contains(err.Error(), "hush"):
			t.Errorf("tells the url: %v", err)
		}
	}
}

// lyingResolver answers every question for an IPv4 address with the next of addrs, over and over, as a name server that
// rebinds does.
func lyingResolver(addrs ...string) *net.Resolver {
	var asked atomic.Int32
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			for { // a stream connection: messages with their lengths
				var n uint16
				if binary.Read(theirs, binary.BigEndian, &n) != nil {
					return
				}
				q := make([]byte, n)
				if _, err := theirs.Read(q); err != nil {
					return
				}
				a := netip.MustParseAddr(addrs[int(asked.Load())%len(addrs)])
				end := 12
				for q[end] != 0 {
					end += int(q[end]) + 1
				}
				kind := binary.BigEndian.Uint16(q[end+1:])
				reply := append([]byte{}, q[:end+5]...)
				copy(reply[2:], []byte{0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0})
				if kind == 1 {
					asked.Add(1)
					reply[7] = 1
					reply = append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
					reply = append(reply, a.AsSlice()...)
				}
				if _, err := theirs.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...)); err != nil {
					return
				}
			}
		}()
		return ours, nil
	}}
}

// counting is a local receiver that counts its requests.
func counting(t *testing.T, h http.HandlerFunc) (addr string, hits *atomic.Int32) {
	t.Helper()
	hits = new(atomic.Int32)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		h(w, r)
	}))
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String(), hits
}

func TestNamesThatResolveToPrivateAddressesAreBlocked(t *testing.T) {
	addr, hits := counting(t, func(http.ResponseWriter, *http.Request) {})
	_, port, _ := net.SplitHostPort(addr)
	for _, tc := range []struct {
		name, host string
		allow      []string
		resolver   *net.Resolver
		want       Result
	}{
		{"a public name of a private address", "rebind.example", nil, lyingResolver("127.0.0.1"), Failed},
		{"the name of a metadata service, allowed", "rebind.example", []string{"rebind.example"}, lyingResolver("169.254.169.254"), Failed},
		{"an allowed name", "inside.example", []string{"inside.example"}, lyingResolver("127.0.0.1"), Delivered},
		{"an allowed network", "inside.example", []string{"127.0.0.0/8"}, lyingResolver("127.0.0.1"), Delivered},
		{"localhost", "localhost", nil, nil, Failed},
		{"a private address", "127.0.0.1", nil, nil, Failed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			hits.Store(0)
			c, err := NewWebhook(WebhookOptions{
				Name: "hook", URL: "https://" + tc.host + ":" + port, Secrets: []Secret{testSecret},
				Network: Network{Allow: tc.allow, Resolver: tc.resolver, Timeout: 5 * time.Second},
			})
			if err != nil {
				t.Fatal(err)
			}
			m := message("ep_1", alert.FiringType)
			c.render = func(*alert.Message, time.Time) (*http.Request, error) { // plain, for the local receiver
				u, _ := url.Parse("http://" + tc.host + ":" + port)
				return post(u, "application/json", []byte("{}"))
			}
			out := c.Send(t.Context(), m, time.Now())
			c.Close()
			if out.Result != tc.want || tc.want == Failed && !errors.Is(out.Err, ErrBlocked) {
				t.Errorf("%s: %v", out.Result, out.Err)
			}
			if (hits.Load() > 0) != (tc.want == Delivered) {
				t.Errorf("%d requests arrived", hits.Load())
			}
		})
	}
}

// A name that is public when it is looked up first and private when it is connected to gains nothing: each connection
// checks the address it goes to.
func TestRebindingBetweenAttemptsIsBlocked(t *testing.T) {
	g, _ := newGuard(nil)
	dial := g.dial(lyingResolver("127.0.0.1"))
	for range 2 {
		conn, err := dial(t.Context(), "tcp", "rebind.example:80")
		if conn != nil {
			conn.Close()
		}
		if !errors.Is(err, ErrBlocked) {
			t.Errorf("dial: %v", err)
		}
	}
}

func TestProxiesOfTheEnvironmentAreNotUsed(t *testing.T) {
	proxy, proxied := counting(t, func(http.ResponseWriter, *http.Request) {})
	target, hits := counting(t, func(http.ResponseWriter, *http.Request) {})
	_, port, _ := net.SplitHostPort(target)
	t.Setenv("HTTP_PROXY", "http://"+proxy)
	t.Setenv("HTTPS_PROXY", "http://"+proxy)
	c, err := NewWebhook(WebhookOptions{Name: "hook", URL: "http://inside.example:" + port, Secrets: []Secret{testSecret}, Network: Network{
		Allow: []string{"inside.example"}, Resolver: lyingResolver("127.0.0.1"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if out := c.Send(t.Context(), message("ep_1", alert.FiringType), time.Now()); out.Result != Delivered {
		t.Errorf("%s: %v", out.Result, out.Err)
	}
	if proxied.Load() != 0 || hits.Load() != 1 {
		t.Errorf("%d requests to the proxy, %d to the receiver", proxied.Load(), hits.Load())
	}
}
