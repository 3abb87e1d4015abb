package watch

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/monitors/alert"
	"github.com/freshet-io/freshet/monitors/quality"
)

// labelsLane is the lane of the windows that are judged by labels.
const labelsLane = "labels"

// joinedCases are the sums of a model's joined cases.
type joinedCases struct {
	build int64              // of the definition that cases are counted under; 0: no labels are looked at
	panes map[paneKey][]byte // encoded quality.Sums
	times map[int32]int64    // up to where each partition of ids has been joined
}

// labelMemory is what a monitor remembers of its windows that are judged by labels.
type labelMemory struct {
	Next    int64 `json:"next"`    // end of the next window to judge first; 0 before the first pane
	Last    int64 `json:"last"`    // end of the last one that has been; 0 before the first
	Counted int64 `json:"counted"` // end of the last one that the alerts have been told of
	Step    int64 `json:"step"`    // when windows were last judged again
	// Open are the windows that labels may still come for, in the order of their ends.
	Open []openWindow `json:"open,omitempty"`
	// Worse has, for each series, the ends of the windows in which it was worse than allowed, ascending.
	Worse map[string][]int64 `json:"worse,omitempty"`
}

// openWindow is a window that was judged and whose labels still come.
type openWindow struct {
	End      int64   `json:"end"`
	Revision int     `json:"revision,omitempty"`
	Coverage float64 `json:"coverage"` // when it was judged last
	Changed  bool    `json:"changed,omitempty"`
}

// coverageStep is how much more of a window must be labelled before it is judged again; its last labels are waited for
// until its horizon.
const coverageStep = 0.01

// labelReach is how far before the end of a window the panes begin that judging it by labels may need.
func labelReach(m *config.Monitor) int64 {
	switch {
	case m.Performance == nil:
		return 0
	case m.Performance.Against > 0:
		return (m.Performance.Against + 4*m.Size).Microseconds()
	}
	return m.Size.Microseconds()
}

// addJoined counts what a joiner has changed (W8). What was counted for other windows, or under another definition, is left
// out.
func (w *Watch) addJoined(pane int64, j *Joined) error {
	l := &w.labelled
	if l.build == 0 || pane != w.pane || j.Build != l.build {
		return nil
	}
	for p := range j.Total {
		if _, ok := l.times[p]; !ok {
			l.times[p] = Unknown
			w.markDirty = true
		}
	}
	for _, p := range j.Panes {
		if err := w.addSums(paneKey{p.Start, p.Slice}, p.Sums); err != nil {
			return fmt.Errorf("joined pane %s: %w", time.UnixMicro(p.Start).UTC().Format(time.RFC3339), err)
		}
	}
	if j.Time > l.times[j.Partition] {
		l.times[j.Partition] = j.Time
		w.markDirty = true
	}
	return nil
}

func (w *Watch) addSums(k paneKey, data []byte) error {
	s, err := quality.Decode(data)
	if err != nil {
		return err
	}
	if k.start < w.oldestLabelled() {
		return nil // no window that is open reaches it
	}
	if have := w.labelled.panes[k]; have != nil {
		old, err := quality.Decode(have)
		if err != nil {
			return err
		}
		s.Merge(old)
		data = s.AppendBinary(nil)
	}
	w.labelled.panes[k] = slices.Clone(data)
	w.changed[joinedRecord(k)] = struct{}{}
	for _, m := range w.monitors {
		if m.Performance == nil {
			continue
		}
		w.changed[monitorRecord(m.Name)] = struct{}{}
		m.Labels.touch(k.start, m.Size.Microseconds(), m.Every.Microseconds())
	}
	return nil
}

// touch notes that a pane has changed.
func (l *labelMemory) touch(start, size, every int64) {
	if first := floor(start, every) + every; l.Next == 0 || l.Last == 0 && first < l.Next {
		l.Next = first
	}
	for i := range l.Open {
		if o := &l.Open[i]; start < o.End && start >= o.End-size {
			o.Changed = true
		}
	}
}

