package columns

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/freshet-io/freshet/internal/feature"
)

// csvFile is a CSV file whose first line names the columns. One goroutine takes rows apart, the others turn fields into
// values; each column has one goroutine, so that its sink has too.
//
// Null is an unquoted field that is empty, or one of the texts that the options name. A quoted field is never null: ""
// is the empty string.
type csvFile struct {
	name  string
	f     *os.File
	cols  []Column
	nulls [][]byte
	start int64 // where the rows begin
	size  int64
}

var errNoHeader = errors.New("the file is empty: its first line names the columns")

func openCSV(path string, o Options) (File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	c := &csvFile{name: path, f: f}
	for _, n := range o.Nulls {
		c.nulls = append(c.nulls, []byte(n))
	}
	if err := c.header(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return c, nil
}

func (c *csvFile) header() error {
	st, err := c.f.Stat()
	if err != nil {
		return err
	}
	c.size = st.Size()
	r := bufio.NewReaderSize(c.f, csvChunk)
	var mark int64
	if b, err := r.Peek(3); err == nil && bytes.Equal(b, []byte("\xef\xbb\xbf")) {
		if _, err := r.Discard(3); err != nil {
			return err
		}
		mark = 3
	}
	var b csvBatch
	s := csvScanner{r: r}
	switch err := s.next(&b, 1); {
	case errors.Is(err, io.EOF):
		return errNoHeader
	case err != nil:
		return err
	}
	for _, f := range b.fields {
		c.cols = append(c.cols, Column{Name: string(b.text(f)), Type: feature.String})
	}
	c.start = mark + b.end
	return checkNames(c.cols)
}

// Columns implements File.
func (c *csvFile) Columns() []Column { return c.cols }

// Unit implements File.
func (c *csvFile) Unit() string { return "bytes" }

// Size implements File.
func (c *csvFile) Size([]Want) int64 { return c.size - c.start }

// Close implements File.
func (c *csvFile) Close() error { return c.f.Close() }

// null reports whether a field has no value.
func (c *csvFile) null(b *csvBatch, f field) bool {
	if f.quoted {
		return false
	}
	if f.from == f.to {
		return true
	}
	return len(c.nulls) > 0 && slices.ContainsFunc(c.nulls, func(n []byte) bool { return bytes.Equal(n, b.text(f)) })
}

// Infer implements File. A column is bool if each of its values is true or false, else int64 or float64 if each is such a
// number, else a timestamp if each is one by RFC 3339; anything else is a string, as is a column without values. A column
// of integers with a NaN or a fraction in it is float64.
func (c *csvFile) Infer(ctx context.Context, progress func(int64)) error {
	takers := make([]taker, len(c.cols))
	guesses := make([]guess, len(c.cols))
	for i := range takers {
		guesses[i] = newGuess()
		takers[i] = func(b *csvBatch) {
			for at := i; at < len(b.fields); at += len(c.cols) {
				if f := b.fields[at]; !c.null(b, f) {
					guesses[i].see(b.text(f))
				}
			}
		}
	}
	if err := c.each(ctx, takers, progress); err != nil {
		return err
	}
	for i := range guesses {
		c.cols[i].Type = guesses[i].typ()
	}
	return nil
}

// Read implements File.
func (c *csvFile) Read(ctx context.Context, wants []Want, progress func(int64)) error {
	takers := make([]taker, len(wants))
	for i := range wants {
		v := &csvValues{file: c, want: &wants[i]}
		takers[i] = v.take
	}
	return c.each(ctx, takers, progress)
}

// taker takes what it wants of a batch.
type taker func(b *csvBatch)

// sharedBatch is a batch that several goroutines read.
type sharedBatch struct {
	csvBatch
	readers sync.WaitGroup
}

// each gives every batch of the file to all takers.
func (c *csvFile) each(ctx context.Context, takers []taker, progress func(int64)) error {
	if len(takers) == 0 {
		return nil
	}
	g, ctx := errgroup.WithContext(ctx)
	workers := min(runtime.GOMAXPROCS(0), len(takers))
	work := make([]chan *sharedBatch, workers)
	for w := range work {
		work[w] = make(chan *sharedBatch, 2)
		g.Go(func() error {
			for b := range work[w] {
				for i := w; i < len(takers); i += workers {
					takers[i](&b.csvBatch)
				}
				b.readers.Done()
			}
			return nil
		})
	}
	g.Go(func() error {
		defer func() {
			for _, w := range work {
				close(w)
			}
		}()
		return c.batches(ctx, work, progress)
	})
	if err := g.Wait(); err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	return nil
}

// batches reads the file and hands batches out; a batch is used again once all have read it.
func (c *csvFile) batches(ctx context.Context, work []chan *sharedBatch, progress func(int64)) error {
	s := csvScanner{r: io.NewSectionReader(c.f, c.start, c.size-c.start), cols: len(c.cols), rows: 1}
	ring := make([]*sharedBatch, 4)
	for i := 0; ; i++ {
		b := ring[i%len(ring)]
		if b == nil {
			b = &sharedBatch{}
			ring[i%len(ring)] = b
		}
		b.readers.Wait()
		if err := ctx.Err(); err != nil {
			return err
		}
		switch err := s.next(&b.csvBatch, 0); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		b.readers.Add(len(work))
		for _, w := range work {
			w <- b
		}
		if progress != nil {
			progress(b.end)
		}
	}
}
