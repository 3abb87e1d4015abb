package serving

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
)

// OneWrite prepares a server so that Handler sends an answer with one write: net/http sends 4 KiB and then the rest, and
// each write is a system call that wakes the client up. The server is to serve the listener returned, in place of ln.
func OneWrite(srv *http.Server, ln net.Listener) net.Listener {
	srv.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if t, ok := c.(*tls.Conn); ok {
			c = t.NetConn()
		}
		return context.WithValue(ctx, gatherKey{}, c)
	}
	return gatherListener{ln}
}

type gatherKey struct{}

type gatherListener struct{ net.Listener }

// Accept implements net.Listener.
func (l gatherListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &gatherConn{Conn: c}, nil
}

// gatherConn gathers what is written while an answer of HTTP/1 is. Such a connection has one writer at a time, the
// goroutine of its handler.
type gatherConn struct {
	net.Conn
	gathering bool
	gathered  []byte
}

// Write implements net.Conn.
func (c *gatherConn) Write(b []byte) (int, error) {
	if c.gathering {
		c.gathered = append(c.gathered, b...)
		return len(b), nil
	}
	return c.Conn.Write(b)
}

// send ends the gathering and writes what there is. Its error is that of the connection, which ends with it.
func (c *gatherConn) send() {
	c.gathering = false
	if _, err := c.Conn.Write(c.gathered); err != nil {
		_ = c.Conn.Close()
	}
	if c.gathered = c.gathered[:0]; cap(c.gathered) > maxKeptBuffer {
		c.gathered = nil
	}
}

// WriteAnswer writes the body of an answer whose header is complete, its Content-Length included: with the header in one
// write where OneWrite prepared the server.
func WriteAnswer(w http.ResponseWriter, r *http.Request, body []byte) {
	const oneBuffer = 3 << 10 // such a body leaves net/http in one write with its header
	c, ok := r.Context().Value(gatherKey{}).(*gatherConn)
	if !ok || r.ProtoMajor != 1 || len(body) <= oneBuffer {
		w.Write(body) // a client that went away is its own loss
		return
	}
	c.gathering = true
	defer c.send()
	w.Write(body)
	_ = http.NewResponseController(w).Flush() // what cannot flush is written when the handler has returned
}
