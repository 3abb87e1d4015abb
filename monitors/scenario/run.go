package scenario

import (
	"container/heap"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/spell"
	"github.com/freshet-io/freshet/monitors/alert"
	"github.com/freshet-io/freshet/monitors/baseline"
	"github.com/freshet-io/freshet/monitors/playback"
	"github.com/freshet-io/freshet/monitors/watch"
)

// Files opens what a test names.
type Files interface {
	// Training makes the baseline of a definition from a file of rows.
	Training(path string, d baseline.Definition, model *config.Model) (*baseline.Baseline, error)
	// Inferences reads recorded inferences, in the order of their times: rows of the model's source, and microseconds UTC.
	Inferences(path string, model *config.Model, fn func(row []feature.Value, at int64) error) error
}

// Result is what came of a test.
type Result struct {
	Name     string
	Failures []string // empty: as expected
	Messages []Sent
	Windows  int // that were judged
	Rows     uint64
}

// Sent is a message that was sent.
type Sent struct {
	At time.Duration // end of the window that brought it, counted from the start
	alert.Message
}

// Run runs one test of a plane. An error says that it could not be run; what is not as expected is in the Result.
func Run(p *config.Plane, t *Test, files Files) (*Result, error) {
	r := &runner{plane: p, test: t, files: files, result: &Result{Name: t.Name}}
	if err := r.find(); err != nil {
		return nil, err
	}
	if err := r.play(); err != nil {
		return nil, err
	}
	r.compare()
	return r.result, nil
}

type runner struct {
	plane    *config.Plane
	test     *Test
	files    Files
	model    *config.Model
	monitors []string
	fields   map[string]int    // columns and fields that can be given, by name
	strays   map[string]uint64 // inferences of versions without a baseline, by version
	result   *Result
}

// find resolves the names of the test.
func (r *runner) find() error {
	var models []string
	for _, m := range r.plane.Models {
		models = append(models, m.Name)
		if m.Name == r.test.Model || r.test.Model == "" && len(r.plane.Models) == 1 {
			r.model = m
		}
	}
	switch {
	case r.model == nil && r.test.Model == "":
		return fmt.Errorf("model is missing: the plane has %d", len(models))
	case r.model == nil:
		return fmt.Errorf("the plane has no model %q%s", r.test.Model, spell.Suggest(r.test.Model, models))
	}
	for _, m := range r.plane.Monitors {
		if m.Model == r.model {
			r.monitors = append(r.monitors, m.Name)
		}
	}
	r.fields = map[string]int{}
	schema := r.model.Inferences.Schema
	for i, f := range schema[:r.model.Inferences.NestedFrom] {
		if i != r.model.ID && i != r.model.Inferences.EventTime.Field {
			r.fields[f.Name] = i
		}
	}
	for _, c := range r.model.Columns {
		r.fields[c.Name] = c.Field
	}
	for _, values := range append([]map[string]Generator{r.test.Values}, spanValues(r.test.Comes)...) {
		for name := range values {
			if _, ok := r.fields[name]; !ok {
				return fmt.Errorf("model %s has no column or field %q%s", r.model.Name, name, spell.Suggest(name, slices.Sorted(maps.Keys(r.fields))))
			}
		}
	}
	for i := range r.test.Expect {
		if err := r.monitor(&r.test.Expect[i].Monitor); err != nil {
			return fmt.Errorf("expect[%d]: %w", i, err)
		}
	}
	for i := range r.test.Firing {
		if err := r.monitor(&r.test.Firing[i].Monitor); err != nil {
			return fmt.Errorf("firing[%d]: %w", i, err)
		}
	}
	return nil
}

func spanValues(spans []Span) (out []map[string]Generator) {
	for _, s := range spans {
		out = append(out, s.Values)
	}
	return out
}

// monitor fills in the only monitor, and refuses one that is none of the model's.
func (r *runner) monitor(name *string) error {
	if *name == "" && len(r.monitors) == 1 {
		*name = r.monitors[0]
	}
	if !slices.Contains(r.monitors, *name) {
		return fmt.Errorf("no monitor %q watches model %s%s", *name, r.model.Name, spell.Suggest(*name, r.monitors))
	}
	return nil
}

func (r *runner) play() error {
	baselines, err := r.baselines()
	if err != nil {
		return err
	}
	start := r.test.Start.UnixMicro()
	player, err := playback.New(playback.Options{Plane: r.plane, Model: r.model, Baselines: baselines, Judged: func(j watch.Judgement) error {
		r.result.Windows++
		for _, m := range j.Messages {
			if m.Type.Delivered() {
				r.result.Messages = append(r.result.Messages, Sent{At: time.Duration(j.Window.End-start) * time.Microsecond, Message: m})
			}
		}
		return nil
	}})
	if err != nil {
		return err
	}
	if err := r.inferences(player.Add); err != nil {
		return err
	}
	if player.Rows() == 0 {
		return errors.New("no inference came")
	}
	until := time.Duration(0)
	for _, f := range r.test.Firing {
		until = max(until, time.Duration(f.At))
	}
	for _, e := range r.test.Expect {
		if e.Before != nil {
			until = max(until, time.Duration(*e.Before))
		}
	}
	r.result.Rows = player.Rows()
	if err := player.End(start + until.Microseconds()); err != nil {
		return err
	}
	r.strays = player.Strays()
	return nil
}

