package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/online"
	servingpb "github.com/freshet-io/freshet/serving/feastpb/feast/serving"
	typespb "github.com/freshet-io/freshet/serving/feastpb/feast/types"
)

// A caller asks one request after the other, each of other entities than the one before.
type caller interface {
	call(ctx context.Context) error
	io.Closer
}

// variants is how many different requests a caller has; they are made before anything is measured.
const variants = 64

// askFor lets so many callers ask as fast as they are answered, and returns how long each request took.
func askFor(ctx context.Context, dial func(context.Context) (caller, error), clients int, d time.Duration) ([]time.Duration, error) {
	callers := make([]caller, 0, clients)
	defer func() {
		for _, c := range callers {
			_ = c.Close()
		}
	}()
	for range clients {
		c, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		callers = append(callers, c)
	}
	type asked struct {
		times []time.Duration
		err   error
	}
	done := make(chan asked, clients)
	until := time.Now().Add(d)
	for _, c := range callers {
		go func() {
			var a asked
			for at := time.Now(); at.Before(until) && a.err == nil && ctx.Err() == nil; {
				a.err = c.call(ctx)
				now := time.Now()
				a.times = append(a.times, now.Sub(at))
				at = now
			}
			done <- a
		}()
	}
	var all []time.Duration
	var errs []error
	for range callers {
		a := <-done
		all, errs = append(all, a.times...), append(errs, a.err)
	}
	return all, errors.Join(append(errs, ctx.Err())...)
}

// ids returns the entities of each variant.
func (m *measuring) ids() [variants][]int {
	var of [variants][]int
	for i := range of {
		for range m.entities {
			of[i] = append(of[i], rand.IntN(m.Entities))
		}
	}
	return of
}

// httpCaller is a connection that does no more than HTTP needs: what it costs is not the server's.
type httpCaller struct {
	conn     net.Conn
	r        *bufio.Reader
	requests [variants][]byte
	next     int
}

func (m *measuring) dialHTTP(ctx context.Context) (caller, error) { return m.dialWeb(ctx, m.srv.HTTP) }

func (m *measuring) dialBare(ctx context.Context) (caller, error) { return m.dialWeb(ctx, m.srv.Bare) }

func (m *measuring) dialWeb(ctx context.Context, addr string) (caller, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &httpCaller{conn: conn, r: bufio.NewReaderSize(conn, 256<<10)}
	for i, ids := range m.ids() {
		body := m.body(ids)
		c.requests[i] = fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", lookupPath, len(body), body)
	}
	return c, nil
}

// lookupPath is where lookups over HTTP are asked for.
const lookupPath = "/get-online-features"

// body is the request for entities over HTTP; the bare server reads no other form.
func (c *lookupCase) body(ids []int) string {
	text := strings.Join(strings.Fields(fmt.Sprint(ids)), ",")
	return fmt.Sprintf(`{"feature_service":%q,"entities":{"user_id":%s}}`, c.service, text)
}

func (c *httpCaller) Close() error { return c.conn.Close() }

func (c *httpCaller) call(context.Context) error {
	c.next++
	if _, err := c.conn.Write(c.requests[c.next%variants]); err != nil {
		return err
	}
	length, status := -1, ""
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			break
		}
		if status == "" {
			status = string(line)
		}
		if n, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(n)); err != nil {
				return err
			}
		}
	}
	if length < 0 || !strings.HasPrefix(status, "HTTP/1.1 200") {
		return fmt.Errorf("answered %q, %d bytes", status, length)
	}
	if c.next > 1 {
		_, err := c.r.Discard(length)
		return err
	}
	body := make([]byte, length) // the first answer is looked at
	if _, err := io.ReadFull(c.r, body); err != nil {
		return err
	}
	if !bytes.Contains(body, []byte("PRESENT")) || bytes.Contains(body, []byte("NOT_FOUND")) || bytes.Contains(body, []byte("NULL_VALUE")) {
		return errors.New("answered without values")
	}
	return nil
}

// grpcCaller is a connection of its own.
type grpcCaller struct {
	conn     *grpc.ClientConn
	stub     servingpb.ServingServiceClient
	requests [variants]*servingpb.GetOnlineFeaturesRequest
	next     int
}

func (m *measuring) dialGRPC(context.Context) (caller, error) {
	conn, err := grpc.NewClient("passthrough:///"+m.srv.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	c := &grpcCaller{conn: conn, stub: servingpb.NewServingServiceClient(conn)}
	for i, ids := range m.ids() {
		values := make([]*typespb.Value, len(ids))
		for k, id := range ids {
			values[k] = &typespb.Value{Val: &typespb.Value_Int64Val{Int64Val: int64(id)}}
		}
		c.requests[i] = &servingpb.GetOnlineFeaturesRequest{
			Kind:     &servingpb.GetOnlineFeaturesRequest_FeatureService{FeatureService: m.service},
			Entities: map[string]*typespb.RepeatedValue{"user_id": {Val: values}},
		}
	}
	return c, nil
}

func (c *grpcCaller) Close() error { return c.conn.Close() }

func (c *grpcCaller) call(ctx context.Context) error {
	c.next++
	resp, err := c.stub.GetOnlineFeatures(ctx, c.requests[c.next%variants])
	if err != nil || c.next > 1 {
		return err
	}
	for _, column := range resp.GetResults() {
		for _, status := range column.GetStatuses() {
			if status != servingpb.FieldStatus_PRESENT {
				return fmt.Errorf("answered with %s", status)
			}
		}
	}
	return nil
}

// storeCaller reads what a lookup reads and does nothing with it.
type storeCaller struct {
	rdb      *online.Client
	fields   *viewFields
	requests [variants][]online.FetchRequest
	out      [][][]byte
	memory   online.Memory
	next     int
}

func (m *measuring) dialStore(context.Context) (caller, error) {
	v, err := m.viewOf()
	if err != nil {
		return nil, err
	}
	c := &storeCaller{rdb: m.rdb, out: make([][][]byte, m.entities), fields: newViewFields(v, allOf(v))}
	for i, ids := range m.ids() {
		for _, id := range ids {
			c.requests[i] = append(c.requests[i], online.FetchRequest{Key: string(entityKey(m.plane, v, id))})
		}
	}
	return c, nil
}

func (m *measuring) viewOf() (*config.View, error) { return m.lookupCase.viewIn(m.plane) }

// viewIn finds the view that the case's service serves.
func (c *lookupCase) viewIn(plane *config.Plane) (*config.View, error) {
	for _, v := range plane.Views {
		if v.Name == c.view {
			return v, nil
		}
	}
	return nil, fmt.Errorf("no view %s", c.view)
}

func (c *storeCaller) Close() error { return nil }

func (c *storeCaller) call(ctx context.Context) error {
	c.next++
	requests, fields := c.requests[c.next%variants], c.fields.at(time.Now())
	for i := range requests {
		requests[i].Fields = fields
	}
	return c.rdb.FetchInto(ctx, requests, c.out, &c.memory)
}

// storedBytes returns how many bytes a request reads from the store.
func (m *measuring) storedBytes(ctx context.Context) (n int, err error) {
	asked, err := m.dialStore(ctx)
	if err != nil {
		return 0, err
	}
	c := asked.(*storeCaller)
	if err := c.call(ctx); err != nil {
		return 0, err
	}
	for _, entity := range c.out {
		for _, blob := range entity {
			if blob == nil {
				return 0, errors.New("an entity is not in Redis")
			}
			n += len(blob)
		}
	}
	return n, nil
}
