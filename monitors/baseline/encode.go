package baseline

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/monitors/profile"
	"github.com/freshet-io/freshet/monitors/wire"
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
		dst = wire.AppendBytes(dst, s)
	}
	dst = binary.AppendVarint(dst, b.Build)
	dst = binary.AppendUvarint(dst, b.Rows)
	dst = binary.AppendUvarint(dst, uint64(len(b.Columns)))
	for _, c := range b.Columns {
		dst = wire.AppendBytes(dst, c.Name)
		dst = append(dst, byte(c.Type))
		dst = wire.AppendBytes(dst, c.Profile.Bins().AppendBinary(nil))
		dst = wire.AppendBytes(dst, c.Profile.AppendBinary(nil))
	}
	dst = binary.AppendUvarint(dst, uint64(len(b.Slices)))
	for _, s := range b.Slices {
		dst = wire.AppendBytes(dst, s.Field)
		dst = wire.AppendBytes(dst, s.Value)
		dst = binary.AppendUvarint(dst, s.Rows)
		for _, p := range s.Profiles {
			dst = wire.AppendBytes(dst, p.AppendBinary(nil))
		}
	}
	return dst
}

// Decode reads what AppendBinary wrote, all of data.
func Decode(data []byte) (*Baseline, error) {
	r := wire.NewReader(data)
	if v := r.Byte(); v != encodingVersion && r.Err() == nil {
		return nil, fmt.Errorf("decode a baseline: version %d is not known", v)
	}
	b := &Baseline{Name: r.Text(), Model: r.Text(), Version: r.Text(), From: r.Text(), Build: r.Varint(), Rows: r.Uvarint()}
	for range r.Count() {
		c := Column{Name: r.Text(), Type: feature.Type(r.Byte())}
		bins, err := profile.DecodeBins(r.Bytes())
		if r.Err() != nil || err != nil {
			return nil, fmt.Errorf("decode a baseline: column %q: %w", c.Name, errors.Join(r.Err(), err))
		}
		if c.Profile, err = profile.Decode(bins, r.Bytes()); err != nil {
			return nil, fmt.Errorf("decode a baseline: column %q: %w", c.Name, err)
		}
		b.Columns = append(b.Columns, c)
	}
	for range r.Count() {
		s := Slice{Field: r.Text(), Value: r.Text(), Rows: r.Uvarint()}
		for _, c := range b.Columns {
			p, err := profile.Decode(c.Profile.Bins(), r.Bytes())
			if err != nil {
				return nil, fmt.Errorf("decode a baseline: slice %s=%s, column %q: %w", s.Field, s.Value, c.Name, errors.Join(r.Err(), err))
			}
			s.Profiles = append(s.Profiles, p)
		}
		if r.Err() != nil {
			break
		}
		b.Slices = append(b.Slices, s)
	}
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("decode a baseline: %w", err)
	}
	return b, nil
}
