package alert

import (
	"fmt"
	"slices"
	"strings"
)

// Result is what an evaluation brought about.
type Result struct {
	Messages []Message
	// Dropped tells that the evaluation was counted before, or is older than one that was (A1): nothing has changed.
	Dropped bool
}

// Evaluate moves the monitor on by an evaluation. An error is a mistake of the caller, and changes nothing.
func (s State) Evaluate(e Evaluation) (State, Result, error) {
	e = e.canonical()
	if err := e.check(s.doc.Monitor); err != nil {
		return s, Result{}, err
	}
	if last, ok := s.doc.Lanes[e.Lane]; ok && e.Window.End <= last {
		return s, Result{Dropped: true}, nil
	}
	st := newStep(s.doc, e)
	st.doc.Lanes[e.Lane] = e.Window.End
	st.doc.Now = max(st.doc.Now, e.At)
	st.doc.Silences = slices.DeleteFunc(slices.Clone(st.doc.Silences), func(s Silence) bool { return s.End <= st.doc.Now })
	st.mutes = inForce(st.doc.Silences, st.doc.Now)
	st.judge()
	st.noteStale()
	st.join()
	st.offerEvidence()
	st.tell()
	st.keep()
	return State{st.doc}, Result{Messages: st.messages}, nil
}

// Accepts tells why Evaluate would refuse an evaluation; nil if it would not.
func (s State) Accepts(e Evaluation) error {
	e = e.canonical()
	return e.check(s.doc.Monitor)
}

// Retire ends a monitor that is no longer defined, at microseconds UTC: what was told is resolved. The state is not
// needed any more.
func (s State) Retire(at int64) []Message {
	st := newStep(s.doc, Evaluation{})
	st.doc.Now = max(st.doc.Now, at)
	for i := range st.doc.Episodes {
		e := &st.doc.Episodes[i]
		for j := range e.Members {
			if m := &e.Members[j]; !m.Over {
				m.Over, m.Until = true, st.doc.Now
			}
		}
		e.Reason = "the monitor is no longer defined"
		st.resolve(e)
	}
	return st.messages
}

// step is a state on its way to the next.
type step struct {
	doc      document // shares nothing with the former state that is changed
	e        Evaluation
	series   map[Series]*series
	mutes    []mute
	joined   map[string][]Series // by episode, those that are in it since this evaluation
	messages []Message
}

func newStep(doc document, e Evaluation) *step {
	st := &step{doc: doc.clone(), e: e, joined: map[string][]Series{}, series: make(map[Series]*series, len(doc.Series)+16)}
	for _, s := range doc.Series {
		st.series[s.Series] = &s
	}
	return st
}

// judge moves every series of the evaluation's lane on.
func (st *step) judge() {
	mentioned := make(map[Series]bool, len(st.e.Verdicts))
	for i := range st.e.Verdicts {
		v := &st.e.Verdicts[i]
		mentioned[v.Series] = true
		s := st.series[v.Series]
		if s == nil {
			s = &series{Series: v.Series}
			st.series[v.Series] = s
		}
		if !s.Phase.active() {
			s.Group = v.Group // who is in an episode stays in it
		}
		s.Sources, s.Lane = v.Sources, st.e.Lane
		s.judged(v.judge(), st.e.Window, st.e.For)
	}
	for key, s := range st.series {
		if s.Lane == st.e.Lane && !mentioned[key] && s.unmentioned(st.e.Window, st.e.For) {
			delete(st.series, key)
		}
	}
}

// noteStale notes which sources mute their columns, as of this window.
func (st *step) noteStale() {
	for _, s := range st.series {
		if s.Lane != st.e.Lane || !s.Phase.active() || !s.Kind.mutes() {
			continue
		}
		for _, source := range orAll(s.Sources) {
			key := staleKey(source, s.Slice)
			st.doc.Stale[key] = max(st.e.Window.End, st.doc.Stale[key])
		}
	}
}

// orAll is the sources that a series is about: without any, all.
func orAll(sources []string) []string {
	if len(sources) == 0 {
		return []string{""}
	}
	return sources
}

// staleKey is what a stale series mutes: all of a source, or what is of one slice of it. Sources are names without a slash.
func staleKey(source, slice string) string {
	if slice == "" {
		return source
	}
	return source + "/" + slice
}

// staleNow are the keys of what mutes their columns at this moment.
func (st *step) staleNow() map[string]bool {
	out := map[string]bool{}
	for _, s := range st.series {
		if s.Phase.active() && s.Kind.mutes() {
			for _, source := range orAll(s.Sources) {
				out[staleKey(source, s.Slice)] = true
			}
		}
	}
	return out
}

// muted says by what a series is muted (A8), or returns the empty string.
func (st *step) muted(s *series, stale map[string]bool) string {
	for i := range st.mutes {
		if st.mutes[i].covers(st.doc.Monitor, s) {
			return "silence " + st.mutes[i].id
		}
	}
	if s.Kind.Class() == Availability {
		return ""
	}
	for _, source := range append([]string{""}, s.Sources...) {
		for _, slice := range slices.Compact([]string{"", s.Slice}) {
			key := staleKey(source, slice)
			switch until, ok := st.doc.Stale[key]; {
			case !stale[key] && !(ok && s.Latest < until):
			case source == "":
				return "no data"
			case slice == "":
				return fmt.Sprintf("source %s is stale", source)
			default:
				return fmt.Sprintf("%s of source %s is stale", slice, source)
			}
		}
	}
	return ""
}

// staleParts says which slices of their sources are stale beside series that these slices do not mute: what all rows lack because
// one airport is silent is told, and told why it may be so.
func (st *step) staleParts(of []Series) string {
	var parts []string
	for key := range st.staleNow() {
		source, slice, partly := strings.Cut(key, "/")
		if partly && slices.ContainsFunc(of, func(x Series) bool {
			s := st.series[x]
			return s != nil && s.Kind.Class() != Availability && slices.Contains(s.Sources, source)
		}) {
			parts = append(parts, slice+" of "+source)
		}
	}
	if len(parts) == 0 {
		return ""
	}
	slices.Sort(parts)
	const named = 3
	out := "; stale is " + strings.Join(parts[:min(named, len(parts))], ", ")
	if len(parts) > named {
		out += fmt.Sprintf(" and %d more", len(parts)-named)
	}
	return out
}

// keep puts what is to be remembered of the series back in order.
func (st *step) keep() {
	st.doc.Series = nil
	for _, s := range st.series {
		if s.kept() {
			st.doc.Series = append(st.doc.Series, *s)
		}
	}
	slices.SortFunc(st.doc.Series, func(a, b series) int { return compareSeries(a.Series, b.Series) })
}
