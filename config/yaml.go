package config

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// The bounds of a definition, against files that are none.
const (
	maxFileBytes = 1 << 20
	maxFiles     = 1000
	maxDepth     = 64      // nested lists and mappings
	maxNodes     = 100_000 // YAML nodes of a plane, aliases followed
)

// Pos is a place in a file.
type Pos struct {
	File         string
	Line, Column int
}

// File is one file of a definition.
type File struct {
	Name string // as issues show it; relative `file:` secrets are looked for beside it
	Data []byte
}

// document is a parsed file.
type document struct {
	name    string
	lines   []string
	root    ast.Node // nil for an empty file
	anchors map[string]ast.Node
}

var yamlErrorPlace = regexp.MustCompile(`^\[(\d+):(\d+)\] (.*)`)

// parseFile parses YAML; what it cannot parse is an issue.
func parseFile(f File, is *issues) (doc *document) {
	at := Pos{File: f.Name}
	if len(f.Data) > maxFileBytes {
		is.errorf(at, "the file has %d bytes; at most %d", len(f.Data), maxFileBytes)
		return nil
	}
	text := strings.ReplaceAll(strings.TrimPrefix(string(f.Data), "\ufeff"), "\r\n", "\n") // editors on Windows write both
	if line := tooDeep(text); line > 0 {
		is.errorf(Pos{f.Name, line, 1}, "nested too deeply; at most %d levels", maxDepth)
		return nil
	}
	defer func() {
		if r := recover(); r != nil { // the parser panics on some malformed input
			is.errorf(at, "this is not YAML: %v", r)
			doc = nil
		}
	}()
	file, err := parser.ParseBytes([]byte(text), 0, parser.AllowDuplicateMapKey())
	if err != nil {
		msg, _, _ := strings.Cut(err.Error(), "\n")
		if m := yamlErrorPlace.FindStringSubmatch(msg); m != nil {
			at.Line, _ = strconv.Atoi(m[1])
			at.Column, _ = strconv.Atoi(m[2])
			msg = m[3]
		}
		is.errorf(at, "this is not YAML: %s", msg)
		return nil
	}
	doc = &document{name: f.Name, lines: strings.Split(text, "\n"), anchors: map[string]ast.Node{}}
	for _, d := range file.Docs {
		switch {
		case d.Body == nil || d.Body.Type() == ast.CommentType || d.Body.Type() == ast.NullType:
		case doc.root != nil:
			is.errorf(doc.pos(d.Body), "a second document in the file; put it in a file of its own")
		default:
			doc.root = d.Body
		}
	}
	if doc.root != nil {
		ast.Walk(anchorCollector{doc}, doc.root)
	}
	return doc
}

// tooDeep returns the first line whose brackets, indentation or chain of dashes nest deeper than maxDepth, judged
// without parsing, since the parser recurses.
func tooDeep(text string) int {
	depth := 0
	for n, line := range strings.Split(text, "\n") {
		indent := len(line) - len(strings.TrimLeft(line, " \t-?:&!*"))
		if indent > 4*maxDepth {
			return n + 1
		}
		chain := 0
		for _, w := range strings.Fields(line) {
			if len(w) == 1 || w[0] == '!' || w[0] == '&' {
				chain++
			}
		}
		depth += strings.Count(line, "[") + strings.Count(line, "{") - strings.Count(line, "]") - strings.Count(line, "}")
		depth = max(depth, 0)
		if depth > maxDepth || strings.Count(line, "[")+strings.Count(line, "{") > 4*maxDepth || chain > 4*maxDepth {
			return n + 1
		}
	}
	return 0
}

type anchorCollector struct{ doc *document }

// Visit records an anchor.
func (c anchorCollector) Visit(n ast.Node) ast.Visitor {
	if a, ok := n.(*ast.AnchorNode); ok && a.Name != nil {
		c.doc.anchors[a.Name.GetToken().Value] = a.Value
	}
	return c
}

// pos returns where a node starts.
func (d *document) pos(n ast.Node) Pos {
	p := Pos{File: d.name, Line: 1, Column: 1}
	for {
		m, ok := n.(*ast.MappingNode)
		if !ok || len(m.Values) == 0 || m.IsFlowStyle {
			break
		}
		n = m.Values[0].Key
	}
	if v, ok := n.(*ast.MappingValueNode); ok {
		n = v.Key
	}
	if tk := n.GetToken(); tk != nil && tk.Position != nil {
		p.Line, p.Column = tk.Position.Line, tk.Position.Column
	}
	return p
}

// within returns the place of line and column of the text of a scalar that starts at p, as exactly as the scalar's
// style allows.
func (d *document) within(p Pos, tk *token.Token, line, column int) Pos {
	if tk == nil || p.Line < 1 || p.Line > len(d.lines) {
		return p
	}
	switch tk.Type {
	case token.LiteralType:
		return d.withinBlock(p, line, column)
	case token.FoldedType:
		return d.withinBlock(p, 1, 1)
	case token.SingleQuoteType, token.DoubleQuoteType:
		column++
	}
	if line > 1 {
		return p
	}
	return Pos{p.File, p.Line, p.Column + column - 1}
}

// withinBlock finds a place in a block scalar whose header stands on p's line.
func (d *document) withinBlock(p Pos, line, column int) Pos {
	at := p.Line // index of the line after the header
	for at < len(d.lines) && strings.TrimSpace(d.lines[at]) == "" {
		at++
	}
	if at >= len(d.lines) {
		return p
	}
	indent := len(d.lines[at]) - len(strings.TrimLeft(d.lines[at], " "))
	return Pos{p.File, at + line, indent + column}
}

// describe names what stands where something else was expected.
func describe(n ast.Node) string {
	switch n.Type() {
	case ast.MappingType, ast.MappingValueType:
		return "a mapping"
	case ast.SequenceType:
		return "a list"
	case ast.IntegerType, ast.FloatType, ast.InfinityType, ast.NanType:
		return fmt.Sprintf("the number %s", n.GetToken().Value)
	case ast.BoolType:
		return fmt.Sprintf("the bool %s", n.GetToken().Value)
	case ast.NullType:
		return "nothing"
	case ast.TagType:
		return "a tag, which definitions do not use"
	}
	const most = 100 // of a value that may be a file of something else
	text := n.GetToken().Value
	if len(text) > most {
		return fmt.Sprintf("%q and %d bytes more", strings.ToValidUTF8(text[:most], ""), len(text)-most)
	}
	return fmt.Sprintf("%q", text)
}
