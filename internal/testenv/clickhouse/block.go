package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/ClickHouse/ch-go/proto"
)

// revision is what ch-go and clickhouse-go speak.
const revision = proto.Version

type column struct{ name, typ string }

// copyBlock copies a block from one revision to another. The engine reads and writes revision 0: without block info and
// without the flag of custom serialization, which stands between a column's type and its data. The copy therefore has to
// walk the data to know where a column ends.
func copyBlock(dst *proto.Buffer, src *proto.Reader, from, to int) (cols []column, rows int, err error) {
	defer func() {
		if r := recover(); r != nil { // must's: a walk has no other way out of its depth
			err = fmt.Errorf("native block: %v", r)
		}
	}()
	if from > 0 {
		must(0, new(proto.BlockInfo).Decode(src))
	}
	n := must(src.Int())
	rows = must(src.Int())
	putBlockHead(dst, to, n, rows)
	for range n {
		c := column{name: must(src.Str()), typ: must(src.Str())}
		cols = append(cols, c)
		if proto.FeatureCustomSerialization.In(from) && must(src.Bool()) {
			panic("custom serialization of " + c.name)
		}
		putColumnHead(dst, to, c)
		if rows > 0 {
			w, t := walker{dst: dst, src: src}, parseType(c.typ)
			w.prefix(t)
			w.data(t, rows)
		}
	}
	return cols, rows, nil
}

// eachBlock calls f with a reader at the start of each of the engine's blocks in piece.
func eachBlock(piece []byte, f func(*proto.Reader) error) error {
	br := bufio.NewReaderSize(bytes.NewReader(piece), 128<<10)
	src := proto.NewReader(br)
	for {
		if _, err := br.Peek(1); err != nil {
			return nil
		}
		if err := f(src); err != nil {
			return err
		}
	}
}

// header is a block without rows; without columns it is the empty one, which ends a stream.
func header(rev int, cols ...column) []byte {
	var b proto.Buffer
	putBlockHead(&b, rev, len(cols), 0)
	for _, c := range cols {
		putColumnHead(&b, rev, c)
	}
	return b.Buf
}

func putBlockHead(b *proto.Buffer, rev, cols, rows int) {
	if rev > 0 {
		proto.BlockInfo{BucketNum: -1}.Encode(b)
	}
	b.PutInt(cols)
	b.PutInt(rows)
}

func putColumnHead(b *proto.Buffer, rev int, c column) {
	b.PutString(c.name)
	b.PutString(c.typ)
	if proto.FeatureCustomSerialization.In(rev) {
		b.PutBool(false)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// dataType is a parsed type name, as Array(LowCardinality(String)).
type dataType struct {
	name string
	size int // bytes a value, 0 if it varies
	args []*dataType
}

func sizeOf(name string) int {
	switch name {
	case "UInt8", "Int8", "Bool", "Enum8", "Nothing":
		return 1
	case "UInt16", "Int16", "Date", "Enum16":
		return 2
	case "UInt32", "Int32", "Float32", "DateTime", "Date32", "IPv4":
		return 4
	case "UInt64", "Int64", "Float64", "DateTime64":
		return 8
	case "UInt128", "Int128", "UUID", "IPv6":
		return 16
	case "UInt256", "Int256":
		return 32
	}
	if strings.HasPrefix(name, "Interval") {
		return 8
	}
	return 0
}

// decimalSize is how many bytes a Decimal of so many digits has.
func decimalSize(digits int) int {
	switch {
	case digits <= 9:
		return 4
	case digits <= 18:
		return 8
	case digits <= 38:
		return 16
	}
	return 32
}

var elementName = regexp.MustCompile("^(?:`[^`]+`|\\w+) +")

func parseType(s string) *dataType {
	name, body, _ := strings.Cut(strings.TrimSuffix(strings.TrimSpace(s), ")"), "(")
	t := &dataType{name: name, size: sizeOf(name)}
	args := splitArguments(body)
	switch name {
	case "FixedString":
		t.size = must(strconv.Atoi(args[0]))
	case "Decimal":
		t.size = decimalSize(must(strconv.Atoi(args[0])))
	case "SimpleAggregateFunction":
		return parseType(args[1])
	case "Array", "Nullable", "LowCardinality", "Map", "Tuple":
		for _, a := range args {
			if name == "Tuple" {
				a = elementName.ReplaceAllString(a, "")
			}
			t.args = append(t.args, parseType(a))
		}
	}
	if name == "Map" {
		return &dataType{name: "Array", args: []*dataType{{name: "Tuple", args: t.args}}}
	}
	return t
}

// splitArguments splits at the commas outside of parentheses.
func splitArguments(body string) (args []string) {
	depth, start := 0, 0
	for i, r := range body + "," {
		switch {
		case r == ',' && depth == 0:
			args = append(args, strings.TrimSpace(body[start:i]))
			start = i + 1
		case r == '(':
			depth++
		case r == ')':
			depth--
		}
	}
	return args
}

// walker copies the data of columns. It panics, by must, where the data ends early.
type walker struct {
	dst *proto.Buffer
	src *proto.Reader
}

// copy copies n bytes and returns them, valid until the next copy.
func (w walker) copy(n int) []byte {
	at := len(w.dst.Buf)
	w.dst.Buf = slices.Grow(w.dst.Buf, n)[:at+n]
	must(0, w.src.ReadFull(w.dst.Buf[at:]))
	return w.dst.Buf[at:]
}

func (w walker) uint64() int { return int(binary.LittleEndian.Uint64(w.copy(8))) }

// prefix copies what precedes a column's data: a version for each LowCardinality.
func (w walker) prefix(t *dataType) {
	if t.name == "LowCardinality" {
		w.copy(8)
		return
	}
	for _, a := range t.args {
		w.prefix(a)
	}
}

func (w walker) data(t *dataType, rows int) {
	switch {
	case rows == 0:
	case t.size > 0:
		w.copy(t.size * rows)
	case t.name == "String":
		for range rows {
			n := must(w.src.StrLen())
			w.dst.PutInt(n)
			w.copy(n)
		}
	case t.name == "Nullable":
		w.copy(rows) // which are null
		w.data(t.args[0], rows)
	case t.name == "Tuple":
		for _, a := range t.args {
			w.data(a, rows)
		}
	case t.name == "Array":
		ends := w.copy(8 * rows)
		w.data(t.args[0], int(binary.LittleEndian.Uint64(ends[8*rows-8:])))
	case t.name == "LowCardinality":
		w.dictionary(t.args[0])
	default:
		panic("type " + t.name + " is not known here")
	}
}

// dictionary copies a LowCardinality column: flags, the values of this block, an index a row.
func (w walker) dictionary(values *dataType) {
	const hasValues = 1 << 9
	if values.name == "Nullable" { // null is value 0 then
		values = values.args[0]
	}
	flags := w.uint64()
	if flags&hasValues != 0 {
		w.data(values, w.uint64())
	}
	w.copy(w.uint64() << (flags & 0xff)) // 1, 2, 4 or 8 bytes an index
}
