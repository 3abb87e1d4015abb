package expr

import (
	"cmp"

	"github.com/freshet-io/freshet/internal/feature"
)

type relation uint8

const (
	equals relation = iota
	differs
	less
	lessEquals
	greater
	greaterEquals
)

// holds compares; with a NaN only differs holds.
func holds[T cmp.Ordered](r relation, x, y T) bool {
	switch r {
	case equals:
		return x == y
	case differs:
		return x != y
	case less:
		return x < y
	case lessEquals:
		return x <= y
	case greater:
		return x > y
	}
	return x >= y
}

// comparison compiles a relation of two numbers, strings, bytes, timestamps or, for equality, bools.
func comparison(r relation) lowering {
	return func(args []operand) (operand, bool) {
		x, y := args[0], args[1]
		switch {
		case x.typ.IsList() || y.typ.IsList():
			return operand{}, false
		case x.typ.Numeric() && y.typ.Numeric() && x.typ != y.typ:
			return compareFloats(r, x.float(), y.float()), true
		case x.typ == feature.Float64:
			return compareFloats(r, x, y), true
		case x.typ == feature.Int64 || x.typ == feature.Timestamp:
			return compareInts(r, x, y), true
		case x.typ == feature.String || x.typ == feature.Bytes:
			return compareStrings(r, x, y), true
		case x.typ == feature.Bool && (r == equals || r == differs):
			return compareBools(r, x.b, y.b), true
		}
		return operand{}, false
	}
}

// The commonest comparison, of a variable with a literal, reads the row itself.

func compareFloats(r relation, x, y operand) operand {
	if x.field >= 0 && y.constant {
		i, c := x.field, y.cf
		return boolOperand(func(row []feature.Value) (bool, state) {
			if v := &row[i]; v.Type() == feature.Float64 {
				return holds(r, v.Float64(), c), present
			}
			return false, null
		})
	}
	return compareFns(r, x.f, y.f)
}

func compareInts(r relation, x, y operand) operand {
	if x.field >= 0 && y.constant {
		i, typ, c := x.field, x.typ, y.ci
		return boolOperand(func(row []feature.Value) (bool, state) {
			if v := &row[i]; v.Type() == typ {
				return holds(r, v.Int64(), c), present
			}
			return false, null
		})
	}
	return compareFns(r, x.i, y.i)
}

func compareStrings(r relation, x, y operand) operand {
	if x.field >= 0 && y.constant && (r == equals || r == differs) {
		i, typ, c, same := x.field, x.typ, y.cs, r == equals
		return boolOperand(func(row []feature.Value) (bool, state) {
			if v := &row[i]; v.Type() == typ {
				return (v.Str() == c) == same, present
			}
			return false, null
		})
	}
	return compareFns(r, x.s, y.s)
}

func compareFns[T cmp.Ordered](r relation, x, y fn[T]) operand {
	return boolOperand(func(row []feature.Value) (bool, state) {
		a, sa := x(row)
		b, sb := y(row)
		if st := worse(sa, sb); st != present {
			return false, st
		}
		return holds(r, a, b), present
	})
}

func compareBools(r relation, x, y fn[bool]) operand {
	return boolOperand(func(row []feature.Value) (bool, state) {
		a, sa := x(row)
		b, sb := y(row)
		if st := worse(sa, sb); st != present {
			return false, st
		}
		return (a == b) == (r == equals), present
	})
}
