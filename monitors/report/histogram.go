package report

import (
	"cmp"
	"math"
	"slices"
	"strconv"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/monitors/profile"
)

// Histogram is two distributions over the same bars.
type Histogram struct {
	Bars []Bar
	// Ordered bars stand side by side on an axis of values, whose first and last value Low and High name; others are
	// a list.
	Ordered   bool
	Low, High string
	Aside     []Bar // what has no place on the axis: nulls, NaN, values far outside
}

// Bar is a bin and its share of each side, 0 to 1.
type Bar struct {
	Label    string
	Ref, Cur float64
}

const (
	axisBars = 48 // bars of a numeric column
	listBars = 12 // of a categorical one
)

// FromProfiles makes a histogram of two profiles of equal bins, nil if a side is empty.
func FromProfiles(ref, cur *profile.Profile) *Histogram {
	if ref == nil || cur == nil || !ref.Bins().Equal(cur.Bins()) || ref.Rows() == 0 || cur.Rows() == 0 {
		return nil
	}
	h := &Histogram{}
	if ref.Bins().Kind() == profile.Numeric {
		h.axis(ref, cur)
	} else {
		h.list(ref, cur)
	}
	for s := range profile.Specials {
		if b := special(ref, cur, profile.Special(s)); b.Ref > 0 || b.Cur > 0 {
			h.Aside = append(h.Aside, b)
		}
	}
	return h
}

func special(ref, cur *profile.Profile, s profile.Special) Bar {
	return Bar{s.String(), share(ref.Of(s), ref), share(cur.Of(s), cur)}
}

func share(n uint64, p *profile.Profile) float64 { return float64(n) / float64(p.Rows()) }

// axis draws bins of equal mass on an axis of values: bars of equal width, over which each bin's mass is spread evenly.
// The axis is that of the bulk; what lies beyond stands aside.
func (h *Histogram) axis(ref, cur *profile.Profile) {
	low, high := bulk(ref, cur)
	h.Ordered = true
	typ := ref.Bins().Type()
	bars := axisBars
	if whole := math.Floor(high) - math.Floor(low) + 1; typ == feature.Int64 && whole <= axisBars { // a bar a number
		low, bars = math.Floor(low), int(whole)
		high = low + whole
		h.Low, h.High = label(low, typ), label(high-1, typ)
	} else {
		h.Low, h.High = label(low, typ), label(high, typ)
	}
	h.Bars = make([]Bar, bars)
	width := (high - low) / float64(bars)
	for i := range h.Bars {
		h.Bars[i].Label = label(low+float64(i)*width, typ)
		if width != 1 || typ != feature.Int64 {
			h.Bars[i].Label += " to " + label(low+float64(i+1)*width, typ)
		}
	}
	below, above := Bar{Label: "below " + h.Low}, Bar{Label: "above " + h.High}
	for side, p := range []*profile.Profile{ref, cur} {
		add := func(b *Bar, mass float64) {
			if side == 0 {
				b.Ref += mass
			} else {
				b.Cur += mass
			}
		}
		m := p.Moments()
		counts := p.Counts.Counts()
		for i := range p.Bins().Regular() {
			mass := share(counts[i], p)
			from, to := p.Bins().Interval(i)
			if mass == 0 || h.exactly(ref, cur, i, side == 0) {
				continue
			}
			from, to = max(from, m.Min), min(to, m.Max)
			if v, ok := p.Bins().Point(i); ok || to <= from {
				if !ok {
					v = from
				}
				from, to = v, v
			}
			below1, above1 := h.spread(from, to, low, width, func(k int, part float64) { add(&h.Bars[k], mass*part) })
			add(&below, mass*below1)
			add(&above, mass*above1)
		}
	}
	for _, b := range []Bar{below, above} {
		if b.Ref > 1e-12 || b.Cur > 1e-12 {
			h.Aside = append(h.Aside, b)
		}
	}
}

