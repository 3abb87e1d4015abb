package expr

import (
	"github.com/freshet-io/freshet/internal/feature"
)

// state says what the evaluation of a typed closure came to.
type state uint8

const (
	present state = iota
	null
	failed // an evaluation error
)

// fn is a compiled expression of one Go type. Where the state is not present the value is the zero value.
type fn[T any] func(row []feature.Value) (T, state)

// operand is a compiled expression by its type: the closure for that type is set, and no other.
type operand struct {
	typ   feature.Type
	field int // the variable that the operand is, -1 for anything else

	b fn[bool]          // Bool
	i fn[int64]         // Int64 and Timestamp
	f fn[float64]       // Float64
	s fn[string]        // String and Bytes
	l fn[feature.Value] // lists

	constant bool // a literal, with its value in the field for its type
	ci       int64
	cf       float64
	cs       string
}

// variableOperand reads row[i]. A value of another type than declared reads as null.
func variableOperand(i int, typ feature.Type) operand {
	o := operand{typ: typ, field: i}
	switch typ {
	case feature.Bool:
		o.b = func(row []feature.Value) (bool, state) {
			if v := &row[i]; v.Type() == feature.Bool {
				return v.Bool(), present
			}
			return false, null
		}
	case feature.Int64, feature.Timestamp:
		o.i = func(row []feature.Value) (int64, state) {
			if v := &row[i]; v.Type() == typ {
				return v.Int64(), present
			}
			return 0, null
		}
	case feature.Float64:
		o.f = func(row []feature.Value) (float64, state) {
			if v := &row[i]; v.Type() == feature.Float64 {
				return v.Float64(), present
			}
			return 0, null
		}
	case feature.String, feature.Bytes:
		o.s = func(row []feature.Value) (string, state) {
			if v := &row[i]; v.Type() == typ {
				return v.Str(), present
			}
			return "", null
		}
	default:
		o.l = func(row []feature.Value) (feature.Value, state) {
			if v := &row[i]; v.Type() == typ {
				return *v, present
			}
			return feature.Value{}, null
		}
	}
	return o
}

// nullOperand is a null literal beside something of a type.
func nullOperand(typ feature.Type) operand {
	o := operand{typ: typ, field: -1}
	switch {
	case typ.IsList():
		o.l = func([]feature.Value) (feature.Value, state) { return feature.Value{}, null }
	case typ == feature.Bool:
		o.b = func([]feature.Value) (bool, state) { return false, null }
	case typ == feature.Float64:
		o.f = func([]feature.Value) (float64, state) { return 0, null }
	case typ == feature.String || typ == feature.Bytes:
		o.s = func([]feature.Value) (string, state) { return "", null }
	default:
		o.i = func([]feature.Value) (int64, state) { return 0, null }
	}
	return o
}

func boolOperand(b fn[bool]) operand { return operand{typ: feature.Bool, field: -1, b: b} }

func intOperand(i fn[int64]) operand { return operand{typ: feature.Int64, field: -1, i: i} }

func floatOperand(f fn[float64]) operand { return operand{typ: feature.Float64, field: -1, f: f} }

func stringOperand(s fn[string]) operand { return operand{typ: feature.String, field: -1, s: s} }

func constBool(c bool) operand {
	return boolOperand(func([]feature.Value) (bool, state) { return c, present })
}

func constInt(c int64) operand {
	return operand{
		typ: feature.Int64, field: -1, constant: true, ci: c,
		i: func([]feature.Value) (int64, state) { return c, present },
	}
}

func constFloat(c float64) operand {
	return operand{
		typ: feature.Float64, field: -1, constant: true, cf: c,
		f: func([]feature.Value) (float64, state) { return c, present },
	}
}

func constString(typ feature.Type, c string) operand {
	return operand{
		typ: typ, field: -1, constant: true, cs: c,
		s: func([]feature.Value) (string, state) { return c, present },
	}
}

// float returns an operand as a float64 one; o is an int64 or a float64.
func (o operand) float() operand {
	if o.typ == feature.Float64 {
		return o
	}
	if o.constant {
		return constFloat(float64(o.ci))
	}
	i := o.i
	return floatOperand(func(row []feature.Value) (float64, state) {
		v, st := i(row)
		return float64(v), st
	})
}

// state evaluates an operand for its state only.
func (o operand) state() func(row []feature.Value) state {
	if i, typ := o.field, o.typ; i >= 0 {
		return func(row []feature.Value) state {
			if row[i].Type() == typ {
				return present
			}
			return null
		}
	}
	switch {
	case o.b != nil:
		return stateOf(o.b)
	case o.i != nil:
		return stateOf(o.i)
	case o.f != nil:
		return stateOf(o.f)
	case o.s != nil:
		return stateOf(o.s)
	}
	return stateOf(o.l)
}

func stateOf[T any](f fn[T]) func(row []feature.Value) state {
	return func(row []feature.Value) state {
		_, st := f(row)
		return st
	}
}

// value evaluates a root: null, and false, where the evaluation fails.
func (o *operand) value(row []feature.Value, out *feature.Value) (ok bool) {
	st := present
	switch {
	case o.b != nil:
		var v bool
		v, st = o.b(row)
		*out = feature.BoolValue(v)
	case o.i != nil:
		var v int64
		v, st = o.i(row)
		*out = feature.ScalarValue(o.typ, uint64(v))
	case o.f != nil:
		var v float64
		v, st = o.f(row)
		*out = feature.Float64Value(v)
	case o.s != nil:
		var v string
		v, st = o.s(row)
		if o.typ == feature.Bytes {
			*out = feature.BytesValue(v)
		} else {
			*out = feature.StringValue(v)
		}
	default:
		*out, st = o.l(row)
	}
	if st != present {
		*out = feature.Value{}
	}
	return st != failed
}

// worse returns the state of an operator whose operands have the states x and y: an error, then a null wins.
func worse(x, y state) state { return max(x, y) }
