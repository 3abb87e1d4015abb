package watch

import (
	"maps"
	"slices"
	"time"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/monitors/baseline"
	"github.com/freshet-io/freshet/monitors/profile"
)

// OtherSlice is the value under which the rows are watched together whose value of a slice field the baseline has no
// slice of.
const OtherSlice = "(other)"

// panesPerWindow is how many panes the shortest window has at least, where whole seconds allow it: how much rows depend
// on each other is estimated from how panes differ, and of few panes nobody can tell.
const panesPerWindow = 24

// maxPanes bounds how many panes the longest reach of a monitor has.
const maxPanes = 2000

// Pane is the length of a model's panes (W1): 0 if no monitor watches the model. It divides every window, step and
// distance of the model's monitors.
func Pane(p *config.Plane, model *config.Model) time.Duration {
	var common, shortest, longest time.Duration
	for _, m := range p.Monitors {
		if m.Model != model {
			continue
		}
		for _, d := range []time.Duration{m.Size, m.Every, m.Against} {
			common = gcd(common, d)
		}
		if m.Volume != nil {
			common = gcd(common, time.Hour)
		}
		if m.Performance != nil {
			common = gcd(common, m.Performance.Against)
			longest = max(longest, time.Duration(labelReach(m))*time.Microsecond+m.Model.Labels.Within)
		}
		if shortest == 0 || m.Size < shortest {
			shortest = m.Size
		}
		longest = max(longest, time.Duration(reach(m))*time.Microsecond)
	}
	pane := common
	for n := time.Duration(2); n <= panesPerWindow && common > 0 && shortest/pane < panesPerWindow; n++ {
		if part := common / n; common%n == 0 && part%time.Second == 0 && longest/part <= maxPanes {
			pane = part
		}
	}
	return pane
}

