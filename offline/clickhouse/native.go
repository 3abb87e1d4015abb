package clickhouse

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"
)

// idleConns is how many connections wait for the next query; more are opened when more are needed, and closed after.
const idleConns = 4

// native speaks the native protocol.
type native struct {
	opts  ch.Options
	hosts []string
	next  atomic.Uint32 // host to begin with: connections are spread

	mu struct {
		sync.Mutex
		idle   []*ch.Client
		closed bool
	}
}

func newNative(a *address) *native {
	return &native{
		hosts: a.hosts,
		opts: ch.Options{
			// Names are qualified: the database may not exist yet.
			User: a.user, Password: a.password, TLS: a.tls, ClientName: "freshet",
			DialTimeout: dialTimeout, HandshakeTimeout: dialTimeout, ReadTimeout: ch.NoTimeout, // contexts bound queries
			Compression: map[string]ch.Compression{"none": ch.CompressionDisabled, "lz4": ch.CompressionLZ4, "zstd": ch.CompressionZSTD}[a.compress],
		},
	}
}

// do uses a connection that has proved good, and gives it back only after a query without an error: what is left in one
// after an error is not worth finding out.
func (n *native) do(ctx context.Context, q *query) error {
	cl, err := n.take(ctx)
	if err != nil {
		return err
	}
	err = cl.Do(ctx, n.form(q))
	n.mu.Lock()
	keep := err == nil && !n.mu.closed && len(n.mu.idle) < idleConns
	if keep {
		n.mu.idle = append(n.mu.idle, cl)
	}
	n.mu.Unlock()
	if !keep {
		_ = cl.Close()
	}
	return err
}

func (n *native) form(q *query) ch.Query {
	out := ch.Query{Body: q.sql, Input: q.input}
	for _, s := range q.settings {
		out.Settings = append(out.Settings, ch.Setting{Key: s.name, Value: s.text, Important: true})
	}
	for _, p := range q.params { // a second level of escapes, for the protocol
		text := strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(p.text)
		out.Parameters = append(out.Parameters, proto.Parameter{Key: p.name, Value: "'" + text + "'"})
	}
	if q.block != nil {
		out.Result = q.result
		out.OnResult = func(_ context.Context, b proto.Block) error {
			if b.Rows == 0 { // it tells the columns
				return nil
			}
			return q.block()
		}
	}
	return out
}

func (n *native) take(ctx context.Context) (*ch.Client, error) {
	for {
		n.mu.Lock()
		var cl *ch.Client
		if last := len(n.mu.idle) - 1; last >= 0 {
			cl, n.mu.idle = n.mu.idle[last], n.mu.idle[:last]
		}
		n.mu.Unlock()
		if cl == nil {
			return n.dial(ctx)
		}
		if n.alive(ctx, cl) {
			return cl, nil
		}
		_ = cl.Close()
	}
}

// alive pings: a server that was restarted has forgotten its connections, and an insert should not be the one to notice.
func (n *native) alive(ctx context.Context, cl *ch.Client) bool {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return !cl.IsClosed() && cl.Ping(ctx) == nil
}

func (n *native) dial(ctx context.Context) (*ch.Client, error) {
	first := int(n.next.Add(1))
	var errs []error
	for i := range n.hosts {
		opts := n.opts
		opts.Address = n.hosts[(first+i)%len(n.hosts)]
		cl, err := ch.Dial(ctx, opts)
		if err == nil {
			return cl, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func (n *native) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.closed = true
	for _, cl := range n.mu.idle {
		_ = cl.Close()
	}
	n.mu.idle = nil
}
