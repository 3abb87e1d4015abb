package feature

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// A cell is the piece of an entity that is stored, logged and deleted as one: a tile, the head cell, or the entity cell. The head
// cell has the newest tile of each hop, if the view has more hops than one: an event changes all of these, and is one record so. A tile
// is in one cell at a time: one that is no longer the newest leaves the head cell for one of its own. Its key, the
// only encoding here whose bytes sort:
//
//	0       u8       format, 1
//	1       8 bytes  view
//	9       uvarint  length n of the entity key, in its shortest form
//	        n bytes  entity key
//	        u32      hop in seconds, big-endian; 0: the entity cell or the head cell
//	        u64      start of the tile, microseconds, big-endian with the sign bit flipped; 0 in an entity cell, 1 in a head cell
//
// The value of a tile, all numbers little-endian:
//
//	0       u8       format, 1
//	1       i64      time of the last event in the tile, microseconds
//	9       ...      states of fixed width, by the features' names
//	                 states of varying size, by the features' names, each:
//	        uvarint  length n
//	        n bytes  state
//
// The value of a head cell:
//
//	0       u8       format, 1
//	                 the newest tile of each hop that has one, at least one, by hop, each:
//	        u32      hop in seconds
//	        uvarint  length n
//	        n bytes  as the value of a tile, without the format
//
// The value of an entity cell:
//
//	0       u8       format, 1
//	1       i64      the view's timestamp, microseconds
//	        21 bytes order of the event that the row features are from; only if there are any
//	                 row features of bool, int64, float64, timestamp, by name, each 9 bytes (see rowvalue.go)
//	        ...      lifetime states of fixed width, by name
//	                 other row features, by name, then lifetime states of varying size, by name, each:
//	        uvarint  length n
//	        n bytes  value or state
//
// A reader refuses a format byte that it does not know. Every format is read by the next minor version.
const (
	cellKeyFormat   = 1
	cellValueFormat = 1
)

// Cell names one stored piece of an entity: the tile of a hop, in whole seconds, that begins at Start, microseconds; or,
// with Hop 0, the entity cell, which holds the view's timestamp, lifetime aggregates and row features, or, with Start 1, the
// head cell.
type Cell struct {
	Hop   uint32
	Start int64
}

// headCell is the cell of the newest tiles.
var headCell = Cell{Start: 1}

// AppendEntityPrefix appends what the keys of all cells of one entity in one view begin with, and of no other.
func AppendEntityPrefix(dst []byte, view [8]byte, entityKey []byte) []byte {
	dst = append(append(dst, cellKeyFormat), view[:]...)
	dst = binary.AppendUvarint(dst, uint64(len(entityKey)))
	return append(dst, entityKey...)
}

// AppendCellKey appends the key of a cell. Keys sort by view, entity, hop, start.
func AppendCellKey(dst []byte, view [8]byte, entityKey []byte, c Cell) []byte {
	dst = AppendEntityPrefix(dst, view, entityKey)
	dst = binary.BigEndian.AppendUint32(dst, c.Hop)
	return binary.BigEndian.AppendUint64(dst, uint64(c.Start)^1<<63)
}

// ParseCellKey is the inverse of AppendCellKey. entityKey is part of b.
func ParseCellKey(b []byte) (view [8]byte, entityKey []byte, c Cell, err error) {
	fail := func(why string) ([8]byte, []byte, Cell, error) {
		return [8]byte{}, nil, Cell{}, errors.New("cell key: " + why)
	}
	if len(b) < 1+8+1+4+8 {
		return fail("short")
	}
	if b[0] != cellKeyFormat {
		return fail(fmt.Sprintf("unknown format %d", b[0]))
	}
	n, w := binary.Uvarint(b[9:])
	if w <= 0 || n > MaxKeyBytes || w > 1 && n < 1<<(7*(w-1)) {
		return fail("bad length of the entity key")
	}
	rest := b[9+w:]
	if uint64(len(rest)) != n+4+8 {
		return fail(fmt.Sprintf("%d bytes after the entity key's length; %d are due", len(rest), n+4+8))
	}
	c.Hop = binary.BigEndian.Uint32(rest[n:])
	c.Start = int64(binary.BigEndian.Uint64(rest[n+4:]) ^ signBit)
	switch {
	case c.Hop == 0 && c.Start != 0 && c != headCell:
		return fail("entity cell with a start")
	case c.Hop != 0 && (c.Start%(int64(c.Hop)*Second) != 0 || c.Start > MaxTime || c.Start < MinTime-int64(c.Hop)*Second):
		return fail(fmt.Sprintf("start %d is not one of hop %d s", c.Start, c.Hop))
	}
	return [8]byte(b[1:9]), rest[:n:n], c, nil
}

