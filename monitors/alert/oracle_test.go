package alert_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/freshet-io/freshet/monitors/alert"
)

// oracle says what a monitor's messages are by looking, at each evaluation, at everything that was ever judged. It keeps
// no counters: a phase follows from the like verdicts at the end of a series' history.
type oracle struct {
	accepted []alert.Evaluation
	silences map[string]alert.Silence
	told     map[string]bool // open episodes, by class and group
	noted    map[string]bool
	waited   map[string]bool
	opened   map[string]alert.Evaluation
	members  map[string]map[alert.Series]bool
	active   map[alert.Series]string // group key of those that are active
	stale    map[string]int64
	now      int64
}

func newOracle() *oracle {
	return &oracle{
		silences: map[string]alert.Silence{}, told: map[string]bool{}, noted: map[string]bool{}, waited: map[string]bool{},
		opened: map[string]alert.Evaluation{}, members: map[string]map[alert.Series]bool{}, active: map[alert.Series]string{}, stale: map[string]int64{},
	}
}

// look is one window of a series' history.
type look struct {
	w    alert.Window
	what string // bad, good, between, unknown, absent
}

func classify(v *alert.Verdict) string {
	switch {
	case !v.Enough:
		return "unknown"
	case v.Significant && v.Effect >= v.Threshold:
		return "bad"
	case v.Significant && v.Effect >= v.Lower:
		return "between"
	}
	return "good"
}

// disjoint is how many windows of a list can be taken from its beginning without overlaps.
func disjoint(list []look) int {
	n, end := 0, int64(-1<<62)
	for _, l := range list {
		if l.w.Start >= end {
			n, end = n+1, l.w.End
		}
	}
	return n
}

// suffix is the end of a list in which everything is what, leaving out what is skipped.
func suffix(list []look, what string, skip ...string) []look {
	var out []look
	for _, l := range slices.Backward(list) {
		if slices.Contains(skip, l.what) {
			continue
		}
		if l.what != what {
			break
		}
		out = append(out, l)
	}
	slices.Reverse(out)
	return out
}

// phase is that of a series after its history in its lane, where it is first mentioned at the beginning.
func phase(history []look, k int) (name string, muteStart int64) {
	name = "normal"
	from := 0 // what counts for the next phase begins here
	known := false
	for i := range history {
		l := history[i]
		if !known && l.what == "absent" {
			continue
		}
		if !known {
			known, from = true, i
		}
		if l.what != "absent" {
			muteStart = l.w.Start
		}
		since := history[from : i+1]
		if l.what == "absent" {
			remembered := name != "normal" || len(suffix(since, "unknown", "absent")) > 0
			if !remembered || disjoint(suffix(since, "absent")) >= k {
				name, known = "normal", false
			}
			continue
		}
		activeNow := name == "firing" || name == "recovering"
		switch {
		case activeNow && l.what == "unknown":
		case activeNow && disjoint(suffix(since, "good", "unknown", "absent")) >= k:
			name, from = "normal", i+1
		case activeNow && l.what == "good":
			name = "recovering"
		case activeNow:
			name = "firing"
		case l.what == "unknown" && name != "no_data" && disjoint(suffix(since, "unknown", "absent")) >= k:
			name, from = "no_data", i+1
		case l.what == "unknown":
		case l.what != "bad":
			name = "normal"
		case disjoint(suffix(since, "bad", "unknown", "absent")) >= k:
			name, from = "firing", i+1
		default:
			name = "pending"
		}
	}
	return name, muteStart
}

// evaluate returns what is sent or noted, as text.
func (o *oracle) evaluate(e alert.Evaluation) []string {
	for _, a := range o.accepted {
		if a.Lane == e.Lane && a.Window.End >= e.Window.End {
			return nil
		}
	}
	o.accepted = append(o.accepted, e)
	o.now = max(o.now, e.At)
	phases, latest, verdicts := o.phases(e.For)
	mutesNow := map[string]bool{} // by source, or source and slice
	for s := range phases {
		if (phases[s] == "firing" || phases[s] == "recovering") && (s.Kind == alert.Freshness || s.Kind == alert.NoData) {
			what := s.Column + " " + s.Slice
			mutesNow[what] = true
			if o.laneOf(s) == e.Lane {
				o.stale[what] = max(o.stale[what], e.Window.End)
			}
		}
	}
	joined := map[string][]alert.Series{}
	for s, p := range phases {
		was, now := o.active[s] != "", p == "firing" || p == "recovering"
		key := string(s.Kind.Class()) + "/" + verdicts[s].Group
		switch {
		case now && !was:
			o.active[s] = key
			if o.members[key] == nil {
				o.members[key], o.opened[key] = map[alert.Series]bool{}, e
			}
			o.members[key][s] = true
			joined[key] = append(joined[key], s)
		case !now && was:
			delete(o.active, s)
		}
	}
	var said []string
	for key := range o.members {
		said = append(said, o.say(key, e, phases, latest, verdicts, mutesNow, joined[key])...)
	}
	slices.Sort(said)
	return said
}

