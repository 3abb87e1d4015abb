package online

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"go.uber.org/goleak"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/testenv"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// The shared server lives as long as the test binary.
		goleak.IgnoreAnyFunction("github.com/freshet-io/freshet/internal/testenv.start.func1"),
		goleak.IgnoreAnyFunction("os/exec.(*Cmd).Start.func2"),
	)
}

// open returns a client that is closed with the test.
func open(t testing.TB, url string, opts Options) *Client {
	t.Helper()
	c, err := Open(t.Context(), config.Redis{URL: config.Secret(url)}, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// embedded returns a client of a miniredis of its own.
func embedded(t testing.TB) (*Client, *miniredis.Miniredis) {
	t.Helper()
	m := miniredis.NewMiniRedis()
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return open(t, "redis://"+m.Addr(), Options{Embedded: true}), m
}

func clusterURL(nodes []*testenv.RedisServer) string {
	addrs := make([]string, len(nodes))
	for i, n := range nodes {
		addrs[i] = n.Addr()
	}
	return "redis-cluster://" + strings.Join(addrs, ",")
}

// version is short for versions that differ in their offsets only.
func version(offset uint64) feature.Version { return feature.MakeVersion(1763800000000, 3, offset, 0) }

// zero is the tail version of a head without a tail.
var zero feature.Version

// headBlob is a head whose tail, if it has one, has no pages.
func headBlob(v, tail feature.Version, payload string) []byte { return pagedHead(v, tail, 0, payload) }

// pagedHead is a head whose tail has so many pages.
func pagedHead(v, tail feature.Version, pages int, payload string) []byte {
	b := append([]byte{2}, v[:]...)
	b = append(b, tail[:]...)
	b = append(b, byte(min(pages, 1)), 0, byte(pages), byte(pages>>8))
	return append(b, payload...)
}

// tailBlob is a tail with pages.
func tailBlob(v feature.Version, payload string, pages ...string) []byte {
	b := append([]byte{2}, v[:]...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(b)+4+len(payload)))
	b = append(b, payload...)
	for place, page := range pages {
		b = binary.LittleEndian.AppendUint16(b, uint16(place))
		b = binary.LittleEndian.AppendUint32(b, uint32(len(page)))
		b = append(b, page...)
	}
	return b
}

// entity names one entity's view for a test, so that writes and reads are short.
type entity struct {
	t          testing.TB
	c          *Client
	key        string
	head, tail string // fields
}

func newEntity(t testing.TB, c *Client, project, name string) entity {
	h, tl := Fields("view", config.Fingerprint{1, 2, 3})
	return entity{t: t, c: c, key: string(AppendKey(nil, project, "e", []byte(name))), head: h, tail: tl}
}

func (e entity) write(head, tail []byte, expire time.Duration) Outcome {
	e.t.Helper()
	var out [1]Outcome
	if err := e.c.Write(e.t.Context(), []Write{e.of(head, tail, expire)}, out[:]); err != nil {
		e.t.Fatal(err)
	}
	return out[0]
}

func (e entity) of(head, tail []byte, expire time.Duration) Write {
	return Write{Key: []byte(e.key), HeadField: e.head, TailField: e.tail, Head: head, Tail: tail, Expire: expire}
}

func (e entity) read() (head, tail []byte) {
	e.t.Helper()
	out := make([][][]byte, 1)
	if err := e.c.Fetch(e.t.Context(), []FetchRequest{{Key: e.key, Fields: []string{e.head, e.tail}}}, out); err != nil {
		e.t.Fatal(err)
	}
	return out[0][0], out[0][1]
}

func (e entity) wantStored(head, tail []byte) {
	e.t.Helper()
	gotHead, gotTail := e.read()
	if string(gotHead) != string(head) || string(gotTail) != string(tail) {
		e.t.Fatalf("stored\n%q\n%q\nwant\n%q\n%q", gotHead, gotTail, head, tail)
	}
}

// wantPages checks that these pages are stored, and no field but theirs, the head's and the tail's.
func (e entity) wantPages(pages ...string) {
	e.t.Helper()
	stored, err := e.c.redis.HGetAll(e.t.Context(), e.key).Result()
	if err != nil {
		e.t.Fatal(err)
	}
	delete(stored, e.head)
	delete(stored, e.tail)
	for place, page := range pages {
		if got := stored[PageField(e.tail, place)]; got != page {
			e.t.Fatalf("page %d is %q, want %q", place, got, page)
		}
		delete(stored, PageField(e.tail, place))
	}
	if len(stored) > 0 {
		e.t.Fatalf("also stored: %q", stored)
	}
}

// ttl is -1 without an expiry and -2 without a key.
func (e entity) ttl() time.Duration {
	e.t.Helper()
	d, err := e.c.redis.PTTL(e.t.Context(), e.key).Result()
	if err != nil {
		e.t.Fatal(err)
	}
	return d
}

func (e entity) wantTTL(about time.Duration) {
	e.t.Helper()
	if got := e.ttl(); got < about-5*time.Second || got > about {
		e.t.Fatalf("time to live %v, want about %v", got, about)
	}
}

func wantOutcome(t testing.TB, got, want Outcome) {
	t.Helper()
	if got != want {
		t.Fatalf("outcome %v, want %v", got, want)
	}
}

// eventually calls f until it succeeds; the last error fails the test.
func eventually(t testing.TB, within time.Duration, f func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	for {
		err := f(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("not within %v: %v", within, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// freeze is a server that takes connections and never answers.
func freeze(t testing.TB) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns []net.Conn
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns = append(conns, conn)
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
		for _, c := range conns {
			_ = c.Close()
		}
	})
	return l.Addr().String()
}

func keysOf(project string, n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = string(AppendKey(nil, project, "e", fmt.Appendf(nil, "%d", i)))
	}
	return keys
}
