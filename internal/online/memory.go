package online

import (
	"io"
	"slices"
	"strconv"
)

// Memory is what replies are read into, to be used again by the next fetch: a lookup of a hundred entities reads most of
// a megabyte, which is not to be allocated each time. The zero value is ready; it is for one fetch at a time.
type Memory struct {
	buf    []byte   // the replies to a pipeline, one after the other, as they came
	chunks [][]byte // the replies to the pipelines before it
	args   []any    // of all commands of a pipeline: each has a slice of it
}

// Size returns how many bytes the memory keeps for the next fetch.
func (m *Memory) Size() int { return cap(m.buf) + 16*cap(m.args) }

// Forget lets go of the requests and of all replies but the memory they were in.
func (m *Memory) Forget() {
	clear(m.args[:cap(m.args)])
	m.args = m.args[:0]
	clear(m.chunks)
	m.chunks = m.chunks[:0]
	m.buf = m.buf[:0]
}

// begin prepares for the commands of a pipeline and their replies.
func (m *Memory) begin(reqs []FetchRequest) {
	size := 0
	for i := range reqs {
		size += 2 + len(reqs[i].Fields)
	}
	m.args = slices.Grow(m.args[:0], size) // never moves while commands hold slices of it
	m.buf = m.buf[:0]
	if len(m.chunks) > 0 {
		m.buf = nil
	}
}

// command returns the arguments of the command for a request, nil for one of no fields.
func (m *Memory) command(r *FetchRequest) []any {
	if len(r.Fields) == 0 {
		return nil
	}
	from := len(m.args)
	m.args = append(m.args, "hmget", &r.Key)
	for f := range r.Fields {
		m.args = append(m.args, &r.Fields[f])
	}
	return m.args[from:len(m.args):len(m.args)]
}

// end returns the replies of the pipeline and keeps them from the next one of the same fetch.
func (m *Memory) end() []byte {
	m.chunks = append(m.chunks, m.buf)
	return m.buf
}

// Write implements io.Writer for the lines of replies.
func (m *Memory) Write(b []byte) (int, error) {
	m.buf = append(m.buf, b...)
	return len(b), nil
}

// ReadFrom implements io.ReaderFrom for the content of replies, whose lengths are known: no copy is made on the way.
func (m *Memory) ReadFrom(r io.Reader) (int64, error) {
	from := len(m.buf)
	l, ok := r.(*io.LimitedReader)
	if !ok || l.N > maxReply {
		return io.Copy(writerOnly{m}, r)
	}
	m.buf = slices.Grow(m.buf, int(l.N))
	n, err := io.ReadFull(l.R, m.buf[from:from+int(l.N)])
	m.buf = m.buf[:from+n]
	l.N -= int64(n)
	if err == io.ErrUnexpectedEOF || err == io.EOF {
		err = nil // the reader of the reply sees that it is short
	}
	return int64(n), err
}

// maxReply is the longest value that memory is made for before it came.
const maxReply = 64 << 20

// writerOnly hides ReadFrom.
type writerOnly struct{ io.Writer }

// appendReply appends the n values of the array at the front of b, nil for an absent one, and returns what follows it.
// It is not ok if anything else is there.
func appendReply(dst [][]byte, b []byte, n int) (values [][]byte, rest []byte, ok bool) {
	count, b, ok := replyLine(b, '*')
	if !ok || count != n {
		return dst, b, false
	}
	for range n {
		if len(b) > 2 && b[0] == '_' { // a null of the newer protocol
			dst, b = append(dst, nil), b[3:]
			continue
		}
		if count, b, ok = replyLine(b, '$'); !ok {
			return dst, b, false
		}
		if count < 0 { // a null of the older one
			dst = append(dst, nil)
			continue
		}
		if count > len(b)-2 {
			return dst, b, false
		}
		var v []byte
		if count > 0 {
			v = b[:count:count]
		}
		dst, b = append(dst, v), b[count+2:]
	}
	return dst, b, true
}

// replyLine reads a line of a kind that holds a number.
func replyLine(b []byte, kind byte) (n int, rest []byte, ok bool) {
	if len(b) == 0 || b[0] != kind {
		return 0, b, false
	}
	for i := 1; i < len(b)-1 && i < 20; i++ {
		if b[i] == '\r' {
			n, err := strconv.Atoi(string(b[1:i]))
			return n, b[i+2:], err == nil && b[i+1] == '\n'
		}
	}
	return 0, b, false
}
