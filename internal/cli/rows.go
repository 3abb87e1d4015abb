package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/offline/sql"
	"github.com/freshet-io/freshet/offline/train"
)

// rowSource is a file, or what a SELECT answers: rows that commands take in.
type rowSource struct {
	ctx   context.Context
	from  string             // the name of a file, or the SELECT
	at    *config.ClickHouse // who answers it; nil: DuckDB, over views
	dir   string             // of the answer until it has been read; "" is the system's
	lists train.Lists
	// over asks DuckDB, with the statements that make the tables.
	over func(ask func(views string) error) error

	answer *os.File // DuckDB's
	folder string   // of what DuckDB writes, to be removed on close; "" once it has been
}

// aQuery is how a query begins. A file may be called selected.csv, or select.parquet.
var aQuery = regexp.MustCompile(`(?i)^\s*(SELECT|WITH)[\s(*"]`)

// isQuery tells a query from the name of a file: a file that is there is one, even if it is called "with data.csv".
func isQuery(from string) bool {
	if !aQuery.MatchString(from) {
		return false
	}
	_, err := os.Stat(from)
	return err != nil
}

// openRows says where rows come from: ClickHouse answers a SELECT if the plane names it and folder is empty, else DuckDB does,
// over the plane's Parquet files, or those of the folder. Columns that are no scalars are left out. The caller closes the
// source when it reads no rows any more.
func (a *app) openRows(ctx context.Context, plane *config.Plane, folder, from string) (*rowSource, error) {
	s := &rowSource{ctx: ctx, from: from, lists: train.SkipLists}
	switch {
	case !isQuery(from):
	case folder == "" && plane.Connections.ClickHouse != nil:
		s.at = plane.Connections.ClickHouse
	case !hasEmbeddedSQL:
		return nil, errNoAnswer
	default:
		s.over = func(ask func(string) error) error { return a.overFiles(ctx, plane, folder, ask) }
	}
	return s, nil
}

var errNoAnswer = errors.New("a SELECT is answered by ClickHouse, which the definition does not name, or by DuckDB, which this build does not have: " +
	"bin/freshet-sql, which `make build` makes, has it (go build -tags duckdb, with cgo). Or give a .csv or .parquet file; DuckDB's own shell makes one: freshet sql --views")

// name is what messages call the rows.
func (s *rowSource) name() string {
	if isQuery(s.from) {
		return "the query"
	}
	return s.from
}

// open begins with the first row. A source may be opened again and again, one at a time; DuckDB is asked once.
func (s *rowSource) open() (train.Spine, error) {
	if !isQuery(s.from) {
		return train.OpenSpine(s.from, s.lists)
	}
	if s.at != nil {
		db, err := sql.OpenClickHouse(*s.at)
		if err != nil {
			return nil, err
		}
		return train.QuerySpine(s.ctx, db, s.from, s.lists)
	}
	if s.answer == nil {
		if err := s.ask(); err != nil {
			return nil, fmt.Errorf("the query: %w", err)
		}
	}
	return train.ParquetSpine(s.name(), s.answer, s.lists)
}

// ask has DuckDB write its answer to a file, which has no name any more once it is open. The file is in a folder that nobody else
// can enter: DuckDB may write to another file beside it first, with the permissions of any file, and leaves that if it fails.
func (s *rowSource) ask() (err error) {
	if s.folder == "" {
		if s.folder, err = os.MkdirTemp(s.dir, "freshet-*"); err != nil {
			return fmt.Errorf("make a temporary folder: %w", err)
		}
	}
	file := filepath.Join(s.folder, "answer.parquet")
	question := strings.TrimRight(strings.TrimSpace(s.from), ";")
	if err := s.over(func(views string) error {
		return embeddedAnswer(s.ctx, views, question, file, filepath.Join(s.folder, "tmp"))
	}); err != nil {
		return err
	}
	if s.answer, err = os.Open(file); err != nil {
		return err
	}
	if os.RemoveAll(s.folder) == nil {
		s.folder = ""
	}
	return nil
}

// Close removes what was kept of an answer. A source that is opened again asks again.
func (s *rowSource) Close() (err error) {
	if s.answer != nil {
		err = s.answer.Close()
		s.answer = nil
	}
	if s.folder != "" {
		err = errors.Join(err, os.RemoveAll(s.folder))
		s.folder = ""
	}
	return err
}
