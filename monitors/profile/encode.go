package profile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

const (
	flagSketch = 1 << iota
	flagMoments
	flagUnseen
)

// EncodedBytes returns the most bytes that AppendBinary appends for a profile of these bins.
func (b *Bins) EncodedBytes(sketch bool) int {
	n := 1 + len(Fingerprint{}) + 1 + binary.MaxVarintLen64*b.Len()
	if b.kind == Categorical {
		return n + binary.MaxVarintLen64 + 1 + maxUnseen*(binary.MaxVarintLen64+1+MaxCategoryBytes) + 2 + maxDistinct
	}
	n += 6 * 8
	if sketch {
		n += 2 + maxSketch
	}
	return n
}

// AppendBinary appends the profile's encoding.
func (p *Profile) AppendBinary(dst []byte) []byte {
	p.settle()
	dst = append(append(dst, profileFormat), p.bins.fingerprint[:]...)
	flags := byte(0)
	if p.sketchy {
		flags |= flagSketch
	}
	if p.moments.N > 0 {
		flags |= flagMoments
	}
	if p.unseen != nil && len(p.unseen.distinct) > 0 {
		flags |= flagUnseen
	}
	dst = appendCounts(append(dst, flags), p.n)
	if flags&flagMoments != 0 {
		m := &p.moments
		for _, x := range [...]float64{m.Mean, m.M2, m.Min, m.Max, m.Below, m.Above} {
			dst = appendFloat(dst, x)
		}
	}
	if p.sketchy {
		dst = append(binary.AppendUvarint(dst, uint64(len(p.sketch))), p.sketch...)
	}
	if flags&flagUnseen != 0 {
		dst = p.unseen.append(dst)
	}
	return dst
}

func appendCounts(dst []byte, counts []uint64) []byte {
	for i := 0; i < len(counts); i++ {
		dst = binary.AppendUvarint(dst, counts[i])
		if counts[i] != 0 {
			continue
		}
		more := i + 1
		for more < len(counts) && counts[more] == 0 {
			more++
		}
		dst = binary.AppendUvarint(dst, uint64(more-i-1))
		i = more - 1
	}
	return dst
}

func (u *unseen) append(dst []byte) []byte {
	dst = append(binary.AppendUvarint(dst, u.lost), byte(len(u.listed)))
	for i := range u.listed {
		c := &u.listed[i]
		dst = append(binary.AppendUvarint(dst, c.count), c.length)
		dst = append(dst, c.bytes()...)
	}
	return append(binary.AppendUvarint(dst, uint64(len(u.distinct))), u.distinct...)
}

// EncodedFingerprint returns the fingerprint of the bins of an encoded profile.
func EncodedFingerprint(data []byte) (f Fingerprint, err error) {
	r := reader{rest: data}
	if v := r.byte(); r.err == nil && v != profileFormat {
		return f, fmt.Errorf("a profile has format %d, not %d", v, profileFormat)
	}
	copy(f[:], r.take(uint64(len(f))))
	if r.err != nil {
		return f, fmt.Errorf("a profile %w", r.err)
	}
	return f, nil
}

// Decode reads a profile that AppendBinary wrote, all of data. The error is ErrOtherBins if it is one of other bins.
func Decode(b *Bins, data []byte) (*Profile, error) {
	f, err := EncodedFingerprint(data)
	if err != nil {
		return nil, err
	}
	if f != b.fingerprint {
		return nil, ErrOtherBins
	}
	r := reader{rest: data[1+len(f):]}
	flags := r.byte()
	p := New(b, flags&flagSketch != 0)
	r.counts(p.n)
	if flags&flagMoments != 0 {
		m := &p.moments
		for _, x := range [...]*float64{&m.Mean, &m.M2, &m.Min, &m.Max, &m.Below, &m.Above} {
			*x = r.float()
		}
		m.N = sum(p.n[:b.Regular()])
	}
	if flags&flagSketch != 0 {
		p.sketch = append(p.sketch, r.bytes(maxSketch)...)
	}
	if flags&flagUnseen != 0 {
		p.unseen = newUnseen(b.distinct)
		r.unseen(p.unseen)
	}
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("a profile %w", err)
	}
	if err := p.check(flags); err != nil {
		return nil, fmt.Errorf("a profile %w", err)
	}
	return p, nil
}

func (r *reader) counts(n []uint64) {
	for i := 0; i < len(n) && r.err == nil; i++ {
		if n[i] = r.uvarint(); n[i] == 0 {
			more := r.uvarint()
			if more >= uint64(len(n)-i) {
				r.err = errNumber
				return
			}
			i += int(more)
		}
	}
}

func (r *reader) unseen(u *unseen) {
	u.lost = r.uvarint()
	n := int(r.byte())
	if r.err == nil && n > maxUnseen {
		r.err = errNumber
	}
	for i := 0; i < n && r.err == nil; i++ {
		c := unseenCategory{count: r.uvarint(), length: r.byte()}
		if r.err == nil && c.length > MaxCategoryBytes {
			r.err = errNumber
			return
		}
		copy(c.name[:], r.take(uint64(c.length)))
		u.listed = append(u.listed, c)
	}
	u.distinct = append(u.distinct, r.bytes(maxDistinct)...)
}

var (
	errFlags   = errors.New("says that it has what such a profile does not")
	errMoments = errors.New("has moments that no numbers have")
	errUnseen  = errors.New("has unseen categories that do not fit its counts")
)

// check reports why what was decoded is no profile. The bits of -0 and the exact sums are not looked at: they cannot
// do harm.
func (p *Profile) check(flags byte) error {
	numeric := p.bins.kind == Numeric
	var total uint64
	for _, n := range p.n {
		if total += n; total > 1<<62 {
			return errNumber
		}
	}
	finite := sum(p.n[:p.bins.Regular()])
	other := p.Of(Other)
	switch {
	case flags&^(flagSketch|flagMoments|flagUnseen) != 0,
		!numeric && flags&(flagSketch|flagMoments) != 0,
		numeric && (flags&flagUnseen != 0 || other > 0),
		numeric && (flags&flagMoments != 0) != (finite > 0):
		return errFlags
	case (flags&flagUnseen != 0) != (other > 0):
		return errUnseen
	}
	m := &p.moments
	outOfRange := m.Mean == 0 && math.IsInf(m.M2, 1)
	if m.Mean-m.Mean != 0 || !outOfRange && !(m.M2 >= 0 && m.M2-m.M2 == 0) || m.Min-m.Min != 0 || m.Max-m.Max != 0 || m.Min > m.Max || !(m.Below >= 0) || !(m.Above >= 0) {
		return errMoments
	}
	if (len(p.sketch) > 0) != (flags&flagSketch != 0 && finite > 0) {
		return errFlags
	}
	if err := p.bins.quantiles.Validate(p.sketch); err != nil {
		return err
	}
	if p.unseen != nil {
		return p.unseen.check(other)
	}
	return nil
}

func (u *unseen) check(other uint64) error {
	var listed uint64
	for i := range u.listed {
		c := &u.listed[i]
		if listed += c.count; c.count == 0 || listed > other {
			return errUnseen
		}
		for k := range i {
			if string(u.listed[k].bytes()) == string(c.bytes()) {
				return errUnseen
			}
		}
	}
	if len(u.distinct) == 0 || u.lost > other {
		return errUnseen
	}
	return u.agg.Validate(u.distinct)
}
