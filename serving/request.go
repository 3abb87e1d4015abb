package serving

import (
	"encoding/base64"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/freshet-io/freshet/internal/feature"
)

// wireRequest is a Feast HTTP request cut into its parts. Its strings share the body's memory.
type wireRequest struct {
	service  string
	features string // JSON array; "" when absent
	full     bool
	versions bool
	columns  []wireColumn
}

// wireColumn is an entity column or request data: a name and its values as a JSON array.
type wireColumn struct {
	name, values string
}

// parse cuts the body of a request. The values stay JSON until the plan tells their types; that they are JSON is
// checked here. Unknown members are ignored, as Feast does.
func (r *wireRequest) parse(body string) *Error {
	*r = wireRequest{columns: r.columns[:0]}
	if !utf8.ValidString(body) {
		return invalid("json_invalid", "the body is not valid UTF-8").at()
	}
	s := scanner{text: body}
	if s.peek() != '{' {
		return invalid("model_attributes_type", "expected a JSON object").at()
	}
	s.pos++
	var seen [len(requestMembers)]bool
	for first := true; ; first = false {
		name, ok, err := s.member(first)
		if err != nil {
			return badJSON(err)
		}
		if !ok {
			break
		}
		i := memberIndex(name)
		if i < 0 {
			if _, err := s.value(1); err != nil {
				return badJSON(err)
			}
			continue
		}
		if seen[i] {
			return invalid("value_error", "given twice").at(name)
		}
		seen[i] = true
		if err := r.member(&s, i); err != nil {
			return err
		}
	}
	if err := s.end(); err != nil {
		return badJSON(err)
	}
	if !seen[memberEntities] {
		return invalid("missing", "Field required").at("entities")
	}
	return nil
}

// forget lets go of the body's memory.
func (r *wireRequest) forget() {
	clear(r.columns)
	*r = wireRequest{columns: r.columns[:0]}
}

// The members of a request.
const (
	memberEntities = iota
	memberContext
	memberService
	memberFeatures
	memberFull
	memberVersions
)

var requestMembers = [...]string{
	"entities", "request_context", "feature_service", "features", "full_feature_names",
	"include_feature_view_version_metadata",
}

func memberIndex(name string) int {
	for i, m := range requestMembers {
		if m == name {
			return i
		}
	}
	return -1
}

// member reads the value of member i.
func (r *wireRequest) member(s *scanner, i int) *Error {
	if i == memberEntities || i == memberContext {
		return r.readColumns(s, requestMembers[i])
	}
	c := s.peek()
	start := s.pos
	text, err := s.value(1)
	if err != nil {
		return badJSON(err)
	}
	switch {
	case i == memberService && c == '"':
		s.pos = start
		r.service, _ = s.str() // read as a value just now
	case i == memberFeatures && c == '[':
		r.features = text
	case i == memberFull && (c == 't' || c == 'f'):
		r.full = c == 't'
	case i == memberVersions && (c == 't' || c == 'f'):
		r.versions = c == 't'
	case (i == memberService || i == memberFeatures) && c == 'n':
	case i == memberService:
		return invalid("string_type", "expected a string").at(requestMembers[i])
	case i == memberFeatures:
		return invalid("list_type", "expected a list of \"view:feature\"").at(requestMembers[i])
	default:
		return invalid("bool_type", "expected true or false").at(requestMembers[i])
	}
	return nil
}

func (r *wireRequest) readColumns(s *scanner, member string) *Error {
	if s.peek() != '{' {
		if _, err := s.value(1); err != nil {
			return badJSON(err)
		}
		return invalid("dict_type", "expected an object of lists, one a join key").at(member)
	}
	s.pos++
	for first := true; ; first = false {
		name, ok, err := s.member(first)
		if err != nil {
			return badJSON(err)
		}
		if !ok {
			return nil
		}
		c := s.peek()
		values, err := s.value(2)
		if err != nil {
			return badJSON(err)
		}
		if c != '[' {
			return invalid("list_type", "expected a list of values, one a row").at(member, name)
		}
		for i := range r.columns {
			if r.columns[i].name == name {
				return invalid("value_error", "given twice").at(member, name)
			}
		}
		if len(r.columns) == maxColumns {
			return invalid("too_long", "more than %d columns", maxColumns).at(member)
		}
		r.columns = append(r.columns, wireColumn{name, values})
	}
}

// maxColumns bounds the entity columns and request data of a request.
const maxColumns = 256

func badJSON(err error) *Error {
	return invalid("json_invalid", "JSON decode error: %v", err).at()
}

// appendKey appends what names the request's shape among those of this face.
func (r *wireRequest) appendKey(dst []byte) []byte {
	flag := byte('0')
	if r.full {
		flag = '1'
	}
	dst = append(dst, 'j', flag)
	if r.service != "" { // wins over features
		dst = appendString(append(dst, 's'), r.service)
	} else {
		dst = append(append(dst, 'f'), r.features...)
	}
	for i := range r.columns {
		dst = appendString(dst, r.columns[i].name)
	}
	return dst
}

