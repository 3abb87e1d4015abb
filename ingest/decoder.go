package ingest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
)

// Decoder turns a record's value into a row of its source's schema. A Decoder learns from what it decodes and is used
// by one goroutine at a time.
type Decoder interface {
	// Decode fills row, which has one value for each field of the schema, and returns how many fields of the payload
	// the schema does not name. Values may alias payload: they are valid as long as payload is not changed. The error is
	// a *FieldError, and row is then undefined.
	Decode(payload []byte, row []feature.Value) (unknown int, err error)
}

// codecs is the table of formats: one line and one file each.
var codecs = map[string]func(*config.Source) (Decoder, error){
	"json": newJSONDecoder,
}

// NewDecoder returns a decoder of src's format and schema.
func NewDecoder(src *config.Source) (Decoder, error) {
	make, ok := codecs[src.Format]
	if !ok {
		known := slices.Sorted(maps.Keys(codecs))
		return nil, fmt.Errorf("source %s: unknown format %q; formats are %s", src.Name, src.Format, strings.Join(known, ", "))
	}
	d, err := make(src)
	if err != nil {
		return nil, fmt.Errorf("source %s: %w", src.Name, err)
	}
	return d, nil
}
