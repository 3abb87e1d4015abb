package cli

import (
	"bufio"
	"io"
	"strings"

	"github.com/rivo/uniseg"
)

// A table is rows of text under headings, printed in columns that align on any terminal: widths are counted in
// terminal cells, so that wide and combining characters do not shift what stands right of them.
type table struct {
	columns []column
	rows    [][]string
}

type column struct {
	heading string
	right   bool // aligned to the right, for numbers
}

// left and right make a table's columns.
func left(heading string) column { return column{heading: heading} }

func right(heading string) column { return column{heading: heading, right: true} }

func newTable(columns ...column) *table { return &table{columns: columns} }

// add appends a row of as many cells as there are columns.
func (t *table) add(cells ...string) {
	row := make([]string, len(t.columns))
	for i := range row {
		if i < len(cells) {
			row[i] = printable(cells[i])
		}
	}
	t.rows = append(t.rows, row)
}

const columnGap = 2

// print writes the headings and the rows; a line has no spaces at its end.
func (t *table) print(w io.Writer) error {
	widths := make([]int, len(t.columns))
	headings := make([]string, len(t.columns))
	for i, c := range t.columns {
		headings[i] = c.heading
		widths[i] = uniseg.StringWidth(c.heading)
	}
	for _, row := range t.rows {
		for i, cell := range row {
			widths[i] = max(widths[i], uniseg.StringWidth(cell))
		}
	}
	out := bufio.NewWriter(w)
	t.printRow(out, headings, widths)
	for _, row := range t.rows {
		t.printRow(out, row, widths)
	}
	return out.Flush()
}

func (t *table) printRow(w *bufio.Writer, row []string, widths []int) {
	pending := 0 // spaces owed before the next visible cell
	for i, cell := range row {
		space := widths[i] - uniseg.StringWidth(cell)
		if t.columns[i].right {
			pending, space = pending+space, 0
		}
		if cell != "" {
			w.WriteString(strings.Repeat(" ", pending))
			w.WriteString(cell)
			pending = 0
		}
		pending += space + columnGap
	}
	w.WriteByte('\n')
}

// printable replaces what would move the cursor: a value from outside can neither break the table nor speak to the
// terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n' || r == '\r':
			return ' '
		case r < 0x20 || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069':
			return '\ufffd'
		}
		return r
	}, s)
}
