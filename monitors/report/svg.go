package report

import (
	"math"
	"strconv"
	"strings"
)

// drawing is a picture in units of the page's pixels.
type drawing struct {
	Width, Height float64
	Bars          []rect
	Line          string // points of the current distribution or the score
	Area          string // the same, closed, for filling
	Ticks         []tick
	Rows          []row
	Limit         float64 // height of the threshold
	HasLimit      bool
	Dots          []dot
}

type rect struct {
	X, Y, W, H float64
	Title      string
}

type tick struct {
	X, Y   float64
	Text   string
	Anchor string
}

// row is a line of a list: a label and a bar for each side.
type row struct {
	Y, Ref, Cur float64 // place, lengths of the bars
	Label, Full string
	RefText     string
	CurText     string
}

type dot struct {
	X, Y  float64
	Title string
	Over  bool
}

const (
	plotWidth, plotHeight = 640.0, 170.0
	miniWidth, miniHeight = 96.0, 26.0
	listWidth             = 370.0
	rowHeight             = 26.0
	longestLabel          = 22
	leastAside            = 0.2 // the share that fills the width at least
)

// plot draws the ordered bars of a histogram: the reference filled, the current side as a line over it.
func plot(h *Histogram) drawing {
	d := drawing{Width: plotWidth, Height: plotHeight}
	axis(&d, h.Bars, plotHeight-22, 8)
	d.Ticks = []tick{
		{X: 0, Y: plotHeight - 4, Text: h.Low, Anchor: "start"},
		{X: plotWidth, Y: plotHeight - 4, Text: h.High, Anchor: "end"},
	}
	return d
}

// mini draws a histogram for a line of the table.
func mini(h *Histogram) drawing {
	d := drawing{Width: miniWidth, Height: miniHeight}
	bars := h.Bars
	if len(h.Bars) > listBars { // four neighbours are one
		bars = nil
		for i := 0; i < len(h.Bars); i += 4 {
			var b Bar
			for _, o := range h.Bars[i:min(i+4, len(h.Bars))] {
				b.Ref += o.Ref
				b.Cur += o.Cur
			}
			bars = append(bars, b)
		}
	}
	axis(&d, bars, miniHeight-1, 1)
	return d
}

// axis draws bars side by side between the heights top and base.
func axis(d *drawing, bars []Bar, base, top float64) {
	most := 0.0
	for _, b := range bars {
		most = max(most, b.Ref, b.Cur)
	}
	if most == 0 {
		return
	}
	w := d.Width / float64(len(bars))
	at := func(share float64) float64 { return base - (base-top)*share/most }
	var line strings.Builder
	for i, b := range bars {
		x := float64(i) * w
		if b.Ref > 0 {
			d.Bars = append(d.Bars, rect{x + 0.5, at(b.Ref), max(1, w-1), base - at(b.Ref), b.Label + ": " + percent(b.Ref) + " before, " + percent(b.Cur) + " now"})
		}
		point(&line, x, at(b.Cur))
		point(&line, x+w, at(b.Cur))
	}
	d.Line = strings.TrimSpace(line.String())
	d.Area = "0," + fixed(base) + " " + d.Line + " " + fixed(d.Width) + "," + fixed(base)
}

func point(b *strings.Builder, x, y float64) { b.WriteString(fixed(x) + "," + fixed(y) + " ") }

func fixed(x float64) string { return strconv.FormatFloat(x, 'f', 1, 64) }

// Listed draws bars as a list, two for each.
func (h *Histogram) Listed() drawing {
	bars := h.Aside
	if !h.Ordered {
		bars = append(append([]Bar(nil), h.Bars...), h.Aside...)
	}
	d := drawing{Width: plotWidth, Height: rowHeight * float64(len(bars))}
	most := 0.0
	for _, b := range bars {
		most = max(most, b.Ref, b.Cur)
	}
	if h.Ordered { // what stands aside is little, and must look it
		most = max(most, leastAside)
	}
	if most == 0 {
		most = 1
	}
	for i, b := range bars {
		d.Rows = append(d.Rows, row{
			Y: rowHeight * float64(i), Ref: listWidth * b.Ref / most, Cur: listWidth * b.Cur / most, Label: short(b.Label), Full: b.Label,
			RefText: percent(b.Ref), CurText: percent(b.Cur),
		})
	}
	return d
}

// short cuts a label to what there is room for; the empty string is shown as such.
func short(s string) string {
	if s == "" {
		return `""`
	}
	r := []rune(s)
	if len(r) <= longestLabel {
		return s
	}
	return string(r[:longestLabel-1]) + "…"
}

// line draws a score over time with its threshold.
func line(s *Series) drawing {
	d := drawing{Width: plotWidth, Height: 120}
	scores(&d, s, 96, 8)
	if n := len(s.Times); n > 0 {
		d.Ticks = []tick{{0, 116, s.Times[0], "start"}, {plotWidth, 116, s.Times[n-1], "end"}}
	}
	return d
}

// spark draws a score over time for a line of the table.
func spark(s *Series) drawing {
	d := drawing{Width: miniWidth, Height: miniHeight}
	scores(&d, s, miniHeight-2, 2)
	d.Dots = nil
	return d
}

func scores(d *drawing, s *Series, base, top float64) {
	most := s.Threshold * 1.2
	for _, x := range s.Scores {
		if !math.IsInf(x, 0) && x > most {
			most = x
		}
	}
	if !(most > 0) {
		most = 1
	}
	at := func(x float64) float64 { return base - (base-top)*min(x, most)/most }
	d.Limit, d.HasLimit = at(s.Threshold), s.Threshold > 0
	var b strings.Builder
	for i, x := range s.Scores {
		if math.IsNaN(x) {
			continue
		}
		px := d.Width / 2
		if n := len(s.Scores); n > 1 {
			px = 3 + (d.Width-6)*float64(i)/float64(n-1)
		}
		point(&b, px, at(x))
		title := Number(x)
		if i < len(s.Times) {
			title = s.Times[i] + ": " + title
		}
		d.Dots = append(d.Dots, dot{px, at(x), title, x >= s.Threshold})
	}
	d.Line = strings.TrimSpace(b.String())
}
