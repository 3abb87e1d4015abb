package calibrate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/monitors/alert"
	"github.com/freshet-io/freshet/monitors/baseline"
	"github.com/freshet-io/freshet/monitors/drift"
	"github.com/freshet-io/freshet/monitors/watch"
)

const (
	productionRows = 600 // of a window of an hour
	monthHours     = 720
	learntHours    = 24 // that a baseline of training data learns from how the stream varies
)

// production is a monitor as it runs: the accumulator and the watch themselves, over months of a stream.
type production struct {
	name    string
	columns []source // more than one: of one stream of correlated columns each has its part
	every   time.Duration
	against time.Duration // 0: skew
	windows int           // disjoint windows in a row
	live    bool          // the baseline is of the stream itself, and knows how it varies
	learns  bool          // the baseline learns it from a day of the stream
}

// knowing is what lines of baselines are called that have learnt of the stream.
const knowing = ", training baseline that knows the stream"

func productions() []production {
	one := func(name string, s source) production {
		return production{name: name, columns: []source{s}, every: time.Hour, windows: 1}
	}
	byName := map[string]source{}
	for _, s := range dependentSources() {
		byName[s.name] = s
	}
	var out []production
	for _, name := range []string{
		"independent", "each value 10 times", "each value 50 times", "AR(1), 0.5", "AR(1), 0.9", "2,000 Zipf entities, values last 100 rows", "2,000 Zipf entities, values last 1000 rows",
	} {
		out = append(out, one(name, byName[name]))
	}
	slow := source{"AR(1), 0.99", func(r *rand.Rand) stream { return &autoregressive{r: r, coefficient: 0.99, at: r.NormFloat64()} }}
	busy := source{"each value 10 to 50 times by the time of day", func(r *rand.Rand) stream { return &daily{repeated: repeated{r: r}, day: 24 * productionRows} }}
	days := source{"AR(1), 0.9999, for longer than a day", func(r *rand.Rand) stream { return &autoregressive{r: r, coefficient: 0.9999, at: r.NormFloat64()} }}
	out = append(out, one(slow.name, slow))
	for _, s := range []source{byName["AR(1), 0.9"], slow, byName["2,000 Zipf entities, values last 100 rows"], byName["2,000 Zipf entities, values last 1000 rows"]} {
		live := one(s.name+", baseline of the stream", s)
		live.live = true
		out = append(out, live)
	}
	for _, s := range []source{
		byName["each value 50 times"], byName["AR(1), 0.9"], slow, byName["2,000 Zipf entities, values last 100 rows"], byName["2,000 Zipf entities, values last 1000 rows"], busy, days,
	} {
		learns := one(s.name+knowing, s)
		learns.learns = true
		out = append(out, learns)
	}
	sliding := one("AR(1), 0.9, sliding by 5 minutes", byName["AR(1), 0.9"])
	sliding.every = 5 * time.Minute
	row := one("AR(1), 0.9, two windows in a row", byName["AR(1), 0.9"])
	row.windows = 2
	against := one("AR(1), 0.9, drift against the hour before", byName["AR(1), 0.9"])
	against.against = time.Hour
	zipf := one("2,000 Zipf entities, values last 100 rows, drift against the hour before", byName["2,000 Zipf entities, values last 100 rows"])
	zipf.against = time.Hour
	zipfKnown := zipf
	zipfKnown.name, zipfKnown.learns = zipf.name+knowing, true
	arKnown := against
	arKnown.name, arKnown.learns = against.name+knowing, true
	out = append(out, zipf, zipfKnown, arKnown)
	many := one("50 correlated columns", source{})
	many.columns = make([]source, 50)
	return append(out, sliding, row, against, many)
}

