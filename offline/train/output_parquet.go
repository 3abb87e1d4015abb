package train

import (
	"context"
	"fmt"
	"slices"

	pq "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/offline"
)

// parquetOutput writes one Parquet file. Columns of a Parquet spine keep their types.
type parquetOutput struct {
	file   newFile
	w      *pq.GenericWriter[any]
	leaves []leaf
	rows   []pq.Row
	backs  [][]pq.Value
	text   [][]byte // the memory of the texts of rows
}

// leaf says how the values of a column are written.
type leaf struct {
	kind     pq.Kind
	optional bool
	list     bool
}

const (
	parquetRows     = 512     // at a time
	parquetRowGroup = 200_000 // rows
)

// Text implements Output.
func (o *parquetOutput) Text() bool { return false }

// Begin implements Output.
func (o *parquetOutput) Begin(_ context.Context, spine []SpineColumn, features []offline.Column) error {
	g := ordered{Group: pq.Group{}}
	add := func(name string, n pq.Node) {
		g.Group[name] = n
		g.names = append(g.names, name)
	}
	for _, c := range spine {
		n := c.Node
		if n == nil {
			n = pq.Optional(scalarNode(c.Type))
		}
		add(c.Name, n)
		o.leaves = append(o.leaves, leaf{kind: n.Type().Kind(), optional: n.Optional()})
	}
	for _, c := range features {
		n := scalarNode(c.Type.Elem())
		l := leaf{kind: n.Type().Kind(), optional: true, list: c.Type.IsList()}
		if l.list {
			n = pq.List(n)
		}
		add(c.Name, pq.Optional(n))
		o.leaves = append(o.leaves, l)
	}
	if err := o.file.create(); err != nil {
		return err
	}
	o.w = pq.NewGenericWriter[any](o.file.f, pq.NewSchema("training_set", g), pq.Compression(&zstd.Codec{Level: zstd.SpeedFastest}),
		pq.MaxRowsPerRowGroup(parquetRowGroup), pq.CreatedBy("freshet", "train", ""), pq.PageBufferSize(128<<10))
	return nil
}

func scalarNode(t feature.Type) pq.Node {
	switch t {
	case feature.Bool:
		return pq.Leaf(pq.BooleanType)
	case feature.Int64:
		return pq.Int(64)
	case feature.Float64:
		return pq.Leaf(pq.DoubleType)
	case feature.String:
		return pq.String()
	case feature.Timestamp:
		return pq.TimestampAdjusted(pq.Microsecond, true)
	}
	return pq.Leaf(pq.ByteArrayType)
}

// ordered is a group whose fields keep their order; pq.Group sorts them by name.
type ordered struct {
	pq.Group
	names []string
}

// Fields returns the fields in the order in which they were added.
func (g ordered) Fields() []pq.Field {
	fields := g.Group.Fields()
	place := make(map[string]int, len(g.names))
	for i, n := range g.names {
		place[n] = i
	}
	slices.SortFunc(fields, func(a, b pq.Field) int { return place[a.Name()] - place[b.Name()] })
	return fields
}

// Write implements Output.
func (o *parquetOutput) Write(spine, features []feature.Value) error {
	n := len(o.rows)
	if n == len(o.backs) {
		o.backs, o.text = append(o.backs, nil), append(o.text, nil)
	}
	row, text := o.backs[n][:0], o.text[n][:0]
	need := 0
	for i := range spine {
		need += textBytes(&spine[i])
	}
	for i := range features {
		need += textBytes(&features[i])
	}
	text = slices.Grow(text, need) // so that it does not move
	for i := range spine {
		row, text = o.leaves[i].append(row, i, &spine[i], text)
	}
	for i := range features {
		k := len(spine) + i
		row, text = o.leaves[k].append(row, k, &features[i], text)
	}
	o.backs[n], o.text[n] = row, text
	o.rows = append(o.rows, row)
	if len(o.rows) < parquetRows {
		return nil
	}
	return o.flush()
}

func textBytes(v *feature.Value) int {
	n := len(v.Str())
	list := v.List()
	for i := range list {
		n += len(list[i].Str())
	}
	return n
}

// append appends a value of the column number col. Text is copied to the end of text, as rows outlive their values.
func (l *leaf) append(row pq.Row, col int, v *feature.Value, text []byte) (pq.Row, []byte) {
	if v.IsNull() {
		return append(row, pq.Value{}.Level(0, 0, col)), text
	}
	def := 0
	if l.optional {
		def = 1
	}
	if !l.list {
		x, text := l.value(v, text)
		return append(row, x.Level(0, def, col)), text
	}
	list := v.List()
	if len(list) == 0 {
		return append(row, pq.Value{}.Level(0, def, col)), text
	}
	for i := range list {
		var x pq.Value
		x, text = l.value(&list[i], text)
		row = append(row, x.Level(min(i, 1), def+1, col))
	}
	return row, text
}

func (l *leaf) value(v *feature.Value, text []byte) (pq.Value, []byte) {
	switch l.kind {
	case pq.Boolean:
		return pq.BooleanValue(v.Bool()), text
	case pq.Int32:
		return pq.Int32Value(int32(v.Int64())), text
	case pq.Int64:
		return pq.Int64Value(v.Int64()), text
	case pq.Float:
		return pq.FloatValue(float32(v.Float64())), text
	case pq.Double:
		return pq.DoubleValue(v.Float64()), text
	}
	from := len(text)
	text = append(text, v.Str()...)
	b := text[from:len(text):len(text)]
	if l.kind == pq.FixedLenByteArray {
		return pq.FixedLenByteArrayValue(b), text
	}
	return pq.ByteArrayValue(b), text
}

func (o *parquetOutput) flush() error {
	if len(o.rows) == 0 {
		return nil
	}
	_, err := o.w.WriteRows(o.rows)
	o.rows = o.rows[:0]
	if err != nil {
		return fmt.Errorf("write %s: %w", o.file.path, err)
	}
	return nil
}

// Commit implements Output.
func (o *parquetOutput) Commit(_ context.Context, m *Manifest) error {
	if err := o.flush(); err != nil {
		return err
	}
	if err := o.w.Close(); err != nil {
		return fmt.Errorf("write %s: %w", o.file.path, err)
	}
	return o.file.commit(m)
}

// Abort implements Output.
func (o *parquetOutput) Abort() error { return o.file.abort() }
