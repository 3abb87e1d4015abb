// Package flightfile is the file format of the demo's flights: columns of small integers over dictionaries of strings,
// compressed with zstd. It knows the bytes and nothing of events, topics or where the flights come from.
//
// Before compression a file is
//
//	"FLT1" | rows | first departure (minutes since the Unix epoch, UTC)
//	| 4 dictionaries (carriers, tail numbers, origins, destinations): count, then for each string its length and bytes
//	| 9 columns: length in bytes, then one varint a row
//
// with every number an unsigned varint. The columns are, in order: minutes since the row before, carrier, flight
// number, tail number, origin, destination (indices into the dictionaries), departure delay (zigzag, plus one; zero for
// a cancelled flight), air time (zero when not known), distance.
package flightfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"github.com/klauspost/compress/zstd"
)

const (
	magic = "FLT1"
	// maxDecoded bounds what a damaged or hostile file can make Open allocate.
	maxDecoded = 64 << 20
	// maxNumber bounds every number of a column.
	maxNumber = 1 << 32
)

// The columns, in the order of the file.
const (
	colMinutes = iota
	colCarrier
	colFlight
	colTailnum
	colOrigin
	colDest
	colDelay
	colAirTime
	colDistance
	numColumns
)

// The dictionaries, in the order of the file.
const (
	dictCarrier = iota
	dictTailnum
	dictOrigin
	dictDest
	numDicts
)

// dictOf is the dictionary of each column that holds indices, -1 for a column of numbers.
var dictOf = [numColumns]int{-1, dictCarrier, -1, dictTailnum, dictOrigin, dictDest, -1, -1, -1}

// Row is one flight. Its strings are shared between rows.
type Row struct {
	Minute    int64 // of departure, since the Unix epoch, UTC; the scheduled minute of a cancelled flight
	Carrier   string
	Flight    int
	Tailnum   string // empty when not known
	Origin    string
	Dest      string
	DepDelay  int // minutes; 0 when Cancelled
	Cancelled bool
	AirTime   int // minutes; 0 when not known
	Distance  int // miles
}

// Encode returns the file of rows, which are sorted by Minute.
func Encode(rows []Row) ([]byte, error) {
	raw, err := encode(rows)
	if err != nil {
		return nil, err
	}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, fmt.Errorf("encode flights: %w", err)
	}
	defer enc.Close()
	return enc.EncodeAll(raw, nil), nil
}

// encode is Encode before compression, the inverse of parse.
func encode(rows []Row) ([]byte, error) {
	if len(rows) == 0 {
		return nil, errors.New("encode flights: no rows")
	}
	var cols [numColumns][]byte
	var dicts [numDicts]dictionary
	prev := rows[0].Minute
	for i := range rows {
		r := &rows[i]
		if r.Minute < prev {
			return nil, fmt.Errorf("encode flights: row %d is not sorted by time", i)
		}
		delay := uint64(0)
		if !r.Cancelled {
			delay = zigzag(r.DepDelay) + 1
		}
		for c, n := range [numColumns]uint64{
			uint64(r.Minute - prev), dicts[dictCarrier].index(r.Carrier), uint64(r.Flight), dicts[dictTailnum].index(r.Tailnum),
			dicts[dictOrigin].index(r.Origin), dicts[dictDest].index(r.Dest), delay, uint64(r.AirTime), uint64(r.Distance),
		} {
			if n >= maxNumber {
				return nil, fmt.Errorf("encode flights: row %d: column %d: %d is too large", i, c, n)
			}
			cols[c] = binary.AppendUvarint(cols[c], n)
		}
		prev = r.Minute
	}
	b := append([]byte(nil), magic...)
	b = binary.AppendUvarint(b, uint64(len(rows)))
	b = binary.AppendUvarint(b, uint64(rows[0].Minute))
	for _, d := range dicts {
		b = binary.AppendUvarint(b, uint64(len(d.words)))
		for _, w := range d.words {
			b = append(binary.AppendUvarint(b, uint64(len(w))), w...)
		}
	}
	for _, c := range cols {
		b = append(binary.AppendUvarint(b, uint64(len(c))), c...)
	}
	return b, nil
}

// File is a decoded file. It is immutable and safe for concurrent use.
type File struct {
	rows  int
	first int64
	dicts [numDicts][]string
	cols  [numColumns][]byte
}

