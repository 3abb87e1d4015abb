package watch

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"time"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/monitors/alert"
	"github.com/freshet-io/freshet/monitors/distance"
	"github.com/freshet-io/freshet/monitors/drift"
)

// lowerCutoff is the part of its threshold under which an effect is well again: between the two nothing changes.
const lowerCutoff = 0.8

// movers is how many of the bins that moved most a score names.
const movers = 3

// watched is a column of a monitor with where its values come from.
type watched struct {
	config.Watched
	name    string
	sources []string // the upstream sources that it is made of
}

func newWatched(model *config.Model, c config.Watched) watched {
	name := model.Columns[c.Column].Name
	return watched{Watched: c, name: name, sources: sourcesOf(model, name)}
}

// sourcesOf returns the upstream sources that a column is made of, in order: of a derived one those of the features that
// its expression reads, of the prediction those of all features. What comes with the request has none.
func sourcesOf(model *config.Model, column string) []string {
	s := model.Service
	reads := func(features ...int) (out []string) {
		for _, i := range features {
			if i < len(s.Features) {
				out = append(out, s.Features[i].View.Source.Name)
			}
		}
		slices.Sort(out)
		return slices.Compact(out)
	}
	all := make([]int, len(s.Features))
	for i, f := range s.Features {
		if all[i] = i; f.View.Features[f.Index].Name == column {
			return reads(i)
		}
	}
	for _, d := range s.Derived {
		if d.Name == column {
			return reads(d.Program.Reads()...)
		}
	}
	if p := model.Prediction; p >= 0 && column == config.PredictionColumn {
		return reads(all...)
	}
	return nil
}

// group is whose episodes a column's alerts belong to: one broken source is one episode.
func (c *watched) group() string {
	if len(c.sources) == 1 {
		return c.sources[0]
	}
	return ""
}

// Judgement is what came of one window of a monitor.
type Judgement struct {
	Monitor  *config.Monitor
	Window   alert.Window
	Rows     uint64
	Check    bool // it was judged by others, and no window of panes
	Scores   []Score
	Messages []alert.Message
	profiles windowProfiles
}

// Advance evaluates the checks that were added, judges the freshness of sources and the windows that are due (W4), of these
// at most so many, and fewer where their profiles would hold too much memory (KeepProfiles), and lets go of panes that no window
// reaches any more. more says that there are windows left that are due. Windows come in the same order and to the same however many
// calls they take.
func (w *Watch) Advance(most int) (out []Judgement, more bool, err error) {
	for _, s := range w.retired {
		out = append(out, Judgement{Monitor: &config.Monitor{Name: s.Monitor(), Model: w.model}, Messages: s.Retire(w.progress.clock)})
	}
	w.retired = nil
	checked, err := w.evaluateChecks()
	if err != nil {
		return nil, false, err
	}
	out = append(out, checked...)
	labels, more, err := w.advanceLabels(most)
	if err != nil {
		return nil, false, err
	}
	out = append(out, labels...)
	for _, m := range w.monitors {
		js, err := w.judgeFreshness(m)
		if err != nil {
			return nil, false, fmt.Errorf("monitor %s: %w", m.Name, err)
		}
		out = append(out, js...)
	}
	t := w.StreamTime()
	if t == Unknown {
		return out, more, nil
	}
	judged, profiles := 0, 0
	full := func() bool {
		judged++
		return judged > most || profiles > 0 && profiles >= w.profilesATime
	}
	for _, m := range w.monitors {
		for m.Next != 0 && m.Next+m.Grace.Microseconds() <= t && !(m.idle() && m.Next > m.Last && !w.any(m, m.Next)) {
			if full() {
				return out, true, nil
			}
			j, err := w.judgeWindow(m, m.Next)
			if err != nil {
				return nil, false, fmt.Errorf("monitor %s, window that ends at %s: %w", m.Name, time.UnixMicro(m.Next).UTC().Format(time.RFC3339), err)
			}
			m.Last, m.Next = m.Next, m.Next+m.Every.Microseconds()
			if m.Empty++; w.came(j.Window) > 0 {
				m.Empty = 0
			}
			w.changed[monitorRecord(m.Name)] = struct{}{}
			profiles += len(j.profiles)
			out = append(out, j)
		}
		for w.hourDue(m, t) {
			if full() {
				return out, true, nil
			}
			j, err := w.judgeHour(m)
			if err != nil {
				return nil, false, fmt.Errorf("monitor %s: %w", m.Name, err)
			}
			out = append(out, j)
		}
	}
	w.prune()
	return out, more, nil
}

func (w *Watch) prune() {
	oldest := w.oldest()
	for b, of := range w.panes {
		for k := range of {
			if k.start < oldest {
				delete(of, k)
				w.changed[paneRecord(b, k)] = struct{}{}
			}
		}
	}
}

