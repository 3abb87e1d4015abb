package expr

import (
	"slices"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"

	"github.com/freshet-io/freshet/internal/feature"
)

// setSize is the number of strings from which a set is quicker than comparing one by one.
const setSize = 9

// inLiteral compiles `x in [literals]`.
func (l *lowerer) inLiteral(e, list ast.Expr) (operand, bool, error) {
	if !l.representable(e) {
		return operand{}, false, nil
	}
	var ints []int64
	var floats []float64
	var strs []string
	for _, el := range list.AsList().Elements() {
		if el.Kind() != ast.LiteralKind {
			return operand{}, false, nil
		}
		switch v := el.AsLiteral().(type) {
		case types.Int:
			ints, floats = append(ints, int64(v)), append(floats, float64(v))
		case types.Double:
			floats = append(floats, float64(v))
		case types.String:
			strs = append(strs, string(v))
		default:
			return operand{}, false, nil
		}
	}
	x, err := l.lower(e)
	if err != nil {
		return operand{}, false, err
	}
	switch {
	case x.typ == feature.Int64 && len(ints) == len(floats):
		return boolOperand(memberFn(x.i, func(v int64) bool { return slices.Contains(ints, v) })), true, nil
	case x.typ.Numeric():
		return boolOperand(memberFn(x.float().f, func(v float64) bool { return slices.Contains(floats, v) })), true, nil
	case x.typ == feature.String && len(strs) < setSize:
		return boolOperand(memberFn(x.s, func(v string) bool { return slices.Contains(strs, v) })), true, nil
	case x.typ == feature.String:
		set := make(map[string]struct{}, len(strs))
		for _, s := range strs {
			set[s] = struct{}{}
		}
		return boolOperand(memberFn(x.s, func(v string) bool { _, ok := set[v]; return ok })), true, nil
	}
	return operand{}, false, nil
}

func memberFn[T any](x fn[T], member func(T) bool) fn[bool] {
	return func(row []feature.Value) (bool, state) {
		v, st := x(row)
		if st != present {
			return false, st
		}
		return member(v), present
	}
}

// inVariable compiles `x in list` for a list of x's own type.
func inVariable(args []operand) (operand, bool) {
	x, list := args[0], args[1]
	if !list.typ.IsList() || list.typ.Elem() != x.typ {
		return operand{}, false
	}
	switch x.typ {
	case feature.Int64:
		return searchFn(x.i, list.l, (*feature.Value).Int64), true
	case feature.Float64:
		return searchFn(x.f, list.l, (*feature.Value).Float64), true
	case feature.String:
		return searchFn(x.s, list.l, (*feature.Value).Str), true
	}
	return operand{}, false
}

func searchFn[T comparable](x fn[T], list fn[feature.Value], get func(*feature.Value) T) operand {
	return boolOperand(func(row []feature.Value) (bool, state) {
		v, sv := x(row)
		in, sl := list(row)
		if st := worse(sv, sl); st != present {
			return false, st
		}
		elems := in.List()
		for i := range elems {
			if get(&elems[i]) == v {
				return true, present
			}
		}
		return false, present
	})
}