// LabelTime is up to where labels have been joined with inferences; Unknown while that is not known of every partition of
// ids.
func (w *Watch) LabelTime() int64 {
	if len(w.labelled.times) == 0 {
		return Unknown
	}
	return slices.Min(slices.Collect(maps.Values(w.labelled.times)))
}

// oldestLabelled is the start of the first joined pane that an open window reaches, or one to come.
func (w *Watch) oldestLabelled() int64 {
	oldest := int64(math.MaxInt64)
	for _, m := range w.monitors {
		if m.Performance == nil {
			continue
		}
		l := &m.Labels
		if l.Last == 0 {
			return math.MinInt64 // where it begins is not settled
		}
		first := l.Next
		if len(l.Open) > 0 {
			first = l.Open[0].End
		}
		oldest = min(oldest, first-labelReach(m.Monitor))
	}
	return oldest
}

// advanceLabels judges the windows that labels make due, at most so many (W8).
func (w *Watch) advanceLabels(most int) (out []Judgement, more bool, err error) {
	t := w.LabelTime()
	if t == Unknown {
		return nil, false, nil
	}
	for _, m := range w.monitors {
		if m.Performance == nil {
			continue
		}
		js, left, err := w.advanceMonitor(m, t, most-len(out))
		if err != nil {
			return nil, false, fmt.Errorf("monitor %s, labels: %w", m.Name, err)
		}
		if len(js) > 0 {
			w.changed[monitorRecord(m.Name)] = struct{}{}
		}
		if out = append(out, js...); left {
			return out, true, nil
		}
	}
	oldest := w.oldestLabelled()
	for k := range w.labelled.panes {
		if k.start < oldest {
			delete(w.labelled.panes, k)
			w.changed[joinedRecord(k)] = struct{}{}
		}
	}
	return out, false, nil
}

func (w *Watch) advanceMonitor(m *monitor, t int64, most int) (out []Judgement, more bool, err error) {
	l, every := &m.Labels, m.Every.Microseconds()
	horizon := m.Model.Labels.Within.Microseconds()
	for l.Next != 0 && l.Next+m.Grace.Microseconds() <= t {
		if next := w.nextLabelled(m, t); next != l.Next {
			l.Next = next
			w.changed[monitorRecord(m.Name)] = struct{}{}
			continue
		}
		if len(out) >= most {
			return out, true, nil
		}
		l.Open = append(l.Open, openWindow{End: l.Next, Revision: -1, Changed: true})
		l.Last, l.Next = l.Next, l.Next+every
		j, err := w.judgeAgain(m, &l.Open[len(l.Open)-1])
		if err != nil {
			return nil, false, err
		}
		out = append(out, j)
	}
	step := floor(t, every)
	for i := range l.Open {
		o := &l.Open[i]
		if !o.Changed || step <= l.Step && t < o.End+horizon {
			continue
		}
		if len(out) >= most {
			return out, true, nil
		}
		grown, err := w.coverageGrown(m, o)
		if err != nil {
			return nil, false, err
		}
		if !grown && t < o.End+horizon {
			continue
		}
		j, err := w.judgeAgain(m, o)
		if err != nil {
			return nil, false, err
		}
		out = append(out, j)
	}
	l.Step = max(l.Step, step)
	counted, err := w.countLabelled(m, t-horizon)
	return append(out, counted...), false, err
}

// nextLabelled is the end of the next window to judge that has inferences, or that is not due yet.
func (w *Watch) nextLabelled(m *monitor, t int64) int64 {
	every, size := m.Every.Microseconds(), m.Size.Microseconds()
	first := int64(math.MaxInt64)
	for k := range w.labelled.panes {
		if k.start >= m.Labels.Next-size {
			first = min(first, k.start)
		}
	}
	due := floor(t-m.Grace.Microseconds(), every) + every // the first that is not due
	if first == math.MaxInt64 {
		return max(m.Labels.Next, due)
	}
	return max(m.Labels.Next, min(due, floor(first, every)+every))
}

