package alert

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Silence mutes what all its matchers match from Start until End, microseconds UTC. It is a record of the stream that
// a monitor's evaluations are in; one with the ID of another replaces it, so that one is ended early by setting End.
type Silence struct {
	ID       string    `json:"id"`
	Matchers []Matcher `json:"matchers"`
	Start    int64     `json:"start"`
	End      int64     `json:"end"` // exclusive
	Comment  string    `json:"comment"`
	Author   string    `json:"author"`
}

// Matcher compares one field of a series. Op is = or !=, or =~ or !~ with a regular expression (RE2) for the whole value.
type Matcher struct {
	Field string `json:"field"`
	Op    string `json:"op"`
	Value string `json:"value"`
}

const (
	maxMatchers = 32
	maxSilences = 1000 // of one monitor
)

// matcherFields says what of a series a matcher sees. A source has several values: = and =~ want one that matches, !=
// and !~ want none.
var matcherFields = []struct {
	name string
	get  func(monitor string, s *series) []string
}{
	{"monitor", func(monitor string, _ *series) []string { return []string{monitor} }},
	{"kind", func(_ string, s *series) []string { return []string{string(s.Kind)} }},
	{"class", func(_ string, s *series) []string { return []string{string(s.Kind.Class())} }},
	{"column", func(_ string, s *series) []string { return []string{s.Column} }},
	{"slice", func(_ string, s *series) []string { return []string{s.Slice} }},
	{"check", func(_ string, s *series) []string { return []string{s.Check} }},
	{"group", func(_ string, s *series) []string { return []string{s.Group} }},
	{"source", func(_ string, s *series) []string { return s.Sources }},
}

var matcherOps = []string{"=~", "!~", "!=", "="} // longer ones first

// ParseMatcher reads a matcher as people write it, such as column=~dep_.* or kind=drift.
func ParseMatcher(text string) (Matcher, error) {
	at := strings.IndexAny(text, "=!")
	if at < 0 {
		return Matcher{}, fmt.Errorf("matcher %q: want FIELD=VALUE, with =, !=, =~ or !~", text)
	}
	for _, op := range matcherOps {
		if value, ok := strings.CutPrefix(text[at:], op); ok {
			m := Matcher{Field: text[:at], Op: op, Value: value}
			_, err := m.compile()
			return m, err
		}
	}
	return Matcher{}, fmt.Errorf("matcher %q: want =, !=, =~ or !~ after the field", text)
}

func (m Matcher) String() string { return m.Field + m.Op + m.Value }

// compile checks the matcher and returns it as a function.
func (m Matcher) compile() (func(monitor string, s *series) bool, error) {
	if len(m.Value) > maxText {
		return nil, fmt.Errorf("matcher of %q: its value has %d bytes, at most %d", m.Field, len(m.Value), maxText)
	}
	names := make([]string, 0, len(matcherFields))
	var get func(string, *series) []string
	for _, f := range matcherFields {
		names = append(names, f.name)
		if f.name == m.Field {
			get = f.get
		}
	}
	if get == nil {
		return nil, fmt.Errorf("matcher %q: no field %q, there are %s", m, m.Field, strings.Join(names, ", "))
	}
	equal := func(value string) bool { return value == m.Value }
	switch m.Op {
	case "=", "!=":
	case "=~", "!~":
		re, err := regexp.Compile("^(?s:" + m.Value + ")$")
		if err != nil {
			return nil, fmt.Errorf("matcher %q: %w", m, err)
		}
		equal = re.MatchString
	default:
		return nil, fmt.Errorf("matcher of %q: no operator %q, there are =, !=, =~ and !~", m.Field, m.Op)
	}
	negated := m.Op[0] == '!'
	return func(monitor string, s *series) bool { return slices.ContainsFunc(get(monitor, s), equal) != negated }, nil
}

// check refuses a silence that says nothing, or that would mute more than was meant.
func (s *Silence) check() error {
	switch {
	case s.ID == "" || len(s.ID) > maxName:
		return fmt.Errorf("silence: its id has %d bytes, want 1 to %d", len(s.ID), maxName)
	case len(s.Matchers) == 0 || len(s.Matchers) > maxMatchers:
		return fmt.Errorf("silence %s: %d matchers, want 1 to %d", s.ID, len(s.Matchers), maxMatchers)
	case s.Start >= s.End:
		return fmt.Errorf("silence %s: it ends at %d, which is not after its start %d", s.ID, s.End, s.Start)
	case strings.TrimSpace(s.Author) == "" || len(s.Author) > maxName:
		return fmt.Errorf("silence %s: its author has %d bytes, want 1 to %d", s.ID, len(s.Author), maxName)
	case strings.TrimSpace(s.Comment) == "" || len(s.Comment) > maxText:
		return fmt.Errorf("silence %s: its comment has %d bytes, want 1 to %d", s.ID, len(s.Comment), maxText)
	}
	_, err := s.compile()
	return err
}

func (s *Silence) compile() (mute, error) {
	out := mute{id: s.ID}
	for _, m := range s.Matchers {
		match, err := m.compile()
		if err != nil {
			return mute{}, fmt.Errorf("silence %s: %w", s.ID, err)
		}
		out.matches = append(out.matches, match)
	}
	return out, nil
}

// Encode writes the silence as a record's value.
func (s *Silence) Encode() ([]byte, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	return json.Marshal(struct {
		Version int `json:"version"`
		*Silence
	}{1, s})
}

// DecodeSilence reads what Encode wrote.
func DecodeSilence(text []byte) (Silence, error) {
	var doc struct {
		Version int `json:"version"`
		Silence
	}
	if err := unmarshal(text, &doc); err != nil {
		return Silence{}, fmt.Errorf("decode silence: %w", err)
	}
	if doc.Version != 1 {
		return Silence{}, fmt.Errorf("decode silence: version %d, this program reads 1", doc.Version)
	}
	return doc.Silence, doc.Silence.check()
}

// mute is a silence in force.
type mute struct {
	id      string
	matches []func(monitor string, s *series) bool
}

func (m *mute) covers(monitor string, s *series) bool {
	for _, match := range m.matches {
		if !match(monitor, s) {
			return false
		}
	}
	return true
}

// inForce compiles the silences that mute at now.
func inForce(silences []Silence, now int64) []mute {
	var out []mute
	for _, s := range silences {
		if now < s.Start || now >= s.End {
			continue
		}
		if m, err := s.compile(); err == nil { // always: it was checked when it was set
			out = append(out, m)
		}
	}
	return out
}
