package feature

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"time"
)

// Value is one nullable value of a Type. The zero Value is null. A Value is immutable; String and Bytes values may
// alias memory of whoever made them (a decoder aliases the record it decodes), so a holder that outlives that memory
// calls Clone.
type Value struct {
	typ  Type
	num  uint64 // Bool, Int64, Timestamp, and the bits of a Float64
	str  string // String, and the content of Bytes
	list []Value
}

// BoolValue returns a Bool value.
func BoolValue(b bool) Value {
	v := Value{typ: Bool}
	if b {
		v.num = 1
	}
	return v
}

// Int64Value returns an Int64 value.
func Int64Value(i int64) Value { return Value{typ: Int64, num: uint64(i)} }

// Float64Value returns a Float64 value; NaN and infinities are values like others.
func Float64Value(f float64) Value { return Value{typ: Float64, num: math.Float64bits(f)} }

// StringValue returns a String value.
func StringValue(s string) Value { return Value{typ: String, str: s} }

// BytesValue returns a Bytes value with the content of s.
func BytesValue(s string) Value { return Value{typ: Bytes, str: s} }

// TimestampValue returns a Timestamp value of us microseconds since the Unix epoch.
func TimestampValue(us int64) Value { return Value{typ: Timestamp, num: uint64(us)} }

// ListValue returns a list of elements that all have the type elem; it keeps vs. A nil vs is an empty list, not null.
func ListValue(elem Type, vs []Value) Value { return Value{typ: ListOf(elem), list: vs} }

// Type returns the value's type, Null when it is null.
func (v *Value) Type() Type { return v.typ }

// IsNull reports whether the value is null.
func (v *Value) IsNull() bool { return v.typ == Null }

// Bool returns a Bool value's content, false for any other type.
func (v *Value) Bool() bool { return v.typ == Bool && v.num != 0 }

// Int64 returns the content of an Int64 or Timestamp value.
func (v *Value) Int64() int64 { return int64(v.num) }

// Float64 returns the content of a Float64 value.
func (v *Value) Float64() float64 { return math.Float64frombits(v.num) }

// Num returns the 64 bits of a Bool, Int64, Timestamp or Float64 value, as states store them.
func (v *Value) Num() uint64 { return v.num }

// ScalarValue is the inverse of Num for the fixed-width scalar types.
func ScalarValue(t Type, num uint64) Value { return Value{typ: t, num: num} }

// Str returns the content of a String or Bytes value.
func (v *Value) Str() string { return v.str }

// List returns the elements of a list value; the caller does not change them.
func (v *Value) List() []Value { return v.list }

// Finite reports whether the value is not a NaN or infinite Float64.
func (v *Value) Finite() bool {
	return v.typ != Float64 || v.num&(0x7ff<<52) != 0x7ff<<52
}

// Clone returns a value that shares no memory with v.
func (v *Value) Clone() Value {
	c := *v
	if c.str != "" {
		c.str = string(append([]byte(nil), c.str...))
	}
	if c.list != nil {
		c.list = make([]Value, len(v.list))
		for i := range v.list {
			c.list[i] = v.list[i].Clone()
		}
	}
	return c
}

// Equal reports whether both values have the same type and content, bit for bit: a NaN equals itself, 0.0 and -0.0
// differ.
func (v *Value) Equal(o *Value) bool {
	if v.typ != o.typ || v.num != o.num || v.str != o.str || len(v.list) != len(o.list) {
		return false
	}
	for i := range v.list {
		if !v.list[i].Equal(&o.list[i]) {
			return false
		}
	}
	return true
}

// Compare orders two values of the same scalar type: false before true, numbers by size (-0.0 equals 0.0; NaN is not
// ordered and must not be passed), strings and bytes bytewise.
func (v *Value) Compare(o *Value) int {
	switch v.typ {
	case Int64, Timestamp, Bool:
		return cmpInt(int64(v.num), int64(o.num))
	case Float64:
		a, b := v.Float64(), o.Float64()
		switch {
		case a < b:
			return -1
		case a > b:
			return 1
		}
		return 0
	}
	return bytes.Compare([]byte(v.str), []byte(o.str))
}

func cmpInt(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// String shows the value for people and tests; it is not a wire format.
func (v Value) String() string {
	switch {
	case v.typ.IsList():
		return fmt.Sprint(v.list)
	case v.typ == Null:
		return "null"
	case v.typ == Bool:
		return strconv.FormatBool(v.num != 0)
	case v.typ == Int64:
		return strconv.FormatInt(int64(v.num), 10)
	case v.typ == Float64:
		return strconv.FormatFloat(v.Float64(), 'g', -1, 64)
	case v.typ == Timestamp:
		return time.UnixMicro(int64(v.num)).UTC().Format(time.RFC3339Nano)
	case v.typ == Bytes:
		return fmt.Sprintf("%x", v.str)
	}
	return strconv.Quote(v.str)
}
