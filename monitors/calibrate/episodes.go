package calibrate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/freshet-io/freshet/monitors/significance"
)

const hoursPerMonth = 720

// plan is a monitor that runs for months.
type plan struct {
	name      string
	columns   int // correlated if more than one
	source    source
	sliding   bool // evaluated after each pane, else after each window
	windows   int  // disjoint windows that must be significant
	dispersed bool
}

func plans() []plan {
	normal := source{"independent", func(r *rand.Rand) stream { return independent{r} }}
	ar := source{"AR(1), 0.9", func(r *rand.Rand) stream { return &autoregressive{r: r, coefficient: 0.9, at: r.NormFloat64()} }}
	ten := source{"repeated", func(r *rand.Rand) stream { return &repeated{r: r, times: 10} }}
	zipf := source{"entities", func(r *rand.Rand) stream { return newEntities(r, 2000, 1.1, 100) }}
	return []plan{
		{"independent, disjoint windows", 1, normal, false, 1, false},
		{"independent, sliding by a pane", 1, normal, true, 1, false},
		{"independent, two windows in a row", 1, normal, false, 2, false},
		{"independent, three windows, sliding", 1, normal, true, 3, false},
		{"50 correlated columns, disjoint", 50, source{}, false, 1, false},
		{"50 correlated columns, two in a row", 50, source{}, false, 2, false},
		{"independent, size estimated, disjoint", 1, normal, false, 1, true},
		{"each value 10 times, disjoint", 1, ten, false, 1, true},
		{"AR(1) 0.9, disjoint", 1, ar, false, 1, true},
		{"AR(1) 0.9, two in a row", 1, ar, false, 2, true},
		{"Zipf entities, disjoint", 1, zipf, false, 1, true},
	}
}

// Episodes counts false episodes of monitors that may have one in 30 days.
func (e Experiment) Episodes() (Table, error) {
	const configured = 1.0
	t := Table{
		Title: "False episodes in 30 days", Decimals: 2,
		Note: fmt.Sprintf("Configured is %.0f. Windows of an hour, %d panes of 50 rows, a new reference of %d rows every month, %d months a line (a tenth of them with 50 columns). "+
			"Significance alone decides here; a threshold on the effect only takes episodes away. An episode ends when none of its columns has been significant for as many windows as it took to begin.",
			configured, panesPerWindow, e.Reference, e.Months),
		Columns: []string{"episodes", "standard error", "level of an evaluation, ‰"},
	}
	for _, p := range plans() {
		months := e.Months
		if p.columns > 1 {
			months = max(1, months/10)
		}
		episodes, level := 0, 0.0
		r := e.random(p.name)
		for range months {
			n, l, err := e.month(r, p, configured)
			if err != nil {
				return t, err
			}
			episodes, level = episodes+n, l
		}
		rate := float64(episodes) / float64(months)
		e.done(&t, p.name, rate, max(1, math.Sqrt(float64(episodes)))/float64(months), 1000*level)
	}
	return t, nil
}

// month counts the episodes of one.
func (e Experiment) month(r *rand.Rand, p plan, configured float64) (episodes int, level float64, err error) {
	const paneRows = 50
	all := p.open(r, e.Reference, paneRows)
	schedule := significance.Schedule{
		FalseAlarms: configured, Evaluations: hoursPerMonth, Windows: p.windows,
		Shared: paneRows * panesPerWindow / float64(paneRows*panesPerWindow+e.Reference),
	}
	every := panesPerWindow
	if p.sliding {
		schedule.Evaluations *= panesPerWindow
		schedule.Step = 1.0 / panesPerWindow
		every = 1
	}
	if level, err = schedule.Level(); err != nil {
		return 0, 0, fmt.Errorf("derive the level of %s: %w", p.name, err)
	}
	windows := make([]run, p.columns)
	var tester significance.Tester
	pvalues := make([]float64, p.columns)
	firing, quiet := false, 0
	for step := range hoursPerMonth * panesPerWindow {
		for _, w := range all { // the columns of a row are drawn in turn only where they are independent streams
			w.step()
		}
		if (step+1)%every != 0 {
			continue
		}
		for i, w := range all {
			if pvalues[i], err = w.judge(&tester, p.dispersed); err != nil {
				return 0, 0, err
			}
		}
		fires := false
		for i, q := range significance.Adjust(pvalues) {
			fires = windows[i].observe(q <= level, panesPerWindow/every, p.windows) || fires
		}
		switch {
		case fires:
			if !firing {
				episodes++
			}
			firing, quiet = true, 0
		case firing:
			if quiet++; quiet >= p.windows*panesPerWindow/every {
				firing = false
			}
		}
	}
	return episodes, level, nil
}

// open starts the plan's columns. Correlated ones share rows: their values are drawn ahead, a pane at a time.
func (p plan) open(r *rand.Rand, reference, paneRows int) []*watched {
	if p.columns == 1 {
		return []*watched{follow(p.source.open(r), reference, paneRows)}
	}
	shared := &rows{r: r, columns: p.columns}
	var out []*watched
	for i := range p.columns {
		out = append(out, follow(&rowColumn{of: shared, column: i}, reference, paneRows))
	}
	return out
}

// rows draws rows of correlated columns and keeps them until each column has read them.
type rows struct {
	r       *rand.Rand
	columns int
	kept    [][]float64
	first   int // number of the first kept row
	readers []*rowColumn
}

type rowColumn struct {
	of     *rows
	column int
	at     int
	known  bool
}

func (c *rowColumn) next() float64 {
	if !c.known {
		c.of.readers, c.known = append(c.of.readers, c), true
	}
	for c.at >= c.of.first+len(c.of.kept) {
		c.of.draw()
	}
	x := c.of.kept[c.at-c.of.first][c.column]
	c.at++
	return x
}

func (s *rows) draw() {
	if len(s.readers) == s.columns && len(s.kept) >= 4096 {
		least := slices.MinFunc(s.readers, func(a, b *rowColumn) int { return a.at - b.at }).at
		s.kept = slices.Delete(s.kept, 0, least-s.first)
		s.first = least
	}
	c := correlated{r: s.r}
	row := make([]float64, s.columns)
	for i := range row {
		row[i] = column{of: &c, first: i == 0}.next()
	}
	s.kept = append(s.kept, row)
}

// run remembers which of a column's last evaluations were significant.
type run struct{ past []bool }

// observe adds an evaluation and reports whether windows disjoint windows, apart evaluations from each other, all were
// significant.
func (r *run) observe(significant bool, apart, windows int) bool {
	r.past = append(r.past, significant)
	if most := apart*(windows-1) + 1; len(r.past) > most {
		r.past = r.past[len(r.past)-most:]
	}
	for k := range windows {
		i := len(r.past) - 1 - k*apart
		if i < 0 || !r.past[i] {
			return false
		}
	}
	return true
}
