package feature

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// Status says whether a view has values for an entity at a time. A single null value in a Present view is not a status
// of the view.
type Status uint8

// The statuses.
const (
	Present       Status = iota
	NotFound             // no event, or none that the ttl or a window still covers; all values are null
	OutsideMaxAge        // the newest event is older than the ttl; all values are null
)

// String returns the status as lookups spell it.
func (s Status) String() string {
	switch s {
	case Present:
		return "PRESENT"
	case NotFound:
		return "NOT_FOUND"
	case OutsideMaxAge:
		return "OUTSIDE_MAX_AGE"
	}
	return fmt.Sprintf("status(%d)", uint8(s))
}

// Reader evaluates views at a time, from blobs or from memory, with the same code. The zero value is ready. It holds
// scratch memory between calls, but nothing of its arguments; it is not safe for concurrent use.
type Reader struct {
	outside bool  // the bytes come from outside: states of varying size are validated before use
	shift   uint8 // of the time in a tile
	own     []byte
	ownVars [][]byte
	hops    []hopView
	vars    [][]byte // backs ownVars and hopView.vars of a blob
	state   []byte   // merged states
	outOf   int

	places []int    // of pages
	pages  [][]byte // nil for one that is absent
	seed   uint32   // checksum of the tail's version, which that of a page begins with
	whole  []int    // backs places where Read finds the pages in a tail
	found  [][]byte // backs pages there
}

// hopView is where a read finds the tiles of a hop: the closed ones in one run or in pages, and the newest.
type hopView struct {
	run    []byte
	n      int
	stride int // of the run: a tile's fixed part, or with pages no more than its time
	newest []byte
	vars   [][]byte // of all tiles, tile by tile, the newest last
	from   int      // where vars begins in Reader.vars, while that grows
	to     int

	window int64 // the window that first is for; 0: none yet
	first  int   // the first tile of the run that the window covers

	paged     bool
	last      int64  // the start of the newest closed tile
	rowWindow int64  // the window that row is for; 0: none yet
	row       []byte // the closed tiles that the window covers, merged; nil: none
}

// OutOfRange returns how many values of the last Read or ReadEntity were null because they are outside the range of
// their type.
func (r *Reader) OutOfRange() int { return r.outOf }

// Read is ReadPages with a tail as AppendTail makes it, nil for an absent one.
func (r *Reader) Read(l *Layout, head, tail []byte, t int64, want []int, out []Value) (st Status, eventTime int64, v Version, err error) {
	first, pages, ok := TailParts(tail)
	if !ok {
		first, pages = tail, nil // what is wrong with it is told if it is needed
	}
	r.whole, r.found = r.whole[:0], r.found[:0]
	defer func() { clear(r.found) }()
	for len(pages) > 0 {
		place, page, rest, ok := NextPage(pages)
		if !ok {
			clear(out[:len(want)])
			return NotFound, NoTime, v, fmt.Errorf("tail: %d bytes behind its pages", len(pages))
		}
		r.whole, r.found, pages = append(r.whole, place), append(r.found, page), rest
	}
	return r.ReadPages(l, head, first, r.whole, r.found, t, want, out)
}

// ReadFields is ReadPages with all pages: fields are the head, the tail's first part, and the page of each place.
func (r *Reader) ReadFields(l *Layout, fields [][]byte, t int64, want []int, out []Value) (st Status, eventTime int64, v Version, err error) {
	r.whole = r.whole[:0]
	for place := range fields[2:] {
		r.whole = append(r.whole, place)
	}
	return r.ReadPages(l, fields[0], fields[1], r.whole, fields[2:], t, want, out)
}

// ReadPages evaluates the features want of a view at time t into out[:len(want)], from the entity's head, the first part
// of its tail and the pages of some places, those that AppendPages names or all; nil is an absent one. Where the status is not Present all values are null, and where it is NotFound eventTime is NoTime: the same
// whether or not the online store still holds the entity. eventTime is else the view's timestamp, and v the head's
// version. An event ahead of t counts.
func (r *Reader) ReadPages(l *Layout, head, tail []byte, places []int, pages [][]byte, t int64, want []int, out []Value) (st Status, eventTime int64, v Version, err error) {
	clear(out[:len(want)])
	r.outOf = 0
	if head == nil {
		return NotFound, NoTime, v, nil
	}
	defer r.forget()
	r.outside, r.shift = true, 0
	r.places, r.pages = places, pages
	v, eventTime, err = r.openBlobs(l, head, tail)
	if err != nil {
		return NotFound, NoTime, v, err
	}
	st, eventTime, err = r.evaluate(l, eventTime, t, want, out)
	if err != nil {
		clear(out[:len(want)])
		return NotFound, NoTime, v, fmt.Errorf("blob: %w", err)
	}
	return st, eventTime, v, nil
}

