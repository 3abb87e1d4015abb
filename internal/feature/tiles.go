package feature

import "encoding/binary"

// hopTiles are the tiles of one hop of one entity while they are looked at or changed, in one packed slice by ascending
// start:
//
//	tile 0                               tile 1
//	| word | state | state | ... |       | word | state | ...
//	  8      fixed widths, by name
//
// A word is the time of the tile's last event, shifted left over three marks. The tile's start is not stored: it is that
// time floored to the hop. The states of varying size lie beside, tile by tile.
//
// The first `dead` tiles are no longer kept and read as absent: they wait for the next Flush to delete their cells.
// Tiles that the store never had are dropped at once.
//
// The slices are parts of the entity's block, which has a header for each hop and then the tiles, hop by hop:
//
//	header of hop 0        header of hop 1      tiles of hop 0   tiles of hop 1
//	| len | dead | dirty | | len | dead | ...   | ...            | ...
//	  4     4      4         little-endian        len bytes
//
// Whoever has changed them closes them, before the entity is opened at another hop or read.
type hopTiles struct {
	e     *Entity
	k     int // of the hop
	from  int // where tiles begin in the block
	tiles []byte
	vars  [][]byte // tile i's are len(hopLayout.vars)*i and on
	dead  uint32
	dirty uint32 // how many live tiles have markDirty
}

const hopHeader = 12

// open makes ht the tiles of hop k of e. Slices of them are valid until the entity is changed.
func (ht *hopTiles) open(e *Entity, k int) {
	b := e.block
	from := e.hops() * hopHeader
	for i := range k {
		from += int(binary.LittleEndian.Uint32(b[i*hopHeader:]))
	}
	h := b[k*hopHeader : (k+1)*hopHeader]
	to := from + int(binary.LittleEndian.Uint32(h))
	ht.e, ht.k, ht.from, ht.tiles = e, k, from, b[from:to:to]
	ht.dead, ht.dirty = binary.LittleEndian.Uint32(h[4:]), binary.LittleEndian.Uint32(h[8:])
	ht.vars = nil
	if e.vars != nil {
		ht.vars = (*e.vars)[k]
	}
}

// close puts what has changed in ht into the entity.
func (ht *hopTiles) close() {
	h := ht.e.block[ht.k*hopHeader : (ht.k+1)*hopHeader]
	binary.LittleEndian.PutUint32(h[4:], ht.dead)
	binary.LittleEndian.PutUint32(h[8:], ht.dirty)
	if ht.e.vars != nil {
		(*ht.e.vars)[ht.k] = ht.vars
	}
}

// widen makes room for a tile of so many bytes, which are zero, at offset off of the tiles.
func (ht *hopTiles) widen(off, stride int) {
	b, n := ht.e.block, len(ht.e.block)
	if n+stride > cap(b) {
		// Most entities have few tiles, and those with many have a bounded number: growth is by a quarter, not by
		// doubling. append rounds up to what the allocator would take anyway.
		want := n + stride + min((len(ht.tiles)/stride+1)/4, 16)*stride
		b = append([]byte(nil), make([]byte, want)...)[:n]
		copy(b, ht.e.block)
	}
	b = b[:n+stride]
	at := ht.from + off
	copy(b[at+stride:], b[at:n])
	clear(b[at : at+stride])
	ht.resized(b, len(ht.tiles)+stride)
}

// narrow takes the bytes from offset from to offset to out of the tiles.
func (ht *hopTiles) narrow(from, to int) {
	b := ht.e.block
	n := ht.from + from + copy(b[ht.from+from:], b[ht.from+to:])
	ht.resized(b[:n], len(ht.tiles)-(to-from))
}

func (ht *hopTiles) resized(block []byte, n int) {
	binary.LittleEndian.PutUint32(block[ht.k*hopHeader:], uint32(n))
	ht.e.block, ht.tiles = block, block[ht.from:ht.from+n:ht.from+n]
}

const (
	markDirty  = 1 << 0 // changed since the last Flush
	markStored = 1 << 1 // a Flush or Restore put it in the store, in a cell of its own
	markHead   = 1 << 2 // the same in the head cell; one that has been closed since, or is dead, has markDirty or is counted in dead
	markBits   = 3
)

func word(tile []byte) int64       { return int64(binary.LittleEndian.Uint64(tile)) }
func putWord(tile []byte, w int64) { binary.LittleEndian.PutUint64(tile, uint64(w)) }
func wordTime(tile []byte) int64   { return word(tile) >> markBits }

// firstLive returns the offset of the first tile that is kept, the end if there is none.
func (ht *hopTiles) firstLive(hl *hopLayout) int { return int(ht.dead) * hl.stride }

