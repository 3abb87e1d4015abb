package parquet

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	pq "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/offline"
)

// A layout is the columns of a file: a table's, then those of every table. Column i of a batch is columns[i].
type layout struct {
	columns []offline.Column
	key     []string // names of the columns that have a bloom filter
}

// layoutOf returns the layout in which a table is written today.
func layoutOf(t *offline.Table) *layout {
	l := &layout{columns: t.Columns}
	for _, k := range t.Key {
		l.key = append(l.key, t.Columns[k].Name)
	}
	return l
}

// column returns the index of a column, -1 where there is none.
func (l *layout) column(name string) int {
	return slices.IndexFunc(l.columns, func(c offline.Column) bool { return c.Name == name })
}

// union returns a layout that has the columns of both, and refuses a column of two types. What one of them lacks can be
// null.
func (l *layout) union(o *layout) (*layout, error) {
	if l == nil {
		return o, nil
	}
	u := &layout{columns: slices.Clone(l.columns), key: l.key}
	for i := range u.columns {
		c := &u.columns[i]
		k := o.column(c.Name)
		switch {
		case k < 0:
			c.Nullable = true
		case o.columns[k].Type != c.Type:
			return nil, &typeError{column: c.Name, file: o.columns[k].Type, table: c.Type}
		default:
			c.Nullable = c.Nullable || o.columns[k].Nullable
		}
	}
	for _, c := range o.columns {
		if l.column(c.Name) < 0 {
			c.Nullable = true
			u.columns = append(u.columns, c)
		}
	}
	for _, k := range o.key {
		if !slices.Contains(u.key, k) {
			u.key = append(u.key, k)
		}
	}
	return u, nil
}

// typeError tells of a column that a file has with another type than is asked for. Types are not widened: a number that
// was an integer is not the same number as a float, and a changed type is a new column.
type typeError struct {
	column      string
	file, table feature.Type
}

func (e *typeError) Error() string {
	return fmt.Sprintf("column %q is %s in files that are there and %s in the table: a column keeps its type; give the new one another name", e.column, e.file, e.table)
}

// metaColumns are the columns of every table, after its own.
var metaColumns = []struct {
	name string
	node pq.Node
}{
	{offline.EventTime, pq.Encoded(pq.TimestampAdjusted(pq.Microsecond, true), &pq.DeltaBinaryPacked)},
	{offline.ArrivedAt, pq.Encoded(pq.TimestampAdjusted(pq.Microsecond, true), &pq.DeltaBinaryPacked)},
	{offline.Deleted, pq.Leaf(pq.BooleanType)},
	{offline.Ordinal, pq.Encoded(pq.Int(32), &pq.RLEDictionary)},
	{offline.Topic, pq.Encoded(pq.String(), &pq.RLEDictionary)},
	{offline.Partition, pq.Encoded(pq.Int(32), &pq.RLEDictionary)},
	{offline.Offset, pq.Encoded(pq.Int(64), &pq.DeltaBinaryPacked)},
}

// The places of metaColumns behind a table's columns.
const (
	metaTime = iota
	metaArrived
	metaDeleted
	metaOrdinal
	metaTopic
	metaPartition
	metaOffset
	numMeta
)

// leafType returns the Parquet type of a scalar.
func leafType(t feature.Type) pq.Node {
	switch t {
	case feature.Bool:
		return pq.Leaf(pq.BooleanType)
	case feature.Int64:
		return pq.Int(64)
	case feature.Float64:
		return pq.Leaf(pq.DoubleType)
	case feature.String:
		return pq.String()
	case feature.Bytes:
		return pq.Leaf(pq.ByteArrayType)
	}
	return pq.TimestampAdjusted(pq.Microsecond, true)
}

// encodable are the types whose values may repeat enough for a dictionary.
func encodable(t feature.Type) bool {
	switch t.Elem() {
	case feature.String, feature.Bytes, feature.Int64, feature.Timestamp:
		return true
	}
	return false
}

