package ingest

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
)

// AppendRecordKey appends the Kafka record key of an event with the given key values: what producers naturally send,
// so that a producer in any language and the gateway put an entity's events into one partition.
//
// One value is its plain text: a string and bytes as they are, an int64 in decimal, a bool as true or false, a
// timestamp as microseconds in decimal. Several are a JSON array without white space, in which only quotes,
// backslashes and control characters are escaped (as JavaScript's JSON.stringify does, and Python's json.dumps with
// separators=(",", ":") and ensure_ascii=False); bytes are base64 there.
//
// It is a text, unlike the entity key of state and Redis (feature.AppendKey). The result is never nil, since Kafka's
// producers do not hash a null key.
func AppendRecordKey(dst []byte, vals ...feature.Value) ([]byte, error) {
	if dst == nil {
		dst = []byte{}
	}
	start := len(dst)
	if len(vals) == 1 {
		return appendKeyText(dst, &vals[0])
	}
	dst = append(dst, '[')
	for i := range vals {
		if i > 0 {
			dst = append(dst, ',')
		}
		var err error
		if dst, err = appendKeyJSON(dst, &vals[i]); err != nil {
			return dst[:start], err
		}
	}
	return append(dst, ']'), nil
}

func appendKeyText(dst []byte, v *feature.Value) ([]byte, error) {
	switch v.Type() {
	case feature.String, feature.Bytes:
		return append(dst, v.Str()...), nil
	case feature.Int64, feature.Timestamp:
		return strconv.AppendInt(dst, v.Int64(), 10), nil
	case feature.Bool:
		return strconv.AppendBool(dst, v.Bool()), nil
	case feature.Null:
		return dst, feature.ErrNullKey
	}
	return dst, fmt.Errorf("a record key cannot hold a %s", v.Type())
}

func appendKeyJSON(dst []byte, v *feature.Value) ([]byte, error) {
	switch v.Type() {
	case feature.String:
		if !utf8.ValidString(v.Str()) {
			return dst, errors.New("a record key of several fields cannot hold invalid UTF-8")
		}
		return appendJSONString(dst, v.Str()), nil
	case feature.Bytes:
		dst = append(dst, '"')
		dst = base64.StdEncoding.AppendEncode(dst, []byte(v.Str()))
		return append(dst, '"'), nil
	}
	return appendKeyText(dst, v)
}

// appendJSONString writes s with the fewest escapes that JSON allows, as RFC 8785 does.
func appendJSONString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c >= 0x20:
			dst = append(dst, c)
		case c == '\b':
			dst = append(dst, '\\', 'b')
		case c == '\t':
			dst = append(dst, '\\', 't')
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\f':
			dst = append(dst, '\\', 'f')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
		}
	}
	return append(dst, '"')
}

// ParseRecordKey is the inverse of AppendRecordKey: it reads the key fields of a tombstone, which has nothing but its
// key. It takes only what AppendRecordKey writes, since another spelling of the same values lies in another partition
// than the entity's events. The values share no memory with key; the error is a *FieldError.
func ParseRecordKey(key []byte, fields []config.Field) ([]feature.Value, error) {
	vals, err := parseRecordKey(key, fields)
	if err != nil {
		return nil, err
	}
	return vals, nil
}

func parseRecordKey(key []byte, fields []config.Field) ([]feature.Value, *FieldError) {
	if key == nil {
		return nil, &FieldError{Class: NullKey, Reason: "the record has no key"}
	}
	vals := make([]feature.Value, len(fields))
	var reason string
	if len(fields) == 1 {
		vals[0], reason = parseKeyText(string(key), &fields[0])
	} else {
		reason = parseKeyArray(key, fields, vals)
	}
	if reason == "" {
		again, err := AppendRecordKey(make([]byte, 0, len(key)), vals...)
		if err == nil && string(again) == string(key) {
			return vals, nil
		}
		reason = "is not spelled as the source's record keys are; expected " + quote(again)
	}
	return nil, &FieldError{Class: BadKey, Reason: "record key " + quote(key) + " " + reason}
}

func parseKeyText(text string, f *config.Field) (v feature.Value, reason string) {
	switch f.Type {
	case feature.String:
		return feature.StringValue(text), ""
	case feature.Bytes:
		return feature.BytesValue(text), ""
	case feature.Int64, feature.Timestamp:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return v, "is not a decimal number of 64 bits, as " + f.Name + " demands"
		}
		return feature.ScalarValue(f.Type, uint64(n)), ""
	case feature.Bool:
		if text == "true" || text == "false" {
			return feature.BoolValue(text == "true"), ""
		}
		return v, "is neither true nor false, as " + f.Name + " demands"
	}
	return v, "cannot hold " + f.Name + ", a " + f.Type.String()
}

func parseKeyArray(key []byte, fields []config.Field, vals []feature.Value) (reason string) {
	s := scanner{buf: key}
	if s.peek() != '[' {
		return "is not a JSON array of " + strconv.Itoa(len(fields)) + " values"
	}
	s.pos++
	for i := range fields {
		from := s.pos
		if !s.skip(1) {
			return s.problem
		}
		if vals[i], reason = parseKeyElement(key[from:s.pos], &fields[i]); reason != "" {
			return reason
		}
		more, ok := s.next(']')
		switch last := i == len(fields)-1; {
		case !ok:
			return s.problem
		case more == last:
			return "does not have exactly " + strconv.Itoa(len(fields)) + " values"
		}
	}
	if !s.end() {
		return s.problem
	}
	return ""
}

// parseKeyElement reads one element of a JSON array, which the scanner has checked.
func parseKeyElement(raw []byte, f *config.Field) (v feature.Value, reason string) {
	quoted := raw[0] == '"'
	if quoted != (f.Type == feature.String || f.Type == feature.Bytes) {
		return v, "has " + quote(raw) + " where " + f.Name + ", a " + f.Type.String() + ", belongs"
	}
	if !quoted {
		return parseKeyText(string(raw), f)
	}
	text := unescape(raw[1 : len(raw)-1])
	if f.Type == feature.String {
		return feature.StringValue(text), ""
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return v, "has no base64 where " + f.Name + " belongs"
	}
	return feature.BytesValue(string(b)), ""
}