// ReadEntity is Read from memory.
func (r *Reader) ReadEntity(l *Layout, e *Entity, t int64, want []int, out []Value) (st Status, eventTime int64) {
	clear(out[:len(want)])
	r.outOf = 0
	if e.layout == nil {
		return NotFound, NoTime
	}
	defer r.forget()
	r.outside, r.shift = false, markBits
	r.openEntity(l, e)
	st, eventTime, err := r.evaluate(l, e.EventTime(), t, want, out)
	if err != nil {
		panic("feature: state in memory: " + err.Error()) // it was written by Apply or checked by Restore
	}
	return st, eventTime
}

func (r *Reader) openEntity(l *Layout, e *Entity) {
	if e.ownLive() {
		r.own, r.ownVars = e.own.fixed[l.own.body:], e.own.vars
	}
	for k := range e.hops() {
		hl := &l.hops[k]
		var ht hopTiles
		ht.open(e, k)
		var hv hopView
		if from, newest := ht.firstLive(hl), len(ht.tiles)-hl.stride; from <= newest {
			hv = hopView{
				run:    ht.tiles[from:newest],
				n:      (newest - from) / hl.stride,
				stride: hl.stride,
				newest: ht.tiles[newest:],
				vars:   ht.vars[int(ht.dead)*len(hl.vars):],
			}
		}
		r.hops = append(r.hops, hv)
	}
}

// forget lets go of the arguments of the last call.
func (r *Reader) forget() {
	r.own, r.ownVars, r.places, r.pages = nil, nil, nil, nil
	clear(r.hops)
	r.hops = r.hops[:0]
	clear(r.vars)
	r.vars = r.vars[:0]
}

// openBlobs finds everything in a head and its tail. It checks that they are as they were written and that their
// structure is sound, whoever wrote them; states of varying size are checked where they are used.
func (r *Reader) openBlobs(l *Layout, head, tail []byte) (v Version, eventTime int64, err error) {
	v, belongs, ok := HeadVersion(head)
	if !ok {
		return v, 0, fmt.Errorf("head of %d bytes: short or of unknown format", len(head))
	}
	if belongs == (Version{}) {
		tail = nil
	} else if tv, ok := TailVersion(tail); tail != nil && !ok {
		return v, 0, fmt.Errorf("tail of %d bytes: short or of unknown format", len(tail))
	} else if tail == nil || tv != belongs {
		return v, 0, ErrTornBlob
	}
	if head, err = unseal(head); err != nil {
		return v, 0, fmt.Errorf("head: %w", err)
	}
	if tail != nil {
		if tail, err = unseal(tail); err != nil {
			return v, 0, fmt.Errorf("tail: %w", err)
		}
	}
	eventTime = timeAt(head[headFixed-timeWidth:])
	if !validTime(eventTime) && eventTime != NoTime {
		return v, 0, fmt.Errorf("head: timestamp %d is out of range", eventTime)
	}
	head, ownVars, err := r.openOwn(l, head[headFixed:])
	if err != nil {
		return v, 0, fmt.Errorf("head: %w", err)
	}
	if tail != nil {
		if n := binary.LittleEndian.Uint32(tail[1+versionWidth:]); int64(n) != int64(len(tail)+sumWidth) {
			return v, 0, fmt.Errorf("tail: a first part of %d bytes; it says %d", len(tail)+sumWidth, n)
		}
		r.seed = crc32.Checksum(tail[1:1+versionWidth], castagnoli)
		tail = tail[tailFixed:]
	}
	for k := range l.hops {
		hl := &l.hops[k]
		hv := hopView{from: len(r.vars)}
		if tail != nil {
			if tail, err = r.openClosed(hl, &hv, tail); err != nil {
				return v, 0, fmt.Errorf("tail: hop %d s: %w", hl.hop/Second, err)
			}
		}
		if head, err = r.openNewest(hl, &hv, head); err != nil {
			return v, 0, fmt.Errorf("head: hop %d s: %w", hl.hop/Second, err)
		}
		hv.to = len(r.vars)
		r.hops = append(r.hops, hv)
	}
	if len(head) > 0 || len(tail) > 0 {
		return v, 0, fmt.Errorf("blob: %d bytes too many in the head, %d in the tail", len(head), len(tail))
	}
	for k := range r.hops { // r.vars does not move any more
		r.hops[k].vars = r.vars[r.hops[k].from:r.hops[k].to]
	}
	r.ownVars = r.vars[:ownVars]
	return v, eventTime, nil
}

