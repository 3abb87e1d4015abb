package watch

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/monitors/alert"
	"github.com/freshet-io/freshet/monitors/baseline"
	"github.com/freshet-io/freshet/monitors/drift"
	"github.com/freshet-io/freshet/monitors/profile"
	"github.com/freshet-io/freshet/monitors/quality"
)

// Watch judges the monitors of one model. One goroutine uses it at a time.
type Watch struct {
	model    *config.Model
	origin   string
	pane     int64
	keep     int64 // how far back from the next window's end panes are kept
	monitors []*monitor
	judge    drift.Judge

	baselines map[string]*baseline.Baseline
	panes     map[string]map[paneKey]*pane // by baseline
	progress  Progress                     // of the partitions of the inference topic
	labelled  joinedCases
	late      uint64
	retired   []alert.State // of monitors that are not defined any more
	strays    map[string]uint64
	sources   map[string]*sourceTimes // that a monitor watches the freshness of
	checks    []Check                 // that the next Advance evaluates
	unknown   uint64                  // checks of monitors that are not defined
	// profilesATime is how many profiles of judged windows may come together before Advance leaves the next window to another
	// call; 0: none are kept.
	profilesATime int

	changed   map[string]struct{} // keys of records that differ from what Changes has returned
	markDirty bool                // what is recorded beside the progress has changed
	scratch   []byte              // of addProfiles
}

// pane is what was counted in one pane and slice, encoded: it is read once or twice a window and kept for weeks.
type pane struct {
	build   int64
	rows    uint64
	columns [][]byte
}

// monitor is a monitor with what is remembered of it.
type monitor struct {
	*config.Monitor
	memory
	alerts    alert.State
	columns   []watched
	volumes   map[string]*volume   // by slice
	sequences map[string]*sequence // by slice
	// volumeLevel is the level of the tests of an hour's volume.
	volumeLevel float64
	levels      map[int]float64 // by twentieths of Schedule.Shared
}

// memory is what is remembered of a monitor besides its alerts.
type memory struct {
	Windows string `json:"windows"` // what they are, as windows says
	Next    int64  `json:"next"`    // end of the next window to judge; 0 before the first pane
	Last    int64  `json:"last"`    // end of the window judged last; 0 before the first
	Empty   int    `json:"empty"`   // how many windows without rows were judged last, in a row
	// Hour is the end of the next hour whose volume is judged; 0 before the first pane.
	Hour  int64 `json:"hour,omitempty"`
	Quiet int   `json:"quiet,omitempty"` // how many hours without inferences were judged last, in a row
	// Ticks are the ends at which the freshness of each source was judged last.
	Ticks map[string]int64 `json:"ticks,omitempty"`
	// Bad has, for each drifting series, the ends of the windows in which it had changed, ascending (W5).
	Bad    map[string][]int64 `json:"bad,omitempty"`
	Labels labelMemory        `json:"labels,omitzero"`
}

// reach is how far before the end of a window the windows begin that it may be compared with: an earlier clean one may
// lie three windows before the one that is asked for.
func reach(m *config.Monitor) int64 { return (m.Against + 4*m.Size).Microseconds() }

// held is how far before the end of the next window panes are kept: as far as a drift may reach, else as long as the window judged
// last can be shown (Last).
func held(m *config.Monitor) int64 {
	if m.Against == 0 {
		return (m.Size + m.Every).Microseconds()
	}
	return reach(m)
}

// windows tells definitions of windows apart.
func windows(m *config.Monitor) string {
	return m.Size.String() + "/" + m.Every.String() + "/" + m.Against.String()
}

// New watches a model: origin is the URI reference of the plane, the source of its messages.
func New(p *config.Plane, model *config.Model) (*Watch, error) {
	w := &Watch{
		model: model, origin: "/freshet/" + p.Project, pane: Pane(p, model).Microseconds(), baselines: map[string]*baseline.Baseline{},
		panes: map[string]map[paneKey]*pane{}, strays: map[string]uint64{}, sources: map[string]*sourceTimes{}, changed: map[string]struct{}{},
		labelled: joinedCases{panes: map[paneKey][]byte{}, times: map[int32]int64{}},
	}
	for _, m := range p.Monitors {
		if m.Model != model {
			continue
		}
		mon := &monitor{Monitor: m, memory: memory{Windows: windows(m), Bad: map[string][]int64{}, Ticks: map[string]int64{}}, alerts: alert.New(m.Name), volumes: map[string]*volume{}, sequences: map[string]*sequence{}, levels: map[int]float64{}}
		if m.Volume != nil {
			var err error
			if mon.volumeLevel, err = volumeSchedule(m).Level(); err != nil {
				return nil, fmt.Errorf("monitor %s: %w", m.Name, err)
			}
		}
		for _, c := range m.Columns {
			mon.columns = append(mon.columns, newWatched(model, c))
		}
		if m.Performance != nil {
			w.labelled.build = quality.Define(model).Build()
		}
		for _, f := range m.Freshness {
			w.sources[f.Source.Name] = &sourceTimes{Marks: map[int32]*sourceMark{}, Slices: map[string]int64{}}
		}
		w.monitors = append(w.monitors, mon)
		w.keep = max(w.keep, m.Grace.Microseconds()+held(m))
	}
	if len(w.monitors) == 0 {
		return nil, fmt.Errorf("no monitor watches model %s", model.Name)
	}
	return w, nil
}

