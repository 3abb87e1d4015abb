package main

import (
	"fmt"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"github.com/ClickHouse/ch-go/proto"
	"github.com/ebitengine/purego"
)

// library is the engine's functions, as chdb.h declares them. A connection is passed by the value it points to.
type library struct {
	connect func(argc int32, argv **byte) *uintptr
	close   func(conn *uintptr)
	query   queryFunc // the whole result at once
	stream  queryFunc // a result to fetch piece by piece
	fetch   func(conn, result uintptr) uintptr
	cancel  func(conn, result uintptr)
	free    func(result uintptr)
	buffer  func(result uintptr) *byte
	length  func(result uintptr) uintptr
	problem func(result uintptr) string
	read    func(result uintptr) uint64
	written func(result uintptr) uint64
}

type queryFunc func(conn uintptr, sql *byte, sqlLen uintptr, format *byte, formatLen uintptr,
	names **byte, nameLens *uintptr, values **byte, valueLens *uintptr, params uintptr) uintptr

func load(path string) (*library, error) {
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return nil, fmt.Errorf("load the engine: %w", err)
	}
	l := &library{}
	for name, fn := range map[string]any{
		"chdb_connect":                    &l.connect,
		"chdb_close_conn":                 &l.close,
		"chdb_query_with_params_n":        &l.query,
		"chdb_stream_query_with_params_n": &l.stream,
		"chdb_stream_fetch_result":        &l.fetch,
		"chdb_stream_cancel_query":        &l.cancel,
		"chdb_destroy_query_result":       &l.free,
		"chdb_result_buffer":              &l.buffer,
		"chdb_result_length":              &l.length,
		"chdb_result_error":               &l.problem,
		"chdb_result_rows_read":           &l.read,
		"chdb_result_rows_written":        &l.written,
	} {
		purego.RegisterLibFunc(fn, handle, name)
	}
	return l, nil
}

// keepSignals returns a function that puts back the signal handlers of now. The first connection takes SIGSEGV and others
// over, later ones do not; without Go's handlers a nil dereference would end the process without a word.
func keepSignals() (restore func()) {
	type sigaction [4]uint64 // the kernel's struct on linux/amd64
	call := func(sig int, set, old *sigaction) {
		syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(old)), 8, 0, 0)
	}
	var saved [32]sigaction
	for sig := 1; sig < len(saved); sig++ {
		call(sig, nil, &saved[sig])
	}
	return func() {
		for sig := 1; sig < len(saved); sig++ {
			call(sig, &saved[sig], nil)
		}
	}
}

// session is a connection of the library, with its own settings and current database. Sessions on one folder share one
// engine and run beside each other; opening one takes about 0.3 ms.
type session struct {
	lib  *library
	conn *uintptr
}

func (l *library) open(path string) (*session, error) {
	program, folder := []byte("clickhouse\x00"), []byte("--path="+path+"\x00")
	argv := []*byte{&program[0], &folder[0]}
	conn := l.connect(int32(len(argv)), &argv[0])
	if conn == nil || *conn == 0 {
		return nil, fmt.Errorf("the engine refuses a connection to %s", path)
	}
	return &session{lib: l, conn: conn}, nil
}

func (s *session) close() { s.lib.close(s.conn) }

// counts are rows that a statement has read and written.
type counts struct{ read, written uint64 }

// streamable tells the statements whose result may be fetched piece by piece.
var streamable = regexp.MustCompile(`(?is)^(?:\s|--[^\n]*\n|/\*.*?\*/|\()*(SELECT|WITH)\b`)

// run executes a statement and hands its output to emit in pieces, which are valid during the call.
func (s *session) run(sql, format string, params []proto.Parameter, emit func([]byte) error) (counts, error) {
	start, streamed := s.lib.query, false
	if streamable.MatchString(sql) {
		start, streamed = s.lib.stream, true
	}
	result := s.call(start, sql, format, params)
	if streamed && strings.Contains(s.lib.problem(result), "Streaming query is not supported") {
		s.lib.free(result)
		result, streamed = s.call(s.lib.query, sql, format, params), false
	}
	defer s.lib.free(result)
	if msg := s.lib.problem(result); msg != "" {
		return counts{}, parseException(msg)
	}
	if streamed {
		return s.fetchAll(result, emit)
	}
	n := counts{s.lib.read(result), s.lib.written(result)}
	if size := s.lib.length(result); size > 0 {
		return n, emit(unsafe.Slice(s.lib.buffer(result), size))
	}
	return n, nil
}

func (s *session) call(f queryFunc, sql, format string, params []proto.Parameter) uintptr {
	q, fm := append([]byte(sql), 0), append([]byte(format), 0)
	names, values := make([]*byte, len(params)+1), make([]*byte, len(params)+1)
	nameLens, valueLens := make([]uintptr, len(params)+1), make([]uintptr, len(params)+1)
	for i, p := range params {
		name, value := append([]byte(p.Key), 0), append([]byte(p.Value), 0)
		names[i], nameLens[i] = &name[0], uintptr(len(p.Key))
		values[i], valueLens[i] = &value[0], uintptr(len(p.Value))
	}
	defer runtime.KeepAlive(names)
	defer runtime.KeepAlive(values)
	return f(*s.conn, &q[0], uintptr(len(sql)), &fm[0], uintptr(len(format)),
		&names[0], &nameLens[0], &values[0], &valueLens[0], uintptr(len(params)))
}

func (s *session) fetchAll(result uintptr, emit func([]byte) error) (n counts, err error) {
	for {
		piece := s.lib.fetch(*s.conn, result)
		msg, size := s.lib.problem(piece), s.lib.length(piece)
		if msg == "" && size > 0 {
			n.read += s.lib.read(piece)
			err = emit(unsafe.Slice(s.lib.buffer(piece), size))
		}
		s.lib.free(piece)
		switch {
		case strings.HasPrefix(msg, "No active streaming query"):
			return n, nil // after what a text format writes without rows
		case msg != "":
			return n, parseException(msg)
		case err != nil:
			s.lib.cancel(*s.conn, result)
			return n, err
		case size == 0:
			return n, nil
		}
	}
}

func (s *session) exec(sql string) error {
	_, err := s.run(sql, "Null", nil, func([]byte) error { return nil })
	return err
}

func (s *session) text(sql, format string) (string, error) {
	var out []byte
	_, err := s.run(sql, format, nil, func(piece []byte) error {
		out = append(out, piece...)
		return nil
	})
	return string(out), err
}

// exception is an error of the engine, as both protocols carry it.
type exception struct{ proto.Exception }

func (e *exception) Error() string {
	return fmt.Sprintf("Code: %d. DB::Exception: %s", e.Code, e.Message)
}

// unknownException is the code of what the engine gives no other.
const unknownException = 1002

var exceptionText = regexp.MustCompile(`(?s)^(?:Code: (\d+)\. )?(?:DB::Exception: )?(.*)$`)

// parseException reads "Code: 60. DB::Exception: text".
func parseException(msg string) *exception {
	m := exceptionText.FindStringSubmatch(msg)
	code, _ := strconv.Atoi(m[1])
	if code == 0 {
		code = unknownException
	}
	return &exception{proto.Exception{Code: proto.Error(code), Name: "DB::Exception", Message: m[2]}}
}
