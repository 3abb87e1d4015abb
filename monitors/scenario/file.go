package scenario

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// File is a file of tests. Paths in it are relative to where it is.
type File struct {
	Plane []string `yaml:"plane"` // the definition's files or folders
	Tests []Test   `yaml:"tests"`
}

// Test is what comes, and what is expected of it.
type Test struct {
	Name  string `yaml:"name"`
	Model string `yaml:"model"` // may be left out where the plane has one
	// Start is when the first inference comes; every other time of a test is counted from it. Default 2026-01-01T00:00:00Z, which
	// begins a window of every length.
	Start time.Time `yaml:"start"`
	Seed  uint64    `yaml:"seed"` // of the described values: the same seed gives the same ones
	// Baselines are what the model was trained on, by name. One that is left out is made of DefaultRows rows of Values.
	Baselines map[string]Training  `yaml:"baselines"`
	Values    map[string]Generator `yaml:"values"` // of an inference when nothing is wrong, by column or field
	Comes     []Span               `yaml:"inferences"`
	Expect    []Expected           `yaml:"expect"` // every message that is sent, in order
	Firing    []Firing             `yaml:"firing"` // what fires at some times
}

// Training is where a baseline comes from: a file of rows, or so many rows of the test's values.
type Training struct {
	File string `yaml:"file"`
	Rows int    `yaml:"rows"`
}

// DefaultRows is how many rows a baseline is made of that is described and not sized.
const DefaultRows = 20_000

// Span is inferences of some time: one every so often whose values are described, or those of a file.
type Span struct {
	From   Duration             `yaml:"from"`
	To     Duration             `yaml:"to"`
	Every  Duration             `yaml:"every"`
	Values map[string]Generator `yaml:"values"` // that differ from the test's
	File   string               `yaml:"file"`
}

// Expected is a message that is sent.
type Expected struct {
	Monitor string    `yaml:"monitor"` // may be left out where the model has one
	Status  string    `yaml:"status"`  // firing or resolved
	Class   string    `yaml:"class"`   // default: any
	Group   *string   `yaml:"group"`   // default: any
	Columns []string  `yaml:"columns"` // that it lists, in any order and of any slice; default: any
	After   Duration  `yaml:"after"`   // the window that brought it ends at or after
	Before  *Duration `yaml:"before"`  // and at or before
}

// Firing is which columns fire at a time: those of messages that were sent by windows that end by then.
type Firing struct {
	At      Duration `yaml:"at"`
	Monitor string   `yaml:"monitor"`
	Columns []string `yaml:"columns"`
}

// Duration is a time counted from the start, as 90m or 7d.
type Duration time.Duration

// UnmarshalYAML reads a duration, with d for days.
func (d *Duration) UnmarshalYAML(text []byte) error {
	s := strings.Trim(strings.TrimSpace(string(text)), `"'`)
	days, rest := time.Duration(0), s
	if before, after, ok := strings.Cut(s, "d"); ok {
		var n int
		if _, err := fmt.Sscanf(before+"!", "%d!", &n); err != nil {
			return fmt.Errorf("%q is no duration; write 90s, 15m, 6h or 7d", s)
		}
		days, rest = time.Duration(n)*24*time.Hour, after
	}
	if rest == "" && days > 0 || rest == "0" {
		*d = Duration(days)
		return nil
	}
	t, err := time.ParseDuration(rest)
	if err != nil || t < 0 {
		return fmt.Errorf("%q is no duration; write 90s, 15m, 6h or 7d", s)
	}
	*d = Duration(days + t)
	return nil
}

// String writes the duration as it is read.
func (d Duration) String() string {
	s := time.Duration(d).String()
	if d != 0 {
		s = strings.TrimSuffix(strings.TrimSuffix(s, "0s"), "h0m")
		if strings.HasSuffix(time.Duration(d).String(), "h0m0s") {
			s += "h"
		}
	}
	return s
}

// Parse reads a file of tests. Errors carry line and column.
func Parse(name string, text []byte) (*File, error) {
	var f File
	if err := decode(text, &f); err != nil {
		return nil, fmt.Errorf("%s: %s", name, strings.TrimSpace(yaml.FormatError(err, false, false)))
	}
	if len(f.Plane) == 0 {
		return nil, fmt.Errorf("%s: plane is missing: name the definition's files", name)
	}
	if len(f.Tests) == 0 {
		return nil, fmt.Errorf("%s: tests is missing", name)
	}
	seen := map[string]bool{}
	for i := range f.Tests {
		t := &f.Tests[i]
		if t.Name == "" {
			return nil, fmt.Errorf("%s: test %d has no name", name, i+1)
		}
		if seen[t.Name] {
			return nil, fmt.Errorf("%s: two tests are called %q", name, t.Name)
		}
		seen[t.Name] = true
		if err := t.check(); err != nil {
			return nil, fmt.Errorf("%s: test %q: %w", name, t.Name, err)
		}
	}
	return &f, nil
}

// decode reads YAML strictly. The decoder panics on some malformed input: a list with a tag that is not followed by one.
func decode(text []byte, f *File) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("this is not YAML: %v", r)
		}
	}()
	return yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(f)
}

// defaultStart begins a window of every length up to a day.
var defaultStart = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// maxInferences bounds what a span describes, so that a slip of the pen is told at once.
const maxInferences = 50_000_000

func (t *Test) check() error {
	if t.Start.IsZero() {
		t.Start = defaultStart
	}
	if len(t.Comes) == 0 {
		return errors.New("inferences is missing")
	}
	for i := range t.Comes {
		if err := t.Comes[i].check(); err != nil {
			return fmt.Errorf("inferences[%d]: %w", i, err)
		}
	}
	for name, b := range t.Baselines {
		if b.File != "" && b.Rows != 0 || b.Rows < 0 {
			return fmt.Errorf("baselines.%s: give one of file and rows", name)
		}
	}
	for i, e := range t.Expect {
		if e.Status != "firing" && e.Status != "resolved" {
			return fmt.Errorf("expect[%d]: status is firing or resolved, not %q", i, e.Status)
		}
		if e.Before != nil && *e.Before < e.After {
			return fmt.Errorf("expect[%d]: before %s is earlier than after %s", i, e.Before, e.After)
		}
	}
	return nil
}

func (s *Span) check() error {
	switch {
	case s.File != "" && (s.From != 0 || s.To != 0 || s.Every != 0 || len(s.Values) > 0):
		return errors.New("a file has times and values of its own: from, to, every and values do not go with it")
	case s.File != "":
		return nil
	case s.Every <= 0:
		return errors.New("every is missing: how long from one inference to the next")
	case s.To <= s.From:
		return fmt.Errorf("to %s is not after from %s", s.To, s.From)
	case int64(s.To-s.From)/int64(s.Every) > maxInferences:
		return fmt.Errorf("one inference every %s from %s to %s are more than %d", s.Every, s.From, s.To, maxInferences)
	}
	return nil
}
