package e2e

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
)

// endTxn is Kafka's number of the request that ends a transaction.
const endTxn = 26

// proxy stands between the processes and Kafka, and does what networks do.
type proxy struct {
	ln net.Listener
	wg sync.WaitGroup

	mu       sync.Mutex
	target   string
	conns    map[net.Conn]bool
	closed   bool
	down     bool      // connections are refused
	whose    [2]string // parts of the transactional ids that are meant below
	lost     int       // as many answers to endTxn are lost, with their connections, once Kafka has given them
	unheard  int       // as many requests endTxn are lost, with their connections, before Kafka has them
	happened int       // of both
	// watch, if not nil, is told of each request before it goes on, and may hold it up.
	watch func(request []byte)
}

func startProxy(t *testing.T) *proxy {
	t.Helper()
	return startProxyAt(t, "127.0.0.1:0")
}

func startProxyAt(t *testing.T, addr string) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{ln: ln, conns: map[net.Conn]bool{}}
	p.wg.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

func (p *proxy) addr() string { return p.ln.Addr().String() }

func (p *proxy) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.ln.Close()
	p.cut()
	p.wg.Wait()
}

func (p *proxy) set(fn func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fn()
}

// cut closes every connection.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}

func (p *proxy) faults() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.happened
}

func (p *proxy) accept() {
	for {
		client, err := p.ln.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.serve(client) })
	}
}

// track remembers a connection to be cut; it is not ok if it must not live.
func (p *proxy) track(c net.Conn) (ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[c] = true
	return !p.closed && !p.down
}

func (p *proxy) drop(c net.Conn) {
	c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

func (p *proxy) serve(client net.Conn) {
	defer p.drop(client)
	if !p.track(client) {
		return
	}
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer p.drop(server)
	if !p.track(server) {
		return
	}
	asked := make(chan bool, 1000) // whether each request under way ends a transaction that is meant; answers come in order
	p.wg.Go(func() {
		defer client.Close()
		defer server.Close()
		p.forward(server, client, func(frame []byte) bool {
			p.watched(frame)
			ends := p.endsMeant(frame)
			if ends && p.strikes(&p.unheard) {
				return false
			}
			asked <- ends
			return true
		})
		close(asked)
	})
	p.forward(client, server, func([]byte) bool {
		ends, ok := <-asked
		return ok && !(ends && p.strikes(&p.lost))
	})
	client.Close() // ends the other direction, which may wait to tell what it forwarded
	for range asked {
	}
}

// watched tells whoever watches of a request.
func (p *proxy) watched(request []byte) {
	p.mu.Lock()
	watch := p.watch
	p.mu.Unlock()
	if watch != nil {
		watch(request)
	}
}

// endsMeant says whether a request ends a transaction that faults are meant for.
func (p *proxy) endsMeant(request []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return binary.BigEndian.Uint16(request[4:]) == endTxn &&
		bytes.Contains(request, []byte(p.whose[0])) && bytes.Contains(request, []byte(p.whose[1]))
}

// strikes takes one of what is left of a fault.
func (p *proxy) strikes(left *int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if *left == 0 {
		return false
	}
	*left--
	p.happened++
	return true
}

// forward copies frames, which begin with their length, until one direction ends or a frame does not pass.
func (p *proxy) forward(to io.Writer, from io.Reader, passes func(frame []byte) bool) {
	const longest = 128 << 20
	var frame []byte
	for {
		frame = append(frame[:0], make([]byte, 4)...)
		if _, err := io.ReadFull(from, frame); err != nil {
			return
		}
		n := int(binary.BigEndian.Uint32(frame))
		if n < 4 || n > longest {
			return
		}
		frame = append(frame, make([]byte, n)...)
		if _, err := io.ReadFull(from, frame[4:]); err != nil || !passes(frame) {
			return
		}
		if _, err := to.Write(frame); err != nil {
			return
		}
	}
}
