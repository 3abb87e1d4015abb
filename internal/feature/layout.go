package feature

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Times outside [MinTime, MaxTime] (36,000 years on either side of 1970) are no event times: such an event is not
// applied, and bytes that hold such a time are refused. The bound leaves room to add windows without overflow, and for
// the marks of a tile beside its time.
const (
	MaxTime int64 = 1<<60 - 1
	MinTime int64 = -MaxTime
)

// maxSpan (1,100 years) bounds windows, ages and skews, for the same reason; the longest hop in seconds fits 32 bits.
const maxSpan int64 = 1 << 55

// FeatureSpec describes one feature of a view to NewLayout.
type FeatureSpec struct {
	Name   string
	Agg    AggregatorSpec // Agg.Name == "": a row feature, the value of the latest event that passes the view's where, null included
	Type   Type           // of a row feature's values; an aggregate's follows from Agg
	Window int64          // microseconds; 0 = lifetime (aggregates only)
}

// LayoutSpec describes a view to NewLayout.
type LayoutSpec struct {
	Features    []FeatureSpec
	TTL         int64 // microseconds; 0 = none
	AllowedSkew int64 // microseconds
}

// Layout says where the state of each feature of a view lies, in memory, in cells and in blobs. Within every encoding
// the states lie in the order of the features' names, so that the order in which a definition lists them does not
// matter to stored bytes. A Layout is immutable and safe for concurrent use.
type Layout struct {
	features []featureLayout
	hops     []hopLayout // ascending by hop
	own      ownLayout
	ttl      int64
	maxWin   int64
	keepFor  int64 // also set with a lifetime, where KeepFor says 0
	lifetime bool
	pages    int // of all hops

	oneEach     int  // bytes of a block with one tile of each hop
	varsInTiles bool // some hop's tiles have states of varying size
}

// featureKind says which part of an entity holds a feature.
type featureKind uint8

const (
	kindWindow   featureKind = iota // in the tiles of a hop
	kindLifetime                    // in the entity cell, as an aggregate
	kindRow                         // in the entity cell, as a value
)

type featureLayout struct {
	kind   featureKind
	typ    Type
	window int64
	hop    int // index in Layout.hops, of a windowed feature
	slot   slot
}

// slot is the place of one feature's state in a tile or in the entity cell: bytes off to off+width of the fixed part,
// or, with width 0, the variable state number off.
type slot struct {
	feature    int
	off, width int
	agg        Aggregator // nil for a row feature
	events     bool       // counts events rather than values
	typ        Type       // of a row feature
	most       int        // the most bytes of a state or value of varying size
}

// hopLayout is the shape of the tiles of one hop. A tile's fixed part is its time word and the states of fixed width;
// the states of varying size lie beside it.
type hopLayout struct {
	hop    int64
	window int64 // the longest of this hop
	reach  int64 // a tile is kept while stream time <= its start + reach
	stride int   // bytes of a tile's fixed part
	fixed  []slot
	vars   []slot
	pages  pageLayout
}

// ownLayout is the shape of the entity cell: what belongs to an entity and to no tile. Its fixed part is the view's
// timestamp, the order of the event that the row features are from (only if there are any), the row features of
// fixed-width types, and the fixed-width states of lifetime aggregates; its variable states are the other row features
// and aggregates.
type ownLayout struct {
	kept  bool // the view needs an entity cell
	rows  []slot
	fixed []slot
	vars  []slot // of aggregates
	width int    // of the fixed part
	body  int    // where the fixed part's values begin: after the timestamp and the order
	nvars int    // variable row values and variable states
}

const (
	timeWidth      = 8
	rowScalarWidth = 1 + 8 // type, content
)

