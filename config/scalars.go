package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// source is an expression: its text and what is needed to find a place in it.
type source struct {
	text string
	doc  *document
	tok  *token.Token
}

// bytes is a size: a number of bytes, or with a unit: 64KiB, 1MB.
type byteSize int64

// rate is a number of occurrences in a time: 1/30d.
type rate struct {
	n   float64
	per time.Duration
}

func (a *At[T]) decodeScalar(d *decoder, n ast.Node) string {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode, *ast.SequenceNode, *ast.TagNode:
		return a.want()
	}
	a.Pos = d.doc.pos(n)
	var problem string
	switch v := any(&a.V).(type) {
	case *string:
		problem = decodeString(n, v)
	case *bool:
		b, ok := n.(*ast.BoolNode)
		if !ok {
			return a.want()
		}
		*v = b.Value
	case *int:
		problem = decodeInt(n, v)
	case *float64:
		f, err := strconv.ParseFloat(n.GetToken().Value, 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) || isString(n) {
			return a.want()
		}
		*v = f
	case *time.Duration:
		x, err := ParseDuration(n.GetToken().Value)
		if err != nil {
			return a.want()
		}
		*v = x
	case *byteSize:
		x, ok := parseBytes(n.GetToken().Value)
		if !ok {
			return a.want()
		}
		*v = x
	case *rate:
		x, ok := parseRate(n.GetToken().Value)
		if !ok {
			return a.want()
		}
		*v = x
	case *source:
		problem = decodeSource(d, n, v)
	}
	a.Set = problem == ""
	return problem
}

func (a *At[T]) refuse() { a.Set, a.Bad = false, true }

// want says what is expected.
func (a *At[T]) want() string {
	switch any(a.V).(type) {
	case bool:
		return "true or false"
	case int:
		return "a whole number"
	case float64:
		return "a number"
	case time.Duration:
		return "a duration like 90s, 1h30m, 14d or 2w"
	case byteSize:
		return "a size in bytes like 65536, 64KiB or 1MB"
	case rate:
		return "a rate like 1/30d"
	case source:
		return "an expression"
	}
	return "a string"
}

func isString(n ast.Node) bool { return n.Type() == ast.StringType || n.Type() == ast.LiteralType }

func decodeString(n ast.Node, v *string) string {
	switch x := n.(type) {
	case *ast.StringNode:
		*v = x.Value
	case *ast.LiteralNode:
		*v = x.Value.Value
	default:
		return "a string (in quotes)"
	}
	return ""
}

func decodeInt(n ast.Node, v *int) string {
	if _, ok := n.(*ast.IntegerNode); !ok {
		return "a whole number"
	}
	i, err := strconv.Atoi(strings.ReplaceAll(n.GetToken().Value, "_", ""))
	if err != nil {
		return "a whole number"
	}
	*v = i
	return ""
}

// decodeSource takes an expression from any scalar: 1 and true are expressions too.
func decodeSource(d *decoder, n ast.Node, v *source) string {
	v.doc, v.tok = d.doc, n.GetToken()
	switch x := n.(type) {
	case *ast.LiteralNode:
		v.text, v.tok = x.Value.Value, x.Start
	default:
		v.text = n.GetToken().Value
	}
	if strings.TrimSpace(v.text) == "" {
		return "an expression"
	}
	return ""
}

// ParseDuration reads a Go duration that may also count days (d) and weeks (w): 90s, 1h30m, 14d, 1w2d. It is never
// negative.
func ParseDuration(s string) (time.Duration, error) {
	bad := &strconv.NumError{Func: "ParseDuration", Num: s, Err: strconv.ErrSyntax}
	var total float64
	rest := s
	var exact time.Duration
	for rest != "" {
		i := strings.IndexAny(rest, "dw")
		if i < 0 {
			d, err := time.ParseDuration(rest)
			if err != nil || d < 0 || strings.HasPrefix(rest, "+") {
				return 0, bad
			}
			exact += d
			total += float64(d)
			break
		}
		n, err := strconv.ParseUint(rest[:i], 10, 32)
		if err != nil {
			return 0, bad
		}
		unit := 24 * time.Hour
		if rest[i] == 'w' {
			unit *= 7
		}
		exact += time.Duration(n) * unit
		total += float64(n) * float64(unit)
		rest = rest[i+1:]
	}
	if s == "" || total > math.MaxInt64/2 {
		return 0, bad
	}
	return exact, nil
}

// formatDuration is the inverse of ParseDuration, with the largest units that divide it.
func formatDuration(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d == 0:
		return "0s"
	case d%(7*day) == 0:
		return strconv.FormatInt(int64(d/(7*day)), 10) + "w"
	case d%day == 0:
		return strconv.FormatInt(int64(d/day), 10) + "d"
	case d%time.Hour == 0:
		return strconv.FormatInt(int64(d/time.Hour), 10) + "h"
	case d%time.Minute == 0:
		return strconv.FormatInt(int64(d/time.Minute), 10) + "m"
	}
	return d.String()
}

var byteUnits = []struct {
	suffix string
	factor int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1}, {"", 1},
}

// ParseBytes reads a size as definitions have it: 65536, 64KiB, 1MB.
func ParseBytes(s string) (int64, error) {
	n, ok := parseBytes(s)
	if !ok {
		return 0, fmt.Errorf("%q is not a size in bytes like 65536, 64KiB or 1MB", s)
	}
	return int64(n), nil
}

func parseBytes(s string) (byteSize, bool) {
	for _, u := range byteUnits {
		digits, ok := strings.CutSuffix(s, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.ReplaceAll(strings.TrimSpace(digits), "_", ""), 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64/u.factor {
			return 0, false
		}
		return byteSize(n * u.factor), true
	}
	return 0, false
}

// perMonth is the expected number in 30 days.
func (r rate) perMonth() float64 { return r.n * float64(30*24*time.Hour) / float64(r.per) }

// ParseFalseAlarms reads an expected number of false episodes in a time, as 1/30d, and returns it for 30 days.
func ParseFalseAlarms(s string) (float64, bool) {
	r, ok := parseRate(s)
	if !ok {
		return 0, false
	}
	return r.perMonth(), true
}

func parseRate(s string) (rate, bool) {
	n, per, ok := strings.Cut(s, "/")
	if !ok {
		return rate{}, false
	}
	f, err := strconv.ParseFloat(strings.TrimSpace(n), 64)
	d, derr := ParseDuration(strings.TrimSpace(per))
	if err != nil || derr != nil || !(f > 0) || math.IsInf(f, 0) || d <= 0 {
		return rate{}, false
	}
	return rate{f, d}, true
}
