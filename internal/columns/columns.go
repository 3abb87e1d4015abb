// Package columns reads files of rows column by column: Parquet and CSV, of any size in bounded memory, on all cores. It
// knows what types a file's columns have and how to give a column's values as what somebody wants them as; what is done
// with them is the reader's matter. Reading rows in order is offline/train's.
package columns

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/freshet-io/freshet/internal/feature"
)

// Column is a column of a file.
type Column struct {
	Name string
	// Type is what its values are; Null if they are none that can be read, of which Why says more.
	Type feature.Type
	Why  string
}

// Sink takes the values of one column, in any order. It is called by one goroutine at a time. Slices and strings are
// valid until the call returns.
type Sink interface {
	AddFloat64s(values []float64)
	AddString(s string, count uint64)
	AddNulls(n uint64)
	AddMistyped(n uint64)
}

// Want asks for a column as values of a type: numbers go to AddFloat64s (a timestamp as its microseconds), texts, bytes,
// bools and, with Text, integers to AddString. A value that is not of the type goes to AddMistyped; integers and floats
// are one type here, and so are texts and bytes.
type Want struct {
	Column int
	Type   feature.Type
	Text   bool
	Sink   Sink
}

// text reports whether values go to AddString.
func (w *Want) text() bool {
	return w.Text || w.Type == feature.String || w.Type == feature.Bytes || w.Type == feature.Bool
}

// File is a file of rows.
type File interface {
	// Columns returns the file's columns, in order.
	Columns() []Column
	// Infer finds out the types of columns that do not say them, by reading everything.
	Infer(ctx context.Context, progress func(done int64)) error
	// Size returns how much there is to read, in the unit of Read's progress, for the columns that are wanted.
	Size(wants []Want) int64
	// Unit names what Size counts: "values" or "bytes".
	Unit() string
	// Read gives the wanted columns to their sinks, from the file's beginning to its end. From time to time it says how
	// much it has read, from one goroutine at a time.
	Read(ctx context.Context, wants []Want, progress func(done int64)) error
	Close() error
}

// Options say how files are read.
type Options struct {
	// Nulls are texts that, unquoted in a CSV file, are null as an empty field is.
	Nulls []string
}

// ErrNotATable is returned for a file whose name does not say that it is one that can be read.
var ErrNotATable = errors.New("not a .parquet or .csv file")

// Open opens a file by its name: .parquet, .pq or .csv. Of a CSV file it reads the first line alone: the types
// of its columns are String until Infer has found them out.
func Open(path string, o Options) (File, error) {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".csv":
		return openCSV(path, o)
	case ".parquet", ".pq":
		return openParquet(path)
	}
	return nil, fmt.Errorf("%s: %w", path, ErrNotATable)
}

// checkNames refuses columns that cannot be told apart.
func checkNames(cols []Column) error {
	if len(cols) == 0 {
		return errors.New("there are no columns")
	}
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