func (o *oracle) say(key string, e alert.Evaluation, phases map[alert.Series]string, latest map[alert.Series]int64, verdicts map[alert.Series]alert.Verdict, mutesNow map[string]bool, joined []alert.Series) []string {
	var active, heard []alert.Series
	firing, loud := false, false
	for s, k := range o.active {
		if k != key {
			continue
		}
		active = append(active, s)
		muted := o.silenced(s)
		if s.Kind.Class() != alert.Availability {
			for _, src := range verdicts[s].Sources {
				for _, what := range []string{src + " ", src + " " + s.Slice} {
					until, was := o.stale[what]
					muted = muted || mutesNow[what] || was && latest[s] < until
				}
			}
		}
		if !muted {
			heard = append(heard, s)
		}
		firing = firing || phases[s] == "firing"
		loud = loud || phases[s] == "firing" && !muted
	}
	all := names(o.members[key])
	opened := o.opened[key]
	id := func(kind string, list string) string {
		return fmt.Sprintf("%s %s %s %s", kind, key, alert.EpisodeID("m", opened, key), list)
	}
	if len(active) == 0 {
		told, noted := o.told[key], o.noted[key]
		delete(o.members, key)
		delete(o.told, key)
		delete(o.noted, key)
		delete(o.waited, key)
		switch {
		case told:
			return []string{id("resolved", all)}
		case noted:
			return []string{id("muted_over", all)}
		}
		return nil
	}
	size := opened.Window.End - opened.Window.Start
	if e.Lane == opened.Lane && e.Window.End > opened.Window.End || e.Window.End >= opened.Window.End+size {
		o.waited[key] = true
	}
	switch {
	case o.told[key]:
		if len(joined) > 0 {
			return []string{id("updated", list(joined))}
		}
	case !o.waited[key]:
	case loud:
		o.told[key] = true
		return []string{id("firing", list(heard))}
	case firing && !o.noted[key]:
		o.noted[key] = true
		return []string{id("muted", all)}
	}
	return nil
}

func (o *oracle) silenced(s alert.Series) bool {
	for _, sil := range o.silences {
		if sil.Start <= o.now && o.now < sil.End && strings.HasPrefix(s.Column, strings.TrimSuffix(sil.Matchers[0].Value, ".*")) {
			return true
		}
	}
	return false
}

func (o *oracle) laneOf(s alert.Series) string {
	if s.Kind == alert.Freshness {
		return "ticks"
	}
	return "windows"
}

// phases replays everything.
func (o *oracle) phases(k int) (map[alert.Series]string, map[alert.Series]int64, map[alert.Series]alert.Verdict) {
	verdicts := map[alert.Series]alert.Verdict{}
	for _, e := range o.accepted {
		for _, v := range e.Verdicts {
			verdicts[v.Series] = v
		}
	}
	phases, latest := map[alert.Series]string{}, map[alert.Series]int64{}
	for s := range verdicts {
		var history []look
		for _, e := range o.accepted {
			if e.Lane != o.laneOf(s) {
				continue
			}
			what := "absent"
			for i := range e.Verdicts {
				if e.Verdicts[i].Series == s {
					what = classify(&e.Verdicts[i])
				}
			}
			history = append(history, look{e.Window, what})
		}
		phases[s], latest[s] = phase(history, k)
	}
	return phases, latest, verdicts
}

func names(set map[alert.Series]bool) string {
	var out []alert.Series
	for s := range set {
		out = append(out, s)
	}
	return list(out)
}

func list(of []alert.Series) string {
	var out []string
	for _, s := range of {
		out = append(out, fmt.Sprintf("%s:%s", s.Kind, s.Column))
	}
	slices.Sort(out)
	return strings.Join(out, ",")
}