// openOwn finds the lifetime and row values in a head, and returns the rest of the head and how many variable states
// they have.
func (r *Reader) openOwn(l *Layout, b []byte) (rest []byte, vars int, err error) {
	if len(b) < 4 {
		return nil, 0, errors.New("short")
	}
	n := binary.LittleEndian.Uint32(b)
	if b = b[4:]; uint64(n) > uint64(len(b)) {
		return nil, 0, errors.New("short")
	}
	if n == 0 {
		return b, 0, nil
	}
	own, rest := b[:n], b[n:]
	body := l.own.width - l.own.body
	if len(own) < body {
		return nil, 0, errors.New("lifetime and row values are short")
	}
	r.own = own[:body]
	if own, err = r.cutStates(own[body:], l.own.nvars); err != nil {
		return nil, 0, err
	}
	if len(own) > 0 {
		return nil, 0, fmt.Errorf("%d bytes too many of lifetime and row values", len(own))
	}
	return rest, l.own.nvars, nil
}

// openClosed finds the tiles of a hop in a tail and returns the rest of it.
func (r *Reader) openClosed(hl *hopLayout, hv *hopView, b []byte) ([]byte, error) {
	if len(b) < closedFixed {
		return nil, errors.New("short")
	}
	hop, width, n, form := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:]), binary.LittleEndian.Uint32(b[8:]), b[12]
	if b = b[closedFixed:]; int64(hop) != hl.hop/Second || int(width) != hl.stride {
		return nil, fmt.Errorf("tiles of hop %d s and %d bytes; %d bytes are due", hop, width, hl.stride)
	}
	switch {
	case form == formTiles:
		hv.stride = hl.stride
	case form == formPages && hl.pages.n > 0:
		if len(b) < timeWidth {
			return nil, errors.New("short")
		}
		hv.paged, hv.last, b = true, timeAt(b), b[timeWidth:]
		if hv.last < MinTime-hl.hop || hv.last > MaxTime || FloorTo(hv.last, hl.hop) != hv.last {
			return nil, fmt.Errorf("a tile that begins at %d", hv.last)
		}
		if hv.stride = timeWidth; len(hl.vars) == 0 {
			return b, nil
		}
	default:
		return nil, fmt.Errorf("unknown form %d", form)
	}
	if uint64(n)*uint64(hv.stride) > uint64(len(b)) {
		return nil, errors.New("short")
	}
	hv.n = int(n)
	hv.run = b[:hv.n*hv.stride]
	return r.cutStates(b[len(hv.run):], hv.n*len(hl.vars))
}

// openNewest finds the newest tile of a hop in a head and returns the rest of it.
func (r *Reader) openNewest(hl *hopLayout, hv *hopView, b []byte) ([]byte, error) {
	if len(b) < 8 {
		return nil, errors.New("short")
	}
	hop, width := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
	b = b[8:]
	if int64(hop) != hl.hop/Second || width != 0 && int(width) != hl.stride {
		return nil, fmt.Errorf("tile of hop %d s and %d bytes; %d bytes are due", hop, width, hl.stride)
	}
	if width == 0 {
		return b, nil
	}
	if len(b) < hl.stride {
		return nil, errors.New("short")
	}
	hv.newest = b[:hl.stride]
	return r.cutStates(b[hl.stride:], len(hl.vars))
}

// cutStates appends n states of varying size to r.vars, and returns what follows them.
func (r *Reader) cutStates(b []byte, n int) ([]byte, error) {
	for range n {
		s, rest, ok := cutState(b)
		if !ok {
			return nil, errors.New("short")
		}
		r.vars, b = append(r.vars, s), rest
	}
	return b, nil
}

// evaluate computes what was opened.
func (r *Reader) evaluate(l *Layout, eventTime, t int64, want []int, out []Value) (Status, int64, error) {
	t = clampTime(t)
	switch st := l.status(eventTime, t); st {
	case NotFound:
		return NotFound, NoTime, nil
	case OutsideMaxAge:
		return OutsideMaxAge, eventTime, nil
	}
	for i, w := range want {
		f := &l.features[w]
		var err error
		switch f.kind {
		case kindWindow:
			out[i], err = r.window(l, f, t)
		case kindLifetime:
			out[i], err = r.lifetime(l, f)
		case kindRow:
			out[i], err = r.row(l, f)
		}
		if err != nil {
			return NotFound, NoTime, fmt.Errorf("feature %d: %w", w, err)
		}
	}
	return Present, eventTime, nil
}

// status judges a view by its timestamp.
func (l *Layout) status(eventTime, t int64) Status {
	if eventTime == NoTime {
		return NotFound
	}
	fresh := l.ttl == 0 || t-eventTime <= l.ttl
	if l.lifetime || l.ttl > 0 && fresh {
		if fresh {
			return Present
		}
		return OutsideMaxAge
	}
	for k := range l.hops {
		if eventTime >= WindowStart(t, l.hops[k].window, l.hops[k].hop) {
			if fresh {
				return Present
			}
			return OutsideMaxAge
		}
	}
	return NotFound
}

