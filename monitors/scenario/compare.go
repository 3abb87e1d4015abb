package scenario

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// columns are those that a message lists, each once, in order. What has no column is called by its kind.
func (s *Sent) columns() (out []string) {
	for _, f := range s.Features {
		name := f.Column
		if name == "" {
			name = string(f.Kind)
		}
		out = append(out, name)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// String says what a message is as an expectation would.
func (s *Sent) String() string {
	out := fmt.Sprintf("%s of %s at %s, class %s", s.Status, s.Monitor, Duration(s.At), s.Class)
	if s.Group != "" {
		out += ", group " + s.Group
	}
	return out + ", columns " + list(s.columns())
}

func list(names []string) string { return "[" + strings.Join(names, ", ") + "]" }

// compare says what is not as expected.
func (r *runner) compare() {
	sent := r.result.Messages
	for i := range max(len(r.test.Expect), len(sent)) {
		switch {
		case i >= len(sent):
			r.failf("expect[%d]: %s was not sent", i, r.test.Expect[i].String())
		case i >= len(r.test.Expect):
			r.failf("not expected: %s", &sent[i])
		default:
			for _, what := range r.test.Expect[i].differs(&sent[i]) {
				r.failf("expect[%d]: %s; sent was %s", i, what, &sent[i])
			}
		}
	}
	defer r.explain()
	for i, f := range r.test.Firing {
		want := slices.Compact(slices.Sorted(slices.Values(f.Columns)))
		if got := r.firing(f.Monitor, time.Duration(f.At)); !slices.Equal(got, want) {
			r.failf("firing[%d]: at %s %s fires of %s, expected was %s", i, f.At, list(got), f.Monitor, list(want))
		}
	}
}

// explain adds what is often the reason that nothing fires.
func (r *runner) explain() {
	if len(r.result.Failures) == 0 {
		return
	}
	for _, v := range slices.Sorted(maps.Keys(r.strays)) {
		r.failf("%d inferences of version %q have no baseline and were not judged", r.strays[v], v)
	}
}

func (r *runner) failf(format string, args ...any) {
	r.result.Failures = append(r.result.Failures, fmt.Sprintf(format, args...))
}

// firing are the columns of episodes of a monitor that were told by a time and are not over.
func (r *runner) firing(monitor string, at time.Duration) []string {
	open := map[string][]string{}
	for i := range r.result.Messages {
		s := &r.result.Messages[i]
		switch {
		case s.At > at || s.Monitor != monitor:
		case s.Status == "firing":
			open[s.Episode] = s.columns()
		default:
			delete(open, s.Episode)
		}
	}
	out := []string{}
	for _, columns := range open {
		out = append(out, columns...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// String says what is expected.
func (e *Expected) String() string {
	out := fmt.Sprintf("%s of %s", e.Status, e.Monitor)
	if e.After != 0 {
		out += fmt.Sprintf(", after %s", e.After)
	}
	if e.Before != nil {
		out += fmt.Sprintf(", before %s", e.Before)
	}
	if e.Class != "" {
		out += ", class " + e.Class
	}
	if e.Columns != nil {
		out += ", columns " + list(e.Columns)
	}
	return out
}

// differs says in what a message is not the expected one.
func (e *Expected) differs(s *Sent) (out []string) {
	expect := func(ok bool, format string, args ...any) {
		if !ok {
			out = append(out, fmt.Sprintf("expected was "+format, args...))
		}
	}
	expect(e.Monitor == s.Monitor, "monitor %s", e.Monitor)
	expect(e.Status == s.Status, "status %s", e.Status)
	expect(e.Class == "" || e.Class == string(s.Class), "class %s", e.Class)
	expect(e.Group == nil || *e.Group == s.Group, "group %q", deref(e.Group))
	expect(time.Duration(e.After) <= s.At, "after %s", e.After)
	expect(e.Before == nil || s.At <= time.Duration(*e.Before), "before %s", e.Before)
	if e.Columns != nil {
		want := slices.Compact(slices.Sorted(slices.Values(e.Columns)))
		expect(slices.Equal(want, s.columns()), "columns %s", list(want))
	}
	return out
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
