package alert

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Type is the CloudEvents type of a message.
type Type string

// The types. Those that Delivered says are sent to channels; the others only are in the history.
const (
	FiringType   Type = "io.freshet.alert.firing"
	ResolvedType Type = "io.freshet.alert.resolved"
	UpdatedType  Type = "io.freshet.alert.updated"    // series that joined later
	MutedType    Type = "io.freshet.alert.muted"      // would be firing, but is silenced or inhibited
	UnheardType  Type = "io.freshet.alert.muted_over" // a muted one is over
)

// typeTable gives each type the end of its messages' ids, and its status.
var typeTable = []struct {
	kind   Type
	suffix string
	status string
}{
	{FiringType, "-firing", "firing"},
	{ResolvedType, "-resolved", "resolved"},
	{UpdatedType, "-updated", "firing"},
	{MutedType, "-muted", "firing"},
	{UnheardType, "-muted-over", "resolved"},
}

func (t Type) row() (suffix, status string, ok bool) {
	for _, row := range typeTable {
		if row.kind == t {
			return row.suffix, row.status, true
		}
	}
	return "", "", false
}

// Delivered tells whether messages of the type go to channels.
func (t Type) Delivered() bool { return t == FiringType || t == ResolvedType }

// Message is one thing that is said of an episode.
type Message struct {
	ID     string // constant over retries and replays: letters, digits, _ and -
	Type   Type
	Origin string // of the plane
	At     int64  // when it was decided, microseconds UTC
	Data
}

// Data is a message's content, the data of its CloudEvent.
type Data struct {
	Episode    string `json:"episode"` // the same in all messages of one
	Status     string `json:"status"`  // firing or resolved
	Monitor    string `json:"monitor"`
	Model      string `json:"model,omitempty"`
	Class      Class  `json:"class"`
	Group      string `json:"group,omitempty"`
	Summary    string `json:"summary"`
	StartedAt  Stamp  `json:"started_at"` // start of the first bad window
	ResolvedAt Stamp  `json:"resolved_at,omitzero"`
	Reason     string `json:"reason,omitempty"`   // why it is over, if not because its series are well
	MutedBy    string `json:"muted_by,omitempty"` // of a muted one
	// Count is how many features there are, LeftOut how many of them are not listed, so that the message stays small. The
	// worst are listed first.
	Count    int        `json:"feature_count"`
	LeftOut  int        `json:"features_left_out,omitempty"`
	Features []Feature  `json:"features"`
	Evidence []Evidence `json:"evidence,omitempty"`
}

// Feature is a series of an episode, with its worst effect so far.
type Feature struct {
	Series
	Since     Stamp  `json:"since"`
	Until     Stamp  `json:"until,omitzero"`
	Effect    Number `json:"effect"`
	Threshold Number `json:"threshold"`
}

// Stamp is microseconds UTC, in JSON as RFC 3339 (years beyond 9999: the number).
type Stamp int64

// Time is the stamp as a time.
func (s Stamp) Time() time.Time { return time.UnixMicro(int64(s)).UTC() }

// MarshalJSON writes RFC 3339.
func (s Stamp) MarshalJSON() ([]byte, error) {
	if t := s.Time(); t.Year() >= 0 && t.Year() <= 9999 {
		return json.Marshal(t.Format("2006-01-02T15:04:05.999999Z07:00"))
	}
	return json.Marshal(int64(s))
}

// UnmarshalJSON reads what MarshalJSON writes.
func (s *Stamp) UnmarshalJSON(text []byte) error {
	if len(text) == 0 || text[0] != '"' {
		return json.Unmarshal(text, (*int64)(s))
	}
	var t time.Time
	if err := t.UnmarshalJSON(text); err != nil {
		return err
	}
	*s = Stamp(t.UnixMicro())
	return nil
}

type windowDocument struct {
	Start Stamp `json:"start"`
	End   Stamp `json:"end"`
}

