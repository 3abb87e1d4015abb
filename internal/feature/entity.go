package feature

import (
	"encoding/binary"
	"math"
	"unsafe"
)

// NoTime is the event time of an entity without events.
const NoTime int64 = math.MinInt64

// Entity is the state of one entity in one view. The zero value is an entity without events. It belongs to the Layout
// that first changed it, and is not safe for concurrent use.
//
// There are millions of them, and a collector of garbage looks at each piece of each: an entity holds few, flat ones. One block
// has the tiles of every hop, and one object what is in no tile.
type Entity struct {
	layout *Layout     // nil before the first event
	block  []byte      // see hopTiles
	vars   *[][][]byte // of each hop the tiles' states of varying size, tile by tile; nil when the view has none in tiles
	own    *ownState   // nil when the view has no entity cell or no event came
	spare  int         // bytes allocated for all states of varying size

	// tailChanged is set when a tile other than a hop's newest came to be or changed. Trimming alone does not set it:
	// what was trimmed is beyond every window that is still read.
	tailChanged bool

	tailPaged uint16 // the hops with pages in the tail last appended, bit k that of hop k
}

// ownState is the entity cell in memory.
type ownState struct {
	fixed []byte   // as ownLayout says
	vars  [][]byte // variable row values, then variable states
	marks ownMarks
}

type ownMarks uint8

const (
	ownDirty  ownMarks = 1 << iota // changed since the last Flush
	ownStored                      // a Flush or Restore put it in the store
	ownDead                        // expired: reads as absent, Flush deletes it
)

// Apply folds one event in. in[i] is the input of feature i: nil if the event does not count for it, which for a row
// feature is the same as null; a pointer to a null Value is stored by row features and skipped by aggregations; a count
// of events takes any non-nil pointer. Values must be finite where they are aggregated. streamTime is the task's,
// already including this event: it alone decides which tiles are kept. Apply returns how many tile updates were too
// late and dropped, and trims the entity's tiles that are no longer kept.
func (l *Layout) Apply(e *Entity, at *Order, in []*Value, streamTime int64) (late int) {
	if at.Time < MinTime || at.Time > MaxTime {
		return max(1, len(l.hops))
	}
	if e.layout == nil {
		l.adopt(e)
	}
	streamTime = clampTime(streamTime)
	for k := range l.hops {
		if !l.hops[k].apply(e, k, at, in, streamTime) {
			late++
		}
	}
	if l.own.kept {
		l.applyOwn(e, at, in, streamTime)
	}
	return late
}

// apply folds an event into the tiles of hop k, unless it is too late.
func (hl *hopLayout) apply(e *Entity, k int, at *Order, in []*Value, streamTime int64) bool {
	var ht hopTiles
	ht.open(e, k)
	cut := streamTime - hl.reach
	if len(ht.tiles) > 0 {
		e.spare -= hl.trim(&ht, cut)
	}
	start := FloorTo(at.Time, hl.hop)
	if start < cut {
		ht.close()
		return false
	}
	off, changed := hl.touch(&ht, start, at.Time)
	e.tailChanged = e.tailChanged || changed
	for j := range hl.fixed {
		s := &hl.fixed[j]
		if v := in[s.feature]; s.takes(v) {
			if s.events {
				v = nil
			}
			s.agg.Add(ht.tiles[off+s.off:off+s.off+s.width], v, at)
		}
	}
	if len(hl.vars) > 0 {
		i := off / hl.stride * len(hl.vars)
		e.spare += addVars(hl.vars, ht.vars[i:i+len(hl.vars)], in, at)
	}
	ht.close()
	return true
}

// takes reports whether the aggregation of s folds the input v in.
func (s *slot) takes(v *Value) bool { return v != nil && (s.events || v.typ != Null) }

// addVars folds an event into variable states and returns by how much their allocation grew.
func addVars(slots []slot, states [][]byte, in []*Value, at *Order) (grown int) {
	for j := range slots {
		s := &slots[j]
		v := in[s.feature]
		if !s.takes(v) {
			continue
		}
		if s.events {
			v = nil
		}
		st := &states[s.off]
		grown -= cap(*st)
		*st = s.agg.Add(*st, v, at)
		grown += cap(*st)
	}
	return grown
}

// adopt makes e, which has no events, an entity of l.
func (l *Layout) adopt(e *Entity) {
	e.layout = l
	if len(l.hops) == 0 {
		return
	}
	e.block = make([]byte, l.oneEach)[:len(l.hops)*hopHeader]
	if l.varsInTiles {
		vars := make([][][]byte, len(l.hops))
		e.vars = &vars
	}
}

// hops returns how many hops e has tiles of.
func (e *Entity) hops() int {
	if e.layout == nil {
		return 0
	}
	return len(e.layout.hops)
}