// Dirty reports whether Flush has anything to say.
func (l *Layout) Dirty(e *Entity) bool {
	for k := range e.hops() {
		var ht hopTiles
		if ht.open(e, k); ht.dead > 0 || ht.dirty > 0 {
			return true
		}
	}
	return e.own != nil && e.own.marks&(ownDirty|ownDead) != 0
}

// Flush calls fn for each cell that changed since the last Flush, with its value, or with nil where the cell is to be
// deleted, and takes the changes as stored. value is valid during the call, and fn does not use e. *scratch is grown and reused.
func (l *Layout) Flush(e *Entity, scratch *[]byte, fn func(c Cell, value []byte)) {
	if o := e.own; o != nil && o.marks&ownDead != 0 {
		fn(Cell{}, nil)
		e.own = nil
	} else if o != nil && o.marks&ownDirty != 0 {
		b := append(append((*scratch)[:0], cellValueFormat), o.fixed...)
		*scratch = appendStates(b, o.vars)
		fn(Cell{}, *scratch)
		o.marks = ownStored
	}
	head := false
	for k := range e.hops() {
		var ht hopTiles
		ht.open(e, k)
		changed := l.hops[k].flush(&ht, l.hasHead(), scratch, fn)
		ht.close()
		head = head || changed
	}
	if head {
		l.flushHead(e, scratch, fn)
	}
}

// hasHead reports whether entities of l have a head cell.
func (l *Layout) hasHead() bool { return len(l.hops) > 1 }

// cell names the cell of a tile of its own.
func (hl *hopLayout) cell(tile []byte) Cell {
	return Cell{Hop: uint32(hl.hop / Second), Start: FloorTo(wordTime(tile), hl.hop)}
}

// flush calls fn for the changed cells that a hop's tiles have of their own. With inHead the newest is not one of them; whether
// the head cell has changed is returned.
func (hl *hopLayout) flush(ht *hopTiles, inHead bool, scratch *[]byte, fn func(c Cell, value []byte)) (head bool) {
	if ht.dead > 0 {
		for i := range int(ht.dead) {
			tile := ht.tiles[i*hl.stride:]
			if word(tile)&markStored != 0 {
				fn(hl.cell(tile), nil)
			}
			head = head || word(tile)&markHead != 0
		}
		hl.remove(ht, 0, int(ht.dead))
		ht.dead = 0
	}
	newest := len(ht.tiles)/hl.stride - 1
	left := ht.dirty
	for i := newest; i >= 0 && left > 0; i-- {
		tile := ht.tiles[i*hl.stride : (i+1)*hl.stride]
		w := word(tile)
		if w&markDirty == 0 {
			continue
		}
		left--
		if inHead && i == newest {
			head = true
			continue
		}
		head = head || w&markHead != 0
		*scratch = hl.appendTile(append((*scratch)[:0], cellValueFormat), ht, i)
		fn(hl.cell(tile), *scratch)
		putWord(tile, w>>markBits<<markBits|markStored)
		ht.dirty--
	}
	return head
}

// appendTile appends tile i as it stands in cells.
func (hl *hopLayout) appendTile(dst []byte, ht *hopTiles, i int) []byte {
	tile, nv := ht.tiles[i*hl.stride:(i+1)*hl.stride], len(hl.vars)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(wordTime(tile)))
	dst = append(dst, tile[timeWidth:]...)
	return appendStates(dst, ht.vars[i*nv:(i+1)*nv])
}

// flushHead calls fn for the head cell, from which dead tiles are gone already. Cells that its tiles had of their own, by an
// earlier version, are deleted.
func (l *Layout) flushHead(e *Entity, scratch *[]byte, fn func(c Cell, value []byte)) {
	b := append((*scratch)[:0], cellValueFormat)
	for k := range e.hops() {
		hl := &l.hops[k]
		var ht hopTiles
		ht.open(e, k)
		i := len(ht.tiles)/hl.stride - 1
		if i < 0 {
			continue
		}
		tile := ht.tiles[i*hl.stride:]
		w := word(tile)
		if w&markStored != 0 {
			fn(hl.cell(tile), nil)
		}
		b = binary.LittleEndian.AppendUint32(b, uint32(hl.hop/Second))
		b = hl.appendSized(b, &ht, i)
		if w&markDirty != 0 {
			ht.dirty--
		}
		putWord(tile, w>>markBits<<markBits|markHead)
		ht.close()
	}
	*scratch = b
	if len(b) == 1 {
		b = nil
	}
	fn(headCell, b)
}

