package feature

import "encoding/binary"

// textBytes is what WorstCase counts for a row feature whose values vary in size: sources bound them, layouts do not.
const textBytes = 256

// WorstCase returns how many bytes one entity can come to: in the state, counted as the values of all its cells, and in
// a lookup, which reads its head and its tail. Every tile that can be kept exists, and every state is as large as its
// aggregation allows; a row feature of type string, bytes or list counts with 256 bytes.
func (l *Layout) WorstCase() (entityBytes, lookupBytes int) {
	own := l.own.width - l.own.body
	for i := range l.features {
		if f := &l.features[i]; f.kind != kindWindow && f.slot.width == 0 {
			own += withLength(f.slot.most)
		}
	}
	if l.own.kept {
		entityBytes = 1 + l.own.body + own
	}
	lookupBytes = headFixed + 4 + own + sumWidth + tailFixed + sumWidth
	for k := range l.hops {
		hl := &l.hops[k]
		tile := hl.stride
		for i := range hl.vars {
			tile += withLength(hl.vars[i].most)
		}
		// Tiles begin in [stream time - reach, stream time].
		n := int(hl.reach/hl.hop) + 1
		entityBytes += n * (1 + tile)
		lookupBytes += 8 + 12 + n*tile
	}
	return entityBytes, lookupBytes
}

// withLength returns the bytes of n bytes behind their uvarint length.
func withLength(n int) int {
	var b [binary.MaxVarintLen64]byte
	return binary.PutUvarint(b[:], uint64(n)) + n
}
