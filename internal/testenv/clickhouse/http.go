package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/ClickHouse/ch-go/proto"
)

// ownParameters are those of the HTTP interface itself; all others are settings.
var ownParameters = []string{
	"query", "database", "default_format", "query_id", "user", "password", "compress", "decompress", "client_protocol_version", "wait_end_of_query",
}

func (sv *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/ping" || r.Method == http.MethodGet && r.URL.RawQuery == "" {
		_, _ = io.WriteString(w, "Ok.\n")
		return
	}
	out := &httpResult{w: w, query: r.URL.Query()}
	err := sv.httpQuery(r, out)
	if err == nil {
		return
	}
	e := asException(err)
	text := fmt.Sprintf("%s (version %d.%d.%d)\n", e.Error(), sv.version[0], sv.version[1], sv.version[2])
	if out.started { // the status is gone: say it in the stream, as the server does
		fmt.Fprintf(w, "\r\n__exception__\r\n%s\r\n", text)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	status := http.StatusInternalServerError
	switch e.Code {
	case 60, 81, 16, 115:
		status = http.StatusNotFound
	case 62, 36, 43, 47, 53:
		status = http.StatusBadRequest
	}
	w.Header().Set("X-ClickHouse-Exception-Code", strconv.Itoa(int(e.Code)))
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}

func (sv *server) httpQuery(r *http.Request, out *httpResult) error {
	st := httpStatement(out.query)
	body := io.Reader(r.Body)
	if out.query.Get("decompress") == "1" {
		body = compress.NewReader(body)
	}
	if st.sql == "" { // it is in the body
		all, err := io.ReadAll(body)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		st.sql, body = string(all), nil
	}
	if in, ok := parseInsert(st.sql); ok && body != nil {
		file, err := sv.spoolRows(body)
		if file == "" || err != nil {
			return err
		}
		defer os.Remove(file)
		if in.format == "" {
			in.format = "Values"
		}
		st.sql, st.whole = in.from(file), true
	} else if m := formatText.FindStringSubmatch(st.sql); m != nil {
		st.format = m[1]
	}
	out.begin(sv, st.format)
	s, err := sv.lib.open(sv.data)
	if err != nil {
		return err
	}
	defer s.close()
	n, err := sv.run(r.Context(), s, st, out.write)
	if err == nil && !out.started {
		out.w.Header().Set("X-ClickHouse-Summary", fmt.Sprintf(`{"read_rows":"%d","written_rows":"%d"}`, n.read, n.written))
	}
	return err
}

func httpStatement(query url.Values) statement {
	st := statement{sql: query.Get("query"), format: query.Get("default_format"), database: query.Get("database")}
	if st.format == "" {
		st.format = "TabSeparated"
	}
	for k, v := range query {
		if name, ok := strings.CutPrefix(k, "param_"); ok {
			st.params = append(st.params, proto.Parameter{Key: name, Value: v[0]})
		} else if !slices.Contains(ownParameters, k) {
			st.settings = append(st.settings, proto.Setting{Key: k, Value: v[0]})
		}
	}
	return st
}

// spoolRows writes the rows of an INSERT to a file; none for no rows.
func (sv *server) spoolRows(body io.Reader) (file string, err error) {
	f, err := os.CreateTemp(sv.spool, "insert-*")
	if err != nil {
		return "", err
	}
	n, err := io.Copy(f, body)
	if errors.Is(err, io.EOF) { // of the compressed form, at its end
		err = nil
	}
	if err = errors.Join(err, f.Close()); err != nil || n == 0 {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

// httpResult writes a result piece by piece: Native in the revision asked for, other formats as they are, in ClickHouse's
// compressed frames if asked for.
type httpResult struct {
	w       http.ResponseWriter
	query   url.Values
	rev     int
	lz4     *compress.Writer // nil: plain
	started bool
}

func (o *httpResult) begin(sv *server, format string) {
	if rev, err := strconv.Atoi(o.query.Get("client_protocol_version")); err == nil && strings.EqualFold(format, "Native") {
		o.rev = min(rev, revision)
	}
	if o.query.Get("compress") == "1" {
		o.lz4 = compress.NewWriter(compress.LevelZero, compress.LZ4)
	}
	o.w.Header().Set("X-ClickHouse-Format", format)
	o.w.Header().Set("X-ClickHouse-Timezone", sv.zone)
}

func (o *httpResult) write(piece []byte) error {
	if o.rev > 0 {
		var b proto.Buffer
		if err := eachBlock(piece, func(src *proto.Reader) error {
			_, _, err := copyBlock(&b, src, 0, o.rev)
			return err
		}); err != nil {
			return err
		}
		piece = b.Buf
	}
	o.started = true
	if o.lz4 == nil {
		_, err := o.w.Write(piece)
		return err
	}
	for part := range slices.Chunk(piece, 1<<20) {
		if err := o.lz4.Compress(part); err != nil {
			return err
		}
		if _, err := o.w.Write(o.lz4.Data); err != nil {
			return err
		}
	}
	return nil
}