// appendSized appends the length of tile i in cells, and the tile.
func (hl *hopLayout) appendSized(dst []byte, ht *hopTiles, i int) []byte {
	n, nv := hl.stride, len(hl.vars)
	for _, s := range ht.vars[i*nv : (i+1)*nv] {
		n += uvarintLen(uint64(len(s))) + len(s)
	}
	return hl.appendTile(binary.AppendUvarint(dst, uint64(n)), ht, i)
}

// appendStates appends states of varying size, each after its length.
func appendStates(dst []byte, states [][]byte) []byte {
	for _, s := range states {
		dst = append(binary.AppendUvarint(dst, uint64(len(s))), s...)
	}
	return dst
}

// cutState is the inverse of appendStates for one state.
func cutState(b []byte) (state, rest []byte, ok bool) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(len(b)-w) {
		return nil, nil, false
	}
	end := w + int(n)
	return b[w:end:end], b[end:], true
}

// Restore puts a stored cell into e, over what e has there. The value comes from outside: bytes that Flush does not
// write are refused with e unchanged.
func (l *Layout) Restore(e *Entity, c Cell, value []byte) error {
	if len(value) < 1+timeWidth {
		return fmt.Errorf("cell (hop %d s, start %d): value of %d bytes is short", c.Hop, c.Start, len(value))
	}
	if value[0] != cellValueFormat {
		return fmt.Errorf("cell (hop %d s, start %d): unknown format %d", c.Hop, c.Start, value[0])
	}
	var err error
	switch {
	case c == headCell:
		err = l.restoreHead(e, value[1:])
	case c.Hop == 0:
		err = l.restoreOwn(e, value[1:])
	default:
		err = l.restoreTile(e, c, value[1:])
	}
	if err != nil {
		return fmt.Errorf("cell (hop %d s, start %d): %w", c.Hop, c.Start, err)
	}
	e.tailChanged = true
	return nil
}

func (l *Layout) restoreTile(e *Entity, c Cell, b []byte) error {
	k, err := l.checkTile(c.Hop, b)
	if err != nil {
		return err
	}
	if t := timeAt(b); FloorTo(t, l.hops[k].hop) != c.Start {
		return fmt.Errorf("last event at %d is not of this tile", t)
	}
	l.putTile(e, k, c.Start, b, markStored)
	return nil
}

// checkTile returns the index of a hop of which b is a tile, as it stands in cells, that may be restored.
func (l *Layout) checkTile(hop uint32, b []byte) (k int, err error) {
	if k = l.hopIndex(hop); k < 0 {
		return 0, errors.New("the view has no such hop")
	}
	hl := &l.hops[k]
	if len(b) < hl.stride {
		return 0, fmt.Errorf("%d bytes; at least %d are due", len(b), hl.stride)
	}
	if t := timeAt(b); !validTime(t) {
		return 0, fmt.Errorf("last event at %d is not of this tile", t)
	}
	if err := validFixed(hl.fixed, b); err != nil {
		return 0, err
	}
	return k, validVars(hl.vars, 0, b[hl.stride:])
}

// putTile puts a checked tile of hop k, which begins at start, into e, as one that the store has where mark says.
func (l *Layout) putTile(e *Entity, k int, start int64, b []byte, mark int64) {
	if e.layout == nil {
		l.adopt(e)
	}
	hl, t := &l.hops[k], timeAt(b)
	var ht hopTiles
	ht.open(e, k)
	defer ht.close()
	off, _ := hl.touch(&ht, start, t)
	ht.dirty--
	copy(ht.tiles[off:], b[:hl.stride])
	putWord(ht.tiles[off:], t<<markBits|mark)
	i := off / hl.stride * len(hl.vars)
	e.spare += setStates(ht.vars[i:i+len(hl.vars)], b[hl.stride:])
}

// headTiles calls fn for each tile of a head cell's value, without its format byte, until fn returns an error.
func headTiles(b []byte, fn func(hop uint32, tile []byte) error) error {
	if len(b) == 0 {
		return errors.New("a head cell without tiles")
	}
	for last := uint32(0); len(b) > 0; {
		if len(b) < 4 {
			return errors.New("short")
		}
		hop := binary.LittleEndian.Uint32(b)
		if hop <= last {
			return fmt.Errorf("hop %d s after hop %d s", hop, last)
		}
		tile, rest, ok := cutState(b[4:])
		if !ok {
			return fmt.Errorf("hop %d s: short", hop)
		}
		if err := fn(hop, tile); err != nil {
			return fmt.Errorf("hop %d s: %w", hop, err)
		}
		last, b = hop, rest
	}
	return nil
}

