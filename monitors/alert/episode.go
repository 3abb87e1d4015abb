package alert

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
)

// group is what shares an episode.
type group struct {
	Class Class
	Name  string
}

func compareGroups(a, b group) int {
	return cmp.Or(cmp.Compare(a.Class, b.Class), cmp.Compare(a.Name, b.Name))
}

// episode is a time during which something of a group was wrong.
type episode struct {
	ID       string     `json:"id"`
	Class    Class      `json:"class"`
	Group    string     `json:"group,omitempty"`
	Model    string     `json:"model,omitempty"`
	Origin   string     `json:"origin,omitempty"`
	Lane     string     `json:"lane,omitempty"`
	Opened   int64      `json:"opened"`            // end of the window that opened it
	Size     int64      `json:"size"`              // of that window
	Start    int64      `json:"start"`             // of the first bad window of the series that opened it
	Waited   bool       `json:"waited,omitempty"`  // the group's wait is over
	Told     bool       `json:"told,omitempty"`    // its firing message has been sent
	Noted    bool       `json:"noted,omitempty"`   // the history says that it is muted
	Updates  int        `json:"updates,omitempty"` // of its record in the history
	Reason   string     `json:"reason,omitempty"`  // why it ended, if not by itself
	Members  []member   `json:"members"`           // every series that was ever in it
	Evidence []Evidence `json:"evidence,omitempty"`
}

// member is a series' part in an episode, with its worst effect.
type member struct {
	Series
	From      int64  `json:"from"`            // start of its first bad window
	Until     int64  `json:"until,omitempty"` // end of the window with which it recovered
	Over      bool   `json:"over,omitempty"`  // it has recovered
	Effect    Number `json:"effect"`
	Threshold Number `json:"threshold"`
}

// maxKeptEvidence bounds the evidence of an episode in the state: that of the worst series, each at its worst.
const maxKeptEvidence = 8

func (e *episode) key() group { return group{e.Class, e.Group} }

func (e *episode) find(s Series) (int, bool) {
	return slices.BinarySearchFunc(e.Members, s, func(m member, s Series) int { return compareSeries(m.Series, s) })
}

func (e *episode) all() []Series {
	out := make([]Series, len(e.Members))
	for i, m := range e.Members {
		out[i] = m.Series
	}
	return out
}

// episodeID is the same whenever the same evaluation opens an episode of the same group. A lane has an end once, so no
// other episode has it.
func episodeID(monitor string, g group, lane string, opened int64) string {
	h := sha256.New()
	for _, part := range []string{monitor, string(g.Class), g.Name, lane} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write([]byte(part))
	}
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(opened))
	h.Write(n[:])
	return "ep_" + hex.EncodeToString(h.Sum(nil)[:16])
}

// join puts every series that fires or recovers in its group's episode, opening one where there is none, and lets go of
// those that do neither.
func (st *step) join() {
	open := make(map[group]*episode, len(st.doc.Episodes))
	for i := range st.doc.Episodes {
		open[st.doc.Episodes[i].key()] = &st.doc.Episodes[i]
	}
	active := make([]*series, 0, 16)
	for _, s := range st.series {
		if s.Phase.active() {
			active = append(active, s)
		}
	}
	slices.SortFunc(active, func(a, b *series) int { return compareSeries(a.Series, b.Series) })
	for _, s := range active {
		g := group{s.Kind.Class(), s.Group}
		if open[g] == nil {
			open[g] = st.open(g, s)
		}
		if open[g].admit(s) {
			st.joined[open[g].ID] = append(st.joined[open[g].ID], s.Series)
		}
	}
	st.doc.Episodes = st.doc.Episodes[:0:0]
	for _, e := range open {
		for i := range e.Members {
			m := &e.Members[i]
			if s := st.series[m.Series]; !m.Over && (s == nil || !s.Phase.active()) {
				m.Over, m.Until = true, st.e.Window.End
			}
		}
		st.doc.Episodes = append(st.doc.Episodes, *e)
	}
	slices.SortFunc(st.doc.Episodes, func(a, b episode) int { return compareGroups(a.key(), b.key()) })
}

func (st *step) open(g group, s *series) *episode {
	w := st.e.Window
	return &episode{
		ID: episodeID(st.doc.Monitor, g, st.e.Lane, w.End), Class: g.Class, Group: g.Name, Model: st.e.Model, Origin: st.e.Origin,
		Lane: st.e.Lane, Opened: w.End, Size: w.End - w.Start, Start: s.From,
	}
}

// admit makes an active series a member, and tells whether it was none until now.
func (e *episode) admit(s *series) bool {
	if !e.Told {
		e.Start = min(e.Start, s.From)
	}
	i, found := e.find(s.Series)
	switch {
	case !found:
		e.Members = slices.Insert(e.Members, i, member{Series: s.Series, From: s.From})
	case e.Members[i].Over:
		e.Members[i].Over, e.Members[i].Until = false, 0
	default:
		return false
	}
	return true
}