// profilesATime bounds what profiles of judged windows hold: each takes up to 7 KiB, so these take less than 30 MiB, to which comes the
// window that goes beyond, for one is judged whole. Monitors of some columns get through dozens of windows with them.
const profilesATime = 4096

// KeepProfiles has judgements hold the profiles of their windows, for Judgement.TakeProfiles. Without it they hold none: who does
// not write them down need not have memory for them.
func (w *Watch) KeepProfiles() { w.profilesATime = profilesATime }

// SetBaseline tells of a baseline of the model, or, with nil, that there is none of that name.
func (w *Watch) SetBaseline(name string, b *baseline.Baseline) {
	if b == nil || b.Model != w.model.Name {
		delete(w.baselines, name)
		return
	}
	w.baselines[name] = b
}

// Knows reports whether a build of a baseline, or a newer one, is known.
func (w *Watch) Knows(name string, build int64) bool {
	b := w.baselines[name]
	return b != nil && b.Build >= build
}

// Add counts what a profiler has counted.
func (w *Watch) Add(d *Delta) error {
	w.progress.Tick(d.Clock)
	for p := range d.Total {
		w.progress.Expect(p)
	}
	for _, m := range d.Marks {
		w.progress.Told(m.Partition, m.Watermark)
	}
	for _, s := range d.Strays {
		if _, ok := w.strays[s.Version]; ok || len(w.strays) < maxStrays {
			w.strays[s.Version] += s.Rows
			w.markDirty = true
		}
	}
	if err := w.addChecks(d.Checks); err != nil {
		return err
	}
	if d.Joined != nil {
		if err := w.addJoined(d.Pane, d.Joined); err != nil {
			return err
		}
	}
	for i := range d.Sources {
		w.addSource(&d.Sources[i])
	}
	if len(d.Panes) == 0 {
		return nil
	}
	if d.Baseline == "" && d.Pane == w.pane {
		w.passed(d.Panes)
		return nil
	}
	b := w.baselines[d.Baseline]
	if b == nil || b.Build != d.Build || d.Pane != w.pane {
		// The profiler and this reader learn of baselines each in their own time. What was counted on a build that this
		// reader does not have cannot be added up; it knows the newest, so this one is the older. The same holds for the panes of other windows.
		for i := range d.Panes {
			if d.Panes[i].Slice == "" { // the slices are of the same inferences
				w.late += d.Panes[i].Rows
			}
		}
		return nil
	}
	for i := range d.Panes {
		if err := w.addPane(b, &d.Panes[i]); err != nil {
			return fmt.Errorf("pane %s of baseline %s: %w", time.UnixMicro(d.Panes[i].Start).UTC().Format(time.RFC3339), b.Name, err)
		}
	}
	return nil
}

// passed notes inferences that were not counted for want of a baseline: that they came is all that is known of them.
func (w *Watch) passed(panes []PaneDelta) {
	if !slices.ContainsFunc(w.monitors, func(m *monitor) bool { return m.Next != 0 }) {
		return // no monitor has begun: there is nothing that could go missing
	}
	oldest := w.oldest()
	for i := range panes {
		if d := &panes[i]; d.Start >= oldest {
			p := w.paneOf("", paneKey{d.Start, d.Slice}, 0)
			p.rows += d.Rows
			w.begin("", d.Start)
		}
	}
}

// paneOf returns the pane of a key, a new one if there is none of the build, and marks it as changed.
func (w *Watch) paneOf(baseline string, key paneKey, build int64) *pane {
	of := w.panes[baseline]
	if of == nil {
		of = map[paneKey]*pane{}
		w.panes[baseline] = of
	}
	w.changed[paneRecord(baseline, key)] = struct{}{}
	p := of[key]
	if p == nil || p.build != build {
		p = &pane{build: build}
		of[key] = p
	}
	return p
}

