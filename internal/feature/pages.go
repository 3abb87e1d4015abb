package feature

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/bits"
)

// A lookup needs one number of a window, not the sixty tiles that it is made of. Where an entity has many closed tiles
// of a hop, their states of fixed width are therefore stored merged: the row of a tile is the merge, in time order, of
// it and all closed tiles behind it, so that a window that begins at this tile is one row and the newest tile. Rows lie
// in pages of a few hundred bytes, of which a reader knows from its clock alone which one it needs.
//
// A page covers `rows` tiles' starts, from a multiple of rows*hop on: page number q covers [q*rows*hop, (q+1)*rows*hop).
// Of each hop the n newest pages are stored, in places that are used in turn: page q in place q mod n. n is such that
// the pages cover every closed tile that is kept:
//
//	A kept tile begins at or after stream time - reach, where reach = hop + window + hop + skew. A closed tile ends at
//	or before the entity's newest event, so the newest closed one begins at or before stream time - hop. All closed
//	tiles therefore begin within span = reach - hop of the newest closed one. Pages Q-n+1 to Q, where Q is the
//	page of that one, reach at least (n-1)*rows*hop back from it, and n is ceil(span / (rows*hop)) + 1.
//
// A window that begins at S is the row of the first tile from S on. In the page of S that is the entry with the least
// start from S on, for a page's last entry stands for its end: its own tile's row, or that of the first tile behind the
// page. What is not in a page:
//
//	S behind the newest closed tile   no closed tile is in the window
//	S before all pages                all closed tiles are: the row that the first page begins with. Only a reader whose
//	                                  clock is more than a hop behind the records' timestamps comes here: it has asked
//	                                  for another page (see ErrEarlierPage)
//
// Where an entity has few tiles of a hop they are stored as they are, which is fewer bytes.
type pageLayout struct {
	n     int   // pages of the hop; 0: it has no states of fixed width
	rows  int64 // starts of tiles in a page
	span  int64 // rows * hop
	first int   // the place of the hop's first page among all of the view
	least int   // closed tiles from which on there are pages
}

const (
	pageBytes   = 512     // about how large a page is in which every tile has events
	mostPages   = 64      // about how many pages a hop has at most, where a long skew makes many tiles of short hops
	inlineBytes = 2 << 10 // closed tiles up to so many bytes are read as they are

	pageFixed = timeWidth + sumWidth // of a page: what it has beside its rows
	frameSize = 2 + 4                // before a page in a tail: its place, its length
)

// pagedHops bounds the hops that can have pages: a head says which ones have in so many bits.
const pagedHops = 16

// placePages lays out the pages of every hop.
func (l *Layout) placePages(pageBytes, mostPages, inlineBytes int) {
	l.pages = 0
	for k := range l.hops {
		hl := &l.hops[k]
		hl.pages = pageLayout{}
		if len(hl.fixed) == 0 || k >= pagedHops {
			continue
		}
		kept := hl.reach - hl.hop
		starts := (kept + hl.hop - 1) / hl.hop
		p := &hl.pages
		p.rows = max(1, int64(pageBytes/hl.stride), (starts+int64(mostPages)-1)/int64(mostPages))
		p.span = p.rows * hl.hop
		p.n = int((kept+p.span-1)/p.span) + 1
		// There is at most one row a tile and one a page: of fewer tiles than half the pages they would be mostly copies.
		p.least = max(inlineBytes/hl.stride+1, p.n/2, 1)
		p.first = l.pages
		l.pages += p.n
	}
}

// place returns the place of the page that covers a start, among all pages of the view.
func (p *pageLayout) place(start int64) int {
	q := FloorTo(start, p.span) / p.span % int64(p.n)
	if q < 0 {
		q += int64(p.n)
	}
	return p.first + int(q)
}

// pagesOf decides which hops of an entity have pages: bit k is that of hop k.
func (l *Layout) pagesOf(e *Entity) (paged uint16) {
	for k := range l.hops {
		if p := &l.hops[k].pages; p.n > 0 && e.closed(k) >= p.least {
			paged |= 1 << k
		}
	}
	return paged
}

// placesOf returns the place behind the last page of the hops that have pages.
func (l *Layout) placesOf(paged uint16) int {
	if paged == 0 {
		return 0
	}
	p := &l.hops[bits.Len16(paged)-1].pages
	return p.first + p.n
}

// closed returns the number of an entity's closed tiles of a hop.
func (e *Entity) closed(k int) int {
	if e.layout == nil {
		return 0
	}
	var ht hopTiles
	ht.open(e, k)
	return max(0, len(ht.tiles)/e.layout.hops[k].stride-1-int(ht.dead))
}