// Production counts false episodes of monitors as they run in a plane.
func (e Experiment) Production() (Table, error) {
	const configured = 1.0
	t := Table{
		Title: "False episodes in 30 days, of the monitors themselves", Decimals: 2,
		Note: fmt.Sprintf("Configured is %.0f. The accumulator and the watch as they run in a plane, over %d months a line (a fifth of them with 50 columns): windows of an hour of %d inferences, "+
			"a new baseline of %d rows each month, and nothing known of how the stream varies but what the panes of a window show, or what a baseline of the stream itself does, or one of training data that has learnt it from the day of the stream after its own rows. Significance alone decides: the threshold is next to nothing. "+
			"Beside the episodes that began, those that lasted until the next evaluation and were told.", configured, e.Months, productionRows, e.Reference),
		Columns: []string{"episodes", "standard error", "told"},
	}
	for _, p := range productions() {
		months := e.Months
		if len(p.columns) > 1 {
			months = max(1, months/5)
		}
		r := e.random("production " + p.name)
		var episodes, told int
		for range months {
			n, m, err := e.productionMonth(r, p, configured)
			if err != nil {
				return t, fmt.Errorf("%s: %w", p.name, err)
			}
			episodes, told = episodes+n, told+m
		}
		e.done(&t, p.name, float64(episodes)/float64(months), max(1, math.Sqrt(float64(episodes)))/float64(months), float64(told)/float64(months))
	}
	return t, nil
}

// plane is the definition of a production's monitor, which may be wrong so often in 30 days.
func (p production) plane(configured float64) *config.Plane {
	model := &config.Model{Name: "m", Service: &config.Service{}, Inferences: &config.Source{Name: "m", Topic: "m"}, ID: -1, Version: -1, Prediction: -1}
	bins := &config.Baseline{Name: "b", Model: model}
	m := &config.Monitor{
		Name: "monitor", Model: model, Size: time.Hour, Every: p.every, Bins: bins, Skew: p.against == 0, Against: p.against,
		FalseAlarms: configured, MinSample: 100, For: p.windows,
	}
	for i := range p.columns {
		name := fmt.Sprintf("x%d", i)
		model.Inferences.Schema = append(model.Inferences.Schema, config.Field{Name: name, Type: feature.Float64})
		model.Columns = append(model.Columns, config.Column{Name: name, Field: i, Type: feature.Float64})
		m.Columns = append(m.Columns, config.Watched{Column: i, Method: "jensen_shannon", Threshold: 1e-9})
	}
	return &config.Plane{Project: "calibrate", Models: []*config.Model{model}, Baselines: []*config.Baseline{bins}, Monitors: []*config.Monitor{m}}
}

// open returns a function that draws rows of the stream, into the row it is given.
func (p production) open(r *rand.Rand) func(row []feature.Value) {
	if len(p.columns) == 1 {
		s := p.columns[0].open(r)
		return func(row []feature.Value) { row[0] = feature.Float64Value(s.next()) }
	}
	c := correlated{r: r}
	return func(row []feature.Value) {
		for i := range row {
			row[i] = feature.Float64Value(column{of: &c, first: i == 0}.next())
		}
	}
}

