package ingest

import (
	"math"

	"github.com/freshet-io/freshet/internal/feature"
)

// nestedObject reads the object whose members are the fields from config.Source.NestedFrom on. null is as absent.
func (d *jsonDecoder) nestedObject(s *scanner, row []feature.Value) (unknown int, err *FieldError) {
	if err := d.once(d.nested); err != nil {
		return 0, err
	}
	switch s.peek() {
	case 'n':
		if !s.literal("null") {
			return 0, s.malformed()
		}
		return 0, nil
	case '{':
		return d.object(s, &d.members, row)
	}
	if !s.skip(1) {
		return 0, s.malformed()
	}
	return 0, &FieldError{Class: WrongType, Field: d.fields[d.nested].Name, Reason: "expected an object"}
}

// asIs reads a member of the nested object: what it holds is watched, not judged. A value of the field's type is that
// value, as everywhere; "NaN", "Infinity" and "-Infinity" are float64 values too, for which JSON has no other form.
// Whatever else it is keeps the type it has in JSON, a number that of a float64; an object or array is empty bytes, the
// type that no member has.
func (d *jsonDecoder) asIs(s *scanner, i int, v *feature.Value) *FieldError {
	typ := d.fields[i].Type
	switch c := s.peek(); c {
	case 'n':
		if s.literal("null") {
			return nil
		}
	case '"':
		if raw, escaped, ok := s.str(); ok {
			*v = textAsIs(typ, raw, escaped)
			return nil
		}
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		if n, ok := s.number(); ok {
			*v = numberAsIs(typ, &n)
			return nil
		}
	case 't', 'f':
		word := "true"
		if c == 'f' {
			word = "false"
		}
		if s.literal(word) {
			*v = feature.BoolValue(c == 't')
			return nil
		}
	case '{', '[':
		if s.skip(2) {
			*v = feature.BytesValue("")
			return nil
		}
	default:
		s.noValue()
	}
	return s.malformed()
}

func textAsIs(typ feature.Type, raw []byte, escaped bool) feature.Value {
	text := alias(raw)
	if escaped {
		text = unescape(raw)
	}
	if typ == feature.Float64 {
		switch text {
		case "NaN":
			return feature.Float64Value(math.NaN())
		case "Infinity":
			return feature.Float64Value(math.Inf(1))
		case "-Infinity":
			return feature.Float64Value(math.Inf(-1))
		}
	}
	return feature.StringValue(text)
}

func numberAsIs(typ feature.Type, n *number) feature.Value {
	if typ == feature.Int64 {
		if x, problem := n.int64(); problem == "" {
			return feature.Int64Value(x)
		}
	}
	f, ok := n.float64()
	if !ok { // beyond the largest float64
		f = math.Inf(1)
		if n.text[0] == '-' {
			f = math.Inf(-1)
		}
	}
	return feature.Float64Value(f)
}
