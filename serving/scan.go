package serving

import (
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth bounds the nesting of a request; a lookup has three levels.
const maxDepth = 32

// scanner reads JSON text (RFC 8259) without building a tree: a request is walked once for its parts and each part is
// read later by the type it must have. The text must be valid UTF-8 and stay unchanged: strings without escapes share
// its memory.
type scanner struct {
	text string
	pos  int
}

// syntaxError says where the text is not JSON.
type syntaxError struct {
	offset int
	reason string
}

func (e *syntaxError) Error() string { return fmt.Sprintf("%s at byte %d", e.reason, e.offset) }

func (s *scanner) fail(reason string) error { return &syntaxError{s.pos, reason} }

// peek skips white space and returns the next byte, 0 at the end.
func (s *scanner) peek() byte {
	for s.pos < len(s.text) {
		switch c := s.text[s.pos]; c {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return c
		}
	}
	return 0
}

// expect consumes the byte c after white space.
func (s *scanner) expect(c byte) error {
	if s.peek() != c || s.pos == len(s.text) {
		return s.fail(fmt.Sprintf("expected %q", c))
	}
	s.pos++
	return nil
}

// end reports an error when anything but white space is left.
func (s *scanner) end() error {
	s.peek()
	if s.pos < len(s.text) {
		return s.fail("text after the value")
	}
	return nil
}

// member reads the next name of an object and its colon; first is true for the first call after the opening brace. It
// returns ok false after consuming the closing brace.
func (s *scanner) member(first bool) (name string, ok bool, err error) {
	switch c := s.peek(); {
	case c == '}':
		s.pos++
		return "", false, nil
	case first:
	case c == ',':
		s.pos++
	default:
		return "", false, s.fail("expected ',' or '}'")
	}
	if s.peek() != '"' {
		return "", false, s.fail("expected a name")
	}
	if name, err = s.str(); err != nil {
		return "", false, err
	}
	return name, true, s.expect(':')
}

// element moves to the next element of an array under the rules of member.
func (s *scanner) element(first bool) (ok bool, err error) {
	switch c := s.peek(); {
	case c == ']':
		s.pos++
		return false, nil
	case first:
		return true, nil
	case c == ',':
		s.pos++
		return true, nil // a bracket here is no value, and the reader of the element refuses it
	}
	return false, s.fail("expected ',' or ']'")
}

// str reads a string at its opening quote.
func (s *scanner) str() (string, error) {
	s.pos++
	start := s.pos
	for s.pos < len(s.text) {
		switch c := s.text[s.pos]; {
		case c == '"':
			s.pos++
			return s.text[start : s.pos-1], nil
		case c == '\\':
			return s.escaped(start)
		case c < 0x20:
			return "", s.fail("control character in a string")
		}
		s.pos++
	}
	return "", s.fail("unfinished string")
}

// escaped reads the rest of a string that began at start and has its first escape at the scanner's position.
func (s *scanner) escaped(start int) (string, error) {
	var b strings.Builder
	b.WriteString(s.text[start:s.pos])
	for s.pos < len(s.text) {
		c := s.text[s.pos]
		s.pos++
		switch {
		case c == '"':
			return b.String(), nil
		case c < 0x20:
			s.pos--
			return "", s.fail("control character in a string")
		case c != '\\':
			b.WriteByte(c)
			continue
		}
		if s.pos == len(s.text) {
			break
		}
		e := s.text[s.pos]
		s.pos++
		if e == 'u' {
			r, err := s.unicode()
			if err != nil {
				return "", err
			}
			b.WriteRune(r)
			continue
		}
		i := strings.IndexByte(`"\/bfnrt`, e)
		if i < 0 {
			s.pos--
			return "", s.fail("unknown escape in a string")
		}
		b.WriteByte("\"\\/\b\f\n\r\t"[i])
	}
	return "", s.fail("unfinished string")
}

// unicode reads the four digits of a \u escape, and the second escape of a surrogate pair. Half a pair is no character:
// replacing it, as some parsers do, would make two different keys one.
func (s *scanner) unicode() (rune, error) {
	r, ok := s.hex4(s.pos)
	if !ok {
		return 0, s.fail("bad \\u escape in a string")
	}
	if !utf16.IsSurrogate(r) {
		s.pos += 4
		return r, nil
	}
	if strings.HasPrefix(s.text[s.pos+4:], `\u`) {
		if low, ok := s.hex4(s.pos + 6); ok {
			if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
				s.pos += 10
				return r, nil
			}
		}
	}
	return 0, s.fail("half a surrogate pair in a string")
}

func (s *scanner) hex4(at int) (r rune, ok bool) {
	if at+4 > len(s.text) {
		return 0, false
	}
	for _, c := range []byte(s.text[at : at+4]) {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// value reads any value and returns its text.
func (s *scanner) value(depth int) (string, error) {
	c := s.peek()
	start := s.pos
	var err error
	switch {
	case depth >= maxDepth:
		err = s.fail("nested too deeply")
	case c == '{':
		err = s.object(depth)
	case c == '[':
		err = s.array(depth)
	case c == '"':
		_, err = s.str()
	case c == '-' || c >= '0' && c <= '9':
		err = s.number()
	default:
		err = s.literal()
	}
	return s.text[start:s.pos], err
}

func (s *scanner) object(depth int) error {
	s.pos++
	for first := true; ; first = false {
		if _, ok, err := s.member(first); !ok || err != nil {
			return err
		}
		if _, err := s.value(depth + 1); err != nil {
			return err
		}
	}
}

func (s *scanner) array(depth int) error {
	s.pos++
	for first := true; ; first = false {
		if ok, err := s.element(first); !ok || err != nil {
			return err
		}
		if _, err := s.value(depth + 1); err != nil {
			return err
		}
	}
}

func (s *scanner) number() error {
	if s.text[s.pos] == '-' {
		s.pos++
	}
	switch {
	case s.pos < len(s.text) && s.text[s.pos] == '0':
		s.pos++
	case s.digits() == 0:
		return s.fail("bad number")
	}
	if s.pos < len(s.text) && s.text[s.pos] == '.' {
		s.pos++
		if s.digits() == 0 {
			return s.fail("bad number")
		}
	}
	if s.pos < len(s.text) && s.text[s.pos]|0x20 == 'e' {
		s.pos++
		if s.pos < len(s.text) && (s.text[s.pos] == '+' || s.text[s.pos] == '-') {
			s.pos++
		}
		if s.digits() == 0 {
			return s.fail("bad number")
		}
	}
	return nil
}

func (s *scanner) digits() int {
	start := s.pos
	for s.pos < len(s.text) && s.text[s.pos] >= '0' && s.text[s.pos] <= '9' {
		s.pos++
	}
	return s.pos - start
}

func (s *scanner) literal() error {
	for _, word := range [...]string{"null", "true", "false"} {
		if strings.HasPrefix(s.text[s.pos:], word) {
			s.pos += len(word)
			return nil
		}
	}
	return s.fail("expected a value")
}
