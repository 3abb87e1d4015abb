package change

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"os"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/offline/spill"
	"github.com/freshet-io/freshet/offline/train"
)

// Rows are where a backfill comes from. Open begins with the first row; a file is opened several times, a query once.
type Rows struct {
	Name string // of a file, or what people call a query
	// Query says that Open asks a database, which may answer in another order next time.
	Query bool
	Open  func() (train.Spine, error)
}

// inputRow is a row as the JSON record that a producer would have sent. It is valid until the next one.
type inputRow struct {
	n     int64 // from 0, the same for the same rows
	place int64 // where it came, from 0
	text  []byte
	at    int64 // the record's time stamp, microseconds UTC; noTime where the source has a time of its own
	bad   error // that it has no time; there is no text then
}

const noTime = math.MinInt64

// input is rows that are read twice: to be judged, and to be loaded.
type input struct {
	name string
	each func(fn func(*inputRow) error) error
	// id is known after the first reading: the same rows have the same.
	id    func() (name string, number int32, err error)
	close func() error
}

// openAll prepares rows to be read. What it returns is to be closed, with an error too.
func (c *Change) openAll(ctx context.Context, src *config.Source, from []Rows) ([]*input, error) {
	var out []*input
	for _, r := range from {
		in, err := c.open(ctx, src, r)
		if err != nil {
			return out, err
		}
		out = append(out, in)
	}
	return out, nil
}

func closeAll(inputs []*input) (err error) {
	for _, in := range inputs {
		err = errors.Join(err, in.close())
	}
	return err
}

// open prepares rows to be read.
func (c *Change) open(ctx context.Context, src *config.Source, r Rows) (*input, error) {
	if r.Query {
		return c.openAnswer(ctx, src, r)
	}
	return &input{
		name: r.Name, each: func(fn func(*inputRow) error) error { return eachOf(ctx, src, r, fn) },
		id: func() (string, int32, error) { return digest(r.Name) }, close: func() error { return nil },
	}, nil
}

// eachOf reads rows in their own order.
func eachOf(ctx context.Context, src *config.Source, r Rows, fn func(*inputRow) error) (err error) {
	in, err := r.Open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	cols := in.Columns()
	fields, err := fieldColumns(src, cols, r.Name)
	if err != nil {
		return err
	}
	cells := make([]feature.Value, len(cols))
	row := inputRow{at: noTime}
	for ; ; row.n, row.place = row.n+1, row.place+1 {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := in.Next(cells)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s row %d: %w", r.Name, row.place+1, err)
		}
		row.text = appendRow(row.text[:0], src, cols, cells, fields)
		if src.EventTime.Field < 0 {
			i := fields[len(src.Schema)]
			row.at, row.bad = cellTime(&cols[i], &cells[i])
		}
		if err := fn(&row); err != nil {
			return err
		}
	}
}

// answer is what a query has answered, sorted: a database gives the same rows in any order, and they must get the same numbers
// each time. A record is
//
//	0   u64  the time, its sign turned, big-endian
//	8   ...  the row
//	    u64  its number in the answer, big-endian
type answer struct {
	sum   hash.Hash
	reads []*spill.Queue // one for each reading
	bad   int64          // rows without a time
	first []inputRow     // some of them
}

var errNoTime = errors.New("it has no time")

const (
	answerReads  = 2
	answerMemory = 32 << 20
)

// openAnswer asks the query once, and puts its rows aside.
func (c *Change) openAnswer(ctx context.Context, src *config.Source, r Rows) (_ *input, err error) {
	a := &answer{sum: sha256.New()}
	for range answerReads {
		a.reads = append(a.reads, spill.NewQueue(c.opts.Dir, answerMemory))
	}
	if err := a.ask(ctx, c.opts.Dir, src, r); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	sum := a.sum.Sum(nil)
	return &input{
		name: r.Name, each: a.each, close: a.Close,
		id: func() (string, int32, error) { name, number := named(sum); return name, number, nil },
	}, nil
}

func (a *answer) ask(ctx context.Context, dir string, src *config.Source, r Rows) (err error) {
	sorter := spill.New(spill.Options{Dir: dir, Memory: answerMemory, Buckets: 1})
	defer func() { err = errors.Join(err, sorter.Close()) }()
	w := sorter.Writer()
	var rec []byte
	err = eachOf(ctx, src, r, func(row *inputRow) error {
		if row.bad != nil {
			if a.bad++; len(a.first) < maxBadRows {
				a.first = append(a.first, inputRow{place: row.place, bad: row.bad})
			}
			return nil
		}
		rec = binary.BigEndian.AppendUint64(rec[:0], uint64(row.at)^1<<63)
		rec = binary.BigEndian.AppendUint64(append(rec, row.text...), uint64(row.place))
		return w.Add(0, rec)
	})
	if err := errors.Join(err, w.Close()); err != nil {
		return err
	}
	sorted := sorter.Reader()
	if err := sorted.Open(0); err != nil {
		return err
	}
	for {
		rec, err := sorted.Next()
		if err != nil || rec == nil {
			return err
		}
		row := rec[:len(rec)-8]
		_ = binary.Write(a.sum, binary.BigEndian, uint64(len(row))) // a hash takes everything
		a.sum.Write(row)
		for _, q := range a.reads {
			if err := q.Add(rec); err != nil {
				return err
			}
		}
	}
}

// each reads the rows in their order, those without a time first.
func (a *answer) each(fn func(*inputRow) error) (err error) {
	if len(a.reads) == 0 {
		return errors.New("BUG: an answer is read too often")
	}
	q := a.reads[0]
	a.reads = a.reads[1:]
	defer func() { err = errors.Join(err, q.Close()) }()
	for i := range a.bad {
		row := inputRow{place: -1, bad: errNoTime}
		if i < int64(len(a.first)) {
			row = a.first[i]
		}
		if err := fn(&row); err != nil {
			return err
		}
	}
	for n := int64(0); ; n++ {
		rec, err := q.Next()
		if err != nil || rec == nil {
			return err
		}
		end := len(rec) - 8
		row := inputRow{n: n, place: int64(binary.BigEndian.Uint64(rec[end:])), text: rec[8:end], at: int64(binary.BigEndian.Uint64(rec) ^ 1<<63)}
		if err := fn(&row); err != nil {
			return err
		}
	}
}

// Close gives back what was put aside.
func (a *answer) Close() (err error) {
	for _, q := range a.reads {
		err = errors.Join(err, q.Close())
	}
	a.reads = nil
	return err
}

// digest names a file by its content.
func digest(file string) (name string, number int32, err error) {
	f, err := os.Open(file)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", 0, fmt.Errorf("read %s: %w", file, err)
	}
	name, number = named(h.Sum(nil))
	return name, number, nil
}

// named makes names of a sum: in full for people and tables, and the number that stands for a partition.
func named(sum []byte) (name string, number int32) {
	return hex.EncodeToString(sum[:16]), int32(binary.BigEndian.Uint32(sum) >> 1)
}
