package alert

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
)

// State is what is remembered of one monitor. It is a value: what changes it returns another and leaves it as it was.
// Its size grows with the series that are not normal (about 200 bytes each, 300 in an episode) and the silences.
type State struct{ doc document }

// document is the state's encoding. Lists are in the order of their keys, so equal states are equal bytes.
type document struct {
	Version  int              `json:"version"`
	Monitor  string           `json:"monitor"`
	Now      int64            `json:"now,omitempty"`   // the latest Evaluation.At
	Lanes    map[string]int64 `json:"lanes,omitempty"` // the last window's end of each (A1)
	Series   []series         `json:"series,omitempty"`
	Episodes []episode        `json:"episodes,omitempty"` // open ones
	Silences []Silence        `json:"silences,omitempty"`
	Stale    map[string]int64 `json:"stale,omitempty"` // end of the last window in which a source, or SOURCE/SLICE, muted its columns; "": all (A8)
}

// stateVersion is raised when a reader of the older one would be wrong about the newer. Version 1 has no checks: its
// readers would take the series of two checks for one twice. What has none is written as version 1 still.
const stateVersion = 2

// New is the state of a monitor of which nothing has been judged yet.
func New(monitor string) State {
	return State{document{Monitor: canonical(monitor)}}
}

// Encode writes the state as a record's value: a JSON document.
func (s State) Encode() ([]byte, error) {
	if s.doc.Version = 1; s.doc.checked() {
		s.doc.Version = stateVersion
	}
	text, err := json.Marshal(s.doc)
	if err != nil {
		return nil, fmt.Errorf("encode the alerts of monitor %q: %w", s.doc.Monitor, err)
	}
	return text, nil
}

// Decode reads what Encode wrote, and refuses what it can not have written.
func Decode(text []byte) (State, error) {
	var doc document
	if err := unmarshal(text, &doc); err != nil {
		return State{}, fmt.Errorf("decode the alerts of a monitor: %w", err)
	}
	if doc.Version < 1 || doc.Version > stateVersion {
		return State{}, fmt.Errorf("decode the alerts of monitor %q: version %d, this program reads 1 to %d", doc.Monitor, doc.Version, stateVersion)
	}
	if err := doc.check(); err != nil {
		return State{}, fmt.Errorf("decode the alerts of monitor %q: %w", doc.Monitor, err)
	}
	return State{doc}, nil
}

// unmarshal reads one JSON document with nothing after it.
func unmarshal(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more after the end of the document")
	}
	return nil
}

// check holds a document to what the code relies on: the order of its lists, and that members of episodes are series
// that can be in them.
func (d *document) check() error {
	if !ascending(d.Series, func(a, b series) int { return compareSeries(a.Series, b.Series) }) {
		return errors.New("the series are not in order")
	}
	for i := range d.Series {
		if s := &d.Series[i]; !s.Kind.known() || !s.kept() {
			return fmt.Errorf("series %s of column %q cannot be kept", s.Kind, s.Column)
		}
	}
	if !ascending(d.Episodes, func(a, b episode) int { return compareGroups(a.key(), b.key()) }) {
		return errors.New("the episodes are not in order")
	}
	for i := range d.Episodes {
		e := &d.Episodes[i]
		if e.ID == "" || len(e.Evidence) > maxKeptEvidence || !ascending(e.Members, func(a, b member) int { return compareSeries(a.Series, b.Series) }) {
			return fmt.Errorf("episode %q has no id, or its lists are not in order", e.ID)
		}
	}
	if !ascending(d.Silences, func(a, b Silence) int { return cmp.Compare(a.ID, b.ID) }) {
		return errors.New("the silences are not in order")
	}
	for i := range d.Silences {
		if err := d.Silences[i].check(); err != nil {
			return err
		}
	}
	return nil
}

// checked tells whether a series is that of a check.
func (d *document) checked() bool {
	if slices.ContainsFunc(d.Series, func(s series) bool { return s.Check != "" }) {
		return true
	}
	return slices.ContainsFunc(d.Episodes, func(e episode) bool {
		return slices.ContainsFunc(e.Members, func(m member) bool { return m.Check != "" })
	})
}

// ascending tells whether a list is sorted and has nothing twice.
func ascending[T any](list []T, compare func(a, b T) int) bool {
	for i := 1; i < len(list); i++ {
		if compare(list[i-1], list[i]) >= 0 {
			return false
		}
	}
	return true
}

// Monitor is the name of the monitor that the state is of.
func (s State) Monitor() string { return s.doc.Monitor }

// SetSilence sets a silence, or replaces the one with its ID. It takes effect with the next evaluation.
func (s State) SetSilence(silence Silence) (State, error) {
	if err := silence.check(); err != nil {
		return s, err
	}
	silence.Matchers = slices.Clone(silence.Matchers)
	list := slices.Clone(s.doc.Silences)
	i, found := slices.BinarySearchFunc(list, silence.ID, func(a Silence, id string) int { return cmp.Compare(a.ID, id) })
	switch {
	case found:
		list[i] = silence
	case len(list) >= maxSilences:
		return s, fmt.Errorf("silence %s: monitor %q has %d silences already", silence.ID, s.doc.Monitor, maxSilences)
	default:
		list = slices.Insert(list, i, silence)
	}
	s.doc.Silences = list
	return s, nil
}

// Silences are the silences that are set and not over.
func (s State) Silences() []Silence { return slices.Clone(s.doc.Silences) }

// Status is where a series stands.
type Status struct {
	Series
	Group string
	Phase Phase
	Since int64 // start of the first bad window of the run that led here; 0 if it is not pending, firing or recovering
}

// Statuses are the series that are not normal, in the order of kind, column, slice and check.
func (s State) Statuses() []Status {
	var out []Status
	for i := range s.doc.Series {
		if sr := &s.doc.Series[i]; sr.Phase != Normal {
			out = append(out, Status{sr.Series, sr.Group, sr.Phase, sr.From})
		}
	}
	return out
}

// Episodes are the open episodes as messages would tell of them now, those that are not told yet too.
func (s State) Episodes() []Message {
	st := newStep(s.doc, Evaluation{})
	out := make([]Message, 0, len(st.doc.Episodes))
	for i := range st.doc.Episodes {
		e := &st.doc.Episodes[i]
		kind := FiringType
		if !e.Told {
			kind = MutedType
		}
		out = append(out, st.message(e, kind, e.all()))
	}
	return out
}

// clone copies what a step changes in place.
func (d document) clone() document {
	d.Lanes, d.Stale = maps.Clone(d.Lanes), maps.Clone(d.Stale)
	if d.Lanes == nil {
		d.Lanes = map[string]int64{}
	}
	if d.Stale == nil {
		d.Stale = map[string]int64{}
	}
	d.Episodes = slices.Clone(d.Episodes)
	for i := range d.Episodes {
		e := &d.Episodes[i]
		e.Members, e.Evidence = slices.Clone(e.Members), slices.Clone(e.Evidence)
	}
	return d
}
