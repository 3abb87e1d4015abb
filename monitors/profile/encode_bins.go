package profile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/freshet-io/freshet/internal/feature"
)

// Bins as bytes, numbers little-endian:
//
//	u8       format, 1
//	u8       Kind
//	u8       feature.Type
//	uvarint  number of cuts, or of categories
//	numeric:      f64 each cut, ascending; f64 what stands for each bin, one more than cuts
//	categorical:  each category, uvarint length and bytes
//
// A profile, for whose bins the reader must have the fingerprint:
//
//	u8       format, 1
//	16 bytes fingerprint of the bins
//	u8       bit 0: there is a sketch; bit 1: there are moments; bit 2: there are unseen categories
//	counts   of all bins in order, each a uvarint; behind a 0 a uvarint says how many more zeros follow
//	moments: f64 mean, M2, min, max, below, above (their number is the sum of the regular bins)
//	sketch:  uvarint length, state of approx_quantile
//	unseen:  uvarint lost; u8 number of categories, each: uvarint count, u8 length, bytes;
//	         uvarint length, state of approx_distinct
const (
	binsFormat    = 1
	profileFormat = 1
)

// The largest states of the sketches, from package feature.
const (
	maxSketch   = 1280
	maxDistinct = 3073
)

// AppendBinary appends the bins' encoding.
func (b *Bins) AppendBinary(dst []byte) []byte {
	dst = append(dst, binsFormat, byte(b.kind), byte(b.typ))
	if b.kind == Categorical {
		dst = binary.AppendUvarint(dst, uint64(len(b.categories)))
		for _, c := range b.categories {
			dst = append(binary.AppendUvarint(dst, uint64(len(c))), c...)
		}
		return dst
	}
	dst = binary.AppendUvarint(dst, uint64(len(b.cuts)))
	for _, x := range b.cuts {
		dst = appendFloat(dst, x)
	}
	for _, x := range b.means {
		dst = appendFloat(dst, x)
	}
	return dst
}

func appendFloat(dst []byte, x float64) []byte {
	return binary.LittleEndian.AppendUint64(dst, math.Float64bits(x))
}

// DecodeBins reads bins that AppendBinary wrote, all of data.
func DecodeBins(data []byte) (*Bins, error) {
	r := reader{rest: data}
	b := Bins{}
	if f := r.byte(); r.err == nil && f != binsFormat {
		return nil, fmt.Errorf("bins have format %d, not %d", f, binsFormat)
	}
	b.kind, b.typ = Kind(r.byte()), feature.Type(r.byte())
	n := r.uvarint()
	switch {
	case r.err != nil:
	case b.kind == Numeric && numeric(b.typ) && n <= 2*MaxBins+2:
		for range n {
			b.cuts = append(b.cuts, r.float())
		}
		for range n + 1 {
			b.means = append(b.means, r.float())
		}
	case b.kind == Categorical && (categorical(b.typ) || b.typ == feature.Int64) && n <= MaxCategories:
		for range n {
			b.categories = append(b.categories, string(r.bytes(MaxCategoryBytes)))
		}
	default:
		return nil, fmt.Errorf("bins are of kind %d and type %s with %d cuts or categories", b.kind, b.typ, n)
	}
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("bins: %w", err)
	}
	if err := b.check(); err != nil {
		return nil, fmt.Errorf("bins: %w", err)
	}
	return newBins(b)
}

// check reports why decoded bins cannot be.
func (b *Bins) check() error {
	last := math.Inf(-1)
	for _, c := range b.cuts {
		if !(c > last) { // the last one may be infinite
			return errors.New("the cuts are not ascending")
		}
		last = c
	}
	last = math.Inf(-1)
	for _, m := range b.means {
		if m-m != 0 || m < last {
			return errors.New("what stands for the bins is not finite and ascending")
		}
		last = m
	}
	seen := make(map[string]bool, len(b.categories))
	for _, c := range b.categories {
		if seen[c] {
			return fmt.Errorf("category %q is there twice", c)
		}
		seen[c] = true
	}
	return nil
}

// A reader takes encodings apart; its first error sticks.
type reader struct {
	rest []byte
	err  error
}

var (
	errShort    = errors.New("ends too early")
	errTrailing = errors.New("goes on after its end")
	errNumber   = errors.New("has a number that is too large, or not as short as it can be")
)

func (r *reader) take(n uint64) []byte {
	if r.err != nil {
		return nil
	}
	if uint64(len(r.rest)) < n {
		r.err = errShort
		return nil
	}
	out := r.rest[:n]
	r.rest = r.rest[n:]
	return out
}

func (r *reader) byte() byte {
	if b := r.take(1); r.err == nil {
		return b[0]
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	if r.err != nil {
		return 0
	}
	v, w := binary.Uvarint(r.rest)
	switch {
	case w == 0:
		r.err = errShort
		return 0
	case w < 0 || w > 1 && r.rest[w-1] == 0 || v > 1<<62:
		r.err = errNumber
		return 0
	}
	r.rest = r.rest[w:]
	return v
}

func (r *reader) float() float64 {
	if b := r.take(8); r.err == nil {
		return math.Float64frombits(binary.LittleEndian.Uint64(b))
	}
	return 0
}

// bytes reads a length and as many bytes.
func (r *reader) bytes(most uint64) []byte {
	n := r.uvarint()
	if r.err == nil && n > most {
		r.err = errNumber
	}
	return r.take(n)
}

func (r *reader) end() error {
	if r.err == nil && len(r.rest) > 0 {
		r.err = errTrailing
	}
	return r.err
}
