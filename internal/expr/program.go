package expr

import (
	"errors"
	"fmt"
	"regexp"
	"slices"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"

	"github.com/freshet-io/freshet/internal/feature"
)

// The bounds of an expression.
const (
	MaxLength = 4096 // characters
	maxDepth  = 60   // nested operators and parentheses
	maxNodes  = 2000 // operators, variables and literals, macros expanded
	maxLoops  = 8    // macros over lists
)

// Program is a compiled expression. It is immutable and safe for concurrent use.
type Program struct {
	src   string
	typ   feature.Type
	field int // the variable that the expression is, -1 for any other expression
	root  operand
	reads []int
}

// Compile checks src and compiles it. What is wrong with src is an *Error, with every mistake found.
func Compile(env *Env, src string) (*Program, error) {
	if env.unknown {
		return nil, errors.New("a variable is of unknown type")
	}
	tree, typ, loops, err := check(env, src)
	if err != nil {
		return nil, err
	}
	p := &Program{src: src, typ: typ, reads: reads(env, tree)}
	root := tree.Expr()
	p.field = -1
	if i, ok := variable(env, tree, root); ok {
		p.field = i
	}
	l := &lowerer{env: env, tree: tree, loops: loops}
	if p.root, err = l.lower(root); err != nil {
		return nil, err
	}
	return p, nil
}

// Check finds the mistakes of src, an *Error, also where types of variables are not known and it cannot be compiled.
func Check(env *Env, src string) error {
	_, _, _, err := check(env, src)
	return err
}

// check parses, rewrites and type-checks src.
func check(env *Env, src string) (tree *ast.AST, typ feature.Type, loops int, err error) {
	parsed, issues := env.cel.Parse(src)
	if issues.Err() != nil {
		return nil, 0, 0, env.explain(src, nil, issues)
	}
	loops = rewrite(parsed.NativeRep())
	if loops > maxLoops {
		return nil, 0, 0, &Error{Line: 1, Column: 1, Message: fmt.Sprintf("%d macros over lists; at most %d in one expression", loops, maxLoops)}
	}
	checked, issues := env.cel.Check(parsed)
	if issues.Err() != nil {
		return nil, 0, 0, env.explain(src, parsed.NativeRep(), issues)
	}
	if x := badPattern(checked.NativeRep()); x != nil {
		return nil, 0, 0, x
	}
	typ, ok := featureType(checked.OutputType())
	if !ok && !env.unknown {
		return nil, 0, 0, &Error{Line: 1, Column: 1, Message: resultMessage(checked.OutputType())}
	}
	return checked.NativeRep(), typ, loops, nil
}

// badPattern finds a literal that is matched and is not a regular expression.
func badPattern(tree *ast.AST) (bad *Error) {
	ast.PreOrderVisit(tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.CallKind || e.AsCall().FunctionName() != "matches" || bad != nil {
			return
		}
		args := e.AsCall().Args()
		last := args[len(args)-1]
		if last.Kind() != ast.LiteralKind {
			return
		}
		if pattern, ok := last.AsLiteral().(types.String); ok {
			if _, err := regexp.Compile(string(pattern)); err != nil {
				at := tree.SourceInfo().GetStartLocation(last.ID())
				bad = &Error{Line: max(at.Line(), 1), Column: at.Column() + 1, Message: fmt.Sprintf("the pattern of matches() is not a regular expression: %v", err)}
			}
		}
	}))
	return bad
}

func resultMessage(t *cel.Type) string {
	switch t.Kind() {
	case types.NullTypeKind:
		return "the expression is always null"
	case types.DurationKind:
		return "the expression gives a duration, which cannot be stored; take its getSeconds() or getMilliseconds()"
	}
	return fmt.Sprintf("the expression gives %s; it must give one of bool, int64, float64, string, bytes, timestamp or a list of one", typeName(t))
}

// variable returns the index of the variable that e reads, if that is all e does.
func variable(env *Env, tree *ast.AST, e ast.Expr) (int, bool) {
	if e.Kind() != ast.IdentKind && e.Kind() != ast.SelectKind {
		return 0, false
	}
	r, ok := tree.ReferenceMap()[e.ID()]
	if !ok || len(r.OverloadIDs) > 0 || r.Value != nil {
		return 0, false
	}
	i, ok := env.index[r.Name]
	return i, ok
}

// reads returns the variables that a checked tree reads.
func reads(env *Env, tree *ast.AST) []int {
	var out []int
	for _, r := range tree.ReferenceMap() {
		if i, ok := env.index[r.Name]; ok && len(r.OverloadIDs) == 0 && r.Value == nil {
			out = append(out, i)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Type returns the type of the values that the program gives.
func (p *Program) Type() feature.Type { return p.typ }

// Source returns the text that was compiled.
func (p *Program) Source() string { return p.src }

// Field returns the variable that the expression is, or -1 for any expression that is not just a variable.
func (p *Program) Field() int { return p.field }

// Eval evaluates the program over a row, which holds a value for each variable of the Env. It returns a pointer into
// row, or to *scratch, which it then has overwritten; the value may alias memory of the row. An evaluation error gives
// null and ok=false.
func (p *Program) Eval(row []feature.Value, scratch *feature.Value) (v *feature.Value, ok bool) {
	if p.field >= 0 {
		return &row[p.field], true
	}
	ok = p.root.value(row, scratch)
	return scratch, ok
}

// Test evaluates a bool program as a condition: null does not pass. An evaluation error gives false and ok=false.
func (p *Program) Test(row []feature.Value) (pass, ok bool) {
	if p.root.b == nil {
		return false, false
	}
	pass, st := p.root.b(row)
	return pass, st != failed
}

// Reads returns the variables that the program reads, in ascending order.
func (p *Program) Reads() []int { return slices.Clone(p.reads) }
