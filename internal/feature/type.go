package feature

import (
	"fmt"
	"strings"
)

// Type is the type of a field, an expression or a feature. The zero Type is Null: the type of a value that is absent,
// never of a declared field. The numbers are part of the state and blob formats: they never change meaning.
type Type uint8

// The scalar types. Timestamp is int64 microseconds since the Unix epoch, UTC.
const (
	Null Type = iota
	Bool
	Int64
	Float64
	String
	Bytes
	Timestamp
)

// listBit marks a list of the scalar type in the low bits.
const listBit Type = 0x80

var typeNames = [...]string{"null", "bool", "int64", "float64", "string", "bytes", "timestamp"}

// ListOf returns the type of a list whose elements have the scalar type elem.
func ListOf(elem Type) Type { return elem | listBit }

// IsList reports whether t is a list type.
func (t Type) IsList() bool { return t&listBit != 0 }

// Elem returns the element type of a list type, and t itself for a scalar.
func (t Type) Elem() Type { return t &^ listBit }

// Valid reports whether t is a declared type: a scalar other than Null, or a list of one.
func (t Type) Valid() bool { return t.Elem() > Null && int(t.Elem()) < len(typeNames) }

// Numeric reports whether arithmetic is defined on t.
func (t Type) Numeric() bool { return t == Int64 || t == Float64 }

// String returns the name used in definitions: "int64", "list<string>".
func (t Type) String() string {
	e := t.Elem()
	if int(e) >= len(typeNames) {
		return fmt.Sprintf("type(%d)", uint8(t))
	}
	if t.IsList() {
		return "list<" + typeNames[e] + ">"
	}
	return typeNames[e]
}

// ParseType returns the type that String names.
func ParseType(s string) (Type, error) {
	name, list := s, Type(0)
	if inner, ok := strings.CutPrefix(s, "list<"); ok && strings.HasSuffix(inner, ">") {
		name, list = strings.TrimSuffix(inner, ">"), listBit
	}
	for i, n := range typeNames {
		if i > 0 && n == name {
			return Type(i) | list, nil
		}
	}
	return Null, fmt.Errorf("unknown type %q; types are bool, int64, float64, string, bytes, timestamp", s)
}