// Open decodes data and checks all of it, so that reading rows cannot fail.
func Open(data []byte) (*File, error) {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(maxDecoded), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, fmt.Errorf("open flights: %w", err)
	}
	defer dec.Close()
	raw, err := dec.DecodeAll(data, nil)
	if err != nil {
		return nil, fmt.Errorf("open flights: %w", err)
	}
	f, err := parse(raw)
	if err != nil {
		return nil, fmt.Errorf("open flights: %w", err)
	}
	return f, nil
}

func parse(raw []byte) (*File, error) {
	if len(raw) < len(magic) || string(raw[:len(magic)]) != magic {
		return nil, errors.New("not a file of flights")
	}
	c := cursor{b: raw[len(magic):]}
	f := &File{rows: int(c.bounded(maxDecoded)), first: int64(c.bounded(1 << 40))}
	for d := range f.dicts {
		n := int(c.bounded(uint64(len(c.b))))
		for range n {
			f.dicts[d] = append(f.dicts[d], string(c.take(c.bounded(uint64(len(c.b))))))
		}
	}
	for i := range f.cols {
		f.cols[i] = c.take(c.bounded(uint64(len(c.b))))
	}
	if c.bad || len(c.b) > 0 {
		return nil, errors.New("truncated or damaged")
	}
	for i := range f.cols {
		limit := uint64(maxNumber)
		if d := dictOf[i]; d >= 0 {
			limit = uint64(len(f.dicts[d]))
		}
		v := cursor{b: f.cols[i]}
		for range f.rows {
			if v.next() >= limit || v.bad {
				return nil, fmt.Errorf("column %d is damaged", i)
			}
		}
		if len(v.b) > 0 {
			return nil, fmt.Errorf("column %d has more than %d rows", i, f.rows)
		}
	}
	return f, nil
}

// Len returns the number of rows.
func (f *File) Len() int { return f.rows }

// Rows yields every row in the order of the file.
func (f *File) Rows() iter.Seq[Row] {
	return func(yield func(Row) bool) {
		var v [numColumns]cursor
		for i := range v {
			v[i].b = f.cols[i]
		}
		minute := f.first
		for range f.rows {
			minute += int64(v[colMinutes].next())
			r := Row{
				Minute:   minute,
				Carrier:  f.dicts[dictCarrier][v[colCarrier].next()],
				Flight:   int(v[colFlight].next()),
				Tailnum:  f.dicts[dictTailnum][v[colTailnum].next()],
				Origin:   f.dicts[dictOrigin][v[colOrigin].next()],
				Dest:     f.dicts[dictDest][v[colDest].next()],
				AirTime:  int(v[colAirTime].next()),
				Distance: int(v[colDistance].next()),
			}
			if d := v[colDelay].next(); d == 0 {
				r.Cancelled = true
			} else {
				r.DepDelay = unzigzag(d - 1)
			}
			if !yield(r) {
				return
			}
		}
	}
}

// dictionary numbers strings in the order in which they are first seen.
type dictionary struct {
	words []string
	at    map[string]uint64
}

func (d *dictionary) index(s string) uint64 {
	i, ok := d.at[s]
	if !ok {
		if d.at == nil {
			d.at = map[string]uint64{}
		}
		i = uint64(len(d.words))
		d.at[s], d.words = i, append(d.words, s)
	}
	return i
}

// cursor reads varints from b. After a read past the end, bad is set and every read gives zero.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) next() uint64 {
	n, w := binary.Uvarint(c.b)
	if w <= 0 {
		c.bad, c.b = true, nil
		return 0
	}
	c.b = c.b[w:]
	return n
}

// bounded reads a number of at most limit.
func (c *cursor) bounded(limit uint64) uint64 {
	n := c.next()
	if n > limit {
		c.bad, c.b = true, nil
		return 0
	}
	return n
}

func (c *cursor) take(n uint64) []byte {
	if n > uint64(len(c.b)) {
		c.bad, c.b = true, nil
		return nil
	}
	out := c.b[:n:n]
	c.b = c.b[n:]
	return out
}

func zigzag(n int) uint64 { return uint64(n<<1) ^ uint64(n>>63) }

func unzigzag(u uint64) int { return int(u>>1) ^ -int(u&1) }