// applyOwn folds an event into the entity cell.
func (l *Layout) applyOwn(e *Entity, at *Order, in []*Value, streamTime int64) {
	ol := &l.own
	if e.own == nil || e.own.marks&ownDead != 0 {
		l.newOwn(e)
		putTime(e.own.fixed, at.Time)
		if ol.body > timeWidth {
			l.setRows(e, at, in)
		}
	} else {
		if at.Time > timeAt(e.own.fixed) {
			putTime(e.own.fixed, at.Time)
		}
		if ol.body > timeWidth {
			if latest := orderAt(e.own.fixed[timeWidth:]); at.Compare(&latest) > 0 {
				l.setRows(e, at, in)
			}
		}
	}
	o := e.own
	for j := range ol.fixed {
		s := &ol.fixed[j]
		if v := in[s.feature]; s.takes(v) {
			if s.events {
				v = nil
			}
			s.agg.Add(o.fixed[s.off:s.off+s.width], v, at)
		}
	}
	if len(ol.vars) > 0 {
		e.spare += addVars(ol.vars, o.vars, in, at)
	}
	o.marks |= ownDirty
	if l.ownExpired(timeAt(o.fixed), streamTime) {
		e.killOwn()
	}
}

// newOwn gives e an entity cell for the caller to fill. A deletion from the store that was due becomes an overwrite: of
// a cell that expired there is only the timestamp.
func (l *Layout) newOwn(e *Entity) {
	if e.own == nil {
		e.own = &ownState{fixed: make([]byte, l.own.width)}
		if l.own.nvars > 0 {
			e.own.vars = make([][]byte, l.own.nvars)
		}
		return
	}
	e.own.marks &^= ownDead
}

// killOwn drops the entity cell: at once if the store does not have it, else with the next Flush. Only a cell that is
// no more than a timestamp expires, so there are no variable states.
func (e *Entity) killOwn() {
	if e.own.marks&ownStored == 0 {
		e.own = nil
		return
	}
	e.own.marks = ownStored | ownDead
}

// setRows makes the event the one that the row features are from.
func (l *Layout) setRows(e *Entity, at *Order, in []*Value) {
	o := e.own
	at.put(o.fixed[timeWidth:])
	for j := range l.own.rows {
		s := &l.own.rows[j]
		v := in[s.feature]
		if s.width > 0 {
			putRowScalar(o.fixed[s.off:], s.typ, v)
			continue
		}
		b := &o.vars[s.off]
		e.spare -= cap(*b)
		*b = appendRowValue((*b)[:0], s.typ, v)
		e.spare += cap(*b)
	}
}

// Trim drops what is no longer kept at a stream time, as the next Apply would. Whoever publishes an entity that no
// event touched lately calls it first, so that the bytes depend on the stream time and not on when a store was swept.
func (l *Layout) Trim(e *Entity, streamTime int64) {
	streamTime = clampTime(streamTime)
	for k := range e.hops() {
		var ht hopTiles
		ht.open(e, k)
		e.spare -= l.hops[k].trim(&ht, streamTime-l.hops[k].reach)
		ht.close()
	}
	if e.ownLive() && l.ownExpired(timeAt(e.own.fixed), streamTime) {
		e.killOwn()
	}
}

func (e *Entity) ownLive() bool { return e.own != nil && e.own.marks&ownDead == 0 }

// Empty reports whether the entity has no state. An empty entity may still be Dirty: deletions may be due.
func (e *Entity) Empty() bool { return e.EventTime() == NoTime }

// EventTime returns the view's timestamp: the largest time of an event that is still known, NoTime when there is none.
func (e *Entity) EventTime() int64 {
	t := NoTime
	if e.ownLive() {
		t = timeAt(e.own.fixed)
	}
	for k := range e.hops() {
		hl := &e.layout.hops[k]
		var ht hopTiles
		ht.open(e, k)
		if off := len(ht.tiles) - hl.stride; off >= ht.firstLive(hl) {
			t = max(t, wordTime(ht.tiles[off:]))
		}
	}
	return t
}

// Bytes returns about how much heap memory the entity takes, itself included.
func (e *Entity) Bytes() int {
	const slice = int(unsafe.Sizeof([]byte(nil)))
	n := int(unsafe.Sizeof(*e)) + cap(e.block) + e.spare
	if e.vars != nil {
		n += slice + cap(*e.vars)*slice
		for _, vars := range *e.vars {
			n += cap(vars) * slice
		}
	}
	if e.own != nil {
		n += int(unsafe.Sizeof(*e.own)) + cap(e.own.fixed) + cap(e.own.vars)*slice
	}
	return n
}

// TailChanged reports whether, since the last ClearTailChanged, a tile closed or a closed tile was corrected, so that
// the tail blob must be written anew. It is true for a restored entity.
func (e *Entity) TailChanged() bool { return e.tailChanged }

// ClearTailChanged says that the tail as it is now has been, or will be, written.
func (e *Entity) ClearTailChanged() { e.tailChanged = false }

func timeAt(b []byte) int64     { return int64(binary.LittleEndian.Uint64(b)) }
func putTime(b []byte, t int64) { binary.LittleEndian.PutUint64(b, uint64(t)) }

// validTime reports whether a time read from outside can be an event's.
func validTime(t int64) bool { return t >= MinTime && t <= MaxTime }