// window evaluates a windowed feature: the tiles that the window covers, merged in time order.
func (r *Reader) window(l *Layout, f *featureLayout, t int64) (Value, error) {
	hl, hv, s := &l.hops[f.hop], &r.hops[f.hop], &f.slot
	start := WindowStart(t, f.window, hl.hop)
	newest := hv.newest
	if newest != nil && word(newest)>>r.shift < start {
		newest = nil
	}
	if hv.paged && s.width > 0 {
		if hv.rowWindow != f.window {
			row, err := r.rowOf(hl, hv, start)
			if err != nil {
				return Value{}, err
			}
			hv.rowWindow, hv.row = f.window, row
		}
		return r.ofRow(s, hv.row, newest), nil
	}
	if hv.window != f.window {
		hv.window = f.window
		hv.first = searchTiles(hv.run, hv.stride, r.shift, 0, hv.n, start)
	}
	if s.width == 0 {
		to := hv.n
		if newest != nil {
			to++
		}
		return r.mergeVars(s, hv.vars, len(hl.vars), hv.first, to)
	}
	n := hv.n - hv.first
	states := hv.run[hv.first*hl.stride:]
	if n > 0 {
		states = states[s.off:]
	}
	dst := r.zeroed(s.width)
	if n > 0 {
		s.agg.Fold(dst, states, hl.stride, n)
	}
	if newest != nil {
		s.agg.Merge(dst, newest[s.off:s.off+s.width])
	}
	return r.result(s, dst), nil
}

// ofRow evaluates a feature from the closed tiles, merged, and the newest; nil is none.
func (r *Reader) ofRow(s *slot, row, newest []byte) Value {
	switch {
	case row == nil && newest == nil:
		return r.result(s, r.zeroed(s.width))
	case newest == nil:
		return r.result(s, row[s.off:s.off+s.width])
	case row == nil:
		return r.result(s, newest[s.off:s.off+s.width])
	}
	r.state = append(r.state[:0], row[s.off:s.off+s.width]...)
	return r.result(s, s.agg.Merge(r.state, newest[s.off:s.off+s.width]))
}

// mergeVars evaluates a feature whose states vary in size, over tiles from to to.
func (r *Reader) mergeVars(s *slot, vars [][]byte, nv, from, to int) (Value, error) {
	if r.outside {
		for i := from; i < to; i++ {
			if err := s.agg.Validate(vars[i*nv+s.off]); err != nil {
				return Value{}, err
			}
		}
	}
	switch to - from {
	case 0:
		return r.result(s, nil), nil
	case 1:
		return r.result(s, vars[from*nv+s.off]), nil
	}
	r.state = r.state[:0]
	for i := from; i < to; i++ {
		r.state = s.agg.Merge(r.state, vars[i*nv+s.off])
	}
	return r.result(s, r.state), nil
}

// lifetime evaluates a lifetime aggregate.
func (r *Reader) lifetime(l *Layout, f *featureLayout) (Value, error) {
	s := &f.slot
	var state []byte
	switch {
	case r.own == nil && s.width > 0:
		state = r.zeroed(s.width)
	case r.own == nil && len(r.ownVars) == 0:
	case s.width > 0:
		state = r.own[s.off-l.own.body : s.off-l.own.body+s.width]
	default:
		state = r.ownVars[s.off]
	}
	if r.outside && s.width == 0 {
		if err := s.agg.Validate(state); err != nil {
			return Value{}, err
		}
	}
	return r.result(s, state), nil
}

// row evaluates a row feature.
func (r *Reader) row(l *Layout, f *featureLayout) (Value, error) {
	s := &f.slot
	switch {
	case s.width > 0 && r.own != nil:
		return rowScalar(r.own[s.off-l.own.body:], s.typ)
	case s.width == 0 && len(r.ownVars) > 0:
		return rowValue(r.ownVars[s.off], s.typ)
	}
	return Value{}, nil
}

// result returns the value of a state, and counts it if it is out of range.
func (r *Reader) result(s *slot, state []byte) Value {
	v := s.agg.Result(state)
	if v.typ == Null && OutOfRange(s.agg, state) {
		r.outOf++
	}
	return v
}

// zeroed returns n zero bytes of scratch.
func (r *Reader) zeroed(n int) []byte {
	if cap(r.state) < n {
		r.state = make([]byte, n, max(n, 64))
	}
	r.state = r.state[:n]
	clear(r.state)
	return r.state
}