// appendPages appends the pages of closed tiles, of which there is one at least. seed is the checksum of the tail's
// version. Every tile is merged once, into a copy of itself; no memory is used but dst's.
func (hl *hopLayout) appendPages(dst, closed []byte, seed uint32) []byte {
	p := &hl.pages
	i := len(closed) - hl.stride // the tile whose turn it is, from the newest to the oldest
	top := FloorTo(wordTime(closed[i:]), hl.hop)
	row := -1 // where the row of the tile behind it stands in dst
	for q, start := 0, FloorTo(top, p.span); q < p.n; q, start = q+1, start-p.span {
		dst = binary.LittleEndian.AppendUint16(dst, uint16(p.place(start)))
		dst = binary.LittleEndian.AppendUint32(dst, 0)
		from := len(dst)
		dst = binary.LittleEndian.AppendUint64(dst, uint64(start))
		end := start + p.span - hl.hop
		if row >= 0 && (i < 0 || FloorTo(wordTime(closed[i:]), hl.hop) != end) {
			dst = append(dst, dst[row:row+hl.stride]...)
			row = len(dst) - hl.stride
			putTime(dst[row:], end)
		}
		for ; i >= 0; i -= hl.stride {
			at := FloorTo(wordTime(closed[i:]), hl.hop)
			if at < start {
				break
			}
			behind := row
			row = len(dst)
			dst = append(dst, closed[i:i+hl.stride]...)
			putTime(dst[row:], at)
			if behind >= 0 {
				hl.mergeRow(dst[row:], dst[behind:])
			}
		}
		dst = binary.LittleEndian.AppendUint32(dst, crc32.Update(seed, castagnoli, dst[from:]))
		binary.LittleEndian.PutUint32(dst[from-4:], uint32(len(dst)-from))
	}
	return dst
}

// mergeRow merges the row behind a tile into the tile.
func (hl *hopLayout) mergeRow(tile, behind []byte) {
	for j := range hl.fixed {
		s := &hl.fixed[j]
		s.agg.Merge(tile[s.off:s.off+s.width], behind[s.off:s.off+s.width])
	}
}

// Pages returns how many places for pages there are: what AppendPages names is below it.
func (l *Layout) Pages() int { return l.pages }

// AppendPages appends the places of the pages that a reader needs for the features want at time t.
func (l *Layout) AppendPages(dst []int, want []int, t int64) []int {
	from := len(dst)
next:
	for _, w := range want {
		f := &l.features[w]
		if f.kind != kindWindow || f.slot.width == 0 {
			continue
		}
		hl := &l.hops[f.hop]
		place := hl.pages.place(WindowStart(clampTime(t), f.window, hl.hop))
		for _, have := range dst[from:] {
			if have == place {
				continue next
			}
		}
		dst = append(dst, place)
	}
	return dst
}

// TailParts cuts a tail, as AppendTail makes it, into what the online store keeps in fields of their own: first, and
// pages, one after the other, for NextPage. It is not ok for anything else.
func TailParts(tail []byte) (first, pages []byte, ok bool) {
	if len(tail) < tailFixed {
		return nil, nil, false
	}
	n := int64(binary.LittleEndian.Uint32(tail[1+versionWidth:]))
	if n < tailFixed || n > int64(len(tail)) {
		return nil, nil, false
	}
	return tail[:n:n], tail[n:], true
}

// NextPage returns the first of pages with its place, and the pages after it. It is not ok when there is none.
func NextPage(pages []byte) (place int, page, rest []byte, ok bool) {
	if len(pages) < frameSize {
		return 0, nil, nil, false
	}
	end := frameSize + int64(binary.LittleEndian.Uint32(pages[2:]))
	if end > int64(len(pages)) {
		return 0, nil, nil, false
	}
	return int(binary.LittleEndian.Uint16(pages)), pages[frameSize:end:end], pages[end:], true
}

// ErrEarlierPage is returned for a window that begins before all pages of its hop: what it needs is not in the page that
// AppendPages names, and is found where all pages of the view are given.
var ErrEarlierPage = errors.New("the window begins before the pages")

// rowOf returns the row of the closed tiles from start on, in a hop that has pages; nil if there is none. version is the
// tail's.
func (r *Reader) rowOf(hl *hopLayout, hv *hopView, start int64) ([]byte, error) {
	p := &hl.pages
	if start > hv.last {
		return nil, nil
	}
	first, early := FloorTo(hv.last, p.span)-int64(p.n-1)*p.span, false
	if start < first {
		start, early = first, true
	}
	page, given := r.page(p.place(start))
	if !given && early {
		return nil, ErrEarlierPage
	}
	n := len(page) - sumWidth
	if n < 0 || binary.LittleEndian.Uint32(page[n:]) != crc32.Update(r.seed, castagnoli, page[:n]) {
		return nil, ErrTornBlob
	}
	rows := page[:n]
	if len(rows) < timeWidth+hl.stride || (len(rows)-timeWidth)%hl.stride != 0 || timeAt(rows) != FloorTo(start, p.span) {
		return nil, errors.New("a page is not the one of its place")
	}
	rows = rows[timeWidth:]
	from, to := 0, len(rows)/hl.stride // entries before from begin at start or later
	for from < to {
		mid := int(uint(from+to) >> 1)
		if timeAt(rows[mid*hl.stride:]) >= start {
			from = mid + 1
		} else {
			to = mid
		}
	}
	if from == 0 {
		return nil, errors.New("a page has no row for a start that it covers")
	}
	return rows[(from-1)*hl.stride : from*hl.stride], nil
}

// page returns the page of a place, and whether the caller gave it, be it as absent.
func (r *Reader) page(place int) (page []byte, given bool) {
	for i, have := range r.places {
		if have == place {
			return r.pages[i], true
		}
	}
	return nil, false
}
