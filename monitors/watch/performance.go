package watch

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/monitors/alert"
	"github.com/freshet-io/freshet/monitors/drift"
	"github.com/freshet-io/freshet/monitors/quality"
	"github.com/freshet-io/freshet/monitors/significance"
	"github.com/freshet-io/freshet/monitors/significance/tail"
)

// The outcomes of a window that is judged by labels, besides drift.Stable.
const (
	Worse        drift.Outcome = "worse"          // the effect is at least the threshold and significant
	TooFewLabels drift.Outcome = "too_few_labels" // fewer labels, or less coverage, than are judged
)

// Changed reports whether the outcome says that something is not as it should be.
func (s *Score) Changed() bool {
	return drift.Outcome(s.Outcome) == Worse || drift.Outcome(s.Outcome).Changed()
}

// labelJudgement is what a window came to by its labels.
type labelJudgement struct {
	Judgement
	coverage float64 // of all rows
	verdicts []alert.Verdict
	worse    []string // keys of series that were worse than allowed
}

// Duplicates is the check of repeated inferences, of the kind quality: those whose id was there before. Joining knows them.
const Duplicates = "duplicates"

// measured is one metric of one slice of a window, or its duplicates.
type measured struct {
	metric   config.Metric // named Duplicates of these
	slice    string
	sums     *quality.Sums
	result   quality.Result
	against  string
	enough   bool
	adjusted float64
}

func (x *measured) series() alert.Series {
	if x.metric.Name == Duplicates {
		return alert.Series{Kind: alert.Quality, Slice: x.slice, Check: Duplicates}
	}
	return alert.Series{Kind: alert.Performance, Column: config.PredictionColumn, Slice: x.slice, Check: x.metric.Name}
}

func labelSeriesKey(s alert.Series) string { return s.Check + "/" + s.Slice }

// judgeLabels measures every metric of every slice of the window that ends at end.
func (w *Watch) judgeLabels(m *monitor, end int64, revision int) (labelJudgement, error) {
	out := labelJudgement{Judgement: Judgement{Monitor: m.Monitor, Window: alert.Window{Start: end - m.Size.Microseconds(), End: end}, Check: true}}
	cur, err := w.sumLabelled(m.Size.Microseconds(), end)
	if err != nil {
		return out, err
	}
	if all := cur[""]; all != nil {
		out.coverage, out.Rows = all.Coverage(), uint64(max(0, all.Inferences))
	}
	shared := 0.0
	earlier := map[int64]map[string]*quality.Sums{} // by end
	var all []*measured
	for _, slice := range slices.Sorted(maps.Keys(cur)) {
		for _, metric := range m.Performance.Metrics {
			x := &measured{metric: metric, slice: slice, sums: cur[slice]}
			if metric.WorseBy > 0 {
				shared = 0.5
			}
			if err := w.measure(m, x, end, earlier); err != nil {
				return out, err
			}
			all = append(all, x)
		}
		if limit := m.Performance.MaxDuplicates; limit > 0 {
			all = append(all, duplicates(m, slice, cur[slice], limit))
		}
	}
	level, err := m.level(shared)
	if err != nil {
		return out, err
	}
	adjust(all)
	for _, x := range all {
		s := x.score(m, out.Window, revision, level)
		out.Scores = append(out.Scores, s)
		out.verdicts = append(out.verdicts, x.verdict(m, &s))
		if drift.Outcome(s.Outcome) == Worse {
			out.worse = append(out.worse, labelSeriesKey(x.series()))
		}
	}
	return out, nil
}

// duplicates are the repeated inferences of a slice. They are judged whatever labels have come, and exactly: so many are improbable where
// the limit's share is all there is.
func duplicates(m *monitor, slice string, s *quality.Sums, limit float64) *measured {
	n := s.Inferences + s.Duplicates
	x := &measured{
		metric: config.Metric{Name: Duplicates, Bound: limit}, slice: slice, sums: s, against: "max_duplicates", enough: n >= int64(m.MinSample),
		result: quality.Result{N: n, Bound: limit, Reference: math.NaN(), Effect: math.NaN(), Threshold: limit, P: 1},
	}
	if n > 0 {
		x.result.Value = float64(s.Duplicates) / float64(n)
		x.result.SE = math.Sqrt(x.result.Value * (1 - x.result.Value) / float64(n))
		x.result.Effect = x.result.Value
	}
	if s.Duplicates > 0 {
		x.result.P = tail.Binomial(float64(n), limit, float64(s.Duplicates))
	}
	return x
}

