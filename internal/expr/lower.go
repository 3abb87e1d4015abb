package expr

import (
	"fmt"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"github.com/freshet-io/freshet/internal/feature"
)

// A lowerer turns a checked tree into operands. What it does not know is left to cel-go: the smallest branch whose
// value has a type of feature.Type, so that `a && b` stays closures if only b needs cel-go.
type lowerer struct {
	env   *Env
	tree  *ast.AST
	loops int
}

// lower compiles e, whose type must be a feature.Type.
func (l *lowerer) lower(e ast.Expr) (operand, error) {
	o, ok, err := l.try(e)
	if ok || err != nil {
		return o, err
	}
	typ, ok := featureType(l.tree.GetType(e.ID()))
	if !ok {
		return operand{}, fmt.Errorf("expression of type %s cannot be evaluated alone", typeName(l.tree.GetType(e.ID())))
	}
	p, err := interpret(l.env, l.tree, e, typ, l.loops)
	if err != nil {
		return operand{}, err
	}
	return p.operand(), nil
}

// try compiles e without cel-go at its top, or returns false.
func (l *lowerer) try(e ast.Expr) (operand, bool, error) {
	if i, ok := variable(l.env, l.tree, e); ok {
		return variableOperand(i, l.env.vars[i].Type), true, nil
	}
	switch e.Kind() {
	case ast.LiteralKind:
		o, ok := literal(e)
		return o, ok, nil
	case ast.CallKind:
		return l.call(e)
	}
	return operand{}, false, nil
}

func literal(e ast.Expr) (operand, bool) {
	switch v := e.AsLiteral().(type) {
	case types.Bool:
		return constBool(bool(v)), true
	case types.Int:
		return constInt(int64(v)), true
	case types.Double:
		return constFloat(float64(v)), true
	case types.String:
		return constString(feature.String, string(v)), true
	case types.Bytes:
		return constString(feature.Bytes, string(v)), true
	}
	return operand{}, false
}

// lowering compiles a call from its compiled arguments, or returns false.
type lowering func(args []operand) (operand, bool)

// lowerings are the functions that closures are made for, by name. A new one is a line here.
var lowerings = map[string]lowering{
	fnAnd:                   connective(false),
	fnOr:                    connective(true),
	operators.LogicalNot:    not,
	fnEq:                    comparison(equals),
	fnNe:                    comparison(differs),
	operators.Less:          comparison(less),
	operators.LessEquals:    comparison(lessEquals),
	operators.Greater:       comparison(greater),
	operators.GreaterEquals: comparison(greaterEquals),
	operators.Add:           add,
	operators.Subtract:      arithmetic(subtractInts, subtractFloats),
	operators.Multiply:      arithmetic(multiplyInts, multiplyFloats),
	operators.Divide:        arithmetic(divideInts, divideFloats),
	operators.Modulo:        modulo,
	operators.Negate:        negate,
	operators.In:            inVariable,
	"size":                  size,
	"int":                   toInt,
	"double":                toFloat,
	"startsWith":            stringTest(hasPrefix),
	"endsWith":              stringTest(hasSuffix),
	"contains":              stringTest(containsString),
	"matches":               matches,
}

func (l *lowerer) call(e ast.Expr) (operand, bool, error) {
	c := e.AsCall()
	var parts []ast.Expr
	if c.IsMemberFunction() {
		parts = append(parts, c.Target())
	}
	parts = append(parts, c.Args()...)
	switch name := c.FunctionName(); name {
	case fnCond:
		return l.conditional(e, parts)
	case fnIsNull, fnNotNull:
		return l.nullTest(parts[0], name == fnIsNull)
	case operators.In:
		if parts[1].Kind() == ast.ListKind {
			return l.inLiteral(parts[0], parts[1])
		}
	}
	lowering, ok := lowerings[c.FunctionName()]
	if !ok || !l.representable(parts...) {
		return operand{}, false, nil
	}
	args := make([]operand, len(parts))
	for i, p := range parts {
		var err error
		if args[i], err = l.lower(p); err != nil {
			return operand{}, false, err
		}
	}
	o, ok := lowering(args)
	return o, ok, nil
}

// representable reports whether all branches have types that closures know.
func (l *lowerer) representable(es ...ast.Expr) bool {
	for _, e := range es {
		if _, ok := featureType(l.tree.GetType(e.ID())); !ok {
			return false
		}
	}
	return true
}

// nullTest compiles x == null and x != null.
func (l *lowerer) nullTest(e ast.Expr, isNull bool) (operand, bool, error) {
	if isNullLiteral(e) {
		return constBool(isNull), true, nil
	}
	if !l.representable(e) {
		return operand{}, false, nil
	}
	x, err := l.lower(e)
	if err != nil {
		return operand{}, false, err
	}
	st := x.state()
	return boolOperand(func(row []feature.Value) (bool, state) {
		switch st(row) {
		case present:
			return !isNull, present
		case null:
			return isNull, present
		}
		return false, failed
	}), true, nil
}

// conditional compiles c ? x : y.
func (l *lowerer) conditional(e ast.Expr, parts []ast.Expr) (operand, bool, error) {
	typ, ok := featureType(l.tree.GetType(e.ID()))
	if !ok {
		return operand{}, false, nil
	}
	cond, err := l.lower(parts[0])
	if err != nil {
		return operand{}, false, err
	}
	var branches [2]operand
	for k, p := range parts[1:] {
		if isNullLiteral(p) {
			branches[k] = nullOperand(typ)
			continue
		}
		if !l.representable(p) {
			return operand{}, false, nil
		}
		if branches[k], err = l.lower(p); err != nil {
			return operand{}, false, err
		}
		if typ == feature.Float64 {
			branches[k] = branches[k].float()
		}
	}
	x, y := branches[0], branches[1]
	o := operand{typ: typ, field: -1}
	switch {
	case typ.IsList():
		o.l = pick(cond.b, x.l, y.l)
	case typ == feature.Bool:
		o.b = pick(cond.b, x.b, y.b)
	case typ == feature.Float64:
		o.f = pick(cond.b, x.f, y.f)
	case typ == feature.String || typ == feature.Bytes:
		o.s = pick(cond.b, x.s, y.s)
	default:
		o.i = pick(cond.b, x.i, y.i)
	}
	return o, true, nil
}

func pick[T any](cond fn[bool], x, y fn[T]) fn[T] {
	return func(row []feature.Value) (T, state) {
		c, st := cond(row)
		switch {
		case st != present:
			var zero T
			return zero, st
		case c:
			return x(row)
		}
		return y(row)
	}
}

// connective compiles && and, with decides true, ||: either side decides alone.
func connective(decides bool) lowering {
	return func(args []operand) (operand, bool) {
		x, y := args[0].b, args[1].b
		return boolOperand(func(row []feature.Value) (bool, state) {
			a, sa := x(row)
			if sa == present && a == decides {
				return decides, present
			}
			b, sb := y(row)
			if sa|sb == present {
				return b, present
			}
			if sb == present && b == decides {
				return decides, present
			}
			return false, worse(sa, sb)
		}), true
	}
}

func not(args []operand) (operand, bool) {
	x := args[0].b
	return boolOperand(func(row []feature.Value) (bool, state) {
		v, st := x(row)
		return !v && st == present, st
	}), true
}