func gcd(a, b time.Duration) time.Duration {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// Accumulator counts the inferences of one model between two commits. One goroutine uses it at a time.
type Accumulator struct {
	model     *config.Model
	pane      int64
	total     int32 // partitions of the topic
	byVersion map[string]*counting
	names     map[string]string // of baselines, to their versions
	marks     map[int32]int64
	committed map[int32]int64 // the marks of the last commit
	strays    map[string]uint64
	passed    map[int64]uint64 // of them, how many in each pane
}

// counting is what is counted on one baseline.
type counting struct {
	baseline *baseline.Baseline
	columns  []int // for each column of the baseline, the index of its field in a row; -1 if the model does not log it
	fields   []sliceField
	panes    map[paneKey]*paneCounts
	free     []*paneCounts
	last     *paneCounts // of all rows, which most rows are in
	lastKey  paneKey
}

// sliceField is a field whose values make slices, with the names of those that the baseline has.
type sliceField struct {
	field int // of a row
	names map[string]string
	other string
}

type paneKey struct {
	start int64
	slice string
}

type paneCounts struct {
	rows    uint64
	columns []*profile.Profile
}

// NewAccumulator counts inferences of a model in panes of a length.
func NewAccumulator(model *config.Model, pane time.Duration) *Accumulator {
	return &Accumulator{
		model: model, pane: pane.Microseconds(), byVersion: map[string]*counting{}, names: map[string]string{}, marks: map[int32]int64{}, committed: map[int32]int64{}, strays: map[string]uint64{}, passed: map[int64]uint64{},
	}
}

// SetBaseline counts on a baseline from now on, or, if it is nil, on the one of that name no more. What was counted on
// an earlier build has been flushed.
func (a *Accumulator) SetBaseline(name string, b *baseline.Baseline) {
	if v, ok := a.names[name]; ok {
		if c := a.byVersion[v]; c != nil && c.baseline.Name == name {
			delete(a.byVersion, v)
		}
		delete(a.names, name)
	}
	if b == nil || b.Model != a.model.Name {
		return
	}
	c := &counting{baseline: b, panes: map[paneKey]*paneCounts{}}
	for _, col := range b.Columns {
		at := -1
		if i := slices.IndexFunc(a.model.Columns, func(m config.Column) bool { return m.Name == col.Name }); i >= 0 {
			at = a.model.Columns[i].Field
		}
		c.columns = append(c.columns, at)
	}
	for _, i := range a.model.Slices {
		field := a.model.Inferences.Schema[i].Name
		f := sliceField{field: i, names: map[string]string{}, other: baseline.SliceName(field, OtherSlice)}
		for _, s := range b.Slices {
			if s.Field == field {
				f.names[s.Value] = baseline.SliceName(field, s.Value)
			}
		}
		if len(f.names) > 0 { // else the training data did not have the field: one slice of all rows would say nothing of its own
			c.fields = append(c.fields, f)
		}
	}
	a.byVersion[b.Version] = c
	a.names[name] = b.Version
}

// Partitions sets which partitions are read, of how many: those that are new are unknown until an inference comes.
func (a *Accumulator) Partitions(read []int32, total int32) {
	a.total = total
	for _, p := range read {
		if _, ok := a.marks[p]; !ok {
			a.marks[p] = Unknown
		}
	}
	maps.DeleteFunc(a.marks, func(p int32, _ int64) bool { return !slices.Contains(read, p) })
}

// maxStrays bounds how many versions without a baseline are told apart.
const maxStrays = 100

// Add counts an inference: a row of the model's source, of a partition, with its event time in microseconds.
func (a *Accumulator) Add(partition int32, row []feature.Value, at int64) {
	if at > a.marks[partition] {
		a.marks[partition] = at
	}
	c, version := a.counting(row)
	if c == nil {
		if _, ok := a.strays[version]; !ok && len(a.strays) >= maxStrays {
			version = ""
		} else if !ok {
			version = string([]byte(version)) // the row's strings alias its record
		}
		a.strays[version]++
		a.passed[floor(at, a.pane)]++
		return
	}
	start := floor(at, a.pane)
	c.add(paneKey{start, ""}, row)
	c.slices(row, func(name string) { c.add(paneKey{start, name}, row) })
}

// counting returns what a row's version is counted on, nil if nothing is, and the version.
func (a *Accumulator) counting(row []feature.Value) (c *counting, version string) {
	if a.model.Version >= 0 && row[a.model.Version].Type() == feature.String {
		version = row[a.model.Version].Str()
	}
	if c = a.byVersion[version]; c == nil {
		c = a.byVersion[""]
	}
	return c, version
}

// slices calls fn with the name of every slice that a row is in.
func (c *counting) slices(row []feature.Value, fn func(name string)) {
	for i := range c.fields {
		f := &c.fields[i]
		if v := &row[f.field]; v.Type() == feature.String {
			name, ok := f.names[v.Str()]
			if !ok {
				name = f.other
			}
			fn(name)
		}
	}
}

// Slices returns the names of the slices that a row is in: none if its version has no baseline.
func (a *Accumulator) Slices(row []feature.Value) (names []string) {
	if c, _ := a.counting(row); c != nil {
		c.slices(row, func(name string) { names = append(names, name) })
	}
	return names
}

// Watermarks are how far the partitions have come that are read.
func (a *Accumulator) Watermarks(clock int64) []Mark { return a.delta(clock).Marks }

func (c *counting) add(key paneKey, row []feature.Value) {
	p := c.last
	if p == nil || c.lastKey != key {
		if p = c.panes[key]; p == nil {
			p = c.newPane()
			c.panes[key] = p
		}
		if key.slice == "" {
			c.last, c.lastKey = p, key
		}
	}
	p.rows++
	for i, at := range c.columns {
		if at >= 0 {
			p.columns[i].Add(&row[at])
		}
	}
}

func (c *counting) newPane() *paneCounts {
	if n := len(c.free); n > 0 {
		p := c.free[n-1]
		c.free = c.free[:n-1]
		return p
	}
	p := &paneCounts{}
	for _, col := range c.baseline.Columns {
		p.columns = append(p.columns, profile.New(col.Profile.Bins(), false))
	}
	return p
}

// deltaBytes is about how large a delta may become before another is begun: Kafka bounds records.
const deltaBytes = 256 << 10

// Flush returns what was counted since the last flush, at least one delta, and begins anew. clock is now.
func (a *Accumulator) Flush(clock int64) []*Delta {
	first := a.delta(clock)
	for _, v := range slices.Sorted(maps.Keys(a.strays)) {
		first.Strays = append(first.Strays, Stray{v, a.strays[v]})
	}
	for _, start := range slices.Sorted(maps.Keys(a.passed)) {
		first.Panes = append(first.Panes, PaneDelta{Start: start, Rows: a.passed[start]})
	}
	clear(a.strays)
	clear(a.passed)
	out := []*Delta{first}
	for _, v := range slices.Sorted(maps.Keys(a.byVersion)) {
		c := a.byVersion[v]
		size := 0
		var d *Delta
		for _, key := range c.keys() {
			if d == nil || size > deltaBytes {
				d, size = a.delta(clock), 0
				d.Baseline, d.Build = c.baseline.Name, c.baseline.Build
				out = append(out, d)
			}
			p := c.flush(key)
			for _, col := range p.Columns {
				size += len(col)
			}
			d.Panes = append(d.Panes, p)
		}
		clear(c.panes)
		c.last = nil
	}
	if len(out) > 1 && len(first.Strays) == 0 {
		out = out[1:]
	}
	// Watermarks must not be ahead of counts: of several records only the last has the new ones.
	for _, d := range out[:len(out)-1] {
		d.Marks = nil
	}
	return out
}

// keys returns the keys of the panes in order.
func (c *counting) keys() []paneKey {
	keys := slices.Collect(maps.Keys(c.panes))
	slices.SortFunc(keys, func(a, b paneKey) int {
		switch {
		case a.start != b.start:
			return int(max(-1, min(1, a.start-b.start)))
		case a.slice < b.slice:
			return -1
		}
		return 1
	})
	return keys
}

func (c *counting) flush(key paneKey) PaneDelta {
	p := c.panes[key]
	d := PaneDelta{Start: key.start, Slice: key.slice, Rows: p.rows, Columns: make([][]byte, len(p.columns))}
	for i, col := range p.columns {
		if c.columns[i] >= 0 {
			d.Columns[i] = col.AppendBinary(nil)
			col.Reset()
		}
	}
	p.rows = 0
	if len(c.free) < 64 {
		c.free = append(c.free, p)
	}
	return d
}

func (a *Accumulator) delta(clock int64) *Delta {
	d := &Delta{Clock: clock, Total: a.total, Pane: a.pane}
	for _, p := range slices.Sorted(maps.Keys(a.marks)) {
		// Events may be ahead of the clock, and time is not: what is between now and then may still come.
		d.Marks = append(d.Marks, Mark{p, min(a.marks[p], clock)})
	}
	return d
}

// Committed notes that what was flushed is committed.
func (a *Accumulator) Committed() { a.committed = maps.Clone(a.marks) }

// Reset forgets what was counted since the last commit: its transaction was aborted, and its inferences come again.
func (a *Accumulator) Reset() {
	for p := range a.marks {
		if at, ok := a.committed[p]; ok {
			a.marks[p] = at
		} else {
			a.marks[p] = Unknown
		}
	}
	clear(a.strays)
	clear(a.passed)
	for _, c := range a.byVersion {
		clear(c.panes)
		c.last = nil
	}
}

// floor returns the largest multiple of step that is at most t.
func floor(t, step int64) int64 {
	q := t / step
	if t%step != 0 && t < 0 {
		q--
	}
	return q * step
}