// NewLayout compiles a view's features.
func NewLayout(spec LayoutSpec) (*Layout, error) {
	if len(spec.Features) == 0 {
		return nil, errors.New("no features")
	}
	if spec.TTL < 0 || spec.TTL > maxSpan {
		return nil, fmt.Errorf("ttl of %d µs; allowed are 0 to %d", spec.TTL, maxSpan)
	}
	if spec.AllowedSkew < 0 || spec.AllowedSkew > maxSpan {
		return nil, fmt.Errorf("allowed skew of %d µs; allowed are 0 to %d", spec.AllowedSkew, maxSpan)
	}
	l := &Layout{features: make([]featureLayout, len(spec.Features)), ttl: spec.TTL}
	order := make([]int, len(spec.Features))
	for i := range spec.Features {
		order[i] = i
		if err := l.compile(i, &spec.Features[i]); err != nil {
			return nil, fmt.Errorf("feature %q: %w", spec.Features[i].Name, err)
		}
	}
	slices.SortFunc(order, func(a, b int) int {
		return strings.Compare(spec.Features[a].Name, spec.Features[b].Name)
	})
	for k, i := range order {
		if k > 0 && spec.Features[order[k-1]].Name == spec.Features[i].Name {
			return nil, fmt.Errorf("two features are named %q", spec.Features[i].Name)
		}
	}
	l.placeHops(spec, order)
	l.placeOwn(spec, order)
	return l, nil
}

// compile resolves what feature i is; where its state lies is decided later.
func (l *Layout) compile(i int, f *FeatureSpec) error {
	fl := &l.features[i]
	fl.window, fl.slot.feature = f.Window, i
	if f.Window < 0 || f.Window > maxSpan {
		return fmt.Errorf("window of %d µs; allowed are 0 to %d", f.Window, maxSpan)
	}
	if f.Agg.Name == "" {
		if f.Window != 0 {
			return errors.New("a feature without an aggregate has no window")
		}
		if !f.Type.Valid() {
			return fmt.Errorf("type %s is not the type of a feature", f.Type)
		}
		fl.kind, fl.typ, fl.slot.typ, fl.slot.most = kindRow, f.Type, f.Type, textBytes
		return nil
	}
	agg, typ, err := NewAggregator(f.Agg)
	if err != nil {
		return err
	}
	fl.typ, fl.slot.agg, fl.slot.width = typ, agg, agg.Width()
	fl.slot.events, fl.slot.most = f.Agg.In == Null, MaxStateBytes(f.Agg)
	if f.Window == 0 {
		fl.kind = kindLifetime
	}
	return nil
}

// placeHops lays out the tiles of each hop.
func (l *Layout) placeHops(spec LayoutSpec, order []int) {
	hopOf := func(i int) int64 { return Hop(spec.Features[i].Window, IsSketch(spec.Features[i].Agg.Name)) }
	for _, i := range order {
		if l.features[i].kind != kindWindow {
			continue
		}
		h := hopOf(i)
		k := slices.IndexFunc(l.hops, func(hl hopLayout) bool { return hl.hop == h })
		if k < 0 {
			k = len(l.hops)
			l.hops = append(l.hops, hopLayout{hop: h, stride: timeWidth})
		}
		l.hops[k].window = max(l.hops[k].window, spec.Features[i].Window)
		l.maxWin = max(l.maxWin, spec.Features[i].Window)
	}
	slices.SortFunc(l.hops, func(a, b hopLayout) int { return cmpInt(a.hop, b.hop) })
	for k := range l.hops {
		hl := &l.hops[k]
		// Tile end + longest window + hop + skew, from the tile's start.
		hl.reach = hl.hop + hl.window + hl.hop + spec.AllowedSkew
		for _, i := range order {
			f := &l.features[i]
			if f.kind != kindWindow || hopOf(i) != hl.hop {
				continue
			}
			f.hop = k
			hl.fixed, hl.vars, hl.stride = place(&f.slot, hl.fixed, hl.vars, hl.stride)
		}
		l.oneEach += hopHeader + hl.stride
		l.varsInTiles = l.varsInTiles || len(hl.vars) > 0
	}
	l.placePages(pageBytes, mostPages, inlineBytes)
	maxHop := int64(0)
	if n := len(l.hops); n > 0 {
		maxHop = l.hops[n-1].hop
	}
	l.keepFor = max(l.ttl, l.maxWin) + maxHop + spec.AllowedSkew
}

