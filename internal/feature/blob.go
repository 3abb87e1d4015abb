package feature

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// An entity goes to the online store as two blobs. The head changes with every event; the tail only when a tile closes
// or a closed tile is corrected, so that a hot entity does not rewrite kilobytes for one event. All numbers are
// little-endian, versions excepted.
//
// The head:
//
//	0       u8        format, 2
//	1       24 bytes  version
//	25      24 bytes  version of the tail that belongs to this head; zero: there is none
//	49      u16       the hops that have pages in that tail: bit 0 the shortest hop
//	51      u16       the place behind the last of these pages
//	53      i64       the view's timestamp, microseconds; the least int64 when the entity has no event
//	61      u32       length of what is next; 0: the entity has no lifetime or row values
//	65      ...       lifetime and row values: the value of an entity cell (see cell.go) from behind its order on
//	                  for each hop, ascending:
//	        u32       hop, seconds
//	        u32       bytes w of the tile's fixed part; 0: no tile, and nothing more of this hop
//	        w bytes   the newest tile's fixed part: i64 time of its last event, states of fixed width
//	        ...       its states of varying size, each: uvarint length, state
//	        u32       CRC-32C of all before
//
// The tail is stored in parts, of which a lookup reads the first and the pages that it needs. The first:
//
//	0       u8        format, 2
//	1       24 bytes  version
//	25      u32       length of the first part
//	                  for each hop, ascending:
//	29      u32       hop, seconds
//	        u32       bytes w of a tile's fixed part
//	        u32       number n of closed tiles, which are all but the newest
//	        u8        0: the tiles are here; 1: their fixed parts are in pages
//	  0:    n*w bytes their fixed parts, in time order
//	  1:    i64       start of the last of them
//	        n*8 bytes i64 times of their last events, in time order; only if there are states of varying size
//	        ...       their states of varying size, tile by tile, each: uvarint length, state
//	        u32       CRC-32C of all before
//
// A page (see pageLayout):
//
//	0       i64       the first start that it covers
//	        w bytes   for each row, the latest first: i64 start, then the merged states of fixed width
//	        u32       CRC-32C of the tail's version and all before
//
// AppendTail appends the first part and then each page behind u16 its place and u32 its length.
//
// A lookup reads hundreds of states in microseconds, so it does not judge each as Restore does: the checksum says
// that the bytes are those that were written, and the states were sound then. What a checksum cannot say, that nobody
// made up bytes to fit it, can give wrong numbers and no worse: the blob's structure and its states of varying size are
// checked all the same, and any bytes are a state of a fixed width.
const (
	headFormat = 2
	tailFormat = 2

	versionWidth = 24
	headFixed    = 1 + 2*versionWidth + 2 + 2 + timeWidth
	tailFixed    = 1 + versionWidth + 4
	sumWidth     = 4
)

// errBlobSum is returned for a blob that is not as it was written.
var errBlobSum = errors.New("the checksum does not match")

// castagnoli is the polynomial that processors compute in hardware; the table is made once and never changed.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal ends the blob that begins at from with its checksum.
func seal(dst []byte, from int) []byte {
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[from:], castagnoli))
}

// unseal returns a blob without its checksum, if that matches.
func unseal(blob []byte) ([]byte, error) {
	n := len(blob) - sumWidth
	if n < 0 || binary.LittleEndian.Uint32(blob[n:]) != crc32.Checksum(blob[:n], castagnoli) {
		return nil, errBlobSum
	}
	return blob[:n:n], nil
}

// ErrTornBlob is returned for a head whose tail is not at hand: another one or none was read. It is a reason to read
// again, never to answer.
var ErrTornBlob = errors.New("the tail is not the one that the head belongs to")

// Version orders the publishes of one entity in one view; versions compare bytewise.
//
//	0       u64   epoch, big-endian
//	8       u32   partition, big-endian
//	12      u64   offset, big-endian
//	20      u32   revision, big-endian
type Version [versionWidth]byte

// MakeVersion returns a version.
func MakeVersion(epoch uint64, partition uint32, offset uint64, revision uint32) (v Version) {
	binary.BigEndian.PutUint64(v[0:], epoch)
	binary.BigEndian.PutUint32(v[8:], partition)
	binary.BigEndian.PutUint64(v[12:], offset)
	binary.BigEndian.PutUint32(v[20:], revision)
	return v
}