// touch finds or makes the tile that begins at start, notes the event time in it, and returns its offset and whether
// the change is one of the tail: a tile other than the newest came to be or changed.
func (hl *hopLayout) touch(ht *hopTiles, start, time int64) (off int, tail bool) {
	off = len(ht.tiles) - hl.stride
	if off < ht.firstLive(hl) {
		off = hl.insert(ht, len(ht.tiles), time)
	} else if last := wordTime(ht.tiles[off:]); last < start {
		ht.leaveHead(off)
		off, tail = hl.insert(ht, len(ht.tiles), time), true
	} else if last >= start+hl.hop {
		off, tail = hl.touchClosed(ht, start, time), true
	}
	w := word(ht.tiles[off:])
	if w&markDirty == 0 {
		ht.dirty++
	}
	putWord(ht.tiles[off:], max(w>>markBits, time)<<markBits|w&(markStored|markHead)|markDirty)
	return off, tail
}

// leaveHead notes of the newest tile, at off, that another one takes its place in the head cell: it needs a cell of its own.
func (ht *hopTiles) leaveHead(off int) {
	if w := word(ht.tiles[off:]); w&(markHead|markDirty) == markHead {
		putWord(ht.tiles[off:], w|markDirty)
		ht.dirty++
	}
}

// touchClosed finds or makes the tile that begins at start, before the newest.
func (hl *hopLayout) touchClosed(ht *hopTiles, start, time int64) int {
	i := searchTiles(ht.tiles, hl.stride, markBits, int(ht.dead), len(ht.tiles)/hl.stride, start)
	if off := i * hl.stride; wordTime(ht.tiles[off:]) < start+hl.hop {
		return off
	}
	return hl.insert(ht, i*hl.stride, time)
}

// searchTiles returns the index of the first tile in [from, to) that begins at or after start, which is a multiple of
// the hop; to when there is none. shift is what the tiles' words are shifted by.
func searchTiles(tiles []byte, stride int, shift uint8, from, to int, start int64) int {
	for from < to {
		mid := int(uint(from+to) >> 1)
		if word(tiles[mid*stride:])>>shift < start {
			from = mid + 1
		} else {
			to = mid
		}
	}
	return from
}

// insert makes room for a tile with empty states at offset off, and returns off. Its word holds time and no mark.
func (hl *hopLayout) insert(ht *hopTiles, off int, time int64) int {
	ht.widen(off, hl.stride)
	putWord(ht.tiles[off:], time<<markBits)
	if nv := len(hl.vars); nv > 0 {
		i, m := off/hl.stride*nv, len(ht.vars)
		if m+nv > cap(ht.vars) {
			grown := append([][]byte(nil), make([][]byte, m+nv+min(m/4, 16*nv))...)
			copy(grown, ht.vars)
			ht.vars = grown[:m]
		}
		ht.vars = ht.vars[:m+nv]
		copy(ht.vars[i+nv:], ht.vars[i:m])
		clear(ht.vars[i : i+nv])
	}
	return off
}

// trim gives up the tiles that begin before cut, and returns how many bytes of variable states that freed.
func (hl *hopLayout) trim(ht *hopTiles, cut int64) (freed int) {
	off := ht.firstLive(hl)
	// A tile begins less than a hop before its last event, so most calls end here, without a division.
	if off >= len(ht.tiles) || wordTime(ht.tiles[off:]) >= cut+hl.hop {
		return 0
	}
	nv := len(hl.vars)
	i, n, kept := int(ht.dead), len(ht.tiles)/hl.stride, int(ht.dead)
	for ; i < n; i++ {
		tile := ht.tiles[i*hl.stride : (i+1)*hl.stride]
		w := word(tile)
		if FloorTo(w>>markBits, hl.hop) >= cut {
			break
		}
		if w&markDirty != 0 {
			ht.dirty--
		}
		for j := i * nv; j < (i+1)*nv; j++ {
			freed += cap(ht.vars[j])
			ht.vars[j] = nil
		}
		if w&(markStored|markHead) != 0 {
			putWord(tile, w&^markDirty)
			copy(ht.tiles[kept*hl.stride:], tile)
			kept++
		}
	}
	ht.dead = uint32(kept)
	hl.remove(ht, kept, i)
	return freed
}

// remove takes the tiles from index from to index to out.
func (hl *hopLayout) remove(ht *hopTiles, from, to int) {
	if from == to {
		return
	}
	ht.narrow(from*hl.stride, to*hl.stride)
	if nv := len(hl.vars); nv > 0 {
		n := from*nv + copy(ht.vars[from*nv:], ht.vars[to*nv:])
		clear(ht.vars[n:])
		ht.vars = ht.vars[:n]
	}
}
