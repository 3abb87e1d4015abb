package expr

import (
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/freshet-io/freshet/internal/feature"
)

// add compiles + of numbers and of strings.
func add(args []operand) (operand, bool) {
	if args[0].typ != feature.String {
		return arithmetic(addInts, addFloats)(args)
	}
	x, y := args[0].s, args[1].s
	return stringOperand(func(row []feature.Value) (string, state) {
		a, sa := x(row)
		b, sb := y(row)
		if st := worse(sa, sb); st != present {
			return "", st
		}
		return a + b, present
	}), true
}

func hasPrefix(s, part string) bool      { return strings.HasPrefix(s, part) }
func hasSuffix(s, part string) bool      { return strings.HasSuffix(s, part) }
func containsString(s, part string) bool { return strings.Contains(s, part) }

func stringTest(test func(s, part string) bool) lowering {
	return func(args []operand) (operand, bool) {
		x, y := args[0].s, args[1].s
		return boolOperand(func(row []feature.Value) (bool, state) {
			a, sa := x(row)
			b, sb := y(row)
			if st := worse(sa, sb); st != present {
				return false, st
			}
			return test(a, b), present
		}), true
	}
}

// matches compiles s.matches(pattern) where the pattern is a literal.
func matches(args []operand) (operand, bool) {
	if !args[1].constant {
		return operand{}, false
	}
	re, err := regexp.Compile(args[1].cs)
	if err != nil {
		return operand{}, false
	}
	x := args[0].s
	return boolOperand(func(row []feature.Value) (bool, state) {
		s, st := x(row)
		if st != present {
			return false, st
		}
		return re.MatchString(s), present
	}), true
}

// size compiles size(x): characters of a string, bytes of bytes, elements of a list.
func size(args []operand) (operand, bool) {
	switch x := args[0]; {
	case x.typ.IsList():
		return sizeOf(x.l, func(v feature.Value) int { return len(v.List()) }), true
	case x.typ == feature.String:
		return sizeOf(x.s, func(s string) int { return utf8.RuneCountInString(s) }), true
	case x.typ == feature.Bytes:
		return sizeOf(x.s, func(s string) int { return len(s) }), true
	}
	return operand{}, false
}

func sizeOf[T any](x fn[T], size func(T) int) operand {
	return intOperand(func(row []feature.Value) (int64, state) {
		v, st := x(row)
		if st != present {
			return 0, st
		}
		return int64(size(v)), present
	})
}
