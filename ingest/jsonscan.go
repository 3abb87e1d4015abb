package ingest

import (
	"encoding/binary"
	"math/bits"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// maxDepth bounds the nesting of a JSON document; the document itself is depth 1.
const maxDepth = 64

// scanner reads JSON (RFC 8259) strictly: nothing that the grammar does not allow, and no invalid UTF-8 or lone
// surrogate in any string, escaped or not. Its methods return false after the first problem, which stays in problem.
//
// It exists because events are flat and small: reading the declared fields in place, without a tree or reflection, is
// several times cheaper than encoding/json and allocates nothing. The fuzz test holds it equal to encoding/json.
type scanner struct {
	buf     []byte
	pos     int
	problem string // what is wrong at pos
}

func (s *scanner) fail(problem string) bool {
	s.problem = problem
	return false
}

// noValue is what is said where none begins. What programs write for floats that JSON has no form for is named.
func (s *scanner) noValue() bool {
	rest := s.buf[s.pos:]
	for _, word := range []string{"NaN", "Infinity"} {
		if len(rest) >= len(word) && string(rest[:len(word)]) == word {
			return s.fail("expected a value; JSON has no " + word + ", send null,")
		}
	}
	return s.fail("expected a value")
}

// malformed turns the scanner's problem into a refusal.
func (s *scanner) malformed() *FieldError {
	return &FieldError{Class: Malformed, Reason: s.problem + " at byte " + strconv.Itoa(s.pos)}
}

// space skips insignificant white space; mostly there is none, and that is decided inline.
func (s *scanner) space() {
	if s.pos < len(s.buf) && s.buf[s.pos] <= ' ' {
		s.spaces()
	}
}

func (s *scanner) spaces() {
	for s.pos < len(s.buf) {
		switch s.buf[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// peek returns the next byte, 0 at the end. A NUL byte in the input is no token either.
func (s *scanner) peek() byte {
	if s.pos < len(s.buf) {
		return s.buf[s.pos]
	}
	return 0
}

// end demands that only white space is left.
func (s *scanner) end() bool {
	s.space()
	if s.pos < len(s.buf) {
		return s.fail("unexpected data after the value")
	}
	return true
}

// literal reads true, false or null.
func (s *scanner) literal(word string) bool {
	if len(s.buf)-s.pos < len(word) || string(s.buf[s.pos:s.pos+len(word)]) != word {
		return s.fail("invalid literal")
	}
	s.pos += len(word)
	return true
}

const (
	lsb = 0x0101010101010101
	msb = 0x8080808080808080
)

// special marks, in the top bit of the first byte that is one, a byte that ends or complicates a string: a quote, a
// backslash, a control character or the start of a multi-byte character. Only the lowest mark is reliable.
func special(x uint64) uint64 {
	q, b := x^(lsb*'"'), x^(lsb*'\\')
	return ((x-lsb*0x20)&^x | (q-lsb)&^q | (b-lsb)&^b | x) & msb
}

// str reads the string whose opening quote is at pos and returns what is between the quotes; escaped tells whether
// that has to be unescaped first.
func (s *scanner) str() (raw []byte, escaped, ok bool) {
	start := s.pos + 1
	i := start
	for i+8 <= len(s.buf) {
		m := special(binary.LittleEndian.Uint64(s.buf[i:]))
		if m != 0 {
			i += bits.TrailingZeros64(m) >> 3
			break
		}
		i += 8
	}
	ascii := true
	for i < len(s.buf) {
		switch c := s.buf[i]; {
		case c == '"':
			raw, s.pos = s.buf[start:i], i+1
			if !ascii && !utf8.Valid(raw) {
				s.pos = start
				return nil, false, s.fail("invalid UTF-8 in a string")
			}
			return raw, escaped, true
		case c == '\\':
			s.pos = i
			if !s.escape() {
				return nil, false, false
			}
			i, escaped = s.pos, true
			continue
		case c < 0x20:
			s.pos = i
			return nil, false, s.fail("control character in a string")
		case c >= utf8.RuneSelf:
			ascii = false
		}
		i++
	}
	s.pos = len(s.buf)
	return nil, false, s.fail("unterminated string")
}

// escape checks the escape sequence at pos, of a surrogate pair both halves, and moves behind it.
func (s *scanner) escape() bool {
	if s.pos+1 >= len(s.buf) {
		return s.fail("unterminated string")
	}
	switch s.buf[s.pos+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.pos += 2
		return true
	case 'u':
		r, ok := hex4(s.buf[s.pos+2:])
		switch {
		case !ok:
			return s.fail("invalid \\u escape")
		case !utf16.IsSurrogate(r):
			s.pos += 6
			return true
		}
		low, ok := lowSurrogate(s.buf[s.pos+6:])
		if !ok || utf16.DecodeRune(r, low) == utf8.RuneError {
			return s.fail("lone surrogate in a string")
		}
		s.pos += 12
		return true
	}
	return s.fail("invalid escape")
}

// lowSurrogate reads the \uXXXX that must follow a high surrogate.
func lowSurrogate(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	return hex4(b[2:])
}

func hex4(b []byte) (rune, bool) {
	if len(b) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range b[:4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// unescape returns the text of a string that str has checked.
func unescape(raw []byte) string {
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); {
		c := raw[i]
		if c != '\\' {
			out = append(out, c)
			i++
			continue
		}
		i += 2
		switch c = raw[i-1]; c {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r, _ := hex4(raw[i:])
			i += 4
			if utf16.IsSurrogate(r) {
				low, _ := hex4(raw[i+2:])
				r = utf16.DecodeRune(r, low)
				i += 6
			}
			out = utf8.AppendRune(out, r)
		default:
			out = append(out, c)
		}
	}
	return alias(out)
}

// alias returns a string that shares b's memory. Decoded values alias the payload, which nobody changes while they are
// in use; see Decoder.
func alias(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// skip reads any value without keeping it; depth is that of the value's parent.
func (s *scanner) skip(depth int) bool {
	switch c := s.peek(); c {
	case '"':
		_, _, ok := s.str()
		return ok
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	case '{', '[':
		if depth >= maxDepth {
			return s.fail("nested deeper than 64 levels")
		}
		s.pos++
		if c == '{' {
			return s.skipObject(depth + 1)
		}
		return s.skipArray(depth + 1)
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		_, ok := s.number()
		return ok
	}
	return s.noValue()
}

func (s *scanner) skipObject(depth int) bool {
	s.space()
	if s.peek() == '}' {
		s.pos++
		return true
	}
	for {
		s.space()
		if s.peek() != '"' {
			return s.fail("expected a field name")
		}
		if _, _, ok := s.str(); !ok || !s.colon() || !s.skip(depth) {
			return false
		}
		if more, ok := s.next('}'); !ok || !more {
			return ok
		}
	}
}

func (s *scanner) skipArray(depth int) bool {
	s.space()
	if s.peek() == ']' {
		s.pos++
		return true
	}
	for {
		s.space()
		if !s.skip(depth) {
			return false
		}
		if more, ok := s.next(']'); !ok || !more {
			return ok
		}
	}
}

// is reads the string that is exactly word in quotes. word holds nothing that JSON escapes.
func (s *scanner) is(word string) bool {
	rest := s.buf[s.pos:]
	n := len(word) + 2
	if len(rest) < n || rest[0] != '"' || rest[n-1] != '"' || string(rest[1:n-1]) != word {
		return false
	}
	s.pos += n
	return true
}

// colon reads the colon between a name and its value, and the space around it.
func (s *scanner) colon() bool {
	if s.pos+1 < len(s.buf) && s.buf[s.pos] == ':' && s.buf[s.pos+1] > ' ' {
		s.pos++
		return true
	}
	s.space()
	if s.peek() != ':' {
		return s.fail("expected a colon")
	}
	s.pos++
	s.space()
	return true
}

// next reads what follows an element: a comma (more) or the closing bracket.
func (s *scanner) next(closing byte) (more, ok bool) {
	s.space()
	switch s.peek() {
	case ',':
		s.pos++
		return true, true
	case closing:
		s.pos++
		return false, true
	}
	return false, s.fail("expected a comma or " + strconv.QuoteRune(rune(closing)))
}
