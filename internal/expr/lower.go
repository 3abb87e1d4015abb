package expr

import (
	"cel.dev/cel-go/common/ast"

	"github.com/freshet-io/freshet/internal/feature"
)

// node is a compiled expression.
type node interface {
	// value sets *out, to null where the evaluation fails, which it reports.
	value(row []feature.Value, out *feature.Value) (ok bool)
	// test evaluates a bool expression as a condition.
	test(row []feature.Value) (pass, ok bool)
}

func (p *interpreted) value(row []feature.Value, out *feature.Value) (ok bool) {
	*out, ok = p.eval(row)
	return ok
}

func (p *interpreted) test(row []feature.Value) (pass, ok bool) {
	v, ok := p.eval(row)
	return v.Bool(), ok
}

// A lowerer turns a checked tree into nodes.
type lowerer struct {
	env   *Env
	tree  *ast.AST
	loops int
}

func (l *lowerer) lower(e ast.Expr) (node, error) {
	typ, _ := featureType(l.tree.GetType(e.ID()))
	return interpret(l.env, l.tree, e, typ, l.loops)
}
