package train

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/freshet-io/freshet/internal/columns"
	"github.com/freshet-io/freshet/internal/feature"
)

// csvSpine is a file of text by RFC 4180, in UTF-8, whose first line names the columns.
type csvSpine struct {
	name string
	f    *os.File
	r    *columns.CSVRows
	cols []SpineColumn
}

func openCSV(path string) (Spine, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	s := &csvSpine{name: path, f: f}
	if err := s.header(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return s, nil
}

func (s *csvSpine) header() (err error) {
	if s.r, err = columns.NewCSVRows(s.f); errors.Is(err, columns.ErrNoHeader) {
		return errEmpty
	} else if err != nil {
		return err
	}
	for _, n := range s.r.Names {
		s.cols = append(s.cols, SpineColumn{Name: n, Type: feature.String, Text: true})
	}
	return checkColumns(s.cols)
}

// Columns implements Spine.
func (s *csvSpine) Columns() []SpineColumn { return s.cols }

// Next implements Spine.
func (s *csvSpine) Next(row []feature.Value) error {
	rec, err := s.r.Next()
	if err != nil {
		if isEnd(err) {
			return io.EOF
		}
		return fmt.Errorf("%s: %w", s.name, err)
	}
	for i, text := range rec {
		row[i] = feature.StringValue(text)
	}
	return nil
}

// Close implements Spine.
func (s *csvSpine) Close() error { return s.f.Close() }
