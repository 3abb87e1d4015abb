package config

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/freshet-io/freshet/internal/expr"
)

// definitionVersion is the first line of every definition text. A new form of the text is a new fingerprint of every
// view, so it changes only where stored state changes with it.
const definitionVersion = "freshet view 1"

func fingerprint(definition string) (f Fingerprint) {
	binary.BigEndian.PutUint64(f[:], xxhash.Sum64String(definition))
	return f
}

// Describe returns the canonical text of what decides a view's numbers and its stored state; its xxhash64 is the
// fingerprint. The text is line by line, made to be compared:
//
//	freshet view 1
//	view NAME
//	entity NAME
//	key FIELD TYPE                      a line a join key, in order
//	source NAME
//	topic TOPIC
//	input direct|repartitioned          repartitioned state follows another topic's offsets
//	format FORMAT
//	event_time record | FIELD FORMAT [ZONE]
//	event_id FIELD HORIZON              only if the source has one
//	tombstones delete                   only if the source deletes
//	allowed_skew DURATION
//	keeps last_event                    only if a ttl above every window makes state keep each entity's last time
//	field NAME TYPE                     a line a field that the view reads, by name
//	where EXPRESSION
//	feature NAME AGGREGATE[(PARAMETER)] TYPE WINDOW [of EXPRESSION] [where EXPRESSION]     by name
//
// Descriptions, ttl (but for the above), history, max_entity_bytes, fields that are not read and the order of fields and
// features are not in it; nor is the layout of an expression (see canonical).
func (v *View) Describe() string { return v.Definition }

func (v *View) describe() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	src := v.Source
	line("%s", definitionVersion)
	line("view %s", v.Name)
	line("entity %s", v.Entity.Name)
	for _, k := range v.Entity.JoinKeys {
		line("key %s %s", k.Name, k.Type)
	}
	line("source %s", src.Name)
	line("topic %s", src.Topic)
	if v.Direct {
		line("input direct")
	} else {
		line("input repartitioned")
	}
	line("format %s", src.Format)
	line("event_time %s", src.eventTimeText())
	if src.EventID >= 0 {
		line("event_id %s %s", src.Schema[src.EventID].Name, formatDuration(src.EventIDHorizon))
	}
	if src.Tombstones {
		line("tombstones delete")
	}
	line("allowed_skew %s", formatDuration(src.AllowedSkew))
	if !v.Layout.HasLifetime() && v.TTL.Microseconds() > v.Layout.MaxWindow() {
		line("keeps last_event")
	}
	for _, f := range v.fieldsRead() {
		line("field %s %s", f.Name, f.Type)
	}
	if v.Where != nil {
		line("where %s", canonical(v.Where.Source()))
	}
	lines := make([]string, len(v.Features))
	for i := range v.Features {
		lines[i] = v.Features[i].text()
	}
	slices.Sort(lines)
	b.WriteString(strings.Join(lines, ""))
	return b.String()
}

func (s *Source) eventTimeText() string {
	if s.EventTime.Field < 0 {
		return "record"
	}
	format := s.EventTime.Format
	if format == "" {
		format = "timestamp"
	}
	text := s.Schema[s.EventTime.Field].Name + " " + string(format)
	if s.EventTime.Zone != nil {
		text += " " + s.EventTime.Zone.String()
	}
	return text
}

// fieldsRead returns the source's fields that the view's key, time, id and expressions read, by name.
func (v *View) fieldsRead() []Field {
	src := v.Source
	read := slices.Clone(v.KeyFields)
	read = append(read, src.EventTime.Field, src.EventID)
	programs := []*expr.Program{v.Where}
	for _, f := range v.Features {
		programs = append(programs, f.Of, f.Where)
	}
	for _, p := range programs {
		if p != nil {
			read = append(read, p.Reads()...)
		}
	}
	slices.Sort(read)
	var fields []Field
	for _, i := range slices.Compact(read) {
		if i >= 0 {
			fields = append(fields, src.Schema[i])
		}
	}
	slices.SortFunc(fields, func(a, b Field) int { return strings.Compare(a.Name, b.Name) })
	return fields
}