// AppendHead appends the head of version v, which belongs to the tail of version tail: v itself if the tail is written
// with it, else that of the last tail written, zero if there never was one.
func (l *Layout) AppendHead(dst []byte, e *Entity, v, tail Version) []byte {
	from := len(dst)
	dst = append(dst, headFormat)
	dst = append(append(dst, v[:]...), tail[:]...)
	paged := e.tailPaged
	if e.tailChanged { // the tail is being written too
		paged = l.pagesOf(e)
	}
	if tail == (Version{}) {
		paged = 0
	}
	dst = binary.LittleEndian.AppendUint16(dst, paged)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(l.placesOf(paged)))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(e.EventTime()))
	at := len(dst)
	dst = binary.LittleEndian.AppendUint32(dst, 0)
	if e.ownLive() {
		dst = append(dst, e.own.fixed[l.own.body:]...)
		dst = appendStates(dst, e.own.vars)
		binary.LittleEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	}
	for k := range l.hops {
		hl := &l.hops[k]
		dst = binary.LittleEndian.AppendUint32(dst, uint32(hl.hop/Second))
		var ht hopTiles
		off := -1
		if e.layout != nil {
			ht.open(e, k)
			off = len(ht.tiles) - hl.stride
		}
		if off < 0 || off < ht.firstLive(hl) {
			dst = binary.LittleEndian.AppendUint32(dst, 0)
			continue
		}
		dst = binary.LittleEndian.AppendUint32(dst, uint32(hl.stride))
		dst = binary.LittleEndian.AppendUint64(dst, uint64(wordTime(ht.tiles[off:])))
		dst = append(dst, ht.tiles[off+timeWidth:]...)
		if nv := len(hl.vars); nv > 0 {
			dst = appendStates(dst, ht.vars[len(ht.vars)-nv:])
		}
	}
	return seal(dst, from)
}

// AppendTail appends the tail of version v.
func (l *Layout) AppendTail(dst []byte, e *Entity, v Version) []byte {
	from := len(dst)
	e.tailPaged = l.pagesOf(e)
	dst = append(append(dst, tailFormat), v[:]...)
	dst = binary.LittleEndian.AppendUint32(dst, 0)
	for k := range l.hops {
		closed, vars := l.closedTiles(e, k)
		dst = l.hops[k].appendClosed(dst, closed, vars, e.tailPaged>>k&1 != 0)
	}
	binary.LittleEndian.PutUint32(dst[from+1+versionWidth:], uint32(len(dst)-from+sumWidth))
	dst = seal(dst, from)
	if e.tailPaged == 0 {
		return dst
	}
	seed := crc32.Checksum(dst[from+1:from+1+versionWidth], castagnoli)
	for k := range l.hops {
		if e.tailPaged>>k&1 != 0 {
			closed, _ := l.closedTiles(e, k)
			dst = l.hops[k].appendPages(dst, closed, seed)
		}
	}
	return dst
}

// closedTiles returns the fixed parts of the closed tiles of a hop, as they are in memory, and their states of varying
// size.
func (l *Layout) closedTiles(e *Entity, k int) (closed []byte, vars [][]byte) {
	if e.layout == nil {
		return nil, nil
	}
	hl := &l.hops[k]
	var ht hopTiles
	ht.open(e, k)
	live, to := ht.firstLive(hl), len(ht.tiles)-hl.stride
	if live >= to {
		return nil, nil
	}
	nv := len(hl.vars)
	return ht.tiles[live:to], ht.vars[live/hl.stride*nv : to/hl.stride*nv]
}

// How the closed tiles of a hop are stored.
const (
	formTiles = 0
	formPages = 1

	closedFixed = 4 + 4 + 4 + 1
)

// appendClosed appends the closed tiles of a hop, but for what pages hold.
func (hl *hopLayout) appendClosed(dst, closed []byte, vars [][]byte, paged bool) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(hl.hop/Second))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(hl.stride))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(closed)/hl.stride))
	if paged {
		dst = append(dst, formPages)
		last := FloorTo(wordTime(closed[len(closed)-hl.stride:]), hl.hop)
		dst = binary.LittleEndian.AppendUint64(dst, uint64(last))
		for at := 0; at < len(closed) && len(hl.vars) > 0; at += hl.stride {
			dst = binary.LittleEndian.AppendUint64(dst, uint64(wordTime(closed[at:])))
		}
		return appendStates(dst, vars)
	}
	dst = append(dst, formTiles)
	at := len(dst)
	dst = append(dst, closed...)
	for ; at < len(dst); at += hl.stride {
		putTime(dst[at:], wordTime(dst[at:]))
	}
	return appendStates(dst, vars)
}

// HeadVersion returns the version of a head and that of the tail that belongs to it. It does not look at the checksum.
func HeadVersion(head []byte) (v, tail Version, ok bool) {
	if len(head) < headFixed+sumWidth || head[0] != headFormat {
		return v, tail, false
	}
	return Version(head[1:]), Version(head[1+versionWidth:]), true
}

// TailVersion returns the version of a tail. It does not look at the checksum.
func TailVersion(tail []byte) (v Version, ok bool) {
	if len(tail) < tailFixed+sumWidth || tail[0] != tailFormat {
		return v, false
	}
	return Version(tail[1:]), true
}
