package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/ClickHouse/ch-go/proto"
)

// nativeConn is a client's connection. One query is under way at a time.
type nativeConn struct {
	*server
	net.Conn
	br       *bufio.Reader
	r        *proto.Reader // over br, so that br.Peek sees what r has not read
	out      proto.Buffer
	rev      int
	s        *session
	compress bool // blocks, both ways
	lz4      *compress.Writer
}

func (sv *server) serveNative(conn net.Conn) {
	defer conn.Close()
	br := bufio.NewReaderSize(conn, 256<<10)
	c := &nativeConn{server: sv, Conn: conn, br: br, r: proto.NewReader(br), lz4: compress.NewWriter(compress.LevelZero, compress.LZ4)}
	err := c.hello()
	if c.s != nil {
		defer c.s.close()
	}
	for err == nil { // a client that goes away is no news
		err = c.packet()
	}
}

func (c *nativeConn) flush() error {
	_, err := c.Write(c.out.Buf)
	c.out.Reset()
	return err
}

func (c *nativeConn) refuse(err error) error {
	e := asException(err)
	proto.ServerCodeException.Encode(&c.out)
	e.EncodeAware(&c.out, c.rev)
	return c.flush()
}

func (c *nativeConn) hello() error {
	var h proto.ClientHello
	if code, err := c.r.UVarInt(); err != nil || code != uint64(proto.ClientCodeHello) {
		return fmt.Errorf("not a hello: %d %w", code, err)
	}
	if err := h.Decode(c.r); err != nil {
		return err
	}
	c.rev = min(revision, h.ProtocolVersion)
	var err error
	if c.s, err = c.lib.open(c.data); err == nil && h.Database != "" {
		err = c.s.exec("USE " + identifier(h.Database))
	}
	if err != nil {
		return errors.Join(err, c.refuse(err))
	}
	v := c.version
	answer := proto.ServerHello{
		Name: "ClickHouse", Major: v[0], Minor: v[1], Patch: v[2], Revision: revision, Timezone: c.zone, DisplayName: "test",
	}
	answer.EncodeAware(&c.out, c.rev)
	if err := c.flush(); err != nil {
		return err
	}
	if proto.FeatureAddendum.In(c.rev) {
		_, err = c.r.Str() // quota key
	}
	return err
}

func (c *nativeConn) packet() error {
	code, err := c.r.UVarInt()
	if err != nil {
		return err
	}
	switch proto.ClientCode(code) {
	case proto.ClientCodePing:
		proto.ServerCodePong.Encode(&c.out)
		return c.flush()
	case proto.ClientCodeCancel: // of a query that has ended
		return nil
	case proto.ClientCodeData: // left of an INSERT that was refused
		_, _, err := c.readBlock(new(proto.Buffer))
		return err
	case proto.ClientCodeQuery:
		var q proto.Query
		if err := q.DecodeAware(c.r, c.rev); err != nil {
			return err
		}
		c.compress = q.Compression == proto.CompressionEnabled
		err := c.query(q)
		if e := (*exception)(nil); errors.As(err, &e) {
			return c.refuse(e)
		}
		return err
	}
	return fmt.Errorf("packet %d is not known here", code)
}

// readBlock reads the body of a Data packet and appends it to dst as the engine reads it.
func (c *nativeConn) readBlock(dst *proto.Buffer) (cols []column, rows int, err error) {
	if name, err := c.r.Str(); err != nil || name != "" {
		return nil, 0, errors.Join(err, fmt.Errorf("external table %q", name))
	}
	if c.compress {
		c.r.EnableCompression()
		defer c.r.DisableCompression()
	}
	return copyBlock(dst, c.r, c.rev, 0)
}

// readBlocks reads Data packets up to the empty one that ends them.
func (c *nativeConn) readBlocks(each func(block []byte) error) error {
	var b proto.Buffer
	for {
		code, err := c.r.UVarInt()
		if err != nil || code != uint64(proto.ClientCodeData) {
			return errors.Join(err, fmt.Errorf("packet %d instead of data", code))
		}
		b.Reset()
		cols, rows, err := c.readBlock(&b)
		if err != nil || len(cols) == 0 {
			return err
		}
		if rows > 0 {
			if err := each(b.Buf); err != nil {
				return err
			}
		}
	}
}

// sendBlock queues a Data packet.
func (c *nativeConn) sendBlock(block []byte) error {
	proto.ServerCodeData.Encode(&c.out)
	c.out.PutString("")
	if !c.compress {
		c.out.PutRaw(block)
		return nil
	}
	for part := range slices.Chunk(block, 1<<20) {
		if err := c.lz4.Compress(part); err != nil {
			return err
		}
		c.out.PutRaw(c.lz4.Data)
	}
	return nil
}

