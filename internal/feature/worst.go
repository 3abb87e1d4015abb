package feature

import "encoding/binary"

// textBytes is what WorstCase counts for a row feature whose values vary in size: sources bound them, layouts do not.
const textBytes = 256

// WorstCase returns how many bytes one entity can come to: in the state, counted as the values of all its cells, and in
// a lookup, which reads its head, the first part of its tail and a page for each window. Every tile that can be kept
// exists, and every state is as large as its aggregation allows; a row feature of type string, bytes or list counts with
// 256 bytes.
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
		vars := 0
		for i := range hl.vars {
			vars += withLength(hl.vars[i].most)
		}
		// Tiles begin in [stream time - reach, stream time].
		n := int(hl.reach/hl.hop) + 1
		entityBytes += n * (1 + hl.stride + vars)
		if l.hasHead() { // the newest has a hop and a length there
			entityBytes += 4 + withLength(hl.stride+vars) - (hl.stride + vars)
		}
		lookupBytes += 8 + hl.stride + closedFixed + n*vars
		if hl.pages.n == 0 {
			lookupBytes += n * hl.stride
			continue
		}
		paged := l.windows(k) * (pageFixed + int(hl.pages.rows)*hl.stride)
		if paged += timeWidth; len(hl.vars) > 0 {
			paged += n * timeWidth
		}
		lookupBytes += max(paged, min(n, hl.pages.least-1)*hl.stride)
	}
	return entityBytes, lookupBytes
}

// windows returns the number of distinct windows of a hop.
func (l *Layout) windows(k int) int {
	seen := make(map[int64]struct{})
	for i := range l.features {
		if f := &l.features[i]; f.kind == kindWindow && f.hop == k {
			seen[f.window] = struct{}{}
		}
	}
	return len(seen)
}

// withLength returns the bytes of n bytes behind their uvarint length.
func withLength(n int) int {
	var b [binary.MaxVarintLen64]byte
	return binary.PutUvarint(b[:], uint64(n)) + n
}
