package ingest

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/freshet-io/freshet/config"
)

// form is how records lie in a body.
type form int

const (
	formSniffed form = iota // no content type: decided by the body
	formJSON                // one object, or an array of objects
	formLines               // one object a line
)

var contentForms = map[string]form{
	"":                        formSniffed,
	"application/json":        formJSON,
	"application/x-ndjson":    formLines,
	"application/ndjson":      formLines,
	"application/jsonl":       formLines,
	"application/x-jsonlines": formLines,
}

// contentForm decides by the headers how the body is to be read.
func contentForm(w http.ResponseWriter, r *http.Request, src *config.Source) (form, *answer) {
	if src.Format != "json" {
		return 0, refuse(http.StatusUnsupportedMediaType, fmt.Sprintf("source %s takes %s records, which are written to Kafka directly", src.Name, src.Format))
	}
	header := r.Header.Get("Content-Type")
	media, params, err := mime.ParseMediaType(header)
	if header == "" {
		err = nil
	}
	f, known := contentForms[media]
	charset, stated := params["charset"]
	if err != nil || !known || stated && !strings.EqualFold(charset, "utf-8") {
		w.Header().Set("Accept-Post", "application/json, application/x-ndjson")
		text := fmt.Sprintf("content type %s; send application/json (an object or an array of objects) or application/x-ndjson (an object a line), in UTF-8", quote(header))
		if media == "application/x-www-form-urlencoded" {
			text += "; curl -d says this of itself: add -H 'Content-Type: application/json'"
		}
		return 0, refuse(http.StatusUnsupportedMediaType, text)
	}
	switch r.Header.Get("Content-Encoding") {
	case "", "identity", "gzip":
		return f, nil
	}
	w.Header().Set("Accept-Encoding", "gzip")
	return 0, refuse(http.StatusUnsupportedMediaType, fmt.Sprintf("content encoding %s; send gzip or none", quote(r.Header.Get("Content-Encoding"))))
}

// readBody reads and decompresses the body into one buffer, which is reserved before it grows.
func (g *Gateway) readBody(w http.ResponseWriter, r *http.Request, deadline time.Time, res *reservation) ([]byte, *answer) {
	if r.ContentLength > g.opts.MaxBodyBytes {
		return nil, g.bodyTooLarge()
	}
	// A server that has no deadlines (a test's recorder) does not need them.
	conn := http.NewResponseController(w)
	_ = conn.SetReadDeadline(deadline)
	var in io.Reader = http.MaxBytesReader(w, r.Body, g.opts.MaxBodyBytes)
	size := r.ContentLength
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(in)
		switch {
		case errors.Is(err, gzip.ErrHeader), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil, refuse(http.StatusBadRequest, "the body is not gzip, as its header Content-Encoding says; nothing of this request was taken")
		case err != nil:
			return nil, g.bodyError(err)
		}
		in, size = z, -1
	}
	buf, a := g.fill(in, size, res)
	if a == nil {
		// Else the deadline would end the connection while Kafka is being waited for. A body that was not read to its end
		// keeps it: the server reads on for a while before it sends the answer.
		_ = conn.SetReadDeadline(time.Time{})
	}
	return buf, a
}

// fill reads in to its end. size is how much is expected, -1 if unknown; it is taken only as it arrives, so that a slow
// client does not hold what others could use.
func (g *Gateway) fill(in io.Reader, size int64, res *reservation) ([]byte, *answer) {
	const first = 64 << 10
	if size < 0 {
		size = g.opts.MaxBodyBytes
	}
	most := size + 1 // so that the end is seen without growing
	size = min(most, first)
	if !res.add(size) {
		return nil, g.full()
	}
	buf := make([]byte, 0, size)
	for {
		n, err := in.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case int64(len(buf)) > g.opts.MaxBodyBytes:
			return nil, g.bodyTooLarge()
		case err == io.EOF:
			return buf, nil
		case err != nil:
			return nil, g.bodyError(err)
		case len(buf) == cap(buf):
			had := int64(cap(buf))
			grown := max(min(2*had, most), min(had+1, g.opts.MaxBodyBytes+1))
			if !res.add(grown) {
				return nil, g.full()
			}
			buf = append(make([]byte, 0, grown), buf...)
			res.sub(had)
		}
	}
}