// baselines makes those that the plane defines for the model.
func (r *runner) baselines() (map[string]*baseline.Baseline, error) {
	out := map[string]*baseline.Baseline{}
	var names []string
	for _, d := range r.plane.Baselines {
		if d.Model != r.model {
			continue
		}
		names = append(names, d.Name)
		def := baseline.Definition{Name: d.Name, Model: r.model.Name, Version: d.Version, Build: 1}
		from := r.test.Baselines[d.Name]
		var err error
		if from.File != "" {
			out[d.Name], err = r.files.Training(from.File, def, r.model)
		} else {
			out[d.Name], err = r.describedBaseline(def, from.Rows)
		}
		if err != nil {
			return nil, fmt.Errorf("baseline %s: %w", d.Name, err)
		}
	}
	for name := range r.test.Baselines {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("the plane has no baseline %q of model %s%s", name, r.model.Name, spell.Suggest(name, names))
		}
	}
	return out, nil
}

// describedBaseline makes a baseline of rows of the test's values.
func (r *runner) describedBaseline(d baseline.Definition, rows int) (*baseline.Baseline, error) {
	if rows == 0 {
		rows = DefaultRows
	}
	for _, c := range r.model.Columns {
		d.Columns = append(d.Columns, baseline.Column{Name: c.Name, Type: c.Type})
	}
	for _, f := range r.model.Slices {
		d.Fields = append(d.Fields, r.model.Inferences.Schema[f].Name)
	}
	d.From = fmt.Sprintf("%d rows of the test's values", rows)
	return baseline.Make(d, func(fn func(values, fields []feature.Value) error) error {
		g := r.describe(r.test.Values, rand.New(rand.NewPCG(r.test.Seed, ^uint64(0))))
		row := make([]feature.Value, len(r.model.Inferences.Schema))
		values, fields := make([]feature.Value, len(r.model.Columns)), make([]feature.Value, len(r.model.Slices))
		for range rows {
			g.fill(row)
			for i, c := range r.model.Columns {
				values[i] = row[c.Field]
			}
			for i, f := range r.model.Slices {
				fields[i] = row[f]
			}
			if err := fn(values, fields); err != nil {
				return err
			}
		}
		return nil
	})
}

// rows describes the values of a row.
type rows struct {
	rng    *rand.Rand
	fields []int
	of     []Generator
}

// describe puts values in the order of their fields, so that what is drawn does not depend on the order of a map.
func (r *runner) describe(values map[string]Generator, rng *rand.Rand) *rows {
	g := &rows{rng: rng}
	for _, name := range slices.SortedFunc(maps.Keys(values), func(a, b string) int { return r.fields[a] - r.fields[b] }) {
		g.fields, g.of = append(g.fields, r.fields[name]), append(g.of, values[name])
	}
	return g
}

func (g *rows) fill(row []feature.Value) {
	for i, f := range g.fields {
		row[f] = g.of[i].draw(g.rng)
	}
}

// coming is a span that is under way.
type coming struct {
	span int
	next int64 // microseconds UTC
	end  int64
	step int64
	rows *rows
}

// timeline is the spans that are not over, the next inference first.
type timeline []*coming

func (t timeline) Len() int { return len(t) }
func (t timeline) Less(i, j int) bool {
	return t[i].next < t[j].next || t[i].next == t[j].next && t[i].span < t[j].span
}
func (t timeline) Swap(i, j int) { t[i], t[j] = t[j], t[i] }
func (t *timeline) Push(x any)   { *t = append(*t, x.(*coming)) }
func (t *timeline) Pop() any {
	last := (*t)[len(*t)-1]
	*t = (*t)[:len(*t)-1]
	return last
}

// inferences gives what comes to add: the described ones of all spans in the order of time, or those of one file.
func (r *runner) inferences(add func(row []feature.Value, at int64) error) error {
	var all timeline
	start := r.test.Start.UnixMicro()
	for i, s := range r.test.Comes {
		if s.File != "" {
			if len(r.test.Comes) > 1 {
				return fmt.Errorf("inferences[%d]: a file is the only inferences of a test", i)
			}
			return r.files.Inferences(s.File, r.model, add)
		}
		values := maps.Clone(r.test.Values)
		if values == nil {
			values = map[string]Generator{}
		}
		maps.Copy(values, s.Values)
		all = append(all, &coming{
			span: i, next: start + time.Duration(s.From).Microseconds(), end: start + time.Duration(s.To).Microseconds(), step: time.Duration(s.Every).Microseconds(),
			rows: r.describe(values, rand.New(rand.NewPCG(r.test.Seed, uint64(i)))),
		})
		if all[i].step == 0 {
			return fmt.Errorf("inferences[%d]: every %s is under a microsecond", i, s.Every)
		}
	}
	heap.Init(&all)
	row := make([]feature.Value, len(r.model.Inferences.Schema))
	for n := 0; len(all) > 0; n++ {
		c := all[0]
		clear(row)
		if r.model.ID >= 0 {
			row[r.model.ID] = feature.StringValue(strconv.Itoa(n))
		}
		c.rows.fill(row)
		if err := add(row, c.next); err != nil {
			return err
		}
		if c.next += c.step; c.next >= c.end {
			heap.Pop(&all)
		} else {
			heap.Fix(&all, 0)
		}
	}
	return nil
}