func (f *Feature) text() string {
	function, window := f.Aggregate, "lifetime"
	switch {
	case f.Aggregate == "":
		function, window = "value", "latest"
	case f.Window > 0:
		window = formatDuration(f.Window)
	}
	switch {
	case f.Spec.Q != 0 || f.Aggregate == "approx_quantile":
		function += "(" + strconv.FormatFloat(f.Spec.Q, 'g', -1, 64) + ")"
	case f.Spec.N != 0:
		function += "(" + strconv.Itoa(f.Spec.N) + ")"
	case f.Spec.K != 0:
		function += "(" + strconv.Itoa(f.Spec.K) + ")"
	}
	text := fmt.Sprintf("feature %s %s %s %s", f.Name, function, f.Type, window)
	if f.Of != nil {
		text += " of " + canonical(f.Of.Source())
	}
	if f.Where != nil {
		text += " where " + canonical(f.Where.Source())
	}
	return text + "\n"
}

// canonical returns an expression with every run of white space and comments outside quotes made one space, so that
// laying an expression out anew is no change. It never makes two different expressions equal.
func canonical(src string) string {
	var b strings.Builder
	space := false
	for i := 0; i < len(src); {
		c := src[i]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f':
			space = true
			i++
			continue
		case strings.HasPrefix(src[i:], "//"):
			space = true
			if n := strings.IndexByte(src[i:], '\n'); n >= 0 {
				i += n
			} else {
				i = len(src)
			}
			continue
		}
		if space && b.Len() > 0 {
			b.WriteByte(' ')
		}
		space = false
		end := i + 1
		if c == '"' || c == '\'' {
			end = i + quoted(src[i:], i > 0 && isRaw(src[:i]))
		}
		b.WriteString(src[i:end])
		i = end
	}
	return b.String()
}

// isRaw reports whether the text before a quote makes the literal raw: r, R, and these with b or B before or after.
func isRaw(before string) bool {
	prefix := ""
	for i := len(before) - 1; i >= 0 && strings.IndexByte("rRbB", before[i]) >= 0; i-- {
		prefix += before[i : i+1]
	}
	return strings.ContainsAny(prefix, "rR")
}

// quoted returns the length of the string literal that s starts with, all of s if it does not end.
func quoted(s string, raw bool) int {
	quote := s[:1]
	if len(s) >= 3 && s[1] == s[0] && s[2] == s[0] {
		quote = s[:3]
	}
	for i := len(quote); i < len(s); i++ {
		if s[i] == '\\' && !raw {
			i++
			continue
		}
		if strings.HasPrefix(s[i:], quote) {
			return i + len(quote)
		}
	}
	return len(s)
}

// Diff returns what differs between two definition texts (View.Describe), a line each: "-" only in before, "+" only in
// after. It is empty for equal texts.
func Diff(before, after string) []string {
	old, now := strings.Split(strings.TrimSpace(before), "\n"), strings.Split(strings.TrimSpace(after), "\n")
	var out []string
	for _, l := range old {
		if !slices.Contains(now, l) {
			out = append(out, "- "+l)
		}
	}
	for _, l := range now {
		if !slices.Contains(old, l) {
			out = append(out, "+ "+l)
		}
	}
	slices.SortStableFunc(out, func(a, b string) int { return strings.Compare(subject(a), subject(b)) })
	if len(out) == 0 && before != after {
		out = append(out, "the order of the join keys differs")
	}
	return out
}

// subject is what a line is about: "feature NAME", "where", "key FIELD". It keeps the two sides of a change together.
func subject(l string) string {
	words := strings.Fields(l[2:])
	if len(words) > 1 && (words[0] == "feature" || words[0] == "field" || words[0] == "key") {
		return words[0] + " " + words[1]
	}
	return words[0]
}