func (w *Watch) addPane(b *baseline.Baseline, d *PaneDelta) error {
	if len(d.Columns) != len(b.Columns) {
		return fmt.Errorf("it has %d columns, the baseline %d", len(d.Columns), len(b.Columns))
	}
	if d.Slice == "" && w.judgedAll(d.Start+w.pane) {
		w.late += d.Rows
	}
	if d.Start < w.oldest() {
		return nil // no window that is to be judged reaches it
	}
	have := w.paneOf(b.Name, paneKey{d.Start, d.Slice}, b.Build)
	if have.columns == nil {
		have.rows, have.columns = d.Rows, slices.Clone(d.Columns)
		w.begin(b.Name, d.Start)
		return nil
	}
	for i, data := range d.Columns {
		if len(data) == 0 {
			continue
		}
		sum, err := w.addProfiles(b.Columns[i].Profile.Bins(), have.columns[i], data)
		if err != nil {
			return fmt.Errorf("column %s: %w", b.Columns[i].Name, err)
		}
		have.columns[i] = sum
	}
	have.rows += d.Rows
	return nil
}

// addProfiles returns the sum of two encoded profiles, in no more memory than it needs: panes are most of what a Watch holds.
func (w *Watch) addProfiles(bins *profile.Bins, a, b []byte) ([]byte, error) {
	if len(a) == 0 {
		return b, nil
	}
	p, err := profile.Decode(bins, a)
	if err != nil {
		return nil, err
	}
	q, err := profile.Decode(bins, b)
	if err != nil {
		return nil, err
	}
	if err := p.Merge(q); err != nil {
		return nil, err
	}
	w.scratch = p.AppendBinary(w.scratch[:0])
	return bytes.Clone(w.scratch), nil
}

// begin lets every monitor judge the windows that a pane begins in: from the first one on its baseline, and from the next
// one after a time without any inferences, whose windows are not all judged.
func (w *Watch) begin(baseline string, start int64) {
	for _, m := range w.monitors {
		if m.Bins == nil || m.Next == 0 && m.Bins.Name != baseline {
			continue
		}
		every := m.Every.Microseconds()
		first := floor(start, every) + every
		switch {
		case m.Next == 0, first < m.Next && first > m.Last && (m.Last == 0 || m.idle()), first > m.Next && m.idle() && !w.any(m, m.Next):
			m.Next = first
			w.changed[monitorRecord(m.Name)] = struct{}{}
		}
		if m.Volume != nil && m.Hour == 0 {
			m.Hour = floor(start, hour) + 2*hour // of the hour that it begins in a part may be missing
			w.changed[monitorRecord(m.Name)] = struct{}{}
		}
	}
}

// idle reports whether so many windows without inferences were judged that more would say nothing new.
func (m *monitor) idle() bool { return m.Empty > (m.For+1)*int(m.Size/m.Every) }

// oldest is the start of the first pane that a window reaches which is to be judged.
func (w *Watch) oldest() int64 {
	least := int64(math.MaxInt64)
	for _, m := range w.monitors {
		switch {
		case m.Next == 0: // nothing that it watches has come
		case m.Last == 0:
			return math.MinInt64 // where it begins is not settled
		default:
			least = min(least, m.Next-w.keep)
			if m.Volume != nil {
				least = min(least, m.Hour-hour)
			}
		}
	}
	if least == math.MaxInt64 {
		return math.MinInt64
	}
	return least
}

// judgedAll reports whether every monitor that has begun has judged a window that ends at t or later.
func (w *Watch) judgedAll(t int64) bool {
	begun := false
	for _, m := range w.monitors {
		if m.Next != 0 && m.Last < t {
			return false
		}
		begun = begun || m.Next != 0
	}
	return begun
}

// StreamTime is how far all inferences are known to have come (W3); Unknown before the first.
func (w *Watch) StreamTime() int64 { return w.progress.StreamTime() }

// Late is how many inferences came after every window that they belong to first was judged, or on bins that had been
// replaced, since this Watch was made.
func (w *Watch) Late() uint64 { return w.late }

// Strays are the inferences of versions without a baseline, by version.
func (w *Watch) Strays() map[string]uint64 { return maps.Clone(w.strays) }

// Monitors are the names of the model's monitors.
func (w *Watch) Monitors() []string {
	out := make([]string, len(w.monitors))
	for i, m := range w.monitors {
		out[i] = m.Name
	}
	return out
}

// Firing is how many series of a monitor fire or recover.
func (w *Watch) Firing(monitor string) (n int) {
	m := w.monitor(monitor)
	if m == nil {
		return 0
	}
	for _, s := range m.alerts.Statuses() {
		if s.Phase == alert.Firing || s.Phase == alert.Recovering {
			n++
		}
	}
	return n
}

// SetSilence silences alerts of the model's monitors.
func (w *Watch) SetSilence(s alert.Silence) error {
	var errs []error
	for _, m := range w.monitors {
		next, err := m.alerts.SetSilence(s)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		m.alerts = next
		w.changed[monitorRecord(m.Name)] = struct{}{}
	}
	return errors.Join(errs...)
}