// MarshalJSON writes the bounds as RFC 3339.
func (w Window) MarshalJSON() ([]byte, error) {
	return json.Marshal(windowDocument{Stamp(w.Start), Stamp(w.End)})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (w *Window) UnmarshalJSON(text []byte) error {
	var d windowDocument
	if err := json.Unmarshal(text, &d); err != nil {
		return err
	}
	*w = Window{int64(d.Start), int64(d.End)}
	return nil
}

// message says something of some members of an episode.
func (st *step) message(e *episode, kind Type, of []Series) Message {
	suffix, status, _ := kind.row()
	if kind == UpdatedType {
		suffix = fmt.Sprintf("%s-%d", suffix, e.Updates)
	}
	m := Message{ID: e.ID + suffix, Type: kind, Origin: e.Origin, At: st.doc.Now}
	m.Data = Data{
		Episode: e.ID, Status: status, Monitor: st.doc.Monitor, Model: e.Model, Class: e.Class, Group: e.Group,
		StartedAt: Stamp(e.Start), Reason: e.Reason, Count: len(of),
	}
	in := make(map[Series]bool, len(of))
	for _, s := range of {
		in[s] = true
		if i, found := e.find(s); found {
			x := e.Members[i]
			m.Features = append(m.Features, Feature{s, Stamp(x.From), Stamp(x.Until), x.Effect, x.Threshold})
			if status == "resolved" {
				m.ResolvedAt = max(m.ResolvedAt, Stamp(x.Until))
			}
		}
	}
	slices.SortFunc(m.Features, func(a, b Feature) int {
		return cmp.Or(cmp.Compare(ratio(b.Effect, b.Threshold), ratio(a.Effect, a.Threshold)), compareSeries(a.Series, b.Series))
	})
	for _, x := range e.Evidence {
		if in[x.Series] {
			m.Evidence = append(m.Evidence, x)
		}
	}
	m.Summary = m.summary()
	if kind == FiringType {
		m.Summary = clip(m.Summary+st.staleParts(of), maxText)
	}
	m.fit()
	return m
}

// summary is one line for people.
func (m *Message) summary() string {
	var nouns []string
	for _, row := range kindTable {
		if checks, found := m.checks(row.kind); found && len(checks) > 0 {
			nouns = append(nouns, row.noun+" ("+strings.Join(checks, ", ")+")")
		} else if found {
			nouns = append(nouns, row.noun)
		}
	}
	const named = 3
	var names []string
	seen := make(map[string]bool, len(m.Features))
	for _, f := range m.Features {
		name := cmp.Or(f.Column, "all columns")
		if f.Kind == Volume {
			name = "inferences"
		}
		if f.Slice != "" {
			name += " (" + f.Slice + ")"
		}
		if !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	list := strings.Join(names[:min(named, len(names))], ", ")
	if len(names) > named {
		list += fmt.Sprintf(" and %d more", len(names)-named)
	}
	text := fmt.Sprintf("%s: %s of %s", m.Monitor, strings.Join(nouns, ", "), list)
	if m.Group != "" {
		text += ", source " + m.Group
	}
	if m.Status == "resolved" {
		text = fmt.Sprintf("resolved after %s: %s", time.Duration(m.ResolvedAt-m.StartedAt)*time.Microsecond, text)
	}
	return clip(text, maxText)
}

// checks returns the names of the checks of a kind among the features, and whether the kind is among them at all.
func (m *Message) checks(kind Kind) (names []string, found bool) {
	for _, f := range m.Features {
		if f.Kind != kind {
			continue
		}
		found = true
		if f.Check != "" {
			names = append(names, f.Check)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), found
}

// MaxEvent bounds a message's CloudEvent in bytes: receivers of webhooks may refuse more than 20 kB.
const MaxEvent = 20_000

// fit leaves out the least of the features and evidence until the event is small enough.
func (m *Message) fit() {
	const manyFeatures, someFeatures, someEvidence = 150, 20, 3
	m.Features = m.Features[:min(len(m.Features), manyFeatures)]
	for {
		m.LeftOut = m.Count - len(m.Features)
		if text, err := m.Event(); err == nil && len(text) <= MaxEvent {
			return
		}
		f, e := len(m.Features), len(m.Evidence)
		switch {
		case f > someFeatures:
			m.Features = m.Features[:max(someFeatures, f*3/4)]
		case e > someEvidence:
			m.Evidence = m.Evidence[:e-1]
		case f > 1:
			m.Features = m.Features[:f/2]
		case e > 0:
			m.Evidence = m.Evidence[:e-1]
		case f > 0:
			m.Features = m.Features[:0]
		default:
			return // what is left is names, which are bounded
		}
	}
}

// event is a CloudEvent in the structured JSON form, CloudEvents 1.0. The extension timestamp is what Standard Webhooks
// calls the event's time.
type event struct {
	SpecVersion string `json:"specversion"`
	ID          string `json:"id"`
	Source      string `json:"source"`
	Type        Type   `json:"type"`
	Subject     string `json:"subject"`
	Time        Stamp  `json:"time"`
	Timestamp   Stamp  `json:"timestamp"`
	ContentType string `json:"datacontenttype"`
	Data        Data   `json:"data"`
}

// EventContentType is the media type of Event.
const EventContentType = "application/cloudevents+json"

// Event writes the message as a CloudEvent of at most MaxEvent bytes. Equal messages are equal bytes.
func (m *Message) Event() ([]byte, error) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(event{
		"1.0", m.ID, cmp.Or(m.Origin, "/freshet"), m.Type, strings.Trim(strings.Join([]string{m.Monitor, string(m.Class), m.Group}, "/"), "/"),
		Stamp(m.At), Stamp(m.At), "application/json", m.Data,
	})
	if err != nil {
		return nil, fmt.Errorf("encode message %s: %w", m.ID, err)
	}
	return []byte(strings.TrimSuffix(b.String(), "\n")), nil
}

// ParseEvent reads what Event wrote.
func ParseEvent(text []byte) (Message, error) {
	var e event
	if err := unmarshal(text, &e); err != nil {
		return Message{}, fmt.Errorf("parse an alert's event: %w", err)
	}
	_, status, ok := e.Type.row()
	switch {
	case e.SpecVersion != "1.0":
		return Message{}, fmt.Errorf("parse an alert's event: specversion %q, want 1.0", e.SpecVersion)
	case !ok:
		return Message{}, fmt.Errorf("parse an alert's event: no type %q", e.Type)
	case e.Data.Status != status:
		return Message{}, fmt.Errorf("parse an alert's event: status %q of a %s", e.Data.Status, e.Type)
	case !validID(e.ID) || !validID(e.Data.Episode):
		return Message{}, errors.New("parse an alert's event: an id must be letters, digits, _ and -")
	}
	return Message{ID: e.ID, Type: e.Type, Origin: e.Source, At: int64(e.Time), Data: e.Data}, nil
}

// validID tells whether id can be in an HTTP header and in what is signed, where a dot separates.
func validID(id string) bool {
	return id != "" && len(id) <= maxName && strings.Trim(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == ""
}
