package serving

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// The response headers of a lookup, and the request header that bounds its time.
const (
	headerAsOf     = "X-Freshet-As-Of"
	headerVersions = "X-Freshet-Versions"
	headerTimeout  = "X-Freshet-Timeout"
)

// wire is what the HTTP face needs for one request, reused.
type wire struct {
	in      []byte
	out     []byte
	key     []byte
	request wireRequest
	encoder encoder
}

// The sizes above which a wire's buffers are not kept for the next request.
const maxKeptBuffer = 1 << 20

var contentTypeJSON = []string{"application/json"}

// Handler returns the Feast HTTP face: POST /get-online-features and GET /health. Any other path gets a 404, so a
// caller that has more to serve mounts it on these two. See OneWrite for the server.
func (l *Lookups) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/get-online-features":
			if r.Method != http.MethodPost {
				methodNotAllowed(w, http.MethodPost)
				return
			}
			l.serveLookup(w, r)
		case "/health":
			if r.Method != http.MethodGet && r.Method != http.MethodHead {
				methodNotAllowed(w, "GET, HEAD")
				return
			}
			l.serveHealth(w, r)
		default:
			writeDetail(w, http.StatusNotFound, "Not Found")
		}
	})
}

func (l *Lookups) serveHealth(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), l.opts.Timeout)
	defer cancel()
	if err := l.opts.Ready(ctx); err != nil {
		writeDetail(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	w.WriteHeader(http.StatusOK)
}

func (l *Lookups) serveLookup(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	buffers := l.wires.Get().(*wire)
	did, err := l.lookup(w, r, buffers)
	if err != nil {
		l.log(r.Context(), faceHTTP, err)
		writeError(w, err)
	}
	buffers.request.forget()
	if cap(buffers.in) <= maxKeptBuffer && cap(buffers.out) <= maxKeptBuffer {
		l.wires.Put(buffers)
	}
	l.metrics.done(faceHTTP, start, did, err)
}

// lookup answers a request, or returns why it did not; then nothing is written yet.
func (l *Lookups) lookup(w http.ResponseWriter, r *http.Request, buf *wire) (did answered, err *Error) {
	timeout, err := l.timeout(r.Header)
	if err != nil {
		return did, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	if err := buf.read(r, l.opts.MaxBodyBytes); err != nil {
		return did, err
	}
	// The body as a string: values and fetched keys may share its memory for as long as they like.
	if err := buf.request.parse(string(buf.in)); err != nil {
		return did, err
	}
	pl, err := l.planOfWire(buf)
	did.plan = pl
	if err != nil {
		return did, err
	}
	if err := l.mayRead(ctx, pl); err != nil {
		return did, err
	}
	b := l.begin(pl)
	defer l.end(b)
	for i := range pl.columns {
		c := &pl.columns[i]
		if b.columns[i], err = buf.request.columns[c.from].parse(b.columns[i], c, l.opts.MaxRows); err != nil {
			return did, err
		}
	}
	if err := b.run(ctx, l); err != nil {
		return did, err
	}
	buf.out = buf.encoder.append(buf.out[:0], b, buf.request.versions)
	h := w.Header()
	h["Content-Type"] = contentTypeJSON
	h["Content-Length"] = []string{strconv.Itoa(len(buf.out))}
	h[headerAsOf] = []string{strconv.FormatInt(b.at, 10)}
	buf.key = appendVersions(buf.key[:0], b)
	h[headerVersions] = []string{string(buf.key)}
	WriteAnswer(w, r, buf.out)
	did.rows = b.rows
	return did, nil
}

// planOfWire finds the plan of the request, or makes it.
func (l *Lookups) planOfWire(buf *wire) (*plan, *Error) {
	buf.key = buf.request.appendKey(buf.key[:0])
	if pl := l.planner.cached(buf.key); pl != nil {
		return pl, nil
	}
	sh, err := buf.request.shape(l.opts.MaxFeatures)
	if err != nil {
		return nil, err
	}
	sh.own()
	pl, err := l.planner.resolve(sh)
	if err != nil {
		return nil, err
	}
	l.planner.keep(buf.key, pl)
	return pl, nil
}

// timeout returns how long the request may take.
func (l *Lookups) timeout(h http.Header) (time.Duration, *Error) {
	named := h[headerTimeout]
	if len(named) == 0 {
		return l.opts.Timeout, nil
	}
	d, err := time.ParseDuration(named[0])
	if err != nil || d <= 0 {
		e := invalid("value_error", "%q is not a positive duration as 250ms", named[0])
		e.Field = []string{headerTimeout}
		return 0, e
	}
	return min(d, l.opts.MaxTimeout), nil
}

// firstBuffer is what is set aside for a body before its bytes are there: who says that much is coming may not send it.
const firstBuffer = 16 << 10

// read reads the request's body.
func (b *wire) read(r *http.Request, most int) *Error {
	if coding := r.Header.Get("Content-Encoding"); coding != "" && coding != "identity" {
		return &Error{Kind: Encoded, Row: -1, Message: "content encoding " + strconv.Quote(coding) + "; send the body as it is"}
	}
	tooLarge := &Error{Kind: TooLarge, Row: -1, Message: "the body is larger than " + strconv.Itoa(most) + " bytes"}
	if r.ContentLength > int64(most) {
		return tooLarge
	}
	b.in = b.in[:0]
	if n := int(r.ContentLength); n >= cap(b.in) {
		b.in = make([]byte, 0, min(n+1, firstBuffer)) // one more, to see the end without growing
	}
	for {
		if len(b.in) == cap(b.in) {
			b.in = append(b.in, 0)[:len(b.in)]
		}
		n, err := r.Body.Read(b.in[len(b.in):min(cap(b.in), most+1)])
		b.in = b.in[:len(b.in)+n]
		switch {
		case len(b.in) > most:
			return tooLarge
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded): // the server's, for a whole request
			return &Error{Kind: Slow, Row: -1, Message: "the body did not arrive in time", Err: err}
		case err != nil:
			e := invalid("json_invalid", "the body could not be read").at()
			e.Err = err
			return e
		}
	}
}

func methodNotAllowed(w http.ResponseWriter, allow string) {
	w.Header().Set("Allow", allow)
	writeDetail(w, http.StatusMethodNotAllowed, "Method Not Allowed")
}

// httpStatus maps the kinds of errors. Clients retry 429 and 5xx, so only what may pass is one of those.
var httpStatus = [...]int{
	Invalid:     http.StatusUnprocessableEntity,
	NotFound:    http.StatusNotFound,
	Forbidden:   http.StatusForbidden,
	Collision:   http.StatusUnprocessableEntity,
	TooLarge:    http.StatusRequestEntityTooLarge,
	Encoded:     http.StatusUnsupportedMediaType,
	Slow:        http.StatusRequestTimeout,
	Unavailable: http.StatusServiceUnavailable,
	Deadline:    http.StatusServiceUnavailable,
	Internal:    http.StatusInternalServerError,
}

// writeError writes an error in the form that Feast's clients read: a mapped exception is a JSON string that holds JSON,
// an invalid request a list of details.
func writeError(w http.ResponseWriter, err *Error) {
	switch {
	case err.Class != "":
		inner := appendString([]byte(`{"module": "`+feastModule+`", "class": "`+err.Class+`", "message": `), err.Message)
		writeJSON(w, httpStatus[err.Kind], appendString(nil, string(append(inner, '}'))))
	case err.Kind == Invalid:
		body := []byte(`{"detail":[{"type":`)
		body = appendString(body, err.Type)
		body = append(append(body, `,"loc":[`...), err.location()...)
		body = appendString(append(body, `],"msg":`...), err.Message)
		writeJSON(w, httpStatus[err.Kind], append(body, "}]}"...))
	default:
		writeDetail(w, httpStatus[err.Kind], err.Message)
	}
}

// location is the path to the field as FastAPI writes it.
func (e *Error) location() string {
	where := "body"
	if len(e.Field) == 1 && e.Field[0] == headerTimeout {
		where = "header"
	}
	var b strings.Builder
	b.Write(appendString(nil, where))
	for _, f := range e.Field {
		b.WriteByte(',')
		b.Write(appendString(nil, f))
	}
	if e.Row >= 0 {
		b.WriteByte(',')
		b.WriteString(strconv.Itoa(e.Row))
	}
	return b.String()
}

func writeDetail(w http.ResponseWriter, status int, detail string) {
	writeJSON(w, status, append(appendString([]byte(`{"detail":`), detail), '}'))
}

func writeJSON(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h["Content-Type"] = contentTypeJSON
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	w.Write(body)
}
