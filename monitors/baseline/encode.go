package baseline

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/monitors/profile"
)

// encodingVersion is the first byte of an encoded baseline. The rest: name, model, version and from (each a uvarint
// length and its bytes), build (varint), rows (uvarint), the number of columns and for each its name, type (a byte),
// bins and profile; the number of slices and for each its field, value, rows and the profile of each column. Bins and
// profiles are length-prefixed too and say their own versions.
const encodingVersion = 1

// AppendBinary appends the baseline's encoding.
func (b *Baseline) AppendBinary(dst []byte) []byte {
	dst = append(dst, encodingVersion)
	for _, s := range []string{b.Name, b.Model, b.Version, b.From} {
		dst = appendBytes(dst, []byte(s))
	}
	dst = binary.AppendVarint(dst, b.Build)
	dst = binary.AppendUvarint(dst, b.Rows)
	dst = binary.AppendUvarint(dst, uint64(len(b.Columns)))
	for _, c := range b.Columns {
		dst = appendBytes(dst, []byte(c.Name))
		dst = append(dst, byte(c.Type))
		dst = appendBytes(dst, c.Profile.Bins().AppendBinary(nil))
		dst = appendBytes(dst, c.Profile.AppendBinary(nil))
	}
	dst = binary.AppendUvarint(dst, uint64(len(b.Slices)))
	for _, s := range b.Slices {
		dst = appendBytes(dst, []byte(s.Field))
		dst = appendBytes(dst, []byte(s.Value))
		dst = binary.AppendUvarint(dst, s.Rows)
		for _, p := range s.Profiles {
			dst = appendBytes(dst, p.AppendBinary(nil))
		}
	}
	return dst
}

func appendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

// Decode reads what AppendBinary wrote, all of data.
func Decode(data []byte) (*Baseline, error) {
	r := &reader{data: data}
	if v := r.byte(); v != encodingVersion && r.err == nil {
		return nil, fmt.Errorf("decode a baseline: version %d is not known", v)
	}
	b := &Baseline{Name: r.text(), Model: r.text(), Version: r.text(), From: r.text(), Build: r.varint(), Rows: r.uvarint()}
	for range r.count() {
		c := Column{Name: r.text(), Type: feature.Type(r.byte())}
		bins, err := profile.DecodeBins(r.bytes())
		if r.err != nil || err != nil {
			return nil, fmt.Errorf("decode a baseline: column %q: %w", c.Name, errors.Join(r.err, err))
		}
		if c.Profile, err = profile.Decode(bins, r.bytes()); err != nil {
			return nil, fmt.Errorf("decode a baseline: column %q: %w", c.Name, err)
		}
		b.Columns = append(b.Columns, c)
	}
	for range r.count() {
		s := Slice{Field: r.text(), Value: r.text(), Rows: r.uvarint()}
		for _, c := range b.Columns {
			p, err := profile.Decode(c.Profile.Bins(), r.bytes())
			if err != nil {
				return nil, fmt.Errorf("decode a baseline: slice %s=%s, column %q: %w", s.Field, s.Value, c.Name, errors.Join(r.err, err))
			}
			s.Profiles = append(s.Profiles, p)
		}
		if r.err != nil {
			break
		}
		b.Slices = append(b.Slices, s)
	}
	if r.err == nil && len(r.data) > 0 {
		r.err = fmt.Errorf("%d bytes are left over", len(r.data))
	}
	if r.err != nil {
		return nil, fmt.Errorf("decode a baseline: %w", r.err)
	}
	return b, nil
}

var errShort = errors.New("it ends too early")

// reader reads an encoding until its first error.
type reader struct {
	data []byte
	err  error
}

func (r *reader) take(n int) []byte {
	if r.err == nil && (n < 0 || n > len(r.data)) {
		r.err = errShort
	}
	if r.err != nil {
		return nil
	}
	b := r.data[:n:n]
	r.data = r.data[n:]
	return b
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.data)
	if r.take(max(n, 1)); n <= 0 && r.err == nil {
		r.err = errors.New("a number is too large")
	}
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.data)
	if r.take(max(n, 1)); n <= 0 && r.err == nil {
		r.err = errors.New("a number is too large")
	}
	return v
}

// count reads a number of elements, each of which takes at least a byte.
func (r *reader) count() int {
	n := r.uvarint()
	if n > uint64(len(r.data)) && r.err == nil {
		r.err = errShort
	}
	if r.err != nil {
		return 0
	}
	return int(n)
}

func (r *reader) bytes() []byte { return r.take(r.count()) }
func (r *reader) text() string  { return string(r.bytes()) }
