package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Severity says whether an issue stops a plane from running.
type Severity uint8

// The severities.
const (
	Error Severity = iota
	Warning
)

// Issue is something wrong, or worth knowing, at a place in a file. Lines and columns count from 1; 0 is no place.
type Issue struct {
	File     string
	Line     int
	Column   int
	Severity Severity
	Message  string
}

// String returns "file:line:column: message", a warning marked as one.
func (i Issue) String() string {
	var b strings.Builder
	if i.File != "" {
		b.WriteString(i.File)
		if i.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", i.Line, i.Column)
		}
		b.WriteString(": ")
	}
	if i.Severity == Warning {
		b.WriteString("warning: ")
	}
	b.WriteString(i.Message)
	return b.String()
}

// Issues are all mistakes of a definition, as an error.
type Issues []Issue

// Error returns one line an issue.
func (is Issues) Error() string {
	lines := make([]string, len(is))
	for i, x := range is {
		lines[i] = x.String()
	}
	return strings.Join(lines, "\n")
}

// maxIssues bounds what is collected: a file with more mistakes is not a definition.
const maxIssues = 200

// issues collects what is found.
type issues struct {
	errors, warnings Issues
	suppressed       int
}

func (c *issues) errorf(p Pos, format string, args ...any) {
	if len(c.errors) >= maxIssues {
		c.suppressed++
		return
	}
	c.errors = append(c.errors, Issue{File: p.File, Line: p.Line, Column: p.Column, Message: fmt.Sprintf(format, args...)})
}

func (c *issues) warnf(p Pos, format string, args ...any) {
	if len(c.warnings) < maxIssues {
		c.warnings = append(c.warnings, Issue{File: p.File, Line: p.Line, Column: p.Column, Severity: Warning, Message: fmt.Sprintf(format, args...)})
	}
}

// sorted returns the errors and warnings in the order of files and places.
func (c *issues) sorted() (errors, warnings Issues) {
	byPlace := func(a, b Issue) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	}
	slices.SortStableFunc(c.errors, byPlace)
	slices.SortStableFunc(c.warnings, byPlace)
	if c.suppressed > 0 {
		c.errors = append(c.errors, Issue{Message: fmt.Sprintf("%d more mistakes are not shown", c.suppressed)})
	}
	return c.errors, c.warnings
}
