package expr

import (
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/freshet-io/freshet/internal/feature"
)

// celType returns CEL's type for a declared type.
func celType(t feature.Type) (*cel.Type, bool) {
	var c *cel.Type
	switch t.Elem() {
	case feature.Bool:
		c = cel.BoolType
	case feature.Int64:
		c = cel.IntType
	case feature.Float64:
		c = cel.DoubleType
	case feature.String:
		c = cel.StringType
	case feature.Bytes:
		c = cel.BytesType
	case feature.Timestamp:
		c = cel.TimestampType
	default:
		return nil, false
	}
	if t.IsList() {
		return cel.ListType(c), true
	}
	return c, true
}

// featureType is the inverse of celType; false for a type that only exists inside expressions, such as a duration.
func featureType(c *cel.Type) (feature.Type, bool) {
	switch c.Kind() {
	case types.BoolKind:
		return feature.Bool, true
	case types.IntKind:
		return feature.Int64, true
	case types.DoubleKind:
		return feature.Float64, true
	case types.StringKind:
		return feature.String, true
	case types.BytesKind:
		return feature.Bytes, true
	case types.TimestampKind:
		return feature.Timestamp, true
	case types.ListKind:
		t, ok := featureType(c.Parameters()[0])
		return feature.ListOf(t), ok && !t.IsList()
	}
	return feature.Null, false
}

// toCEL returns the value of a variable of type t. A value of another type than declared reads as null, as it does in
// closures.
func toCEL(v *feature.Value, t feature.Type) ref.Val {
	if v.Type() != t {
		return types.NullValue
	}
	switch t {
	case feature.Bool:
		return types.Bool(v.Bool())
	case feature.Int64:
		return types.Int(v.Int64())
	case feature.Float64:
		return types.Double(v.Float64())
	case feature.String:
		return types.String(v.Str())
	case feature.Bytes:
		return types.Bytes(v.Str())
	case feature.Timestamp:
		return types.Timestamp{Time: time.UnixMicro(v.Int64()).UTC()}
	}
	list := v.List()
	vals := make([]ref.Val, len(list))
	for i := range list {
		vals[i] = toCEL(&list[i], t.Elem())
	}
	return types.NewRefValList(types.DefaultTypeAdapter, vals)
}

// fromCEL returns v as a value of type t.
func fromCEL(v ref.Val, t feature.Type) (feature.Value, bool) {
	if v == types.NullValue {
		return feature.Value{}, true
	}
	switch v := v.(type) {
	case types.Bool:
		return feature.BoolValue(bool(v)), t == feature.Bool
	case types.Int:
		return feature.Int64Value(int64(v)), t == feature.Int64
	case types.Double:
		return feature.Float64Value(float64(v)), t == feature.Float64
	case types.String:
		return feature.StringValue(string(v)), t == feature.String
	case types.Bytes:
		return feature.BytesValue(string(v)), t == feature.Bytes
	case types.Timestamp:
		return feature.TimestampValue(v.UnixMicro()), t == feature.Timestamp
	case traits.Lister:
		return listFromCEL(v, t)
	}
	return feature.Value{}, false
}

func listFromCEL(l traits.Lister, t feature.Type) (feature.Value, bool) {
	if !t.IsList() {
		return feature.Value{}, false
	}
	n, ok := l.Size().(types.Int)
	if !ok {
		return feature.Value{}, false
	}
	vals := make([]feature.Value, n)
	for i := range vals {
		v, ok := fromCEL(l.Get(types.Int(i)), t.Elem())
		if !ok || v.IsNull() {
			return feature.Value{}, ok
		}
		vals[i] = v
	}
	return feature.ListValue(t.Elem(), vals), true
}
