package serving

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// countedListener counts the writes to its connections.
type countedListener struct {
	net.Listener
	writes *atomic.Int64
}

func (l countedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return countedConn{c, l.writes}, err
}

type countedConn struct {
	net.Conn
	writes *atomic.Int64
}

func (c countedConn) Write(b []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(b)
}

// TestAnswersAreOneWrite: an answer of any size is one write to its connection, with and without TLS, and the next
// request of the connection is answered too.
func TestAnswersAreOneWrite(t *testing.T) {
	p, s := busyUser(t)
	l, err := New(p, s, Options{Clock: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	body := func(rows int) string {
		return fmt.Sprintf(`{"features":["busy:sum1","busy:sum2"],"entities":{"user_id":[%s7]}}`, strings.Repeat("7,", rows-1))
	}
	for _, secure := range []bool{false, true} {
		var writes atomic.Int64
		srv := httptest.NewUnstartedServer(l.Handler())
		srv.Listener = OneWrite(srv.Config, countedListener{srv.Listener, &writes})
		if secure {
			srv.TLS = &tls.Config{NextProtos: []string{"http/1.1"}}
			srv.StartTLS()
		} else {
			srv.Start()
		}
		ask := func(rows int) {
			t.Helper()
			resp, err := srv.Client().Post(srv.URL+"/get-online-features", "application/json", strings.NewReader(body(rows)))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			got, err := io.ReadAll(resp.Body)
			if want := post(t, l, body(rows)).Body.String(); err != nil || resp.StatusCode != http.StatusOK || string(got) != want || resp.ContentLength != int64(len(want)) {
				t.Fatalf("%d rows: status %d, %d bytes, %v; want %d", rows, resp.StatusCode, len(got), err, len(want))
			}
		}
		ask(1) // connects, and shakes hands
		for _, rows := range []int{1, 30, 50, 1000, 2} {
			writes.Store(0)
			ask(rows)
			if n := writes.Load(); n != 1 {
				t.Errorf("TLS %v, %d rows: %d writes", secure, rows, n)
			}
		}
		srv.Close()
	}
}

// TestAnswersOverHTTP2: where requests share a connection nothing is gathered.
func TestAnswersOverHTTP2(t *testing.T) {
	p, s := busyUser(t)
	l, err := New(p, s, Options{Clock: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(l.Handler())
	srv.EnableHTTP2 = true
	srv.Listener = OneWrite(srv.Config, srv.Listener)
	srv.StartTLS()
	defer srv.Close()
	body := `{"features":["busy:sum1"],"entities":{"user_id":[` + strings.Repeat("7,", 200) + `7]}}`
	want := post(t, l, body).Body.String()
	done := make(chan error, 8)
	for range cap(done) {
		go func() {
			resp, err := srv.Client().Post(srv.URL+"/get-online-features", "application/json", strings.NewReader(body))
			if err != nil {
				done <- err
				return
			}
			defer resp.Body.Close()
			got, err := io.ReadAll(resp.Body)
			if err == nil && (resp.ProtoMajor != 2 || string(got) != want) {
				err = fmt.Errorf("HTTP/%d, %d bytes; want %d", resp.ProtoMajor, len(got), len(want))
			}
			done <- err
		}()
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