// measure computes a metric, beside that of the nearest earlier window in which it was not worse where it is relative (as W5).
func (w *Watch) measure(m *monitor, x *measured, end int64, earlier map[int64]map[string]*quality.Sums) error {
	metric, err := quality.Lookup(x.metric.Name)
	if err != nil {
		return err
	}
	var ref *quality.Sums
	if x.metric.WorseBy > 0 {
		size := m.Size.Microseconds()
		asked := end - m.Performance.Against.Microseconds()
		at := asked
		for m.Labels.worseIn(labelSeriesKey(x.series()), at-size, at, size) {
			if at -= size; at-size < end-labelReach(m.Monitor) {
				at = asked // what has been so for so long is the new normal
				break
			}
		}
		if earlier[at] == nil {
			if earlier[at], err = w.sumLabelled(size, at); err != nil {
				return err
			}
		}
		ref = earlier[at][x.slice]
		x.against = "window " + time.UnixMicro(at-size).UTC().Format(time.RFC3339) + "/" + time.UnixMicro(at).UTC().Format(time.RFC3339)
	}
	x.result = metric.Judge(x.sums, quality.Limit{Bound: x.metric.Bound, WorseBy: x.metric.WorseBy}, ref)
	x.enough = x.covered(m, x.sums) && !math.IsNaN(x.result.Effect) && (x.metric.WorseBy == 0 || x.covered(m, ref))
	return nil
}

// covered reports whether enough of some inferences have labels.
func (x *measured) covered(m *monitor, s *quality.Sums) bool {
	return s != nil && s.Usable() >= int64(m.MinSample) && s.Coverage() >= m.Performance.MinCoverage
}

// worseIn reports whether a series was worse in a window of a length that overlaps [start, end).
func (l *labelMemory) worseIn(key string, start, end, size int64) bool {
	return slices.ContainsFunc(l.Worse[key], func(e int64) bool { return e > start && e-size < end })
}

// adjust corrects the p-values of one evaluation for how many they are.
func adjust(all []*measured) {
	var family []*measured
	var p []float64
	for _, x := range all {
		x.adjusted = 1
		if x.enough {
			family, p = append(family, x), append(p, x.result.P)
		}
	}
	for i, adjusted := range significance.Adjust(p) {
		family[i].adjusted = adjusted
	}
}

func (x *measured) score(m *monitor, win alert.Window, revision int, level float64) Score {
	r := &x.result
	s := Score{
		Monitor: m.Name, Model: m.Model.Name, Kind: x.series().Kind, Column: x.series().Column, Slice: x.slice, Check: x.metric.Name, Window: win,
		Revision: revision, Against: x.against, Method: x.metric.Name, Score: Number(r.Value), Effect: Number(r.Effect), Threshold: r.Threshold,
		P: Number(r.P), PAdjusted: Number(x.adjusted), Level: level, NCur: uint64(max(0, r.N)), NRef: uint64(max(0, r.NRef)),
		NEffCur: Number(r.N), NEffRef: Number(r.NRef), Outcome: string(drift.Stable), Notes: x.notes(),
	}
	if s.Kind == alert.Quality {
		return x.exceeded(s)
	}
	coverage := Number(x.sums.Coverage())
	s.Coverage = &coverage
	switch {
	case !x.enough:
		s.Outcome = string(TooFewLabels)
	case r.Effect >= r.Threshold && x.adjusted <= level:
		s.Outcome = string(Worse)
	}
	return s
}

// exceeded completes the score of duplicates.
func (x *measured) exceeded(s Score) Score {
	switch {
	case !x.enough:
		s.Outcome = string(drift.TooFewRows)
	case x.result.Effect >= x.result.Threshold && x.adjusted <= s.Level:
		s.Outcome = string(drift.Exceeded)
	}
	return s
}

// notes are what a reader should know.
func (x *measured) notes() []string {
	r := &x.result
	if x.metric.Name == Duplicates {
		return []string{fmt.Sprintf("%d of %d inferences have an id that was there before, limit %g", x.sums.Duplicates, r.N, x.metric.Bound)}
	}
	limit := fmt.Sprintf("worse by %g of %.4g", x.metric.WorseBy, r.Reference)
	if x.metric.WorseBy == 0 {
		limit = fmt.Sprintf("limit %g", x.metric.Bound)
	}
	out := []string{
		fmt.Sprintf("%s %.4g, standard error %.2g, %s", x.metric.Name, r.Value, r.SE, limit),
		fmt.Sprintf("%d of %d inferences have labels (%.1f %%)", x.sums.Labelled, x.sums.Inferences, 100*x.sums.Coverage()),
	}
	if n := x.sums.Unusable; n > 0 {
		out = append(out, fmt.Sprintf("%d labelled inferences have a prediction or a label that is none", n))
	}
	if n := x.sums.Duplicates; n > 0 {
		out = append(out, fmt.Sprintf("%d inferences have an id that was there before", n))
	}
	return out
}

func (x *measured) verdict(m *monitor, s *Score) alert.Verdict {
	v := alert.Verdict{
		Series: x.series(), Effect: x.result.Effect, Threshold: x.result.Threshold, Significant: x.adjusted <= s.Level, Enough: x.enough,
		Evidence: alert.Evidence{
			Method: s.Method, Score: alert.Number(s.Score), P: alert.Number(s.P), Against: s.Against,
			Current: alert.Sample{N: x.result.N, NEff: alert.Number(x.result.N)}, Reference: alert.Sample{N: x.result.NRef, NEff: alert.Number(x.result.NRef)},
		},
	}
	for i, n := range s.Notes {
		if i > 0 {
			v.Evidence.Note += "; "
		}
		v.Evidence.Note += n
	}
	v.Evidence.Query = Query(m.Name, x.series(), s.Window.End)
	return v
}