// judgeAgain judges a window anew.
func (w *Watch) judgeAgain(m *monitor, o *openWindow) (Judgement, error) {
	v, err := w.judgeLabels(m, o.End, o.Revision+1)
	if err != nil {
		return v.Judgement, err
	}
	o.Revision, o.Changed, o.Coverage = o.Revision+1, false, v.coverage
	return v.Judgement, nil
}

// coverageGrown reports whether so much of a window is labelled that was not when it was judged that it is worth judging again;
// labels that were only corrected are.
func (w *Watch) coverageGrown(m *monitor, o *openWindow) (bool, error) {
	sums, err := w.sumLabelled(m.Size.Microseconds(), o.End)
	if err != nil || sums[""] == nil {
		return false, err
	}
	grown := sums[""].Coverage() - o.Coverage
	return grown == 0 || math.Abs(grown) >= coverageStep, nil
}

// countLabelled tells the alerts of windows, each once and in the order of their ends: of one whose coverage is enough, or that
// no label comes for any more, after those before it, which are told of with too few labels. Those whose horizon is
// over are closed.
func (w *Watch) countLabelled(m *monitor, closed int64) (out []Judgement, err error) {
	l := &m.Labels
	last := -1
	for i, o := range l.Open {
		if o.End <= closed || o.Coverage >= m.Performance.MinCoverage {
			last = i
		}
	}
	for i := range last + 1 {
		o := &l.Open[i]
		if o.End <= l.Counted {
			continue
		}
		v, err := w.judgeLabels(m, o.End, o.Revision)
		if err != nil {
			return nil, err
		}
		next, res, err := m.alerts.Evaluate(alert.Evaluation{
			Monitor: m.Name, Model: w.model.Name, Origin: w.origin, Lane: labelsLane, Window: v.Window, At: w.progress.clock, For: m.For, Verdicts: v.verdicts,
		})
		if err != nil {
			return nil, err
		}
		m.alerts, l.Counted = next, o.End
		l.remember(v.worse, o.End, o.End-labelReach(m.Monitor))
		out = append(out, Judgement{Monitor: m.Monitor, Window: v.Window, Check: true, Messages: res.Messages})
	}
	open := slices.IndexFunc(l.Open, func(o openWindow) bool { return o.End > closed })
	if open < 0 {
		open = len(l.Open)
	}
	if open > 0 {
		l.Open = slices.Clone(l.Open[open:])
		w.changed[monitorRecord(m.Name)] = struct{}{}
	}
	return out, nil
}

// remember notes which series were worse in the window that ends at end, and forgets those before oldest.
func (l *labelMemory) remember(worse []string, end, oldest int64) {
	for _, k := range worse {
		if l.Worse == nil {
			l.Worse = map[string][]int64{}
		}
		l.Worse[k] = append(l.Worse[k], end)
	}
	for k, ends := range l.Worse {
		if l.Worse[k] = slices.DeleteFunc(ends, func(e int64) bool { return e <= oldest }); len(l.Worse[k]) == 0 {
			delete(l.Worse, k)
		}
	}
}

// sumLabelled adds up the joined panes of the window of a length that ends at end, by slice.
func (w *Watch) sumLabelled(size, end int64) (map[string]*quality.Sums, error) {
	out := map[string]*quality.Sums{}
	for k, data := range w.labelled.panes {
		if k.start < end-size || k.start >= end {
			continue
		}
		s, err := quality.Decode(data)
		if err != nil {
			return nil, err
		}
		if out[k.slice] == nil {
			out[k.slice] = &quality.Sums{}
		}
		out[k.slice].Merge(s)
	}
	return out, nil
}