// any reports whether inferences of the model came in the window that ends at end, on whatever baseline they were
// counted, or on none.
func (w *Watch) any(m *monitor, end int64) bool {
	return w.came(alert.Window{Start: end - m.Size.Microseconds(), End: end}) > 0
}

// came is how many inferences of the model came in a window, those too that were counted on no baseline or on that of
// another version.
func (w *Watch) came(win alert.Window) (n uint64) {
	for _, of := range w.panes {
		n += w.rowsOf(of, win)
	}
	return n
}

// rowsOf is how many inferences a window has of some panes, on whatever build they were counted.
func (w *Watch) rowsOf(of map[paneKey]*pane, win alert.Window) (n uint64) {
	for start := win.Start; start < win.End; start += w.pane {
		if p := of[paneKey{start, ""}]; p != nil {
			n += p.rows
		}
	}
	return n
}

// comparison is one series of a window: what is judged, and what becomes of it.
type comparison struct {
	series  alert.Series
	column  *watched
	against string // the baseline or the earlier window, for people
	window  alert.Window
	result  *drift.Column
}

func (w *Watch) judgeWindow(m *monitor, end int64) (Judgement, error) {
	j := Judgement{Monitor: m.Monitor, Window: alert.Window{Start: end - m.Size.Microseconds(), End: end}}
	j.Rows = w.rowsOf(w.panes[m.BinsName()], j.Window)
	b := w.baselines[m.BinsName()]
	if b == nil {
		return j, nil // nothing can be said without one, not even that nothing comes: what comes is not counted
	}
	var compared []*comparison
	var bad []*badShare
	sequential := w.sequentialTests(m, b, j.Window)
	against := earlierWindows{}
	err := w.each(m, b, w.window(b, m.Size.Microseconds(), end), func(of *sample) error {
		cs, err := w.compare(m, of, against)
		if err != nil {
			return err
		}
		qs, err := testQuality(m, of)
		if err != nil {
			return err
		}
		compared, bad = append(compared, cs...), append(bad, qs...)
		if w.profilesATime > 0 {
			j.profiles.add(m, of)
		}
		return sequential.play(of)
	})
	if err != nil {
		return j, err
	}
	level, err := m.decide(compared, bad)
	if err != nil {
		return j, err
	}
	e := alert.Evaluation{
		Monitor: m.Name, Model: w.model.Name, Origin: w.origin, Lane: windowsLane, Window: j.Window, At: w.progress.clock, For: m.For,
		Verdicts: []alert.Verdict{noData(w.came(j.Window))},
	}
	var changed []alert.Series
	for _, c := range compared {
		s := m.score(c, level)
		j.Scores = append(j.Scores, s)
		v := m.verdict(c, &s)
		e.Verdicts = append(e.Verdicts, v)
		if v.Kind == alert.Drift && v.Enough && v.Significant && v.Effect >= v.Threshold {
			changed = append(changed, v.Series)
		}
	}
	for _, q := range bad {
		s := q.score(m, j.Window, level)
		j.Scores = append(j.Scores, s)
		e.Verdicts = append(e.Verdicts, s.verdict(q.column.group(), q.column.sources))
	}
	j.Scores, e.Verdicts = append(j.Scores, sequential.scores...), append(e.Verdicts, sequential.verdicts...)
	next, res, err := m.alerts.Evaluate(e)
	if err != nil {
		return j, err
	}
	m.alerts, j.Messages = next, res.Messages
	m.remember(changed, end, end-reach(m.Monitor))
	return j, nil
}

// noData is the verdict on whether anything comes at all: of the model, for where its inferences go to another version
// nothing is amiss.
func noData(came uint64) alert.Verdict {
	v := alert.Verdict{Series: alert.Series{Kind: alert.NoData}, Threshold: 1, Significant: true, Enough: true}
	if came == 0 {
		v.Effect = 1
	}
	v.Evidence = alert.Evidence{Threshold: 1, Current: alert.Sample{N: int64(came), NEff: alert.Number(came)}, Note: "inferences of the model in the window"}
	return v
}

// earlierWindows are those that a window is compared with, by end.
type earlierWindows map[int64]*window

// compare puts a column of a slice beside the baseline and beside an earlier window.
func (w *Watch) compare(m *monitor, cur *sample, against earlierWindows) ([]*comparison, error) {
	var out []*comparison
	if ref := cur.reference(); m.Skew && ref != nil {
		cmp := &comparison{series: cur.series(alert.Skew), column: cur.column, window: cur.window.Window, against: "baseline " + cur.window.baseline.Name}
		known := cur.known()
		if err := w.one(m, cmp, drift.Side{Profile: ref, Known: known}, drift.Side{Profile: cur.Profile, Panes: cur.Panes, Known: known}); err != nil {
			return nil, err
		}
		out = append(out, cmp)
	}
	if m.Against > 0 {
		cmp := &comparison{series: cur.series(alert.Drift), column: cur.column, window: cur.window.Window}
		ref, err := w.earlier(m, cur, cmp, against)
		if err != nil {
			return nil, err
		}
		known := cur.knownOfWindows()
		if err := w.one(m, cmp, drift.Side{Profile: ref.Profile, Panes: ref.Panes, Known: known}, drift.Side{Profile: cur.Profile, Panes: cur.Panes, Known: known}); err != nil {
			return nil, err
		}
		out = append(out, cmp)
	}
	return out, nil
}

