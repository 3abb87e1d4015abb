package baseline

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/monitors/profile"
	"github.com/freshet-io/freshet/monitors/significance"
	"github.com/freshet-io/freshet/monitors/wire"
)

// encodingVersion is the first byte of an encoded baseline. The rest: name, model, version and from (each a uvarint
// length and its bytes), build (varint), rows (uvarint), the number of columns and for each its name, type (a byte),
// bins and profile; the number of slices and for each its field, value, rows and the profile of each column. Bins and
// profiles are length-prefixed too and say their own versions.
//
// Version 3 is that of a baseline which knows how a stream's rows vary: after the rows come the times of the first and the last
// of these (varints, microseconds), how many they were (uvarint) and their model's version, and each column ends in a byte, 0 if
// its dispersion is not known, 1 if it is, 2 if it is unsettled, after which it is three doubles (effect, degrees of
// freedom, peak; little-endian). Version 2, which is only read, knew it of its own rows and of every column, without the times, the
// number, the version and the byte.
const encodingVersion = 3

// AppendBinary appends the baseline's encoding.
func (b *Baseline) AppendBinary(dst []byte) []byte {
	version := byte(1)
	if b.Variation != nil {
		version = encodingVersion
	}
	dst = append(dst, version)
	for _, s := range []string{b.Name, b.Model, b.Version, b.From} {
		dst = wire.AppendBytes(dst, s)
	}
	dst = binary.AppendVarint(dst, b.Build)
	dst = binary.AppendUvarint(dst, b.Rows)
	if v := b.Variation; v != nil {
		dst = binary.AppendVarint(binary.AppendVarint(dst, v.Since), v.Until)
		dst = wire.AppendBytes(binary.AppendUvarint(dst, v.Rows), v.Version)
	}
	dst = binary.AppendUvarint(dst, uint64(len(b.Columns)))
	for _, c := range b.Columns {
		dst = wire.AppendBytes(dst, c.Name)
		dst = append(dst, byte(c.Type))
		dst = wire.AppendBytes(dst, c.Profile.Bins().AppendBinary(nil))
		dst = wire.AppendBytes(dst, c.Profile.AppendBinary(nil))
		if b.Variation != nil {
			dst = appendDispersion(dst, c.Dispersion)
		}
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
	version := r.Byte()
	if (version < 1 || version > encodingVersion) && r.Err() == nil {
		return nil, fmt.Errorf("decode a baseline: version %d is not known", version)
	}
	b := &Baseline{Name: r.Text(), Model: r.Text(), Version: r.Text(), From: r.Text(), Build: r.Varint(), Rows: r.Uvarint()}
	switch version {
	case 2:
		b.Variation = &Variation{Version: b.Version}
	case 3:
		b.Variation = &Variation{Since: r.Varint(), Until: r.Varint(), Rows: r.Uvarint(), Version: r.Text()}
	}
	for range r.Count() {
		c := Column{Name: r.Text(), Type: feature.Type(r.Byte())}
		bins, err := profile.DecodeBins(r.Bytes())
		if r.Err() != nil || err != nil {
			return nil, fmt.Errorf("decode a baseline: column %q: %w", c.Name, errors.Join(r.Err(), err))
		}
		if c.Profile, err = profile.Decode(bins, r.Bytes()); err != nil {
			return nil, fmt.Errorf("decode a baseline: column %q: %w", c.Name, err)
		}
		if b.Variation != nil {
			if c.Dispersion, err = readDispersion(r, version); err != nil {
				return nil, fmt.Errorf("decode a baseline: column %q: %w", c.Name, err)
			}
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

// What is known of a column's dispersion.
const (
	dispersionUnknown = iota
	dispersionKnown
	dispersionUnsettled
)

func appendDispersion(dst []byte, d *significance.Dispersion) []byte {
	switch {
	case d == nil:
		return append(dst, dispersionUnknown)
	case d.Unsettled:
		dst = append(dst, dispersionUnsettled)
	default:
		dst = append(dst, dispersionKnown)
	}
	for _, x := range []float64{d.Effect, d.DF, d.Peak} {
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(x))
	}
	return dst
}

func readDispersion(r *wire.Reader, version byte) (*significance.Dispersion, error) {
	known := byte(dispersionKnown)
	if version > 2 {
		known = r.Byte()
	}
	if known == dispersionUnknown {
		return nil, r.Err()
	}
	var x [3]float64
	for i := range x {
		if b := r.Take(8); b != nil {
			x[i] = math.Float64frombits(binary.LittleEndian.Uint64(b))
		}
	}
	d := &significance.Dispersion{Effect: x[0], DF: x[1], Peak: x[2], Unsettled: known == dispersionUnsettled}
	if r.Err() != nil {
		return nil, r.Err()
	}
	if known > dispersionUnsettled || !(d.Effect >= 1) || !(d.DF >= 0) || !(d.Peak >= 0) || math.IsInf(d.Effect+d.DF+d.Peak, 0) {
		return nil, fmt.Errorf("a dispersion of %g on %g degrees of freedom, peak %g (%d)", d.Effect, d.DF, d.Peak, known)
	}
	if d.DF == 0 { // assumed of too few parts, by earlier versions, and not estimated
		return nil, nil
	}
	return d, nil
}
