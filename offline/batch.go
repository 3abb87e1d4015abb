package offline

import (
	"fmt"

	"github.com/freshet-io/freshet/internal/feature"
)

// Meta is what every row has besides its table's Columns.
type Meta struct {
	Time      int64 // event time, microseconds
	Arrived   int64 // microseconds
	Offset    int64
	Topic     string
	Partition int32
	Ordinal   uint8
	Deleted   bool
}

// Order returns the row's place among the events of its entity.
func (m *Meta) Order() feature.Order {
	return feature.Order{Time: m.Time, Ordinal: m.Ordinal, Partition: m.Partition, Offset: m.Offset}
}

// Batch is some rows of a table, or of some of its columns. A reader reuses it: values are valid until the next batch.
type Batch struct {
	Width  int             // values a row
	Values []feature.Value // row by row
	Meta   []Meta          // of each row
}

// Len returns the number of rows.
func (b *Batch) Len() int { return len(b.Meta) }

// Row returns the values of row i.
func (b *Batch) Row(i int) []feature.Value {
	return b.Values[i*b.Width : (i+1)*b.Width : (i+1)*b.Width]
}

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset(width int) {
	b.Width, b.Values, b.Meta = width, b.Values[:0], b.Meta[:0]
}

// Range is a run of records of one partition, [First, End). Offsets in it that hold no usable record have no row.
type Range struct {
	Topic      string
	Partition  int32
	First, End int64
}

// String returns topic/partition [first, end).
func (r Range) String() string {
	return fmt.Sprintf("%s/%d [%d, %d)", r.Topic, r.Partition, r.First, r.End)
}
