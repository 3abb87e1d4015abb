package expr

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"

	"github.com/freshet-io/freshet/internal/spell"
)

// Error is a mistake in an expression, at a place in its text: lines and columns count from 1, columns in characters.
type Error struct {
	Line, Column int
	Message      string
	More         []*Error // further mistakes of the same expression, in the order of the text
}

// Error returns the first mistake with its place.
func (e *Error) Error() string { return fmt.Sprintf("%d:%d: %s", e.Line, e.Column, e.Message) }

// explain turns what cel-go found wrong into sentences in the words of definitions.
func (e *Env) explain(src string, tree *ast.AST, issues *cel.Issues) *Error {
	var all []*Error
	for _, ce := range issues.Errors() {
		x := &Error{Line: max(ce.Location.Line(), 1), Column: max(ce.Location.Column()+1, 1)}
		var node ast.Expr
		if tree != nil {
			node = find(tree.Expr(), ce.ExprID)
			x.Column = startColumn(tree, node, x)
		}
		x.Message = e.sentence(ce.Message, node)
		if tree == nil && len(all) > 0 {
			break // what follows the first syntax error is mostly its echo
		}
		all = append(all, x)
	}
	if len(all) == 0 {
		return &Error{Line: 1, Column: 1, Message: issues.Err().Error()}
	}
	all[0].More = all[1:]
	return all[0]
}

var (
	undeclared   = regexp.MustCompile(`^undeclared reference to '([^']*)'`)
	noOverload   = regexp.MustCompile(`^found no matching overload for '([^']*)' applied to '(.*)'$`)
	mismatch     = regexp.MustCompile(`^expected type '(.*)' but found '(.*)'$`)
	noSelection  = regexp.MustCompile(`^type '(.*)' does not support field selection`)
	noRange      = regexp.MustCompile(`^expression of type '(.*)' cannot be range of a comprehension`)
	reservedWord = regexp.MustCompile(`reserved identifier: (\w+)`)
	syntaxError  = regexp.MustCompile(`^Syntax error: (.*)$`)
	typeWords    = regexp.MustCompile(`\b(int|double|null_type|google\.protobuf\.Timestamp|google\.protobuf\.Duration)\b`)
)

// sentence says one of cel-go's messages in the words of definitions.
func (e *Env) sentence(msg string, node ast.Expr) string {
	if m := reservedWord.FindStringSubmatch(msg); m != nil {
		return fmt.Sprintf("%q is a reserved word of the expression language and cannot name a field here", m[1])
	}
	if m := syntaxError.FindStringSubmatch(msg); m != nil {
		return syntaxSentence(m[1])
	}
	if m := undeclared.FindStringSubmatch(msg); m != nil {
		return e.undeclared(m[1], node)
	}
	if m := noOverload.FindStringSubmatch(msg); m != nil {
		return overloadSentence(m[1], m[2])
	}
	if m := mismatch.FindStringSubmatch(msg); m != nil {
		return fmt.Sprintf("all elements must have one type: expected %s, found %s", words(m[1]), words(m[2]))
	}
	if m := noSelection.FindStringSubmatch(msg); m != nil {
		return fmt.Sprintf("a value of type %s has no fields", words(m[1]))
	}
	if m := noRange.FindStringSubmatch(msg); m != nil {
		return fmt.Sprintf("a value of type %s is not a list", words(m[1]))
	}
	switch {
	case strings.Contains(msg, "code point size exceeds limit"):
		return fmt.Sprintf("the expression is too long; at most %d characters", MaxLength)
	case strings.Contains(msg, "recursion") || strings.Contains(msg, "max recursion depth"):
		return fmt.Sprintf("the expression is nested too deeply; at most %d levels", maxDepth)
	case strings.Contains(msg, "node"):
		return fmt.Sprintf("the expression is too large; at most %d operators, fields and literals", maxNodes)
	}
	return msg
}

// undeclared names the nearest variable to one that does not exist.
func (e *Env) undeclared(name string, node ast.Expr) string {
	if node != nil && node.Kind() == ast.CallKind {
		if name == "has" {
			return "unknown function has(); to ask whether a field has a value, write `field != null`"
		}
		return fmt.Sprintf("unknown function %q%s", name, spell.Suggest(name, e.functions()))
	}
	if node != nil && node.Kind() == ast.StructKind {
		return "expressions have no messages like " + name + "{...}"
	}
	// `view.feature` with an unknown feature is reported as an unknown `view`: show it as it was written.
	if node != nil {
		if full, ok := qualified(node); ok && strings.HasPrefix(full, name) {
			name = full
		}
	}
	if len(e.vars) == 0 {
		return fmt.Sprintf("unknown field %q; no field can be used here", name)
	}
	return fmt.Sprintf("unknown field %q%s", name, spell.Suggest(name, e.Names()))
}

// functions lists the functions that a user can call by name.
func (e *Env) functions() []string {
	var names []string
	for name := range e.cel.Functions() {
		if name[0] >= 'a' && name[0] <= 'z' {
			names = append(names, name)
		}
	}
	for _, m := range e.cel.Macros() {
		names = append(names, m.Function())
	}
	slices.Sort(names)
	return names
}