// schema returns the Parquet schema of a layout. Column i is written by dictionary if dict[i]. There is no falling back from a
// dictionary half way: parquet-go's bloom filter would lack the values that follow.
func (l *layout) schema(name string, dict []bool) *pq.Schema {
	g := ordered{Group: pq.Group{}}
	add := func(name string, n pq.Node) {
		g.Group[name] = n
		g.names = append(g.names, name)
	}
	for i, c := range l.columns {
		n := leafType(c.Type.Elem())
		if encodable(c.Type) {
			enc := encoding.Encoding(&pq.Plain)
			if dict[i] {
				enc = &pq.RLEDictionary
			}
			n = pq.Encoded(n, enc)
		}
		if c.Type.IsList() {
			n = pq.List(n)
		}
		if c.Nullable {
			n = pq.Optional(n)
		}
		add(c.Name, n)
	}
	for _, m := range metaColumns {
		add(m.name, m.node)
	}
	return pq.NewSchema(name, g)
}

// ordered is a group whose fields keep the order of the table; pq.Group sorts them by name.
type ordered struct {
	pq.Group
	names []string
}

// Fields returns the fields in the order in which they were added.
func (g ordered) Fields() []pq.Field {
	fields := g.Group.Fields()
	slices.SortFunc(fields, func(a, b pq.Field) int {
		return slices.Index(g.names, a.Name()) - slices.Index(g.names, b.Name())
	})
	return fields
}

// footerKey names a file's own metadata among the key-value pairs of its footer.
const footerKey = "freshet"

// formatVersion is that of footers and manifests. A reader refuses a higher one.
const formatVersion = 1

// A footer is what a file says of itself.
type footer struct {
	Version int            `json:"version"`
	Ranges  []footerRange  `json:"ranges"` // the one of a range's file, or those whose rows were merged
	Days    []string       `json:"days"`   // all that the range has a file for
	Rows    int64          `json:"rows"`
	Columns []footerColumn `json:"columns"`
	Key     []string       `json:"key,omitempty"`
}

type footerRange struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	First     int64  `json:"first"`
	End       int64  `json:"end"`
}

type footerColumn struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Nullable bool   `json:"nullable,omitempty"`
}

// encodeFooter returns the text of the footer of a file.
func encodeFooter(l *layout, ranges []offline.Range, days []day, rows int) string {
	f := footer{Version: formatVersion, Rows: int64(rows), Key: l.key, Ranges: footerRanges(ranges)}
	for _, d := range days {
		f.Days = append(f.Days, d.String())
	}
	for _, c := range l.columns {
		f.Columns = append(f.Columns, footerColumn{Name: c.Name, Type: c.Type.String(), Nullable: c.Nullable})
	}
	text, err := json.Marshal(f)
	if err != nil {
		panic("BUG: a footer of strings and numbers does not encode: " + err.Error())
	}
	return string(text)
}

func footerRanges(ranges []offline.Range) []footerRange {
	var out []footerRange
	for _, r := range ranges {
		out = append(out, footerRange(r))
	}
	return out
}

// fileInfo is a checked footer.
type fileInfo struct {
	layout *layout
	ranges []offline.Range
	days   []day
	rows   int64
}

// decodeFooter checks the text of a footer.
func decodeFooter(text string) (*fileInfo, error) {
	var f footer
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		return nil, fmt.Errorf("read the footer's %q: %w", footerKey, err)
	}
	if f.Version < 1 || f.Version > formatVersion {
		return nil, fmt.Errorf("the file has format version %d; this Freshet reads up to %d", f.Version, formatVersion)
	}
	info := &fileInfo{layout: &layout{key: f.Key}, rows: f.Rows}
	for _, r := range f.Ranges {
		if r.First < 0 || r.End <= r.First || r.Partition < 0 || r.Topic == "" {
			return nil, fmt.Errorf("the footer's range %s is none", offline.Range(r))
		}
		info.ranges = append(info.ranges, offline.Range(r))
	}
	for _, s := range f.Days {
		d, ok := parseDay(s)
		if !ok {
			return nil, fmt.Errorf("the footer's day %q is none", s)
		}
		info.days = append(info.days, d)
	}
	for _, c := range f.Columns {
		typ, err := feature.ParseType(c.Type)
		if err != nil || c.Name == "" || info.layout.column(c.Name) >= 0 {
			return nil, errors.Join(fmt.Errorf("the footer's column %q is none", c.Name), err)
		}
		info.layout.columns = append(info.layout.columns, offline.Column{Name: c.Name, Type: typ, Nullable: c.Nullable})
	}
	return info, nil
}
