package calibrate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/freshet-io/freshet/monitors/significance"
)

const (
	panesPerWindow = 12
	// historyWindows before the judged one give the variation between panes: a day of windows of an hour.
	historyWindows = 24
)

// source is a kind of stream.
type source struct {
	name string
	open func(*rand.Rand) stream
}

func dependentSources() []source {
	out := []source{{"independent", func(r *rand.Rand) stream { return independent{r} }}}
	for _, times := range []int{2, 5, 10, 50} {
		out = append(out, source{fmt.Sprintf("each value %d times", times), func(r *rand.Rand) stream { return &repeated{r: r, times: times} }})
	}
	for _, c := range []float64{0.5, 0.9} {
		out = append(out, source{fmt.Sprintf("AR(1), %.1f", c), func(r *rand.Rand) stream {
			return &autoregressive{r: r, coefficient: c, at: r.NormFloat64()}
		}})
	}
	for _, lasts := range []float64{100, 1000} {
		out = append(out, source{fmt.Sprintf("2,000 Zipf entities, values last %.0f rows", lasts), func(r *rand.Rand) stream {
			return newEntities(r, 2000, 1.1, lasts)
		}})
	}
	return out
}

// watched is a column's stream with its reference and the panes that it has had.
type watched struct {
	stream   stream
	bins     bins
	ref      []float64
	panes    [][]uint64 // the last ones, at most history and window
	paneRows int
}

// follow draws a reference, in panes as long as the stream's, and then a history.
func follow(s stream, reference, paneRows int) *watched {
	w := &watched{stream: s, paneRows: paneRows}
	sample := make([]float64, reference)
	for i := range sample {
		sample[i] = s.next()
	}
	w.bins = binsOf(sample, fineBins)
	w.ref = w.bins.count(sample)
	for range historyWindows * panesPerWindow {
		w.step()
	}
	return w
}

// step takes one pane.
func (w *watched) step() {
	const kept = (historyWindows + 1) * panesPerWindow
	var pane []uint64
	if len(w.panes) == kept {
		pane = w.panes[0]
		clear(pane)
		copy(w.panes, w.panes[1:])
		w.panes = w.panes[:kept-1]
	} else {
		pane = make([]uint64, len(w.ref))
	}
	for range w.paneRows {
		pane[w.bins.find(w.stream.next())]++
	}
	w.panes = append(w.panes, pane)
}

// judge tests the last window, knowing the dispersion of the panes before it or taking rows for independent.
func (w *watched) judge(t *significance.Tester, dispersed bool) (float64, error) {
	history, window := w.panes[:len(w.panes)-panesPerWindow], w.panes[len(w.panes)-panesPerWindow:]
	in := significance.Input{Ref: w.ref, Cur: make([]float64, len(w.ref)), Special: len(w.ref)}
	for _, p := range window {
		for i, c := range p {
			in.Cur[i] += float64(c)
		}
	}
	if dispersed {
		d := significance.NumericDispersion(history, len(w.ref))
		in.NEffRef, in.NEffCur, in.DF = significance.Sizes(sum(w.ref), d, float64(w.paneRows*panesPerWindow), d)
	}
	r, err := t.Numeric(in)
	if err != nil {
		return 0, fmt.Errorf("judge a window: %w", err)
	}
	return r.P, nil
}

// Dependent counts false alarms of windows of streams whose rows depend on each other.
func (e Experiment) Dependent() (Table, error) {
	const paneRows, windowsPerStream = 200, 20
	t := Table{
		Title: "False alarms, dependent rows", Decimals: 1,
		Note: fmt.Sprintf("Share of undrifted windows with p at most the level, %%; %d windows of %d panes of %d rows a line, a new reference of %d rows every %d windows. "+
			"The effective size is estimated from the %d panes before the window.",
			e.Repetitions, panesPerWindow, paneRows, e.Reference, windowsPerStream, historyWindows*panesPerWindow),
		Columns: []string{"p ≤ 5 %", "p ≤ 1 %", "rows as independent ≤ 5 %", "rows as independent ≤ 1 %"},
	}
	var tester significance.Tester
	for _, s := range dependentSources() {
		r := e.random(s.name)
		var hits [4]float64
		var w *watched
		for i := range e.Repetitions {
			if i%windowsPerStream == 0 {
				w = follow(s.open(r), e.Reference, paneRows)
			}
			for range panesPerWindow {
				w.step()
			}
			for k, dispersed := range []bool{true, false} {
				p, err := w.judge(&tester, dispersed)
				if err != nil {
					return t, err
				}
				for l, level := range []float64{0.05, 0.01} {
					if p <= level {
						hits[2*k+l] += 100 / float64(e.Repetitions)
					}
				}
			}
		}
		e.done(&t, s.name, hits[:]...)
	}
	return t, nil
}

// correlated gives the columns of one row: half of each column's variance is common to all.
type correlated struct {
	r       *rand.Rand
	columns []column
	common  float64
}

// column is one of them; the first draws what is common.
type column struct {
	of    *correlated
	first bool
}

func (c column) next() float64 {
	if c.first {
		c.of.common = c.of.r.NormFloat64()
	}
	return (c.of.common + c.of.r.NormFloat64()) * math.Sqrt2 / 2
}

// Families counts evaluations of 50 correlated columns in which any is significant.
func (e Experiment) Families() (Table, error) {
	const columns, rows = 50, 600
	t := Table{
		Title: "False alarms, 50 correlated columns", Decimals: 1,
		Note: fmt.Sprintf("Share of %d evaluations with any significant column, %%; normal columns, half of each one's variance common to all, reference %d rows, windows of %d, both drawn anew.",
			e.Repetitions, e.Reference, rows),
		Columns: []string{"family at 5 %", "family at 1 %", "each column by itself at 1 %"},
	}
	r := e.random(t.Title)
	var tester significance.Tester
	hits := make([]float64, 3)
	for range e.Repetitions {
		p, err := familyOf(r, &tester, columns, e.Reference, rows)
		if err != nil {
			return t, err
		}
		least := slices.Min(significance.Adjust(p))
		for i, hit := range []bool{least <= 0.05, least <= 0.01, slices.Min(p) <= 0.01} {
			if hit {
				hits[i] += 100 / float64(e.Repetitions)
			}
		}
	}
	e.done(&t, "50 columns", hits...)
	return t, nil
}

func familyOf(r *rand.Rand, tester *significance.Tester, columns, refRows, rows int) ([]float64, error) {
	ref, cur := correlatedSample(r, columns, refRows), correlatedSample(r, columns, rows)
	out := make([]float64, columns)
	for c := range columns {
		b := binsOf(ref[c], fineBins)
		in := significance.Input{Ref: b.count(ref[c]), Cur: b.count(cur[c])}
		in.Special = len(in.Ref)
		result, err := tester.Numeric(in)
		if err != nil {
			return nil, fmt.Errorf("judge column %d: %w", c, err)
		}
		out[c] = result.P
	}
	return out, nil
}

func correlatedSample(r *rand.Rand, columns, rows int) [][]float64 {
	c := correlated{r: r}
	out := make([][]float64, columns)
	for i := range out {
		out[i] = make([]float64, rows)
		c.columns = append(c.columns, column{of: &c, first: i == 0})
	}
	for row := range rows {
		for i, col := range c.columns {
			out[i][row] = col.next()
		}
	}
	return out
}

func sum(x []float64) float64 {
	var s float64
	for _, v := range x {
		s += v
	}
	return s
}
