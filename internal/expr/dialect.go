package expr

import (
	"fmt"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/decls"
	"cel.dev/cel-go/common/functions"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/stdlib"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// The operators whose meaning differs from standard CEL. The parsed tree is rewritten to these names before it is
// checked (see rewrite.go), because cel-go plans the standard names itself, without a function.
const (
	fnAnd     = "@and"
	fnOr      = "@or"
	fnCond    = "@cond" // c ? x : y as written by a user
	fnPick    = "@pick" // c ? x : y as written by a macro: both branches have one type
	fnEq      = "@eq"
	fnNe      = "@ne"
	fnIsNull  = "@is_null"
	fnNotNull = "@not_null"
	fnIndex   = "@index"
	fnList    = "@list"  // [x, y]: null when an element is null
	fnGuard   = "@guard" // (list, macro over it): null when the list is null
)

// omitted are the standard functions that the dialect has not, or has under a name of its own.
var omitted = map[string]bool{
	operators.LogicalAnd: true, operators.LogicalOr: true, operators.Conditional: true, operators.Equals: true,
	operators.NotEquals: true, operators.Index: true, operators.In: true, operators.OldIn: true,
	"__not_strictly_false__": true, // CEL's former name of an operator
	"dyn":                    true, "type": true,
}

// dialect is the environment that every Env extends: immutable, and made once because making it takes a while.
var dialect = sync.OnceValues(newDialect)

func newDialect() (*cel.Env, error) {
	opts := []cel.EnvOption{
		cel.Macros(cel.AllMacro, cel.ExistsMacro, cel.ExistsOneMacro, cel.MapMacro, cel.MapFilterMacro, cel.FilterMacro),
		cel.CrossTypeNumericComparisons(true),
		cel.HomogeneousAggregateLiterals(),
		cel.EnableHiddenAccumulatorName(true),
		cel.DefaultUTCTimeZone(true),
		cel.ParserExpressionSizeLimit(MaxLength),
		cel.ParserRecursionLimit(maxDepth),
		cel.ExpressionNodeLimit(maxNodes),
		cel.EagerlyValidateDeclarations(true),
	}
	for _, fd := range stdlib.Functions() {
		switch {
		case omitted[fd.Name()]:
		case fd.Name() == operators.NotStrictlyFalse:
			opts = append(opts, cel.FunctionDecls(fd))
		default:
			opt, err := lift(fd)
			if err != nil {
				return nil, err
			}
			opts = append(opts, opt)
		}
	}
	return cel.NewCustomEnv(append(opts, nullOperators()...)...)
}

// lift declares a standard function again with the null rule, and the arithmetic operators also for an int64 mixed
// with a float64.
func lift(fd *decls.FunctionDecl) (cel.EnvOption, error) {
	bindings, err := fd.Bindings()
	if err != nil {
		return nil, fmt.Errorf("function %s: %w", fd.Name(), err)
	}
	var impl *functions.Overload
	for _, b := range bindings {
		if b.Operator == fd.Name() {
			impl = b
		}
	}
	if impl == nil {
		return nil, fmt.Errorf("function %s has no implementation", fd.Name())
	}
	var opts []cel.FunctionOpt
	for _, o := range fd.OverloadDecls() {
		declare := cel.Overload
		if o.IsMemberFunction() {
			declare = cel.MemberOverload
		}
		opts = append(opts, declare(o.ID(), o.ArgTypes(), o.ResultType()))
	}
	mixed := false
	switch fd.Name() {
	case operators.Add, operators.Subtract, operators.Multiply, operators.Divide:
		mixed = true
		opts = append(opts,
			cel.Overload(fd.Name()+"int_double", argTypes(types.IntType, types.DoubleType), types.DoubleType),
			cel.Overload(fd.Name()+"double_int", argTypes(types.DoubleType, types.IntType), types.DoubleType))
	}
	call := func(args ...ref.Val) ref.Val {
		for _, a := range args {
			if a == types.NullValue {
				return types.NullValue
			}
		}
		if mixed {
			promote(args)
		}
		return invoke(impl, args)
	}
	return cel.Function(fd.Name(), append(opts, cel.SingletonFunctionBinding(call))...), nil
}

// promote makes both of two numbers a double if one is.
func promote(args []ref.Val) {
	i, ok := args[0].(types.Int)
	if _, double := args[1].(types.Double); ok && double {
		args[0] = types.Double(i)
		return
	}
	i, ok = args[1].(types.Int)
	if _, double := args[0].(types.Double); ok && double {
		args[1] = types.Double(i)
	}
}

// invoke calls a function of the standard library as its planner would.
func invoke(impl *functions.Overload, args []ref.Val) ref.Val {
	if impl.OperandTrait != 0 && len(args) > 0 && !args[0].Type().HasTrait(impl.OperandTrait) {
		return types.MaybeNoSuchOverloadErr(args[0])
	}
	switch {
	case len(args) == 1 && impl.Unary != nil:
		return impl.Unary(args[0])
	case len(args) == 2 && impl.Binary != nil:
		return impl.Binary(args[0], args[1])
	case impl.Function != nil:
		return impl.Function(args...)
	}
	return types.NewErr("no such overload")
}

func argTypes(ts ...*cel.Type) []*cel.Type { return ts }

// nullOperators declares the operators of the dialect. Types are enumerated instead of parameters where a null literal
// or two kinds of number may stand beside a value, since one type parameter cannot match both.
func nullOperators() []cel.EnvOption {
	a, b := cel.TypeParamType("A"), cel.TypeParamType("B")
	listOfA := cel.ListType(a)
	boolean := types.BoolType
	unguarded := decls.DisableTypeGuards(true)
	nonStrict := func(id string, args []*cel.Type, out *cel.Type, fn functions.FunctionOp) cel.FunctionOpt {
		return cel.Overload(id, args, out, cel.OverloadIsNonStrict(), cel.FunctionBinding(fn))
	}
	var eq, cond, in []cel.FunctionOpt
	for _, t := range comparableTypes() {
		n := t.String()
		eq = append(eq, cel.Overload("eq_"+n, argTypes(t, t), boolean))
		cond = append(cond,
			nonStrict("cond_"+n, argTypes(boolean, t, t), t, choose(false)),
			nonStrict("cond_"+n+"_null", argTypes(boolean, t, types.NullType), t, choose(false)),
			nonStrict("cond_null_"+n, argTypes(boolean, types.NullType, t), t, choose(false)))
		in = append(in,
			cel.Overload("in_list_"+n, argTypes(t, cel.ListType(t)), boolean),
			cel.Overload("in_map_"+n, argTypes(t, cel.MapType(t, b)), boolean))
	}
	i, d := types.IntType, types.DoubleType
	eq = append(eq, cel.Overload("eq_int_double", argTypes(i, d), boolean), cel.Overload("eq_double_int", argTypes(d, i), boolean))
	cond = append(cond,
		nonStrict("cond_int_double", argTypes(boolean, i, d), d, choose(true)),
		nonStrict("cond_double_int", argTypes(boolean, d, i), d, choose(true)))
	in = append(in,
		cel.Overload("in_int_list_double", argTypes(i, cel.ListType(d)), boolean),
		cel.Overload("in_double_list_int", argTypes(d, cel.ListType(i)), boolean))
	ne := make([]cel.FunctionOpt, len(eq))
	copy(ne, eq)
	return []cel.EnvOption{
		cel.Function(fnAnd, nonStrict("and", argTypes(boolean, boolean), boolean, and), unguarded),
		cel.Function(fnOr, nonStrict("or", argTypes(boolean, boolean), boolean, or), unguarded),
		cel.Function(fnCond, append(cond, unguarded)...),
		cel.Function(fnPick, nonStrict("pick", argTypes(boolean, a, a), a, choose(false)), unguarded),
		cel.Function(fnEq, append(eq, cel.SingletonBinaryBinding(equal))...),
		cel.Function(fnNe, append(ne, cel.SingletonBinaryBinding(notEqual))...),
		cel.Function(operators.In, append(in, cel.SingletonBinaryBinding(contains))...),
		cel.Function(fnIsNull, cel.Overload("is_null", argTypes(a), boolean), cel.SingletonUnaryBinding(isNull)),
		cel.Function(fnNotNull, cel.Overload("not_null", argTypes(a), boolean), cel.SingletonUnaryBinding(notNull)),
		cel.Function(fnIndex,
			cel.Overload("index_list", argTypes(listOfA, i), a),
			cel.Overload("index_map", argTypes(cel.MapType(a, b), a), b),
			cel.SingletonBinaryBinding(index)),
		cel.Function(fnList, cel.Overload("list", argTypes(listOfA), listOfA), cel.SingletonUnaryBinding(withoutNulls)),
		cel.Function(fnGuard, nonStrict("guard", argTypes(a, b), b, guard), unguarded),
	}
}

// comparableTypes lists the types that can be compared for equality and chosen between.
func comparableTypes() []*cel.Type {
	scalars := []*cel.Type{
		types.BoolType, types.IntType, types.UintType, types.DoubleType, types.StringType,
		types.BytesType, types.TimestampType, types.DurationType,
	}
	ts := scalars
	for _, t := range scalars {
		ts = append(ts, cel.ListType(t))
	}
	return ts
}

// and is decided by a false on either side; otherwise an error, then a null wins.
func and(args ...ref.Val) ref.Val { return connect(args, types.False, types.True) }

// or is decided by a true on either side; otherwise an error, then a null wins.
func or(args ...ref.Val) ref.Val { return connect(args, types.True, types.False) }

func connect(args []ref.Val, decides, otherwise ref.Val) ref.Val {
	x, y := args[0], args[1]
	switch {
	case x == decides || y == decides:
		return decides
	case types.IsUnknownOrError(x):
		return x
	case types.IsUnknownOrError(y):
		return y
	case x == types.NullValue || y == types.NullValue:
		return types.NullValue
	}
	return otherwise
}

// choose evaluates c ? x : y; an error in the branch not taken does not count.
func choose(double bool) functions.FunctionOp {
	return func(args ...ref.Val) ref.Val {
		var v ref.Val
		switch args[0] {
		case types.True:
			v = args[1]
		case types.False:
			v = args[2]
		default: // null or an error
			return args[0]
		}
		if i, ok := v.(types.Int); ok && double {
			return types.Double(i)
		}
		return v
	}
}

func equal(x, y ref.Val) ref.Val {
	if x == types.NullValue || y == types.NullValue {
		return types.NullValue
	}
	return types.Equal(x, y)
}

func notEqual(x, y ref.Val) ref.Val {
	eq := equal(x, y)
	if b, ok := eq.(types.Bool); ok {
		return !b
	}
	return eq
}

func isNull(x ref.Val) ref.Val  { return types.Bool(x == types.NullValue) }
func notNull(x ref.Val) ref.Val { return types.Bool(x != types.NullValue) }

// contains is `x in list` or `key in map`.
func contains(x, in ref.Val) ref.Val {
	if x == types.NullValue || in == types.NullValue {
		return types.NullValue
	}
	c, ok := in.(traits.Container)
	if !ok {
		return types.MaybeNoSuchOverloadErr(in)
	}
	return c.Contains(x)
}

// withoutNulls is a list literal: an operator like others, null if an element is.
func withoutNulls(list ref.Val) ref.Val {
	l, ok := list.(traits.Lister)
	if !ok {
		return types.MaybeNoSuchOverloadErr(list)
	}
	for it := l.Iterator(); it.HasNext() == types.True; {
		if it.Next() == types.NullValue {
			return types.NullValue
		}
	}
	return list
}

func index(list, i ref.Val) ref.Val {
	if list == types.NullValue || i == types.NullValue {
		return types.NullValue
	}
	x, ok := list.(traits.Indexer)
	if !ok {
		return types.MaybeNoSuchOverloadErr(list)
	}
	return x.Get(i)
}

func guard(args ...ref.Val) ref.Val {
	if args[0] == types.NullValue {
		return types.NullValue
	}
	return args[1]
}
