package watch

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/freshet-io/freshet/monitors/alert"
	"github.com/freshet-io/freshet/monitors/drift"
	"github.com/freshet-io/freshet/monitors/significance"
	"github.com/freshet-io/freshet/monitors/wire"
)

const (
	hour      = int64(time.Hour / time.Microsecond)
	weekHours = 7 * 24
	// comparedHours is how many hours must have been compared before one is judged: how much hours of a week differ is
	// estimated from them.
	comparedHours = 24
	// hoursKept is over how many compared hours that estimate forgets: four weeks.
	hoursKept = 4 * weekHours
	// hoursAlike is how many hours in a row are taken as one in the estimate's degrees of freedom: a busy day is busy for
	// hours.
	hoursAlike = 6
	// volumeShared is the correlation between an hour and the next.
	volumeShared = 0.5

	volumeLane = "volume"
)

// volume is what is remembered of the inferences of one slice: the last counts of each hour of the week, which begins on
// Thursday as the Unix epoch did, and how much counts have differed from the earlier ones of their hour.
type volume struct {
	hours    [weekHours][]hourCount // the oldest first, as many as weeks are compared with
	surprise float64                // sum of significance.History.Surprise, with what is long ago fading
	weight   float64                // of how many hours
}

// hourCount is how many inferences an hour had, and whether that was judged to be unusual: what is unusual is no
// reference, unless there has been nothing else.
type hourCount struct {
	n   uint64
	bad bool
}

// history is what an hour of the week is compared with; ok is false before there is any.
func (v *volume) history(cell int) (h significance.History, ok bool) {
	var all, good float64
	var n int
	for _, c := range v.hours[cell] {
		all += float64(c.n)
		if !c.bad {
			good += float64(c.n)
			n++
		}
	}
	if n == 0 {
		good, n = all, len(v.hours[cell])
	}
	if n == 0 {
		return h, false
	}
	h = significance.History{Mean: good / float64(n), Count: float64(n), Dispersion: 1, DF: v.weight / hoursAlike}
	if v.weight > 0 {
		h.Dispersion = max(1, v.surprise/v.weight)
	}
	return h, true
}

// add takes an hour's count up.
func (v *volume) add(cell int, c hourCount, weeks int) {
	if h, ok := v.history(cell); ok && !c.bad {
		const fade = 1 - 1.0/hoursKept
		v.surprise, v.weight = v.surprise*fade+h.Surprise(float64(c.n)), v.weight*fade+1
	}
	of := append(v.hours[cell], c)
	v.hours[cell] = of[max(0, len(of)-weeks):]
}

func hourOfWeek(start int64) int { return int(((start/hour)%weekHours + weekHours) % weekHours) }

// volumeVersion is the first byte of a volume's record. The rest: surprise and weight (the bits of a float64 each, as
// uvarints), and for each hour of the week how many counts there are and each of them, doubled, and one more if it was unusual.
const volumeVersion = 1

func (v *volume) encode() []byte {
	b := binary.AppendUvarint([]byte{volumeVersion}, math.Float64bits(v.surprise))
	b = binary.AppendUvarint(b, math.Float64bits(v.weight))
	for _, of := range v.hours {
		b = binary.AppendUvarint(b, uint64(len(of)))
		for _, c := range of {
			n := c.n << 1
			if c.bad {
				n |= 1
			}
			b = binary.AppendUvarint(b, n)
		}
	}
	return b
}

func decodeVolume(data []byte) (*volume, error) {
	r := wire.NewReader(data)
	if version := r.Byte(); len(data) > 0 && version != volumeVersion {
		return nil, fmt.Errorf("version %d is not known", version)
	}
	v := &volume{surprise: math.Float64frombits(r.Uvarint()), weight: math.Float64frombits(r.Uvarint())}
	for i := range v.hours {
		for range r.Count() {
			n := r.Uvarint()
			v.hours[i] = append(v.hours[i], hourCount{n >> 1, n&1 == 1})
		}
	}
	return v, r.End()
}

func volumeRecord(monitor, slice string) string { return "volume/" + monitor + "/" + slice }

func (w *Watch) restoreVolume(name string, value []byte) error {
	monitor, slice := parseSliceKey(name)
	m := w.monitor(monitor)
	if m == nil || m.Volume == nil {
		w.changed[volumeRecord(monitor, slice)] = struct{}{} // it is not checked any more
		return nil
	}
	v, err := decodeVolume(value)
	if err != nil {
		return err
	}
	for i, of := range v.hours {
		v.hours[i] = of[max(0, len(of)-m.Volume.Weeks):]
	}
	m.volumes[slice] = v
	return nil
}

// countedHour is one slice of an hour that is judged.
type countedHour struct {
	slice    string
	n        uint64
	history  significance.History
	p        float64
	adjusted float64
	judged   bool
}

func (c *countedHour) effect() float64 {
	return math.Abs(float64(c.n)-c.history.Mean) / max(1, c.history.Mean)
}