func (l *Layout) restoreHead(e *Entity, b []byte) error {
	if !l.hasHead() {
		return errors.New("the view has no head cells")
	}
	err := headTiles(b, func(hop uint32, tile []byte) error {
		_, err := l.checkTile(hop, tile)
		return err
	})
	if err != nil {
		return err
	}
	return headTiles(b, func(hop uint32, tile []byte) error {
		k := l.hopIndex(hop)
		l.putTile(e, k, FloorTo(timeAt(tile), l.hops[k].hop), tile, markHead)
		return nil
	})
}

// headExpired reports whether no tile of a head cell is of use. What is none has not expired.
func (l *Layout) headExpired(value []byte, streamTime int64) bool {
	if len(value) == 0 || value[0] != cellValueFormat {
		return false
	}
	err := headTiles(value[1:], func(hop uint32, tile []byte) error {
		k := l.hopIndex(hop)
		if k < 0 || len(tile) < timeWidth || !validTime(timeAt(tile)) {
			return errors.New("no tile")
		}
		if hl := &l.hops[k]; FloorTo(timeAt(tile), hl.hop) >= streamTime-hl.reach {
			return errors.New("of use")
		}
		return nil
	})
	return err == nil
}

func (l *Layout) restoreOwn(e *Entity, b []byte) error {
	ol := &l.own
	if len(b) < ol.width {
		return fmt.Errorf("%d bytes; at least %d are due", len(b), ol.width)
	}
	t := timeAt(b)
	if !validTime(t) {
		return fmt.Errorf("timestamp %d is out of range", t)
	}
	if ol.body > timeWidth {
		if at := orderAt(b[timeWidth:]); at.Time != t {
			return fmt.Errorf("row features of an event at %d in a view of timestamp %d", at.Time, t)
		}
	}
	rest := b[ol.width:]
	for i := range ol.rows {
		s := &ol.rows[i]
		if s.width == 0 {
			continue
		}
		if _, err := rowScalar(b[s.off:], s.typ); err != nil {
			return fmt.Errorf("row feature %d: %w", s.feature, err)
		}
	}
	if err := validFixed(ol.fixed, b); err != nil {
		return err
	}
	if err := l.validOwnVars(rest); err != nil {
		return err
	}
	if !ol.kept {
		return nil // the ttl was longer once; the tiles say the time now
	}
	if e.layout == nil {
		l.adopt(e)
	}
	if e.own == nil {
		l.newOwn(e)
	}
	e.own.marks = ownStored
	copy(e.own.fixed, b)
	e.spare += setStates(e.own.vars, rest)
	return nil
}

// validOwnVars checks the variable part of an entity cell.
func (l *Layout) validOwnVars(b []byte) error {
	ol := &l.own
	n := 0
	for i := range ol.rows {
		s := &ol.rows[i]
		if s.width > 0 {
			continue
		}
		v, rest, ok := cutState(b)
		if !ok {
			return fmt.Errorf("row feature %d: short", s.feature)
		}
		if _, err := rowValue(v, s.typ); err != nil {
			return fmt.Errorf("row feature %d: %w", s.feature, err)
		}
		b, n = rest, n+1
	}
	return validVars(ol.vars, n, b)
}

// validFixed checks the fixed-width states in the fixed part b.
func validFixed(slots []slot, b []byte) error {
	for i := range slots {
		s := &slots[i]
		if err := s.agg.Validate(b[s.off : s.off+s.width]); err != nil {
			return fmt.Errorf("feature %d: %w", s.feature, err)
		}
	}
	return nil
}

// validVars checks that b is the variable states of slots, whose numbers begin with first, and nothing more.
func validVars(slots []slot, first int, b []byte) error {
	for i := range slots {
		s := &slots[i]
		state, rest, ok := cutState(b)
		if !ok || s.off != first+i {
			return fmt.Errorf("feature %d: short", s.feature)
		}
		if err := s.agg.Validate(state); err != nil {
			return fmt.Errorf("feature %d: %w", s.feature, err)
		}
		b = rest
	}
	if len(b) > 0 {
		return fmt.Errorf("%d bytes too many", len(b))
	}
	return nil
}

// setStates copies checked states of varying size, and returns by how much their allocation grew.
func setStates(states [][]byte, b []byte) (grown int) {
	for i := range states {
		s, rest, _ := cutState(b)
		b = rest
		grown -= cap(states[i])
		states[i] = append([]byte(nil), s...)
		grown += cap(states[i])
	}
	return grown
}

// entityCellTime returns the timestamp in the value of an entity cell.
func entityCellTime(value []byte) (t int64, ok bool) {
	if len(value) < 1+timeWidth || value[0] != cellValueFormat {
		return 0, false
	}
	return timeAt(value[1:]), true
}