// exactly reports whether a bin is one value that is so frequent among others that on the axis everything else would be
// flat beside it; it puts that aside, once.
func (h *Histogram) exactly(ref, cur *profile.Profile, bin int, first bool) bool {
	v, point := ref.Bins().Point(bin)
	b := Bar{"exactly " + label(v, ref.Bins().Type()), share(ref.Counts.Counts()[bin], ref), share(cur.Counts.Counts()[bin], cur)}
	if !point || ref.Bins().Type() != feature.Float64 || max(b.Ref, b.Cur) < 0.2 || min(b.Ref, b.Cur) > 0.95 {
		return false
	}
	if first || b.Ref == 0 {
		h.Aside = append(h.Aside, b)
	}
	return true
}

// spread calls give with each bar that [from, to] reaches into and the part that it has there, and returns the parts
// that are beside the axis.
func (h *Histogram) spread(from, to, low, width float64, give func(bar int, part float64)) (below, above float64) {
	n := len(h.Bars)
	position := func(x float64) float64 { return (x - low) / width }
	a, b := position(from), position(to)
	if b-a < 1e-9 {
		switch k := int(math.Floor(a)); {
		case a < 0:
			return 1, 0
		case a > float64(n)+1e-9:
			return 0, 1
		default:
			give(min(k, n-1), 1)
		}
		return 0, 0
	}
	size := b - a
	below = max(0, min(b, 0)-a) / size
	above = max(0, b-max(a, float64(n))) / size
	for k := max(0, int(math.Floor(a))); k < n && float64(k) < b; k++ {
		give(k, (min(b, float64(k+1))-max(a, float64(k)))/size)
	}
	return below, above
}

// bulk returns where most values of both sides are: the range without the outermost fiftieth of each side, widened to
// the extremes where they are near.
func bulk(ref, cur *profile.Profile) (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, p := range []*profile.Profile{ref, cur} {
		m := p.Moments()
		if m.N == 0 {
			continue
		}
		low, high = min(low, quantile(p, 0.02)), max(high, quantile(p, 0.98))
	}
	if !(low <= high) {
		return 0, 1
	}
	reach := (high - low) * 0.15
	for _, p := range []*profile.Profile{ref, cur} {
		if m := p.Moments(); m.N > 0 {
			if m.Min < low && m.Min >= low-reach {
				low = m.Min
			}
			if m.Max > high && m.Max <= high+reach {
				high = m.Max
			}
		}
	}
	if high-low <= 0 || math.IsInf(high-low, 0) {
		half := max(0.5, math.Abs(low)*1e-3)
		low, high = low-half, low+half
	}
	return low, high
}

// quantile returns about the q-quantile of the finite numbers, from the bins.
func quantile(p *profile.Profile, q float64) float64 {
	m := p.Moments()
	rank := q * float64(m.N)
	var seen float64
	counts := p.Counts.Counts()
	for i := range p.Bins().Regular() {
		n := float64(counts[i])
		if n == 0 || seen+n < rank {
			seen += n
			continue
		}
		from, to := p.Bins().Interval(i)
		from, to = max(from, m.Min), min(to, m.Max)
		return from + (to-from)*(rank-seen)/n
	}
	return m.Max
}

// list is the categories with the largest shares, the rest in one bar.
func (h *Histogram) list(ref, cur *profile.Profile) {
	r, c := ref.Counts.Counts(), cur.Counts.Counts()
	for i := range ref.Bins().Regular() {
		if r[i]+c[i] > 0 {
			h.Bars = append(h.Bars, Bar{ref.Bins().Name(i), share(r[i], ref), share(c[i], cur)})
		}
	}
	slices.SortStableFunc(h.Bars, func(a, b Bar) int { return cmp.Compare(max(b.Ref, b.Cur), max(a.Ref, a.Cur)) })
	if len(h.Bars) <= listBars {
		return
	}
	rest := Bar{Label: strconv.Itoa(len(h.Bars)-listBars+1) + " more"}
	for _, b := range h.Bars[listBars-1:] {
		rest.Ref += b.Ref
		rest.Cur += b.Cur
	}
	h.Bars = append(h.Bars[:listBars-1], rest)
}

func label(x float64, t feature.Type) string {
	if t == feature.Timestamp {
		v := feature.TimestampValue(int64(x))
		return v.String()[:10]
	}
	if math.Abs(x) >= 1e6 || x != 0 && math.Abs(x) < 1e-3 {
		return strconv.FormatFloat(x, 'g', 3, 64)
	}
	return strconv.FormatFloat(x, 'g', 4, 64)
}
