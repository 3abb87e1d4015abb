package expr

import (
	"math"
	"math/bits"
	"strconv"

	"github.com/freshet-io/freshet/internal/feature"
)

// arithmetic compiles an operator on numbers; of an int64 and a float64, the int64 becomes a float64.
func arithmetic(ints func(x, y int64) (int64, bool), floats func(x, y float64) float64) lowering {
	return func(args []operand) (operand, bool) {
		x, y := args[0], args[1]
		switch {
		case x.typ == feature.Int64 && y.typ == feature.Int64:
			return intOperand(binaryInts(x.i, y.i, ints)), true
		case x.typ.Numeric() && y.typ.Numeric():
			return floatOperand(binaryFloats(x.float().f, y.float().f, floats)), true
		}
		return operand{}, false
	}
}

func binaryInts(x, y fn[int64], op func(x, y int64) (int64, bool)) fn[int64] {
	return func(row []feature.Value) (int64, state) {
		a, sa := x(row)
		b, sb := y(row)
		if st := worse(sa, sb); st != present {
			return 0, st
		}
		v, ok := op(a, b)
		if !ok {
			return 0, failed
		}
		return v, present
	}
}

func binaryFloats(x, y fn[float64], op func(x, y float64) float64) fn[float64] {
	return func(row []feature.Value) (float64, state) {
		a, sa := x(row)
		b, sb := y(row)
		if st := worse(sa, sb); st != present {
			return 0, st
		}
		return op(a, b), present
	}
}

func addInts(x, y int64) (int64, bool) {
	s := x + y
	return s, (x^s)&(y^s) >= 0
}

func subtractInts(x, y int64) (int64, bool) {
	d := x - y
	return d, (x^y)&(x^d) >= 0
}

func multiplyInts(x, y int64) (int64, bool) {
	hi, lo := bits.Mul64(uint64(x), uint64(y))
	// The signed high half, which must be the sign of the low half.
	high := int64(hi) - (x>>63)&y - (y>>63)&x
	return int64(lo), high == int64(lo)>>63
}

func divideInts(x, y int64) (int64, bool) {
	if y == 0 || x == math.MinInt64 && y == -1 {
		return 0, false
	}
	return x / y, true
}

func moduloInts(x, y int64) (int64, bool) {
	if y == 0 || x == math.MinInt64 && y == -1 {
		return 0, false
	}
	return x % y, true
}

func addFloats(x, y float64) float64      { return x + y }
func subtractFloats(x, y float64) float64 { return x - y }
func multiplyFloats(x, y float64) float64 { return x * y }
func divideFloats(x, y float64) float64   { return x / y }

func modulo(args []operand) (operand, bool) {
	if args[0].typ != feature.Int64 || args[1].typ != feature.Int64 {
		return operand{}, false
	}
	return intOperand(binaryInts(args[0].i, args[1].i, moduloInts)), true
}

func negate(args []operand) (operand, bool) {
	switch x := args[0]; x.typ {
	case feature.Float64:
		return floatOperand(func(row []feature.Value) (float64, state) {
			v, st := x.f(row)
			if st != present {
				return 0, st
			}
			return -v, present
		}), true
	case feature.Int64:
		return intOperand(func(row []feature.Value) (int64, state) {
			v, st := x.i(row)
			if st == present && v == math.MinInt64 {
				return 0, failed
			}
			return -v, st
		}), true
	}
	return operand{}, false
}

// toInt compiles int(x): of a float64 towards zero and within range, of a string in decimal.
func toInt(args []operand) (operand, bool) {
	switch x := args[0]; x.typ {
	case feature.Int64:
		return x, true
	case feature.Float64:
		return intOperand(func(row []feature.Value) (int64, state) {
			v, st := x.f(row)
			if st != present {
				return 0, st
			}
			if !(v > math.MinInt64 && v < math.MaxInt64) {
				return 0, failed
			}
			return int64(v), present
		}), true
	case feature.String:
		return intOperand(func(row []feature.Value) (int64, state) {
			s, st := x.s(row)
			if st != present {
				return 0, st
			}
			v, err := strconv.ParseInt(s, 10, 64)
			if err != nil {
				return 0, failed
			}
			return v, present
		}), true
	}
	return operand{}, false
}

// toFloat compiles double(x).
func toFloat(args []operand) (operand, bool) {
	switch x := args[0]; x.typ {
	case feature.Int64, feature.Float64:
		return x.float(), true
	case feature.String:
		return floatOperand(func(row []feature.Value) (float64, state) {
			s, st := x.s(row)
			if st != present {
				return 0, st
			}
			v, err := strconv.ParseFloat(s, 64)
			if err != nil {
				return 0, failed
			}
			return v, present
		}), true
	}
	return operand{}, false
}
