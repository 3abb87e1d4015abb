package expr

import (
	"fmt"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"

	"github.com/freshet-io/freshet/internal/feature"
)

// maxCost bounds the work of a program with macros over lists, in cel-go's units (about one an operator).
const maxCost = 1_000_000

// interpreted is a tree, or a branch of one, that cel-go runs.
type interpreted struct {
	env  *Env
	prog cel.Program
	typ  feature.Type
	rows sync.Pool // of *activation
}

// activation gives cel-go the variables of a row.
type activation struct {
	env *Env
	row []feature.Value
}

// ResolveName returns a variable's value.
func (a *activation) ResolveName(name string) (any, bool) {
	i, ok := a.env.index[name]
	if !ok {
		return nil, false
	}
	return toCEL(&a.row[i], a.env.vars[i].Type), true
}

// Parent returns nil: there is one scope.
func (a *activation) Parent() cel.Activation { return nil }

// interpret plans the branch e of a checked tree.
func interpret(env *Env, tree *ast.AST, e ast.Expr, typ feature.Type, loops int) (*interpreted, error) {
	branch := ast.NewCheckedAST(ast.NewAST(e, tree.SourceInfo()), tree.TypeMap(), tree.ReferenceMap())
	var opts []cel.ProgramOption
	if loops > 0 {
		opts = append(opts, cel.CostLimit(maxCost))
	}
	prog, err := env.cel.PlanProgram(branch, opts...)
	if err != nil {
		return nil, fmt.Errorf("plan expression: %w", err)
	}
	p := &interpreted{env: env, prog: prog, typ: typ}
	p.rows.New = func() any { return &activation{env: env} }
	return p, nil
}

// eval returns the value, null with ok=false for an evaluation error.
func (p *interpreted) eval(row []feature.Value) (v feature.Value, ok bool) {
	a := p.rows.Get().(*activation)
	a.row = row
	out, _, err := p.prog.Eval(a)
	a.row = nil
	p.rows.Put(a)
	if err != nil || types.IsUnknownOrError(out) {
		return feature.Value{}, false
	}
	return fromCEL(out, p.typ)
}

// operand makes what cel-go runs an operand of lowered operators.
func (p *interpreted) operand() operand {
	o := operand{typ: p.typ, field: -1}
	switch {
	case p.typ.IsList():
		o.l = interpretedFn(p, func(v *feature.Value) feature.Value { return *v })
	case p.typ == feature.Bool:
		o.b = interpretedFn(p, (*feature.Value).Bool)
	case p.typ == feature.Float64:
		o.f = interpretedFn(p, (*feature.Value).Float64)
	case p.typ == feature.String || p.typ == feature.Bytes:
		o.s = interpretedFn(p, (*feature.Value).Str)
	default:
		o.i = interpretedFn(p, (*feature.Value).Int64)
	}
	return o
}

func interpretedFn[T any](p *interpreted, get func(*feature.Value) T) fn[T] {
	return func(row []feature.Value) (T, state) {
		var zero T
		v, ok := p.eval(row)
		switch {
		case !ok:
			return zero, failed
		case v.IsNull():
			return zero, null
		}
		return get(&v), present
	}
}
