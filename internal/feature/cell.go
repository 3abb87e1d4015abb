package feature

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// A cell is the piece of an entity that is stored, logged and deleted as one: a tile, or the entity cell. Its key, the
// only encoding here whose bytes sort:
//
//	0       u8       format, 1
//	1       8 bytes  view
//	9       uvarint  length n of the entity key, in its shortest form
//	        n bytes  entity key
//	        u32      hop in seconds, big-endian; 0: the entity cell
//	        u64      start of the tile, microseconds, big-endian with the sign bit flipped; 0 in an entity cell
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
// with Hop 0, the entity cell, which holds the view's timestamp, lifetime aggregates and row features.
type Cell struct {
	Hop   uint32
	Start int64
}

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
	case c.Hop == 0 && c.Start != 0:
		return fail("entity cell with a start")
	case c.Hop != 0 && (c.Start%(int64(c.Hop)*Second) != 0 || c.Start > MaxTime || c.Start < MinTime-int64(c.Hop)*Second):
		return fail(fmt.Sprintf("start %d is not one of hop %d s", c.Start, c.Hop))
	}
	return [8]byte(b[1:9]), rest[:n:n], c, nil
}

// Dirty reports whether Flush has anything to say.
func (l *Layout) Dirty(e *Entity) bool {
	for k := range e.hops {
		if e.hops[k].dead > 0 || e.hops[k].dirty > 0 {
			return true
		}
	}
	return e.own != nil && e.own.marks&(ownDirty|ownDead) != 0
}

// Flush calls fn for each cell that changed since the last Flush, with its value, or with nil where the cell is to be
// deleted, and takes the changes as stored. value is valid during the call. *scratch is grown and reused.
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
	for k := range e.hops {
		l.hops[k].flush(&e.hops[k], scratch, fn)
	}
}

func (hl *hopLayout) flush(ht *hopTiles, scratch *[]byte, fn func(c Cell, value []byte)) {
	cell := func(tile []byte) Cell {
		return Cell{Hop: uint32(hl.hop / Second), Start: FloorTo(wordTime(tile), hl.hop)}
	}
	if ht.dead > 0 {
		for i := range int(ht.dead) {
			fn(cell(ht.tiles[i*hl.stride:]), nil)
		}
		hl.remove(ht, 0, int(ht.dead))
		ht.dead = 0
	}
	nv := len(hl.vars)
	for i := len(ht.tiles)/hl.stride - 1; i >= 0 && ht.dirty > 0; i-- {
		tile := ht.tiles[i*hl.stride : (i+1)*hl.stride]
		w := word(tile)
		if w&markDirty == 0 {
			continue
		}
		b := append((*scratch)[:0], cellValueFormat)
		b = binary.LittleEndian.AppendUint64(b, uint64(w>>markBits))
		b = append(b, tile[timeWidth:]...)
		*scratch = appendStates(b, ht.vars[i*nv:(i+1)*nv])
		fn(cell(tile), *scratch)
		putWord(tile, w>>markBits<<markBits|markStored)
		ht.dirty--
	}
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
	if c.Hop == 0 {
		err = l.restoreOwn(e, value[1:])
	} else {
		err = l.restoreTile(e, c, value[1:])
	}
	if err != nil {
		return fmt.Errorf("cell (hop %d s, start %d): %w", c.Hop, c.Start, err)
	}
	e.tailChanged = true
	return nil
}

func (l *Layout) restoreTile(e *Entity, c Cell, b []byte) error {
	k := l.hopIndex(c.Hop)
	if k < 0 {
		return errors.New("the view has no such hop")
	}
	hl := &l.hops[k]
	if len(b) < hl.stride {
		return fmt.Errorf("%d bytes; at least %d are due", len(b), hl.stride)
	}
	t := timeAt(b)
	if !validTime(t) || FloorTo(t, hl.hop) != c.Start {
		return fmt.Errorf("last event at %d is not of this tile", t)
	}
	if err := validFixed(hl.fixed, b); err != nil {
		return err
	}
	if err := validVars(hl.vars, 0, b[hl.stride:]); err != nil {
		return err
	}
	if e.layout == nil {
		l.adopt(e)
	}
	ht := &e.hops[k]
	off, _ := hl.touch(ht, c.Start, t)
	ht.dirty--
	copy(ht.tiles[off:], b[:hl.stride])
	putWord(ht.tiles[off:], t<<markBits|markStored)
	i := off / hl.stride * len(hl.vars)
	e.spare += setStates(ht.vars[i:i+len(hl.vars)], b[hl.stride:])
	return nil
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
