package replay

import "encoding/binary"

// filter is a set of entities that may say yes for one that is not in it, never no for one that is.
type filter struct {
	bits []uint64
	mask uint64
}

// maxFilterBits bounds a filter to 64 MiB.
const maxFilterBits = 1 << 29

// newFilter makes a filter for about n entities: 16 bits and three marks each, of which it takes one in 200 others in.
func newFilter(n int64) filter {
	bits := uint64(1 << 13)
	for bits < maxFilterBits && bits < uint64(n)*16 {
		bits <<= 1
	}
	return filter{make([]uint64, bits/64), bits - 1}
}

// places returns the three bits of an entity.
func (f *filter) places(e *entity) (a, b, c uint64) {
	x, y := binary.LittleEndian.Uint64(e[:]), binary.LittleEndian.Uint64(e[8:])
	return x & f.mask, y & f.mask, (x>>29 ^ y>>33) & f.mask
}

func (f *filter) add(e *entity) {
	a, b, c := f.places(e)
	f.bits[a>>6] |= 1 << (a & 63)
	f.bits[b>>6] |= 1 << (b & 63)
	f.bits[c>>6] |= 1 << (c & 63)
}

func (f *filter) has(e *entity) bool {
	if f.bits == nil {
		return false
	}
	a, b, c := f.places(e)
	return f.bits[a>>6]&(1<<(a&63)) != 0 && f.bits[b>>6]&(1<<(b&63)) != 0 && f.bits[c>>6]&(1<<(c&63)) != 0
}
