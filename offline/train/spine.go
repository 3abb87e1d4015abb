package train

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	pq "github.com/parquet-go/parquet-go"

	"github.com/freshet-io/freshet/internal/feature"
)

// Spine is the rows that features are wanted for.
type Spine interface {
	// Columns returns what each row has, in order.
	Columns() []SpineColumn
	// Next reads the next row into row, which has a value for each column; io.EOF is the end. Values are valid until the
	// next call.
	Next(row []feature.Value) error
	Close() error
}

// SpineColumn is a column of a spine.
type SpineColumn struct {
	Name string
	// Type is that of the values; String where Text.
	Type feature.Type
	Text bool // a file of text: values are read as whatever is needed, and empty is null
	// Zoneless says that a Timestamp is a time of day on some clock, without a zone.
	Zoneless bool
	// Unit is how many of a Timestamp's units are a second; 0 is microseconds.
	Unit int64
	// Unsigned says that the bits of an Int64 are of a number without a sign.
	Unsigned bool
	// Node is the column in a Parquet file; it is written as it was. nil elsewhere.
	Node pq.Node
}

// Lists says what becomes of columns of lists and groups. Columns of other types that cannot be read are always refused.
type Lists int

const (
	NoLists   Lists = iota // they are refused: what is kept would lack them
	SkipLists              // they are left out
)

// OpenSpine opens a spine by the name of a file: .csv or .parquet.
func OpenSpine(path string, l Lists) (Spine, error) {
	switch ext := strings.ToLower(filepath.Ext(path)); ext {
	case ".csv":
		return openCSV(path)
	case ".parquet", ".pq":
		return openParquet(path, l)
	default:
		return nil, fmt.Errorf("%s: rows are in a .csv or a .parquet file, not in %q", path, ext)
	}
}

// checkColumns refuses rows whose columns cannot be told apart.
func checkColumns(cols []SpineColumn) error {
	seen := map[string]bool{}
	for i, c := range cols {
		if c.Name == "" {
			return fmt.Errorf("column %d has no name", i+1)
		}
		if seen[c.Name] {
			return fmt.Errorf("there are two columns %q", c.Name)
		}
		seen[c.Name] = true
	}
	return nil
}

// errEmpty is what a file without a header is.
var errEmpty = errors.New("the file names no columns")

// isEnd reports whether Next came to the end.
func isEnd(err error) bool { return errors.Is(err, io.EOF) }
