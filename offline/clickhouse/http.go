package clickhouse

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/ClickHouse/ch-go/proto"
)

// web speaks HTTP, for servers whose native port is out of reach. Rows travel in the Native format, in its oldest revision,
// which every server reads and writes.
type web struct {
	a      *address
	client *http.Client
	next   atomic.Uint32
}

func newHTTP(a *address) *web {
	return &web{a: a, client: &http.Client{Transport: &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSHandshakeTimeout: dialTimeout,
		TLSClientConfig:     a.tls,
		MaxIdleConnsPerHost: idleConns,
		IdleConnTimeout:     time.Minute,
		DisableCompression:  a.compress == "none",
	}}}
}

func (w *web) close() { w.client.CloseIdleConnections() }

// do tries the next host only while nothing has been sent.
func (w *web) do(ctx context.Context, q *query) error {
	body, err := w.body(q)
	if err != nil {
		return err
	}
	first := int(w.next.Add(1))
	var errs []error
	for i := range w.a.hosts {
		err := w.post(ctx, w.a.hosts[(first+i)%len(w.a.hosts)], q, body)
		var op *net.OpError
		if err == nil || !errors.As(err, &op) || op.Op != "dial" {
			return errors.Join(append(errs, err)...)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// body is the statement, or the rows of an INSERT, whose statement is in the URL then.
func (w *web) body(q *query) ([]byte, error) {
	if q.input == nil {
		sql := q.sql
		if q.block != nil {
			sql += " FORMAT Native"
		}
		return []byte(sql), nil
	}
	var b proto.Buffer
	block := proto.Block{Columns: len(q.input), Rows: q.input[0].Data.Rows()}
	if err := block.EncodeRawBlock(&b, 0, q.input); err != nil {
		return nil, err
	}
	if w.a.compress == "none" {
		return b.Buf, nil
	}
	method := compress.LZ4
	if w.a.compress == "zstd" {
		method = compress.ZSTD
	}
	var out []byte
	frames := compress.NewWriter(compress.LevelZero, method)
	for len(b.Buf) > 0 {
		n := min(len(b.Buf), 1<<20)
		if err := frames.Compress(b.Buf[:n]); err != nil {
			return nil, fmt.Errorf("compress a block: %w", err)
		}
		out, b.Buf = append(out, frames.Data...), b.Buf[n:]
	}
	return out, nil
}

func (w *web) post(ctx context.Context, host string, q *query, body []byte) error {
	values := url.Values{}
	for _, s := range q.settings {
		values.Set(s.name, s.text)
	}
	for _, p := range q.params {
		values.Set("param_"+p.name, p.text)
	}
	if w.a.compress != "none" {
		values.Set("enable_http_compression", "1") // of results: the client undoes it
	}
	if q.input != nil {
		values.Set("query", strings.TrimSuffix(q.sql, " VALUES")+" FORMAT Native")
		if w.a.compress != "none" {
			values.Set("decompress", "1")
		}
	}
	u := url.URL{Scheme: "http", Host: host, Path: "/", RawQuery: values.Encode()}
	if w.a.tls != nil {
		u.Scheme = "https"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return errors.New("clickhouse: the request cannot be made") // the error would show the URL
	}
	if w.a.password != "" || w.a.user != "default" { // the default user needs no word
		req.Header.Set("X-ClickHouse-User", w.a.user)
		req.Header.Set("X-ClickHouse-Key", w.a.password)
	}
	resp, err := w.client.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err // without the URL
		}
		return fmt.Errorf("post to %s: %w", host, err)
	}
	defer resp.Body.Close()
	return read(resp, q)
}

// read takes the result as it comes.
func read(resp *http.Response, q *query) error {
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4096)) // a part of the reason is one
		return fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(text)))
	}
	if q.block == nil {
		text, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
		if err == nil && bytes.Contains(text, []byte("__exception__")) {
			err = errors.New(strings.TrimSpace(string(text)))
		}
		return err
	}
	br := bufio.NewReaderSize(resp.Body, 128<<10)
	src := proto.NewReader(br) // it adds no buffer to one of this size
	for {
		if _, err := br.Peek(1); errors.Is(err, io.EOF) {
			return nil
		}
		var block proto.Block
		if err := block.DecodeRawBlock(src, 0, q.result); err != nil {
			rest, _ := io.ReadAll(io.LimitReader(br, 4096)) // an error that came with rows under way is told in their place
			return fmt.Errorf("read the result: %w %s", err, strings.TrimSpace(string(rest)))
		}
		if block.Rows == 0 {
			continue
		}
		if err := q.block(); err != nil {
			return err
		}
	}
}