// reference makes the baseline of rows that come before the month.
func (p production) reference(model *config.Model, n int, next func(row []feature.Value)) (*baseline.Baseline, error) {
	width := len(p.columns)
	rows := make([]feature.Value, n*width)
	for i := range n {
		next(rows[i*width : (i+1)*width])
	}
	d := baseline.Definition{Name: "b", Model: "m", Build: 1}
	for _, c := range model.Columns {
		d.Columns = append(d.Columns, baseline.Column{Name: c.Name, Type: c.Type})
	}
	b, err := baseline.Make(d, func(fn func(values, fields []feature.Value) error) error {
		for i := range n {
			if err := fn(rows[i*width:(i+1)*width], nil); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && p.live {
		_, err = b.Learn(baseline.Stream{Rows: served(rows, width)})
	}
	return b, err
}

// served are rows of so many columns at their times.
func served(rows []feature.Value, width int) func(fn func(values []feature.Value, at int64, version string) error) error {
	return func(fn func(values []feature.Value, at int64, version string) error) error {
		for i := range len(rows) / width {
			if err := fn(rows[i*width:(i+1)*width], int64(i)*time.Hour.Microseconds()/productionRows, ""); err != nil {
				return err
			}
		}
		return nil
	}
}

// learn lets the baseline know how the stream varies, from the time after its own rows.
func (p production) learn(b *baseline.Baseline, next func(row []feature.Value)) error {
	width := len(p.columns)
	rows := make([]feature.Value, learntHours*productionRows*width)
	for i := range learntHours * productionRows {
		next(rows[i*width : (i+1)*width])
	}
	_, err := b.Learn(baseline.Stream{Least: (learntHours - 1) * time.Hour, Rows: served(rows, width)})
	return err
}

// watching returns the monitors of a plane's one model, and what counts for them, with their baseline.
func watching(plane *config.Plane, b *baseline.Baseline) (*watch.Watch, *watch.Accumulator, error) {
	model := plane.Models[0]
	w, err := watch.New(plane, model)
	if err != nil {
		return nil, nil, err
	}
	acc := watch.NewAccumulator(model, watch.Pane(plane, model))
	acc.SetBaseline(b.Name, b)
	acc.Partitions([]int32{0}, 1)
	w.SetBaseline(b.Name, b)
	return w, acc, nil
}

// productionMonth runs a monitor for 30 days and counts the false episodes that began, and those that were told.
func (e Experiment) productionMonth(r *rand.Rand, p production, configured float64) (episodes, told int, err error) {
	plane := p.plane(configured)
	model := plane.Models[0]
	next := p.open(r)
	b, err := p.reference(model, e.Reference, next)
	if err == nil && p.learns {
		err = p.learn(b, next)
	}
	if err != nil {
		return 0, 0, err
	}
	w, acc, err := watching(plane, b)
	if err != nil {
		return 0, 0, err
	}
	row := make([]feature.Value, len(p.columns))
	gap := time.Hour.Microseconds() / productionRows
	count := counter{most: p.windows * int(time.Hour/p.every)}
	for at := int64(0); at < monthHours*time.Hour.Microseconds(); at += gap {
		next(row)
		acc.Add(0, row, at)
		if (at/gap)%25 != 24 {
			continue
		}
		for _, d := range acc.Flush(at) {
			if err := w.Add(d); err != nil {
				return 0, 0, err
			}
		}
		acc.Committed()
		judged, _, err := w.Advance(1000)
		if err != nil {
			return 0, 0, err
		}
		if _, err := w.Changes(); err != nil {
			return 0, 0, err
		}
		for i := range judged {
			count.add(&judged[i], p.windows, int(time.Hour/p.every))
		}
	}
	return count.episodes, count.told, nil
}

// counter counts episodes by the verdicts on windows, and by messages.
type counter struct {
	most           int // evaluations without a verdict that end an episode
	runs           map[string]*run
	firing         bool
	quiet          int
	episodes, told int
}

func (c *counter) add(j *watch.Judgement, windows, apart int) {
	for i := range j.Messages {
		if m := &j.Messages[i]; m.Type == alert.FiringType && m.Class == alert.Values {
			c.told++
		}
	}
	if c.runs == nil {
		c.runs = map[string]*run{}
	}
	fires := false
	for i := range j.Scores {
		s := &j.Scores[i]
		if c.runs[s.Column] == nil {
			c.runs[s.Column] = &run{}
		}
		fires = c.runs[s.Column].observe(drift.Outcome(s.Outcome).Changed(), apart, windows) || fires
	}
	switch {
	case fires:
		if !c.firing {
			c.episodes++
		}
		c.firing, c.quiet = true, 0
	case c.firing:
		if c.quiet++; c.quiet >= c.most {
			c.firing = false
		}
	}
}
