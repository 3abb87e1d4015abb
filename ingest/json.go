package ingest

import (
	"encoding/base64"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
)

// jsonDecoder decodes one JSON object a record. The rules:
//
//   - The document is one object, strictly by RFC 8259: no NaN, no comments, no trailing data, at most 64 levels deep,
//     all strings valid Unicode. Everything is checked, also inside fields that are skipped.
//   - Names are case-sensitive. A field of the schema that occurs twice is malformed, since no choice between two
//     values is the right one; repetitions of other names are not looked for.
//   - null and absence are the same: a null value.
//   - int64 takes any number that is exactly an integer in range (12, 12.0, 1.2e1), and refuses 12.5.
//   - float64 takes any number; one beyond the largest float64 is refused, never read as infinity.
//   - bytes is base64 with padding (the standard alphabet); timestamp is an RFC 3339 string with a zone
//     (which the event time does not need where the source names one), or an integer of microseconds since the epoch.
//   - A list, which only the log of a view has, is an array of its elements, none of them null.
//   - Nothing else is converted: "12" is no number, 1 is no bool.
//
// The members of a source's nested object (config.Source.Nested) are taken as they are: see jsonnested.go.
//
// Strings without escapes alias the payload; others and bytes are allocated.
type jsonDecoder struct {
	fields   []config.Field // the schema's, and after them the nested object, if there is one
	nested   int            // index of the nested object in fields; -1: there is none
	top      jsonNames      // the names of the record itself
	members  jsonNames      // those of the nested object
	required []int
	event    config.EventTime // whose Zone holds for its Field
	seen     []uint64         // bit i: field i has occurred in this record
}

// jsonNames finds the fields of one object by their names.
type jsonNames struct {
	fields []config.Field // the decoder's
	plain  []bool         // field i's name is the same in JSON, without escapes
	index  map[string]int
	order  []int // order[k]: the field that was the k-th in an earlier record, the guess for the next record's k-th
}

func newJSONNames(fields []config.Field, of []int) jsonNames {
	n := jsonNames{fields: fields, plain: make([]bool, len(fields)), index: make(map[string]int, len(of)), order: append(of, of...)}
	for _, i := range of {
		name := fields[i].Name
		n.index[name] = i
		n.plain[i] = string(appendJSONString(nil, name)) == `"`+name+`"` && utf8.ValidString(name)
	}
	return n
}

func newJSONDecoder(src *config.Source) (Decoder, error) {
	d := &jsonDecoder{fields: src.Schema, nested: -1, event: src.EventTime}
	var top, members []int
	for i, f := range src.Schema {
		if !f.Type.Valid() {
			return nil, fmt.Errorf("field %s: a JSON source has no fields of type %s", f.Name, f.Type)
		}
		if src.Nested != "" && i >= src.NestedFrom {
			members = append(members, i)
		} else {
			top = append(top, i)
		}
		if f.Required {
			d.required = append(d.required, i)
		}
	}
	if src.Nested != "" {
		d.nested = len(d.fields)
		d.fields = append(d.fields[:d.nested:d.nested], config.Field{Name: src.Nested})
		top = append(top, d.nested)
	}
	d.top, d.members = newJSONNames(d.fields, top), newJSONNames(d.fields, members)
	d.seen = make([]uint64, (len(d.fields)+63)/64)
	return d, nil
}

// Decode implements Decoder.
func (d *jsonDecoder) Decode(payload []byte, row []feature.Value) (unknown int, err error) {
	clear(row)
	clear(d.seen)
	s := scanner{buf: payload}
	unknown, ferr := d.object(&s, &d.top, row)
	if ferr != nil {
		return 0, ferr
	}
	if !s.end() {
		return 0, s.malformed()
	}
	for _, i := range d.required {
		if row[i].IsNull() {
			return 0, &FieldError{Class: MissingField, Field: d.fields[i].Name, Reason: "is required and is absent or null"}
		}
	}
	return unknown, nil
}

// object reads the record itself, or its nested object.
func (d *jsonDecoder) object(s *scanner, names *jsonNames, row []feature.Value) (unknown int, err *FieldError) {
	depth := 1
	if names == &d.members {
		depth = 2
	}
	s.space()
	if s.peek() != '{' {
		s.fail("expected an object")
		return 0, s.malformed()
	}
	s.pos++
	s.space()
	if s.peek() == '}' {
		s.pos++
		return 0, nil
	}
	for k := 0; ; k++ {
		i, ok := names.next(s, k)
		if !ok || !s.colon() {
			return 0, s.malformed()
		}
		switch {
		case i < 0:
			unknown++
			if !s.skip(depth) {
				return 0, s.malformed()
			}
		case i == d.nested:
			more, err := d.nestedObject(s, row)
			if err != nil {
				return 0, err
			}
			unknown += more
		default:
			if err := d.field(s, i, &row[i], depth > 1); err != nil {
				return 0, err
			}
		}
		more, ok := s.next('}')
		if !ok {
			return 0, s.malformed()
		}
		if !more {
			return unknown, nil
		}
	}
}

