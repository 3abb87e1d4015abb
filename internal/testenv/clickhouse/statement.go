package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ClickHouse/ch-go/proto"
)

// server is what both interfaces share.
type server struct {
	lib     *library
	root    *session // keeps the engine up, and kills queries
	data    string
	spool   string // rows on their way into an INSERT
	version [3]int
	zone    string
	tags    atomic.Uint64
	busy    sync.WaitGroup // statements that run
}

type statement struct {
	sql, format string
	settings    []proto.Setting
	params      []proto.Parameter
	database    string // to use first, if set
	whole       bool   // an INSERT whose rows are all here: it runs to its end, as a server's does
}

// run executes a statement with its settings, and puts the settings back. When ctx ends first the query is killed: it is
// found by its log_comment, so that even one long aggregation stops.
func (sv *server) run(ctx context.Context, s *session, st statement, emit func([]byte) error) (counts, error) {
	sv.busy.Add(1)
	defer sv.busy.Done()
	if st.database != "" {
		if err := s.exec("USE " + identifier(st.database)); err != nil {
			return counts{}, err
		}
	}
	tag := fmt.Sprintf("test-%d", sv.tags.Add(1))
	var set, unset []string
	for _, o := range append(slices.Clone(st.settings), proto.Setting{Key: "log_comment", Value: tag}) {
		set = append(set, identifier(o.Key)+"="+quote(o.Value))
		unset = append(unset, identifier(o.Key)+"=DEFAULT")
	}
	if err := s.exec("SET " + strings.Join(set, ",")); err != nil {
		return counts{}, err
	}
	defer func() { _ = s.exec("SET " + strings.Join(unset, ",")) }() // what could be set can be unset
	if !st.whole {
		defer sv.killWith(ctx, tag)()
	}
	return s.run(st.sql, st.format, st.params, emit)
}

// killWith kills the tagged query when ctx ends before the returned function is called.
func (sv *server) killWith(ctx context.Context, tag string) (stop func()) {
	ended := make(chan struct{})
	forget := context.AfterFunc(ctx, func() {
		for { // the query may not be registered yet
			_ = sv.root.exec("KILL QUERY WHERE Settings['log_comment']=" + quote(tag) + " ASYNC")
			select {
			case <-ended:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	return func() {
		forget()
		close(ended)
	}
}

const (
	nameText    = "(?:`[^`]+`|\"[^\"]+\"|[\\w$]+)"
	settingText = `\w+\s*=\s*(?:'(?:[^'\\]|\\.)*'|[\w.+-]+)`
	blankText   = `(?:\s|--[^\n]*\n|/\*.*?\*/)*`
)

var (
	// insertText finds, in an INSERT whose rows come apart from its text, target, columns, SETTINGS and format.
	insertText = regexp.MustCompile(`(?is)^` + blankText +
		`INSERT\s+INTO\s+(?:TABLE\s+)?(` + nameText + `(?:\s*\.\s*` + nameText + `)?)\s*(\([^()]*\))?\s*` +
		`(SETTINGS\s+` + settingText + `(?:\s*,\s*` + settingText + `)*)?\s*` +
		`(?:VALUES|FORMAT\s+(\w+))?\s*;?\s*$`)
	nameOnly   = regexp.MustCompile(nameText)
	formatText = regexp.MustCompile(`(?is)\s+FORMAT\s+(\w+)\s*;?\s*$`)
	answers    = regexp.MustCompile(`(?is)^(?:\s|--[^\n]*\n|/\*.*?\*/|\()*(SELECT|WITH|SHOW|DESC|DESCRIBE|EXPLAIN|EXISTS)\b`)
)

// insert is an INSERT whose rows come apart from its text.
type insert struct{ target, columns, settings, format string }

func parseInsert(sql string) (insert, bool) {
	m := insertText.FindStringSubmatch(sql)
	if m == nil {
		return insert{}, false
	}
	return insert{target: m[1], columns: m[2], settings: m[3], format: m[4]}, true
}

// from returns the statement that reads the rows from a file. The engine pushes a file's blocks as a native client's, so
// that they are deduplicated by token or content.
func (in insert) from(path string) string {
	return fmt.Sprintf("INSERT INTO %s %s FROM INFILE %s COMPRESSION 'none' %s FORMAT %s", in.target, in.columns, quote(path), in.settings, in.format)
}

// takes lists the columns that the rows have: those named, or all but computed ones.
func (in insert) takes(s *session) ([]column, error) {
	out, err := s.text("DESCRIBE TABLE "+in.target, "JSONCompactEachRow")
	if err != nil {
		return nil, err
	}
	var all []column
	for dec := json.NewDecoder(strings.NewReader(out)); dec.More(); {
		var row []string
		if err := dec.Decode(&row); err != nil {
			return nil, err
		}
		if row[2] != "MATERIALIZED" && row[2] != "ALIAS" {
			all = append(all, column{name: row[0], typ: row[1]})
		}
	}
	if in.columns == "" {
		return all, nil
	}
	var named []column
	for _, name := range nameOnly.FindAllString(in.columns, -1) {
		name = strings.Trim(name, "`\"")
		i := slices.IndexFunc(all, func(c column) bool { return c.name == name })
		if i < 0 {
			return nil, parseException(fmt.Sprintf("Code: 16. DB::Exception: No such column %s in table %s. (NO_SUCH_COLUMN_IN_TABLE)", name, in.target))
		}
		named = append(named, all[i])
	}
	return named, nil
}

func identifier(s string) string { return "`" + strings.ReplaceAll(s, "`", "\\`") + "`" }

func quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

// unquote reads 'text', as the native protocol carries parameters and custom settings. One level of escapes goes; a
// parameter keeps its inner level, which the engine reads.
func unquote(s string) string {
	if len(s) < 2 || s[0] != '\'' {
		return s
	}
	return strings.NewReplacer(`\\`, `\`, `\'`, `'`, `\n`, "\n", `\r`, "\r", `\t`, "\t", `\0`, "\x00").Replace(s[1 : len(s)-1])
}

// asException gives an error of this program the form of the engine's.
func asException(err error) *exception {
	var e *exception
	if errors.As(err, &e) {
		return e
	}
	return parseException("Code: 1001. DB::Exception: " + err.Error())
}