// offerEvidence keeps the worst evidence of each episode. What the verdict of a muted series shows comes last.
func (st *step) offerEvidence() {
	open := make(map[group]*episode, len(st.doc.Episodes))
	for i := range st.doc.Episodes {
		open[st.doc.Episodes[i].key()] = &st.doc.Episodes[i]
	}
	offered := map[*episode]map[Series]Evidence{}
	for i := range st.e.Verdicts {
		v := &st.e.Verdicts[i]
		s := st.series[v.Series]
		if s == nil || s.Phase != Firing || v.judge() != bad {
			continue
		}
		e := open[group{s.Kind.Class(), s.Group}]
		at, found := e.find(s.Series)
		if !found {
			continue
		}
		m := &e.Members[at]
		if m.Threshold == 0 && m.Effect == 0 || ratio(v.Evidence.Effect, v.Evidence.Threshold) > ratio(m.Effect, m.Threshold) {
			m.Effect, m.Threshold = v.Evidence.Effect, v.Evidence.Threshold
			if offered[e] == nil {
				offered[e] = map[Series]Evidence{}
			}
			offered[e][v.Series] = v.Evidence
		}
	}
	stale := st.staleNow()
	for e, worse := range offered {
		e.Evidence = slices.DeleteFunc(e.Evidence, func(x Evidence) bool { _, ok := worse[x.Series]; return ok })
		for _, x := range worse { // worstFirst puts them in order
			e.Evidence = append(e.Evidence, x)
		}
		st.worstFirst(e, stale)
	}
}

func (st *step) worstFirst(e *episode, stale map[string]bool) {
	hidden := map[Series]int{}
	for i := range e.Evidence {
		if s := st.series[e.Evidence[i].Series]; s != nil && st.muted(s, stale) != "" {
			hidden[s.Series] = 1
		}
	}
	slices.SortFunc(e.Evidence, func(a, b Evidence) int {
		return cmp.Or(cmp.Compare(hidden[a.Series], hidden[b.Series]),
			cmp.Compare(ratio(b.Effect, b.Threshold), ratio(a.Effect, a.Threshold)), compareSeries(a.Series, b.Series))
	})
	e.Evidence = e.Evidence[:min(len(e.Evidence), maxKeptEvidence)]
}

// tell sends what is to be said of each episode and drops those that are over (A6 to A8).
func (st *step) tell() {
	stale := st.staleNow()
	st.doc.Episodes = slices.DeleteFunc(st.doc.Episodes, func(e episode) bool {
		over := !slices.ContainsFunc(e.Members, func(m member) bool { return !m.Over })
		if over {
			st.resolve(&e)
		}
		return over
	})
	for i := range st.doc.Episodes {
		e := &st.doc.Episodes[i]
		end := st.e.Window.End
		e.Waited = e.Waited || st.e.Lane == e.Lane && end > e.Opened || end >= e.Opened+e.Size
		if joined := st.joined[e.ID]; e.Told && len(joined) > 0 {
			e.Updates++
			st.messages = append(st.messages, st.message(e, UpdatedType, joined))
		}
		if e.Told || !e.Waited {
			continue
		}
		heard, firing, reason := st.audible(e, stale)
		switch {
		case len(heard) > 0:
			e.Told = true
			st.messages = append(st.messages, st.message(e, FiringType, heard))
		case firing && !e.Noted:
			e.Noted = true
			m := st.message(e, MutedType, e.all())
			m.MutedBy = reason
			st.messages = append(st.messages, m)
		}
	}
}

// audible returns the members to tell of: those that are not muted, if one of them fires; else whether any member fires
// at all, and what mutes the first of those.
func (st *step) audible(e *episode, stale map[string]bool) (heard []Series, firing bool, reason string) {
	loud := false
	for _, m := range e.Members {
		s := st.series[m.Series]
		if s == nil || !s.Phase.active() {
			continue
		}
		by := st.muted(s, stale)
		if by == "" {
			heard = append(heard, m.Series)
			loud = loud || s.Phase == Firing
		}
		if s.Phase == Firing && by != "" && reason == "" {
			reason = by
		}
		firing = firing || s.Phase == Firing
	}
	if !loud {
		return nil, firing && reason != "", reason
	}
	return heard, true, ""
}

// resolve says that an episode is over to whom it began.
func (st *step) resolve(e *episode) {
	switch {
	case e.Told:
		st.messages = append(st.messages, st.message(e, ResolvedType, e.all()))
	case e.Noted:
		st.messages = append(st.messages, st.message(e, UnheardType, e.all()))
	}
}