func (g *Gateway) full() *answer {
	return tooMany("the gateway holds as much as it may until Kafka answers")
}

func (g *Gateway) bodyTooLarge() *answer {
	return refuse(http.StatusRequestEntityTooLarge, "the body is larger than "+strconv.FormatInt(g.opts.MaxBodyBytes, 10)+" bytes (decompressed); split it")
}

func (g *Gateway) bodyError(err error) *answer {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return g.bodyTooLarge()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return refuse(http.StatusRequestTimeout, "the body did not arrive within "+g.opts.Timeout.String()+"; nothing of this request was taken")
	}
	return refuse(http.StatusBadRequest, "read the body: "+err.Error()+"; nothing of this request was taken")
}

// byteOrderMark is what some editors and exports begin a UTF-8 file with.
var byteOrderMark = []byte("\xef\xbb\xbf")

// split finds the records in the body without copying them. A line that is no JSON is a record like others and refused
// on its own; a broken object or array is refused whole, since nothing says where its records end.
func (g *Gateway) split(f form, body []byte, res *reservation) ([][]byte, *answer) {
	s := scanner{buf: body}
	s.space()
	first := s.peek()
	switch {
	case s.pos == len(body):
		return nil, refuse(http.StatusBadRequest, "the body is empty")
	case bytes.HasPrefix(body, byteOrderMark):
		return nil, refuse(http.StatusBadRequest, "the body starts with a byte order mark, which JSON has not; send it without")
	case f == formLines:
		return g.splitLines(body, res)
	case first == '[':
		return g.splitArray(&s, res)
	case first != '{':
		return nil, refuse(http.StatusBadRequest, "the body is neither a JSON object nor an array of objects")
	}
	from := s.pos
	if !s.skip(0) {
		return nil, badBody(&s)
	}
	object := body[from:s.pos]
	if !s.end() {
		if f == formSniffed {
			return g.splitLines(body, res)
		}
		s.problem += " (several objects are sent as an array, or a line each as application/x-ndjson)"
		return nil, badBody(&s)
	}
	if !res.add(recordOverhead) {
		return nil, g.full()
	}
	return [][]byte{object}, nil
}

func badBody(s *scanner) *answer {
	return refuse(http.StatusBadRequest, "malformed JSON: "+s.problem+" at byte "+strconv.Itoa(s.pos)+"; nothing of this request was taken")
}

func (g *Gateway) splitLines(body []byte, res *reservation) ([][]byte, *answer) {
	var payloads [][]byte
	for len(body) > 0 {
		var line []byte
		line, body, _ = bytes.Cut(body, []byte{'\n'})
		if line = bytes.Trim(line, " \t\r"); len(line) == 0 {
			continue
		}
		var a *answer
		if payloads, a = g.addPayload(payloads, line, res); a != nil {
			return nil, a
		}
	}
	return payloads, nil
}

func (g *Gateway) splitArray(s *scanner, res *reservation) ([][]byte, *answer) {
	s.pos++
	s.space()
	payloads := [][]byte{}
	more := s.peek() != ']'
	if !more {
		s.pos++
	}
	for more {
		s.space()
		from := s.pos
		if !s.skip(0) {
			return nil, badBody(s)
		}
		var a *answer
		if payloads, a = g.addPayload(payloads, s.buf[from:s.pos], res); a != nil {
			return nil, a
		}
		var ok bool
		if more, ok = s.next(']'); !ok {
			return nil, badBody(s)
		}
	}
	if !s.end() {
		return nil, badBody(s)
	}
	return payloads, nil
}

func (g *Gateway) addPayload(payloads [][]byte, p []byte, res *reservation) ([][]byte, *answer) {
	if len(payloads) == g.opts.MaxRecords {
		return nil, refuse(http.StatusRequestEntityTooLarge, "more than "+strconv.Itoa(g.opts.MaxRecords)+" records in one request; split it")
	}
	if !res.add(recordOverhead) {
		return nil, g.full()
	}
	// A record's bytes end where it ends: nothing that appends to them may reach the next record.
	return append(payloads, p[:len(p):len(p)]), nil
}
