package expr

import (
	"fmt"
	"slices"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// A rewriter replaces, in place, the operators of a parsed tree by those of the dialect. Identifiers of nodes, and so
// the places that errors name, stay.
type rewriter struct {
	fac    ast.ExprFactory
	nextID int64
	loops  int // macros over lists seen
}

func rewrite(tree *ast.AST) (loops int) {
	r := &rewriter{fac: ast.NewExprFactory(), nextID: ast.MaxID(tree)}
	r.expr(tree.Expr())
	return r.loops
}

func (r *rewriter) expr(e ast.Expr) {
	switch e.Kind() {
	case ast.CallKind:
		r.call(e, renamed[e.AsCall().FunctionName()])
	case ast.SelectKind:
		r.expr(e.AsSelect().Operand())
	case ast.ListKind:
		elems := e.AsList().Elements()
		for _, el := range elems {
			r.expr(el)
		}
		r.unifyNumbers(elems)
		if slices.ContainsFunc(elems, func(el ast.Expr) bool { return el.Kind() != ast.LiteralKind }) {
			list := r.fac.NewList(r.id(), elems, e.AsList().OptionalIndices())
			e.SetKindCase(r.fac.NewCall(e.ID(), fnList, list))
		}
	case ast.MapKind:
		var values []ast.Expr
		for _, entry := range e.AsMap().Entries() {
			r.expr(entry.AsMapEntry().Key())
			r.expr(entry.AsMapEntry().Value())
			values = append(values, entry.AsMapEntry().Value())
		}
		r.unifyNumbers(values)
	case ast.ComprehensionKind:
		r.comprehension(e)
	}
}

// renamed maps the standard operators to the dialect's.
var renamed = map[string]string{
	operators.LogicalAnd: fnAnd, operators.LogicalOr: fnOr, operators.Conditional: fnCond,
	operators.Equals: fnEq, operators.NotEquals: fnNe, operators.Index: fnIndex,
}

// call rewrites the arguments, then the call itself to the function named to, if any.
func (r *rewriter) call(e ast.Expr, to string) {
	c := e.AsCall()
	if c.IsMemberFunction() {
		r.expr(c.Target())
	}
	for _, a := range c.Args() {
		r.expr(a)
	}
	if to == "" {
		return
	}
	args := c.Args()
	if to == fnEq || to == fnNe {
		test := fnIsNull
		if to == fnNe {
			test = fnNotNull
		}
		switch {
		case isNullLiteral(args[1]):
			to, args = test, args[:1]
		case isNullLiteral(args[0]):
			to, args = test, args[1:]
		}
	}
	e.SetKindCase(r.fac.NewCall(e.ID(), to, args...))
}

// comprehension rewrites what a macro over a list became, and guards it against a null list.
func (r *rewriter) comprehension(e ast.Expr) {
	r.loops++
	c := e.AsComprehension()
	r.expr(c.IterRange())
	r.expr(c.AccuInit())
	r.expr(c.LoopCondition())
	if step := c.LoopStep(); step.Kind() == ast.CallKind && step.AsCall().FunctionName() == operators.Conditional {
		r.call(step, fnPick)
	} else {
		r.expr(step)
	}
	r.expr(c.Result())
	if c.IterRange().Kind() == ast.ListKind {
		return
	}
	// As if the list were bound to a name first: bind(name, list, @guard(name, loop over name)). Binding is itself a
	// comprehension, over nothing.
	list := fmt.Sprintf("@list%d", r.id())
	loop := r.fac.NewComprehensionTwoVar(r.id(), r.fac.NewIdent(r.id(), list), c.IterVar(), c.IterVar2(), c.AccuVar(),
		c.AccuInit(), c.LoopCondition(), c.LoopStep(), c.Result())
	guarded := r.fac.NewCall(r.id(), fnGuard, r.fac.NewIdent(r.id(), list), loop)
	e.SetKindCase(r.fac.NewComprehension(e.ID(), r.fac.NewList(r.id(), nil, nil), "@unused", list, c.IterRange(),
		r.fac.NewLiteral(r.id(), types.False), r.fac.NewIdent(r.id(), list), guarded))
}

// id returns a new node identifier.
func (r *rewriter) id() int64 {
	r.nextID++
	return r.nextID
}

// unifyNumbers makes the int literals among elems doubles if there is a double among them.
func (r *rewriter) unifyNumbers(elems []ast.Expr) {
	doubles := false
	for _, el := range elems {
		if el.Kind() == ast.LiteralKind {
			_, ok := el.AsLiteral().(types.Double)
			doubles = doubles || ok
		}
	}
	for _, el := range elems {
		if doubles && el.Kind() == ast.LiteralKind {
			if i, ok := el.AsLiteral().(types.Int); ok {
				el.SetKindCase(r.fac.NewLiteral(el.ID(), types.Double(i)))
			}
		}
	}
}

func isNullLiteral(e ast.Expr) bool {
	return e.Kind() == ast.LiteralKind && e.AsLiteral() == types.NullValue
}