func (c *nativeConn) query(q proto.Query) error {
	if err := c.readBlocks(func([]byte) error { return nil }); err != nil { // external tables
		return err
	}
	st := statement{sql: q.Body, format: "Native", settings: slices.Clone(q.Settings), params: q.Parameters}
	for i, o := range st.settings {
		if o.Custom {
			st.settings[i].Value = unquote(o.Value)
		}
	}
	for i, p := range st.params {
		st.params[i].Value = unquote(p.Value)
	}
	if in, ok := parseInsert(q.Body); ok {
		return c.insert(in, st)
	}
	st.sql = formatText.ReplaceAllString(st.sql, "")
	return c.answer(st)
}

// insert spools the rows, so that the statement runs when all of them are here: a client that dies has inserted nothing.
func (c *nativeConn) insert(in insert, st statement) error {
	cols, err := in.takes(c.s)
	if err != nil {
		return err
	}
	if err := errors.Join(c.sendBlock(header(c.rev, cols...)), c.flush()); err != nil {
		return err
	}
	f, err := os.CreateTemp(c.spool, "insert-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	blocks := 0
	err = c.readBlocks(func(block []byte) error {
		blocks++
		c.profileEvents()
		_, err := f.Write(block)
		return errors.Join(err, c.flush())
	})
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if blocks == 0 {
		return c.endOfStream()
	}
	in.format = "Native"
	st.sql, st.whole = in.from(f.Name()), true
	return c.answer(st)
}

// answer runs a statement and sends its result.
func (c *nativeConn) answer(st statement) error {
	ctx, stop := c.untilCancelled()
	defer stop()
	blocks := 0
	n, err := c.run(ctx, c.s, st, func(piece []byte) error {
		return eachBlock(piece, func(src *proto.Reader) error {
			var b proto.Buffer
			cols, _, err := copyBlock(&b, src, 0, c.rev)
			if err != nil {
				return &exception{proto.Exception{Code: unknownException, Name: "DB::Exception", Message: err.Error()}}
			}
			if blocks == 0 { // a result begins with a block without rows
				err = c.sendBlock(header(c.rev, cols...))
			}
			blocks++
			return errors.Join(err, c.sendBlock(b.Buf), c.flush())
		})
	})
	if ctx.Err() != nil && !st.whole { // a cancelled query just ends
		return c.endOfStream()
	}
	if err == nil && blocks == 0 && answers.MatchString(st.sql) {
		err = c.sendColumns(ctx, st)
	}
	if err != nil {
		return err
	}
	proto.ServerCodeProgress.Encode(&c.out)
	proto.Progress{Rows: n.read, WroteRows: n.written}.EncodeAware(&c.out, c.rev)
	if blocks > 0 {
		proto.Profile{Rows: n.read, Blocks: uint64(blocks)}.EncodeAware(&c.out, c.rev)
		if err := c.sendBlock(header(c.rev)); err != nil {
			return err
		}
	}
	return c.endOfStream()
}

// sendColumns sends the columns of a result without rows, of which the engine writes no block: a format that has a header
// tells them.
func (c *nativeConn) sendColumns(ctx context.Context, st statement) error {
	st.format = "JSONCompactEachRowWithNamesAndTypes"
	var text strings.Builder
	if _, err := c.run(ctx, c.s, st, func(piece []byte) error {
		text.Write(piece)
		return nil
	}); err != nil {
		return err
	}
	var names, types []string
	dec := json.NewDecoder(strings.NewReader(text.String()))
	if err := errors.Join(dec.Decode(&names), dec.Decode(&types)); err != nil {
		return fmt.Errorf("read the columns of an empty result: %w", err)
	}
	var cols []column
	for i := range names {
		cols = append(cols, column{name: names[i], typ: types[i]})
	}
	return c.sendBlock(header(c.rev, cols...))
}

// untilCancelled returns a context that ends when the client cancels its query or goes away; stop gives the connection
// back to the reader.
func (c *nativeConn) untilCancelled() (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		b, err := c.br.Peek(1)
		if errors.Is(err, os.ErrDeadlineExceeded) || err == nil && b[0] != byte(proto.ClientCodeCancel) {
			return
		}
		cancel()
	}()
	return ctx, func() {
		_ = c.SetReadDeadline(time.Unix(1, 0))
		<-done
		_ = c.SetReadDeadline(time.Time{})
		cancel()
	}
}

func (c *nativeConn) endOfStream() error {
	c.profileEvents()
	proto.ServerCodeEndOfStream.Encode(&c.out)
	return c.flush()
}

// profileEvents queues a packet of no events: some clients wait for one after each block they insert and the last.
func (c *nativeConn) profileEvents() {
	if !proto.FeatureProfileEvents.In(c.rev) {
		return
	}
	proto.ServerProfileEvents.Encode(&c.out)
	c.out.PutString("")
	c.out.PutRaw(header(c.rev, // never compressed
		column{"host_name", "String"}, column{"current_time", "DateTime"}, column{"thread_id", "UInt64"},
		column{"type", "Enum8('increment' = 1, 'gauge' = 2)"}, column{"name", "String"}, column{"value", "Int64"}))
}
