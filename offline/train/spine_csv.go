package train

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/freshet-io/freshet/internal/feature"
)

// csvSpine is a file of text by RFC 4180, in UTF-8, whose first line names the columns.
type csvSpine struct {
	name string
	f    *os.File
	r    *csv.Reader
	cols []SpineColumn
}

func openCSV(path string) (Spine, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("spine: %w", err)
	}
	s := &csvSpine{name: path, f: f}
	if err := s.header(); err != nil {
		return nil, errors.Join(fmt.Errorf("spine %s: %w", path, err), f.Close())
	}
	return s, nil
}

func (s *csvSpine) header() error {
	b := bufio.NewReaderSize(s.f, 1<<20)
	if mark, err := b.Peek(3); err == nil && bytes.Equal(mark, []byte("\xef\xbb\xbf")) {
		if _, err := b.Discard(3); err != nil {
			return err
		}
	}
	s.r = csv.NewReader(b)
	s.r.ReuseRecord = true
	names, err := s.r.Read()
	if errors.Is(err, io.EOF) {
		return errEmpty
	}
	if err != nil {
		return err
	}
	for _, n := range names {
		s.cols = append(s.cols, SpineColumn{Name: string([]byte(n)), Type: feature.String, Text: true})
	}
	return checkColumns(s.cols)
}

// Columns implements Spine.
func (s *csvSpine) Columns() []SpineColumn { return s.cols }

// Next implements Spine.
func (s *csvSpine) Next(row []feature.Value) error {
	rec, err := s.r.Read()
	if err != nil {
		if isEnd(err) {
			return io.EOF
		}
		return fmt.Errorf("spine %s: %w", s.name, err)
	}
	for i, text := range rec {
		row[i] = feature.StringValue(text)
	}
	return nil
}

// Close implements Spine.
func (s *csvSpine) Close() error { return s.f.Close() }