func (w *Watch) one(m *monitor, c *comparison, ref, cur drift.Side) error {
	var err error
	c.result, err = w.judge.Column(c.series.Column, ref, cur, drift.Options{
		Methods: []drift.Asked{{Method: distance.Method(c.column.Method), Threshold: c.column.Threshold}}, MinSample: uint64(m.MinSample), Movers: movers,
	})
	return err
}

// earlier finds the window that a drifting series is compared with (W5). One that no inferences came in is an empty side.
func (w *Watch) earlier(m *monitor, cur *sample, c *comparison, cache earlierWindows) (*sample, error) {
	size := m.Size.Microseconds()
	asked := c.window.End - m.Against.Microseconds()
	end := asked
	for m.changedIn(c.series, end-size, end) {
		if end -= size; end-size < c.window.End-reach(m.Monitor) {
			end = asked // what has been so for so long is the new normal
			break
		}
	}
	c.against = "window " + time.UnixMicro(end-size).UTC().Format(time.RFC3339) + "/" + time.UnixMicro(end).UTC().Format(time.RFC3339)
	win := cache[end]
	if win == nil {
		win = w.window(cur.window.baseline, size, end)
		cache[end] = win
	}
	return win.sample(cur.column, cur.at, cur.slice)
}

func seriesKey(s alert.Series) string { return s.Column + "/" + s.Slice }

// changedIn reports whether a series had changed in a window that overlaps [start, end).
func (m *monitor) changedIn(s alert.Series, start, end int64) bool {
	bad := m.Bad[seriesKey(s)]
	i := sort.Search(len(bad), func(i int) bool { return bad[i] > start })
	return i < len(bad) && bad[i]-m.Size.Microseconds() < end
}

// remember notes which drifting series had changed in the window that ends at end, and forgets those before oldest.
func (m *monitor) remember(changed []alert.Series, end, oldest int64) {
	for _, s := range changed {
		k := seriesKey(s)
		m.Bad[k] = append(m.Bad[k], end)
	}
	for k, bad := range m.Bad {
		if i := sort.Search(len(bad), func(i int) bool { return bad[i] > oldest }); i == len(bad) {
			delete(m.Bad, k)
		} else {
			m.Bad[k] = bad[i:]
		}
	}
}

// decide tests everything of a window as one family, and returns the level that it was tested at.
func (m *monitor) decide(compared []*comparison, bad []*badShare) (float64, error) {
	columns := make([]*drift.Column, len(compared))
	shared := 0.0 // by the reference, with other windows
	for i, c := range compared {
		columns[i] = c.result
		if c.series.Kind == alert.Drift {
			shared = max(shared, 0.5) // each window has a reference of about its own size
		} else if n := c.result.NEffRef + c.result.NEffCur; n > 0 {
			shared = max(shared, c.result.NEffCur/n)
		}
	}
	var judged []*badShare
	var p []float64
	for _, q := range bad {
		if q.judged() {
			judged, p = append(judged, q), append(p, q.p)
			shared = max(shared, q.cur.NEff/(q.ref.NEff+q.cur.NEff))
		}
	}
	level, err := m.level(shared)
	if err != nil {
		return 0, err
	}
	for i, adjusted := range drift.Family(columns, level, p...) {
		judged[i].adjusted = adjusted
		judged[i].decide(level)
	}
	return level, nil
}

// level is the level of the family of one evaluation that follows from the rate of false alarms that is configured.
func (m *monitor) level(shared float64) (float64, error) {
	bucket := int(math.Ceil(shared * 20))
	if l, ok := m.levels[bucket]; ok {
		return l, nil
	}
	l, err := schedule(m.Monitor, min(1, float64(bucket)/20)).Level()
	if err != nil {
		return 0, err
	}
	m.levels[bucket] = l
	return l, nil
}

// verdict is what the alerts are told of a comparison.
func (m *monitor) verdict(c *comparison, s *Score) alert.Verdict {
	v := s.verdict(c.column.group(), c.column.sources)
	if c.result.Outcome == drift.TypeChanged { // whatever the distance says of the few values that are left
		v.Effect, v.Significant = max(v.Effect, v.Threshold), true
	}
	return v
}