// shape reads what the key stands for.
func (r *wireRequest) shape(maxFeatures int) (*shape, *Error) {
	sh := &shape{service: r.service, fullNames: r.full}
	for i := range r.columns {
		sh.columns = append(sh.columns, r.columns[i].name)
	}
	if r.service != "" || r.features == "" {
		return sh, nil
	}
	s := scanner{text: r.features, pos: 1}
	for i := 0; ; i++ {
		if ok, _ := s.element(i == 0); !ok {
			return sh, nil
		}
		if i == maxFeatures {
			return nil, tooManyFeatures(maxFeatures)
		}
		if s.peek() != '"' {
			return nil, invalid("string_type", "expected \"view:feature\"").at("features").inRow(i)
		}
		ref, _ := s.str()
		sh.features = append(sh.features, ref)
	}
}

// parse appends the column's values to dst by the type they must have. The array was checked to be JSON.
func (w *wireColumn) parse(dst []feature.Value, c *planColumn, maxRows int) ([]feature.Value, *Error) {
	s := scanner{text: w.values, pos: 1}
	for row := 0; ; row++ {
		if ok, _ := s.element(row == 0); !ok {
			return dst, nil
		}
		if row == maxRows {
			return dst, tooManyRows(w.name, maxRows)
		}
		v, ok := s.typed(c.typ)
		if !ok {
			start := s.pos
			s.value(3) // to show what is there
			return dst, wrongType(w.name, row, c.typ, s.text[start:s.pos])
		}
		if v.IsNull() && c.required {
			return dst, nullValue(c, row)
		}
		dst = append(dst, v)
	}
}

func tooManyRows(column string, most int) *Error {
	return invalid("too_long", "more than %d rows; ask in several requests", most).at("entities", column)
}

func nullValue(c *planColumn, row int) *Error {
	what := "a required request field"
	if c.key {
		what = "a join key"
	}
	return invalid("missing", "%s cannot be null", what).at("entities", c.name).inRow(row)
}

// typed reads a value of type t, or a null; it stays where the value begins when it has another type.
func (s *scanner) typed(t feature.Type) (feature.Value, bool) {
	c := s.peek()
	start := s.pos
	if c == 'n' {
		s.pos += len("null")
		return feature.Value{}, true
	}
	v, ok := feature.Value{}, false
	switch {
	case t.IsList():
		if c == '[' {
			v, ok = s.list(t.Elem())
		}
	case c == '"':
		text, _ := s.str()
		v, ok = valueOfString(text, t)
	case c == 't' || c == 'f':
		s.literal()
		v, ok = feature.BoolValue(c == 't'), t == feature.Bool
	case c == '-' || c >= '0' && c <= '9':
		s.number()
		v, ok = valueOfNumber(s.text[start:s.pos], t)
	}
	if !ok {
		s.pos = start
	}
	return v, ok
}

func (s *scanner) list(elem feature.Type) (feature.Value, bool) {
	s.pos++
	vs := []feature.Value{}
	for first := true; ; first = false {
		if more, _ := s.element(first); !more {
			return feature.ListValue(elem, vs), true
		}
		v, ok := s.typed(elem)
		if !ok || v.IsNull() {
			return feature.Value{}, false
		}
		vs = append(vs, v)
	}
}

func valueOfString(text string, t feature.Type) (feature.Value, bool) {
	switch t {
	case feature.String:
		return feature.StringValue(text), true
	case feature.Bytes:
		b, err := base64.StdEncoding.DecodeString(text)
		return feature.BytesValue(string(b)), err == nil
	case feature.Timestamp:
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return feature.Value{}, false
		}
		return feature.TimestampValue(at.UnixMicro()), true
	}
	return feature.Value{}, false
}

// valueOfNumber takes any number for a float64, and whole ones for an int64 or, as seconds, a timestamp: 1.0 is not an
// int64, for a client that sends it has lost the type.
func valueOfNumber(text string, t feature.Type) (feature.Value, bool) {
	switch t {
	case feature.Float64:
		f, err := strconv.ParseFloat(text, 64)
		return feature.Float64Value(f), err == nil
	case feature.Int64:
		i, err := strconv.ParseInt(text, 10, 64)
		return feature.Int64Value(i), err == nil
	case feature.Timestamp:
		i, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return feature.Value{}, false
		}
		return timestampOfSeconds(i)
	}
	return feature.Value{}, false
}

func timestampOfSeconds(s int64) (feature.Value, bool) {
	if s > math.MaxInt64/feature.Second || s < math.MinInt64/feature.Second {
		return feature.Value{}, false
	}
	return feature.TimestampValue(s * feature.Second), true
}
