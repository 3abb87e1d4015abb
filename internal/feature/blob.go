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
//	0       u8        format, 1
//	1       24 bytes  version
//	25      24 bytes  version of the tail that belongs to this head; zero: there is none
//	49      i64       the view's timestamp, microseconds; the least int64 when the entity has no event
//	57      u32       length of what is next; 0: the entity has no lifetime or row values
//	61      ...       lifetime and row values: the value of an entity cell (see cell.go) from behind its order on
//	                  for each hop, ascending:
//	        u32       hop, seconds
//	        u32       bytes w of the tile's fixed part; 0: no tile, and nothing more of this hop
//	        w bytes   the newest tile's fixed part: i64 time of its last event, states of fixed width
//	        ...       its states of varying size, each: uvarint length, state
//	        u32       CRC-32C of all before
//
// The tail:
//
//	0       u8        format, 1
//	1       24 bytes  version
//	                  for each hop, ascending:
//	25      u32       hop, seconds
//	        u32       bytes w of a tile's fixed part
//	        u32       number n of tiles: all but the newest, in time order
//	        n*w bytes their fixed parts
//	        ...       their states of varying size, tile by tile, each: uvarint length, state
//	        u32       CRC-32C of all before
//
// A lookup reads hundreds of tiles in microseconds, so it does not judge each state as Restore does: the checksum says
// that the bytes are those that were written, and the states were sound then. What a checksum cannot say, that nobody
// made up bytes to fit it, can give wrong numbers and no worse: the blob's structure and its states of varying size are
// checked all the same, and any bytes are a state of a fixed width.
const (
	headFormat = 1
	tailFormat = 1

	versionWidth = 24
	headFixed    = 1 + 2*versionWidth + timeWidth
	tailFixed    = 1 + versionWidth
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
		var ht *hopTiles
		off := -1
		if e.layout != nil {
			ht = &e.hops[k]
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
	dst = append(append(dst, tailFormat), v[:]...)
	for k := range l.hops {
		hl := &l.hops[k]
		dst = binary.LittleEndian.AppendUint32(dst, uint32(hl.hop/Second))
		dst = binary.LittleEndian.AppendUint32(dst, uint32(hl.stride))
		var closed []byte
		var vars [][]byte
		if e.layout != nil {
			ht := &e.hops[k]
			if live, to := ht.firstLive(hl), len(ht.tiles)-hl.stride; live < to {
				closed = ht.tiles[live:to]
				nv := len(hl.vars)
				vars = ht.vars[live/hl.stride*nv : to/hl.stride*nv]
			}
		}
		dst = binary.LittleEndian.AppendUint32(dst, uint32(len(closed)/hl.stride))
		at := len(dst)
		dst = append(dst, closed...)
		for ; at < len(dst); at += hl.stride {
			putTime(dst[at:], wordTime(dst[at:]))
		}
		dst = appendStates(dst, vars)
	}
	return seal(dst, from)
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
