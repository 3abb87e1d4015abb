package columns

import (
	"errors"
	"fmt"
	"io"
	"slices"
)

// A csvBatch is some rows of a CSV file, taken apart. RFC 4180 in UTF-8: fields between commas, rows between line ends
// (\n or \r\n), a field in double quotes may hold anything, a quote in it is doubled. encoding/csv does not say whether a
// field was quoted, which is what tells null from the empty string.
type csvBatch struct {
	buf    []byte  // what the fields are parts of; doubled quotes are made single in place
	fields []field // row by row, as many each as there are columns
	rows   int
	end    int64 // how many bytes of the file are read with this batch
}

// field is a part of a batch's buffer.
type field struct {
	from, to uint32
	quoted   bool
	doubled  bool // quotes in it are still doubled
}

func (b *csvBatch) text(f field) []byte { return b.buf[f.from:f.to] }

const (
	csvChunk  = 1 << 20
	longestMB = 64 // the longest row, MiB
	mostCols  = 1 << 20
)

// A csvScanner reads a file batch by batch.
type csvScanner struct {
	r     io.Reader
	cols  int // 0 until the header is read
	rest  []byte
	rows  int64 // before the next batch, the header among them
	read  int64
	ended bool
}

var errLongRow = fmt.Errorf("a row is longer than %d MiB: is a quote missing?", longestMB)

// next reads the next batch into b; io.EOF is the end. most bounds the rows, 0 for as many as there are in a chunk.
func (s *csvScanner) next(b *csvBatch, most int) error {
	b.fields, b.rows = b.fields[:0], 0
	b.buf = append(b.buf[:0], s.rest...)
	for chunk := csvChunk; ; {
		if !s.ended {
			at := len(b.buf)
			b.buf = slices.Grow(b.buf, chunk)
			n, err := io.ReadFull(s.r, b.buf[at:at+chunk])
			b.buf = b.buf[:at+n]
			s.read += int64(n)
			switch {
			case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
				s.ended = true
			case err != nil:
				return err
			}
		}
		used, err := s.parse(b, most)
		if err != nil {
			return err
		}
		if b.rows > 0 || s.ended {
			s.rest = append(s.rest[:0], b.buf[used:]...)
			s.rows += int64(b.rows)
			b.end = s.read - int64(len(s.rest))
			if b.rows == 0 {
				return io.EOF
			}
			return nil
		}
		if len(b.buf) > longestMB<<20 {
			return fmt.Errorf("row %d: %w", s.rows+1, errLongRow)
		}
		// A long row is looked at anew with each chunk: chunks that grow keep that in proportion to its length.
		chunk = max(csvChunk, min(len(b.buf), longestMB<<20+1-len(b.buf)))
	}
}

// parse takes whole rows off the buffer and returns how many bytes they are.
func (s *csvScanner) parse(b *csvBatch, most int) (used int, err error) {
	for used < len(b.buf) && (most == 0 || b.rows < most) {
		first := len(b.fields)
		next, whole, err := s.row(b, used)
		if err != nil {
			return used, fmt.Errorf("row %d: %w", s.rows+int64(b.rows)+1, err)
		}
		if !whole {
			b.fields = b.fields[:first]
			return used, nil
		}
		used = next
		n := len(b.fields) - first
		switch {
		case n == 1 && b.fields[first].from == b.fields[first].to && !b.fields[first].quoted && s.cols != 1:
			b.fields = b.fields[:first] // an empty line
			continue
		case s.cols == 0:
			s.cols = n
		case n != s.cols:
			return used, fmt.Errorf("row %d has %d fields, not %d", s.rows+int64(b.rows)+1, n, s.cols)
		}
		b.unescape(first)
		b.rows++
	}
	return used, nil
}

// row reads the row at `at` and returns where the next one begins. whole is false if the buffer ends before it does.
func (s *csvScanner) row(b *csvBatch, at int) (next int, whole bool, err error) {
	most := mostCols
	if s.cols > 0 {
		most = s.cols
	}
	for first := len(b.fields); ; {
		if len(b.fields)-first > most { // before all of a file of commas is in memory
			return 0, false, fmt.Errorf("it has more than %d fields", most)
		}
		f, next, end, err := s.field(b.buf, at)
		if err != nil || next < 0 {
			return 0, false, err
		}
		b.fields = append(b.fields, f)
		if end {
			return next, true, nil
		}
		at = next
	}
}

var (
	errBareQuote  = errors.New("a quote inside of a field that is not in quotes")
	errAfterQuote = errors.New("a quoted field goes on after its quote")
	errOpenQuote  = errors.New("a quoted field does not end")
)

// field reads the field at `at`: next is where the next one begins, or less than 0 if the buffer ends too early; end says
// that it was the row's last.
func (s *csvScanner) field(buf []byte, at int) (f field, next int, end bool, err error) {
	if at < len(buf) && buf[at] == '"' {
		return s.quoted(buf, at+1)
	}
	for i := at; i < len(buf); i++ {
		switch buf[i] {
		case ',':
			return field{from: uint32(at), to: uint32(i)}, i + 1, false, nil
		case '\n':
			to := i
			if to > at && buf[to-1] == '\r' {
				to--
			}
			return field{from: uint32(at), to: uint32(to)}, i + 1, true, nil
		case '"':
			return f, 0, false, errBareQuote
		}
	}
	if !s.ended {
		return f, -1, false, nil
	}
	to := len(buf)
	if to > at && buf[to-1] == '\r' {
		to--
	}
	return field{from: uint32(at), to: uint32(to)}, len(buf), true, nil
}

// unescape makes doubled quotes single, in the fields from first on: once their row is whole, for what is not is read
// again.
func (b *csvBatch) unescape(first int) {
	for i := first; i < len(b.fields); i++ {
		if f := &b.fields[i]; f.doubled {
			f.to = f.from + uint32(unescape(b.buf[f.from:f.to]))
		}
	}
}

// quoted reads a field behind its opening quote.
func (s *csvScanner) quoted(buf []byte, at int) (f field, next int, end bool, err error) {
	doubled := false
	for i := at; i < len(buf); i++ {
		if buf[i] != '"' {
			continue
		}
		if i+1 == len(buf) && !s.ended {
			return f, -1, false, nil
		}
		if i+1 < len(buf) && buf[i+1] == '"' {
			doubled = true
			i++
			continue
		}
		next, end, ok := s.afterQuote(buf, i+1)
		switch {
		case !ok:
			return f, 0, false, errAfterQuote
		case next < 0:
			return f, -1, false, nil
		}
		return field{from: uint32(at), to: uint32(i), quoted: true, doubled: doubled}, next, end, nil
	}
	if s.ended {
		return f, 0, false, errOpenQuote
	}
	return f, -1, false, nil
}

// afterQuote reads what ends a quoted field.
func (s *csvScanner) afterQuote(buf []byte, at int) (next int, end, ok bool) {
	switch {
	case at == len(buf):
		return at, true, true // of the file, or quoted would not have asked
	case buf[at] == ',':
		return at + 1, false, true
	case buf[at] == '\n':
		return at + 1, true, true
	case buf[at] != '\r':
		return 0, false, false
	case at+1 < len(buf):
		return at + 2, true, buf[at+1] == '\n'
	case s.ended:
		return at + 1, true, true
	}
	return -1, false, true
}

// unescape replaces doubled quotes by single ones in place and returns the new length.
func unescape(b []byte) int {
	n := 0
	for i := 0; i < len(b); i++ {
		b[n] = b[i]
		n++
		if b[i] == '"' {
			i++
		}
	}
	return n
}
