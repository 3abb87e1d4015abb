package columns

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"

	pq "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
	"golang.org/x/sync/errgroup"

	"github.com/freshet-io/freshet/internal/feature"
)

// parquetFile is a Parquet file. A column is read by one goroutine from its first page to its last; goroutines take
// columns in turn.
type parquetFile struct {
	name   string
	f      *os.File
	file   *pq.File
	cols   []Column
	leaves []leaf
}

// leaf is how the values of a column become numbers: x * scale, or for text itself.
type leaf struct {
	index    int // of the column chunk
	kind     pq.Kind
	unsigned bool
	scale    float64
	floor    int64 // divides integers, rounding down, before they are numbers; 0: as they are
}

func openParquet(path string) (File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	p := &parquetFile{name: path, f: f}
	if err := guard(p.open); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return p, nil
}

// guard turns a panic of the Parquet library, which is how it meets some damaged files, into an error.
func guard(read func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the file is damaged: %v", r)
		}
	}()
	return read()
}

func (p *parquetFile) open() error {
	st, err := p.f.Stat()
	if err != nil {
		return err
	}
	p.file, err = pq.OpenFile(p.f, st.Size(), pq.SkipBloomFilters(true), pq.SkipPageIndex(true), pq.ReadBufferSize(256<<10))
	if err != nil {
		return fmt.Errorf("not a Parquet file: %w", err)
	}
	next := 0
	for _, f := range p.file.Schema().Fields() {
		c, l := describe(f)
		l.index = next
		next += leavesOf(f)
		p.cols, p.leaves = append(p.cols, c), append(p.leaves, l)
	}
	return checkNames(p.cols)
}

func leavesOf(n pq.Node) int {
	if n.Leaf() {
		return 1
	}
	total := 0
	for _, f := range n.Fields() {
		total += leavesOf(f)
	}
	return total
}

// describe tells what the values of a column are.
func describe(f pq.Field) (Column, leaf) {
	c, l := Column{Name: f.Name()}, leaf{scale: 1}
	if !f.Leaf() || f.Repeated() {
		c.Why = "a list or a group"
		return c, l
	}
	l.kind = f.Type().Kind()
	var logical format.LogicalTypeValue
	if t := f.Type().LogicalType(); t != nil {
		logical = t.Value
	}
	switch l.kind {
	case pq.Boolean:
		c.Type = feature.Bool
	case pq.Int32, pq.Int64:
		c.Type = feature.Int64
		l.integer(&c, logical)
	case pq.Float, pq.Double:
		c.Type = feature.Float64
	case pq.Int96:
		c.Type = feature.Timestamp
	case pq.ByteArray:
		c.Type = feature.Bytes
		switch logical.(type) {
		case *format.StringType, *format.EnumType, *format.JsonType:
			c.Type = feature.String
		case *format.DecimalType:
			c.Type, c.Why = feature.Null, "a decimal of any length"
		}
	case pq.FixedLenByteArray:
		c.Type = feature.Bytes
		switch logical.(type) {
		case nil, *format.UUIDType:
		default:
			c.Type, c.Why = feature.Null, f.Type().String()
		}
	default:
		c.Why = f.Type().String()
	}
	return c, l
}

// integer tells what integers stand for.
func (l *leaf) integer(c *Column, logical format.LogicalTypeValue) {
	switch t := logical.(type) {
	case *format.IntType:
		l.unsigned = !t.IsSigned
	case *format.DecimalType:
		c.Type = feature.Float64
		for range t.Scale {
			l.scale /= 10
		}
	case *format.DateType:
		c.Type, l.scale = feature.Timestamp, 24*3600e6
	case *format.TimestampType:
		c.Type = feature.Timestamp
		switch t.Unit.Value.(type) {
		case *format.MilliSeconds:
			l.scale = 1000
		case *format.NanoSeconds:
			l.floor = 1000
		}
	}
}

// Columns implements File.
func (p *parquetFile) Columns() []Column { return p.cols }

// Infer implements File: the file says the types.
func (p *parquetFile) Infer(context.Context, func(int64)) error { return nil }

// Unit implements File.
func (p *parquetFile) Unit() string { return "values" }

// Size implements File.
func (p *parquetFile) Size(wants []Want) int64 { return p.file.NumRows() * int64(len(wants)) }

// Read implements File.
func (p *parquetFile) Read(ctx context.Context, wants []Want, progress func(int64)) error {
	g, ctx := errgroup.WithContext(ctx)
	var next, done atomic.Int64
	var mu sync.Mutex
	for range min(runtime.GOMAXPROCS(0), len(wants)) {
		g.Go(func() error {
			c := chunkReader{file: p, read: func(n int64) {
				total := done.Add(n)
				if progress != nil && mu.TryLock() {
					progress(total)
					mu.Unlock()
				}
			}}
			for {
				i := int(next.Add(1)) - 1
				if i >= len(wants) {
					return nil
				}
				c.want, c.leaf = &wants[i], &p.leaves[wants[i].Column]
				if err := guard(func() error { return c.column(ctx) }); err != nil {
					return fmt.Errorf("%s: column %q: %w", p.name, p.cols[wants[i].Column].Name, err)
				}
			}
		})
	}
	return g.Wait()
}

// Close implements File.
func (p *parquetFile) Close() error { return p.f.Close() }

// chunkReader reads the column chunks of one column after the other.
type chunkReader struct {
	file *parquetFile
	want *Want
	leaf *leaf
	read func(n int64)

	numbers []float64
	found   []float64
	counts  []uint64
	values  []pq.Value
}

func (c *chunkReader) column(ctx context.Context) error {
	if rows := c.file.file.NumRows(); c.file.cols[c.want.Column].Type == feature.Null {
		c.want.Sink.AddMistyped(uint64(rows))
		c.read(rows)
		return nil
	}
	for _, g := range c.file.file.RowGroups() {
		pages := g.ColumnChunks()[c.leaf.index].Pages()
		err := c.pages(ctx, pages)
		if err := errors.Join(err, pages.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (c *chunkReader) pages(ctx context.Context, pages pq.Pages) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		page, err := pages.ReadPage()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		n := page.NumValues()
		err = c.page(page)
		pq.Release(page)
		if err != nil {
			return err
		}
		c.read(n)
	}
}

// page gives the values of a page to the sink.
func (c *chunkReader) page(page pq.Page) error {
	nulls := page.NumNulls()
	if nulls > 0 {
		c.want.Sink.AddNulls(uint64(nulls))
	}
	n := page.NumValues() - nulls
	if n == 0 {
		return nil
	}
	if !c.fits() {
		c.want.Sink.AddMistyped(uint64(n))
		return nil
	}
	text := c.want.text()
	switch {
	case c.leaf.kind == pq.Boolean, c.leaf.kind == pq.Int96, c.leaf.kind == pq.FixedLenByteArray, text && c.leaf.kind != pq.ByteArray:
		return c.oneByOne(page, text)
	case page.Dictionary() != nil:
		indexes := page.Data()
		return c.indexed(indexes.Int32(), page.Dictionary(), text)
	case text:
		c.texts(page)
	default:
		c.want.Sink.AddFloat64s(c.numbersOf(page))
	}
	return nil
}

// fits reports whether the file's values are of the type that is wanted.
func (c *chunkReader) fits() bool {
	have, want := c.file.cols[c.want.Column].Type, c.want.Type
	number := func(t feature.Type) bool { return t == feature.Int64 || t == feature.Float64 }
	text := func(t feature.Type) bool { return t == feature.String || t == feature.Bytes }
	return have == want || number(have) && number(want) || text(have) && text(want)
}