// next reads the k-th name and returns its field, -1 for one that the object's fields do not have.
func (n *jsonNames) next(s *scanner, k int) (field int, ok bool) {
	s.space()
	if k < len(n.order) {
		if i := n.order[k]; n.plain[i] && s.is(n.fields[i].Name) {
			return i, true
		}
	}
	if s.peek() != '"' {
		return 0, s.fail("expected a field name")
	}
	raw, escaped, ok := s.str()
	if !ok {
		return 0, false
	}
	name := alias(raw)
	if escaped {
		name = unescape(raw)
	}
	i, known := n.index[name]
	if !known {
		return -1, true
	}
	if k < len(n.order) {
		n.order[k] = i
	}
	return i, true
}

// once marks that field i has occurred.
func (d *jsonDecoder) once(i int) *FieldError {
	if bit := uint64(1) << (i & 63); d.seen[i>>6]&bit == 0 {
		d.seen[i>>6] |= bit
		return nil
	}
	return &FieldError{Class: Malformed, Field: d.fields[i].Name, Reason: "occurs twice"}
}

// field reads the value of field i into v; asIs if it is a member of the nested object.
func (d *jsonDecoder) field(s *scanner, i int, v *feature.Value, asIs bool) *FieldError {
	if err := d.once(i); err != nil {
		return err
	}
	if asIs {
		return d.asIs(s, i, v)
	}
	typ := d.fields[i].Type
	switch c := s.peek(); {
	case c == 'n':
		if !s.literal("null") {
			return s.malformed()
		}
		return nil
	case c == '[' && typ.IsList():
		return d.list(s, i, v)
	default:
		return d.scalar(s, i, typ, c, v)
	}
}

// scalar reads a value that is neither null nor a list of field i, as the type typ; c is its first byte.
func (d *jsonDecoder) scalar(s *scanner, i int, typ feature.Type, c byte, v *feature.Value) *FieldError {
	switch c {
	case '"':
		raw, escaped, ok := s.str()
		if !ok {
			return s.malformed()
		}
		return d.text(i, typ, raw, escaped, v)
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		n, ok := s.number()
		if !ok {
			return s.malformed()
		}
		return d.number(i, typ, &n, v)
	case 't', 'f':
		word := "true"
		if c == 'f' {
			word = "false"
		}
		if !s.literal(word) {
			return s.malformed()
		}
		if typ != feature.Bool {
			return d.wrongType(i, "a bool")
		}
		*v = feature.BoolValue(c == 't')
		return nil
	case '{':
		return d.wrongType(i, "an object")
	case '[':
		return d.wrongType(i, "an array")
	}
	s.noValue()
	return s.malformed()
}

// text reads a string value; raw is what is between the quotes.
func (d *jsonDecoder) text(i int, typ feature.Type, raw []byte, escaped bool, v *feature.Value) *FieldError {
	text := alias(raw)
	if escaped {
		text = unescape(raw)
	}
	switch typ {
	case feature.String:
		*v = feature.StringValue(text)
		return nil
	case feature.Bytes:
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil || strings.ContainsAny(text, "\r\n") { // which the decoder would skip
			return &FieldError{Class: WrongType, Field: d.fields[i].Name, Reason: "is not base64 with padding: " + quote(text)}
		}
		*v = feature.BytesValue(alias(b))
		return nil
	case feature.Timestamp:
		var zone *time.Location
		if i == d.event.Field {
			zone = d.event.Zone
		}
		us, problem := ParseTime(text, zone)
		if problem != "" {
			return &FieldError{Class: BadTime, Field: d.fields[i].Name, Reason: quote(text) + " " + problem}
		}
		*v = feature.TimestampValue(us)
		return nil
	}
	return d.wrongType(i, "the string "+quote(text))
}

// number reads a number value.
func (d *jsonDecoder) number(i int, typ feature.Type, n *number, v *feature.Value) *FieldError {
	switch typ {
	case feature.Float64:
		f, ok := n.float64()
		if !ok {
			return d.badNumber(i, n, "is beyond the largest float64")
		}
		*v = feature.Float64Value(f)
		return nil
	case feature.Int64:
		x, problem := n.int64()
		if problem != "" {
			return d.badNumber(i, n, problem)
		}
		*v = feature.Int64Value(x)
		return nil
	case feature.Timestamp:
		us, problem := n.int64()
		if problem != "" {
			return d.badNumber(i, n, problem+" (of microseconds)")
		}
		if us < minMicros || us > maxMicros {
			return &FieldError{Class: BadTime, Field: d.fields[i].Name, Reason: string(n.text) + " " + outsideYears}
		}
		*v = feature.TimestampValue(us)
		return nil
	}
	return d.wrongType(i, "the number "+quote(n.text))
}

func (d *jsonDecoder) wrongType(i int, got string) *FieldError {
	f := &d.fields[i]
	return &FieldError{Class: WrongType, Field: f.Name, Reason: "expected " + f.Type.String() + ", got " + got}
}

func (d *jsonDecoder) badNumber(i int, n *number, problem string) *FieldError {
	f := &d.fields[i]
	return &FieldError{Class: WrongType, Field: f.Name, Reason: "expected " + f.Type.String() + "; " + quote(n.text) + " " + problem}
}