// place appends s to the fixed or the variable slots, and returns both with the new end of the fixed part.
func place(s *slot, fixed, vars []slot, end int) ([]slot, []slot, int) {
	if s.width == 0 {
		s.off = len(vars)
		return fixed, append(vars, *s), end
	}
	s.off = end
	return append(fixed, *s), vars, end + s.width
}

// placeOwn lays out the entity cell.
func (l *Layout) placeOwn(spec LayoutSpec, order []int) {
	o := &l.own
	o.width = timeWidth
	hasRow := slices.ContainsFunc(l.features, func(f featureLayout) bool { return f.kind == kindRow })
	if hasRow {
		o.width += orderWidth
	}
	o.body = o.width
	for _, i := range order {
		s := &l.features[i].slot
		if l.features[i].kind != kindRow {
			continue
		}
		l.lifetime = true
		if fixedRow(s.typ) {
			s.off, s.width = o.width, rowScalarWidth
			o.width += rowScalarWidth
		} else {
			s.off, o.nvars = o.nvars, o.nvars+1
		}
		o.rows = append(o.rows, *s)
	}
	for _, i := range order {
		s := &l.features[i].slot
		if l.features[i].kind != kindLifetime {
			continue
		}
		l.lifetime = true
		if s.width > 0 {
			s.off, o.width = o.width, o.width+s.width
			o.fixed = append(o.fixed, *s)
		} else {
			s.off, o.nvars = o.nvars, o.nvars+1
			o.vars = append(o.vars, *s)
		}
	}
	o.kept = l.lifetime || spec.TTL > l.maxWin
}

// NumFeatures returns the number of features.
func (l *Layout) NumFeatures() int { return len(l.features) }

// FeatureType returns the type of the values of feature i.
func (l *Layout) FeatureType(i int) Type { return l.features[i].typ }

// HasLifetime reports whether the view has a lifetime aggregate or a row feature: such an entity is never NOT_FOUND
// by age, and its online record does not expire.
func (l *Layout) HasLifetime() bool { return l.lifetime }

// MaxWindow returns the longest window, 0 when there is none.
func (l *Layout) MaxWindow() int64 { return l.maxWin }

// KeepFor returns how long, in microseconds, the online record of an entity is of use after its last event: the longer
// of the ttl and the longest window, plus the longest hop and the allowed skew. It is 0, for ever, when HasLifetime.
func (l *Layout) KeepFor() int64 {
	if l.lifetime {
		return 0
	}
	return l.keepFor
}

// Expired reports whether a stored cell is of no more use at a stream time: its tile is no longer kept, or it is the
// entity cell of a view that has none. Of a head cell, and of an entity cell that expires by its timestamp, see ExpiredCell.
func (l *Layout) Expired(c Cell, streamTime int64) bool {
	if c == headCell {
		return false
	}
	if c.Hop == 0 {
		return !l.own.kept
	}
	k := l.hopIndex(c.Hop)
	return k >= 0 && c.Start < clampTime(streamTime)-l.hops[k].reach
}

// ExpiredCell is Expired for a cell whose value is at hand. A value that is not a cell value has not expired: it is for
// Restore to refuse.
func (l *Layout) ExpiredCell(c Cell, value []byte, streamTime int64) bool {
	if c == headCell {
		return l.headExpired(value, clampTime(streamTime))
	}
	if c.Hop != 0 || !l.own.kept || l.lifetime {
		return l.Expired(c, streamTime)
	}
	t, ok := entityCellTime(value)
	return ok && l.ownExpired(t, clampTime(streamTime))
}

// ownExpired reports whether an entity cell with timestamp t is of no more use.
func (l *Layout) ownExpired(t, streamTime int64) bool { return !l.lifetime && t < streamTime-l.keepFor }

// hopIndex returns the index of the hop of so many seconds, or -1.
func (l *Layout) hopIndex(seconds uint32) int {
	for k := range l.hops {
		if l.hops[k].hop == int64(seconds)*Second {
			return k
		}
	}
	return -1
}

func clampTime(t int64) int64 { return min(max(t, MinTime), MaxTime) }
