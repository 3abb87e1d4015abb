package columns

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"unsafe"
)

// CSVRows reads rows of a CSV file one by one, in the form that a File has. It holds two batches of a mebibyte, or the longest row
// where that is longer; one beyond 64 MiB is an error, for a quote is missing then.
type CSVRows struct {
	Names []string // of the columns, by the first line

	s    csvScanner
	b    csvBatch
	next int // row of b
	row  []string
}

// ErrNoHeader says that a CSV file has no first line.
var ErrNoHeader = errNoHeader

// NewCSVRows reads the first line, which names the columns.
func NewCSVRows(r io.Reader) (*CSVRows, error) {
	c := &CSVRows{}
	mark := make([]byte, 3)
	n, err := io.ReadFull(r, mark)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	if mark = mark[:n]; bytes.Equal(mark, []byte("\xef\xbb\xbf")) {
		mark = nil
	}
	c.s.r = io.MultiReader(bytes.NewReader(mark), r)
	switch err := c.s.next(&c.b, 1); {
	case errors.Is(err, io.EOF):
		return nil, ErrNoHeader
	case err != nil:
		return nil, fmt.Errorf("the first line, which names the columns: %w", err)
	}
	for _, f := range c.b.fields {
		c.Names = append(c.Names, string(c.b.text(f)))
	}
	c.row = make([]string, len(c.Names))
	c.s.rows, c.next, c.b.rows = 0, 0, 0 // rows are counted without it
	return c, nil
}

// Next returns the next row, valid until the next call; io.EOF is the end.
func (c *CSVRows) Next() ([]string, error) {
	if c.next == c.b.rows {
		if err := c.s.next(&c.b, 0); err != nil {
			return nil, err
		}
		c.next = 0
	}
	fields := c.b.fields[c.next*len(c.row):]
	for i := range c.row {
		text := c.b.text(fields[i])
		c.row[i] = unsafe.String(unsafe.SliceData(text), len(text))
	}
	c.next++
	return c.row, nil
}