// hourDue reports whether the volume of an hour is to be judged, at stream time t. After so many hours without inferences
// that nothing else is remembered, it begins anew with what comes then.
func (w *Watch) hourDue(m *monitor, t int64) bool {
	if m.Volume == nil || m.Hour == 0 {
		return false
	}
	if m.Quiet > m.Volume.Weeks*weekHours {
		first := int64(math.MaxInt64)
		for k := range w.panes[m.Bins.Name] {
			if k.start >= m.Hour-hour {
				first = min(first, k.start)
			}
		}
		if first == math.MaxInt64 {
			return false
		}
		for slice := range m.volumes {
			w.changed[volumeRecord(m.Name, slice)] = struct{}{}
		}
		clear(m.volumes)
		m.Hour, m.Quiet = floor(first, hour)+2*hour, 0
		w.changed[monitorRecord(m.Name)] = struct{}{}
	}
	return m.Hour+m.Grace.Microseconds() <= t
}

// judgeHour judges the volume of the next hour, and takes it up.
func (w *Watch) judgeHour(m *monitor) (Judgement, error) {
	j := Judgement{Monitor: m.Monitor, Window: alert.Window{Start: m.Hour - hour, End: m.Hour}, Check: true}
	m.Hour += hour
	w.changed[monitorRecord(m.Name)] = struct{}{}
	if w.baselines[m.Bins.Name] == nil {
		return j, nil // without one nothing is counted
	}
	counts := w.hourCounts(m, j.Window)
	if j.Rows = counts[""]; j.Rows > 0 {
		m.Quiet = 0
	} else {
		m.Quiet++
	}
	cell := hourOfWeek(j.Window.Start)
	compared, err := m.compareHour(counts, cell)
	if err != nil {
		return j, fmt.Errorf("the hour that ends at %s: %w", time.UnixMicro(j.Window.End).UTC().Format(time.RFC3339), err)
	}
	check := Check{Monitor: m.Name, Lane: volumeLane, Window: j.Window}
	unusual := map[string]bool{}
	for _, c := range compared {
		s := c.score(m, j.Window)
		unusual[c.slice] = drift.Outcome(s.Outcome).Changed()
		check.Scores = append(check.Scores, s)
		check.Verdicts = append(check.Verdicts, s.verdict("", nil))
	}
	for slice, n := range counts {
		if m.volumes[slice] == nil {
			m.volumes[slice] = &volume{}
		}
		m.volumes[slice].add(cell, hourCount{n, unusual[slice]}, m.Volume.Weeks)
		w.changed[volumeRecord(m.Name, slice)] = struct{}{}
	}
	return j, w.evaluate(m, &check, &j)
}

// hourCounts is how many inferences each slice had that has ever had any.
func (w *Watch) hourCounts(m *monitor, win alert.Window) map[string]uint64 {
	counts := map[string]uint64{"": 0}
	for slice := range m.volumes {
		counts[slice] = 0
	}
	for k, p := range w.panes[m.Bins.Name] {
		if k.start >= win.Start && k.start < win.End {
			counts[k.slice] += p.rows
		}
	}
	return counts
}

// compareHour tests the slices of an hour that have something to be compared with, in order.
func (m *monitor) compareHour(counts map[string]uint64, cell int) ([]*countedHour, error) {
	var out, judged []*countedHour
	var p []float64
	for _, slice := range slices.Sorted(maps.Keys(counts)) {
		v := m.volumes[slice]
		if v == nil {
			continue
		}
		h, ok := v.history(cell)
		if !ok {
			continue
		}
		c := &countedHour{slice: slice, n: counts[slice], history: h, judged: v.weight >= comparedHours*0.95} // what has faded is not missing
		var err error
		if c.p, err = significance.Volume(float64(c.n), h); err != nil {
			return nil, fmt.Errorf("slice %q: %w", slice, err)
		}
		c.adjusted = c.p
		if out = append(out, c); c.judged {
			judged, p = append(judged, c), append(p, c.p)
		}
	}
	for i, adjusted := range significance.Adjust(p) {
		judged[i].adjusted = adjusted
	}
	return out, nil
}

func (c *countedHour) score(m *monitor, win alert.Window) Score {
	s := Score{
		Monitor: m.Name, Model: m.Model.Name, Kind: alert.Volume, Slice: c.slice, Window: win, Against: fmt.Sprintf("the same hour of %.0f earlier weeks", c.history.Count),
		Method: significance.TestVolume, Score: Number(c.n), Effect: Number(c.effect()), Threshold: m.Volume.Threshold, P: Number(c.p), PAdjusted: Number(c.adjusted), Level: m.volumeLevel,
		NRef: uint64(math.Round(c.history.Mean)), NCur: c.n, NEffRef: Number(c.history.Mean / c.history.Dispersion), NEffCur: Number(float64(c.n) / c.history.Dispersion),
		Outcome: string(drift.Stable),
		Notes:   []string{fmt.Sprintf("%d inferences in the hour, %.1f on average in the same hour of the week before", c.n, c.history.Mean)},
	}
	switch {
	case !c.judged:
		s.Outcome = string(drift.TooFewRows)
		s.Notes = append(s.Notes, fmt.Sprintf("fewer than %d hours have been compared", comparedHours))
	case c.adjusted <= m.volumeLevel && c.effect() >= m.Volume.Threshold:
		s.Outcome = string(drift.Exceeded)
	}
	return s
}