// signs are the operators as people write them, by function name.
var signs = map[string]string{
	fnAnd: "&&", fnOr: "||", fnEq: "==", fnNe: "!=", "@in": "in", "_+_": "+", "_-_": "-", "_*_": "*", "_/_": "/",
	"_%_": "%", "_<_": "<", "_<=_": "<=", "_>_": ">", "_>=_": ">=", "!_": "!", "-_": "-",
}

func overloadSentence(fn, args string) string {
	member := strings.Contains(args, ".(")
	var ts []string
	for _, t := range splitTypes(args) {
		ts = append(ts, words(t))
	}
	switch {
	case fn == fnCond && len(ts) == 3 && ts[0] != "bool":
		return fmt.Sprintf("the condition of ?: must be a bool, not %s", ts[0])
	case fn == fnCond && len(ts) == 3:
		return fmt.Sprintf("the two results of ?: must have one type, not %s and %s", ts[1], ts[2])
	case fn == fnIndex && len(ts) == 2:
		return fmt.Sprintf("a value of type %s cannot be indexed by %s", ts[0], ts[1])
	case signs[fn] != "" && len(ts) == 2:
		return fmt.Sprintf("operator %s does not apply to %s and %s", signs[fn], ts[0], ts[1])
	case signs[fn] != "" && len(ts) == 1:
		return fmt.Sprintf("operator %s does not apply to %s", signs[fn], ts[0])
	case member && len(ts) > 0:
		return fmt.Sprintf("function %s does not take these arguments: %s.%s(%s)", fn, ts[0], fn, strings.Join(ts[1:], ", "))
	}
	return fmt.Sprintf("function %s does not take these arguments: %s(%s)", fn, fn, strings.Join(ts, ", "))
}

// splitTypes splits "(a, list(b))" and "a.(b, c)" at the commas between arguments.
func splitTypes(args string) []string {
	args = strings.Replace(args, ".(", ", ", 1)
	args = strings.TrimSuffix(strings.TrimPrefix(args, "("), ")")
	var parts []string
	depth, start := 0, 0
	for i, c := range args {
		switch {
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == ',' && depth == 0:
			parts = append(parts, strings.TrimSpace(args[start:i]))
			start = i + 1
		}
	}
	if last := strings.TrimSpace(args[start:]); last != "" {
		parts = append(parts, last)
	}
	return parts
}

// words names a type of cel-go as definitions do.
func words(t string) string {
	return typeWords.ReplaceAllStringFunc(t, func(w string) string {
		switch w {
		case "int":
			return "int64"
		case "double":
			return "float64"
		case "null_type":
			return "null"
		case "google.protobuf.Timestamp":
			return "timestamp"
		}
		return "duration"
	})
}

func typeName(t *cel.Type) string {
	if f, ok := featureType(t); ok {
		return f.String()
	}
	return words(cel.FormatCELType(t))
}

// syntaxSentence shortens the parser's messages, which list every token that could follow.
func syntaxSentence(msg string) string {
	if i := strings.Index(msg, " expecting "); i > 0 {
		msg = msg[:i]
	}
	msg = strings.ReplaceAll(msg, "'<EOF>'", "the end")
	msg = strings.ReplaceAll(msg, "mismatched input", "unexpected")
	msg = strings.ReplaceAll(msg, "extraneous input", "unexpected")
	msg = strings.ReplaceAll(msg, "no viable alternative at input", "unexpected")
	if strings.HasPrefix(msg, "token recognition error at: ") {
		msg = "this is not understood: " + strings.Trim(strings.TrimPrefix(msg, "token recognition error at: "), "'")
	}
	return "syntax error: " + msg
}

// startColumn moves the place of a name, which cel-go gives as that of its dot or parenthesis, to where the name starts.
func startColumn(tree *ast.AST, node ast.Expr, x *Error) int {
	column := x.Column
	switch {
	case node == nil:
	case node.Kind() == ast.SelectKind:
		first := node
		for first.Kind() == ast.SelectKind {
			first = first.AsSelect().Operand()
		}
		if at := tree.SourceInfo().GetStartLocation(first.ID()); at.Line() == x.Line && first.Kind() == ast.IdentKind {
			column = at.Column() + 1
		}
	case node.Kind() == ast.CallKind:
		if name := node.AsCall().FunctionName(); name[0] != '@' && name[0] != '_' && signs[name] == "" {
			column -= len(name)
		}
	case node.Kind() == ast.StructKind:
		column -= len(node.AsStruct().TypeName())
	}
	return max(column, 1)
}

// find returns the node with an identifier, or nil.
func find(root ast.Expr, id int64) ast.Expr {
	var found ast.Expr
	ast.PreOrderVisit(root, ast.NewExprVisitor(func(e ast.Expr) {
		if e.ID() == id && found == nil {
			found = e
		}
	}))
	return found
}

// qualified returns "a.b.c" for the selection of fields it is.
func qualified(e ast.Expr) (string, bool) {
	switch e.Kind() {
	case ast.IdentKind:
		return e.AsIdent(), true
	case ast.SelectKind:
		s := e.AsSelect()
		if base, ok := qualified(s.Operand()); ok {
			return base + "." + s.FieldName(), true
		}
	}
	return "", false
}
