package ingest

import (
	"encoding/binary"
	"math"
	"math/bits"
	"strconv"
	"strings"
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

// number is a JSON number: (-1)^neg * mant * 10^exp when it is short, else what its text says.
type number struct {
	text  []byte
	mant  uint64
	exp   int
	neg   bool
	short bool // mant and exp are exact: at most 19 digits and an exponent of at most 4 digits
}

// number reads the number at pos.
func (s *scanner) number() (n number, ok bool) {
	b, i := s.buf, s.pos
	if i < len(b) && b[i] == '-' {
		n.neg = true
		i++
	}
	first := i
	for i < len(b) && b[i]-'0' <= 9 {
		n.mant = n.mant*10 + uint64(b[i]-'0')
		i++
	}
	digits := i - first
	if digits == 0 || digits > 1 && b[first] == '0' {
		return n, s.fail("invalid number")
	}
	n.short = true
	if i < len(b) && b[i] == '.' {
		i++
		from := i
		for i < len(b) && b[i]-'0' <= 9 {
			n.mant = n.mant*10 + uint64(b[i]-'0')
			i++
		}
		if i == from {
			return n, s.fail("invalid number")
		}
		digits += i - from
		n.exp = from - i
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		e, short, next := exponent(b, i+1)
		if next < 0 {
			return n, s.fail("invalid number")
		}
		n.exp, n.short, i = n.exp+e, short, next
	}
	// 19 digits always fit in 64 bits; from the 20th on, mant may have wrapped.
	n.short = n.short && digits <= 19
	n.text, s.pos = b[s.pos:i], i
	return n, true
}

// exponent reads the exponent after the e at i-1 and returns where it ends, -1 if there is none. Beyond 4 digits its
// value is not returned exactly and short is false.
func exponent(b []byte, i int) (e int, short bool, next int) {
	neg := false
	if i < len(b) && (b[i] == '+' || b[i] == '-') {
		neg = b[i] == '-'
		i++
	}
	from := i
	for i < len(b) && b[i]-'0' <= 9 {
		if i-from < 4 {
			e = e*10 + int(b[i]-'0')
		}
		i++
	}
	if i == from {
		return 0, false, -1
	}
	if neg {
		e = -e
	}
	return e, i-from <= 4, i
}

var pow10 = [...]float64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
	1e17, 1e18, 1e19, 1e20, 1e21, 1e22}

// float64 returns the nearest float64, false if it is beyond the largest. A mantissa below 2^53 and a power of ten up
// to 22 are exact, so their product or quotient is correctly rounded.
func (n *number) float64() (float64, bool) {
	if !n.short || n.mant >= 1<<53 || n.exp < -22 || n.exp > 22 {
		f, err := strconv.ParseFloat(alias(n.text), 64)
		return f, err == nil
	}
	f := float64(n.mant)
	if n.exp < 0 {
		f /= pow10[-n.exp]
	} else {
		f *= pow10[n.exp]
	}
	if n.neg {
		f = -f
	}
	return f, true
}

// int64 returns the number if it is an integer of 64 bits, else what is wrong with it. An integer may be written with
// a fraction or exponent (1.0, 12e2): JSON has one kind of number, and serializers differ.
func (n *number) int64() (i int64, problem string) {
	mant, exp := n.mant, n.exp
	if !n.short {
		if mant, exp, problem = n.normalize(); problem != "" {
			return 0, problem
		}
	}
	if mant == 0 {
		return 0, ""
	}
	for ; exp < 0; exp++ {
		if mant%10 != 0 {
			return 0, "is not a whole number"
		}
		mant /= 10
	}
	for ; exp > 0; exp-- {
		if mant > math.MaxInt64/10 {
			return 0, "does not fit in 64 bits"
		}
		mant *= 10
	}
	switch {
	case n.neg && mant <= 1<<63:
		return -int64(mant), ""
	case !n.neg && mant <= math.MaxInt64:
		return int64(mant), ""
	}
	return 0, "does not fit in 64 bits"
}

// normalize is the slow way for a long number: its digits without leading and trailing zeros, exactly.
func (n *number) normalize() (mant uint64, exp int, problem string) {
	text := strings.TrimPrefix(string(n.text), "-")
	digits, e, _ := strings.Cut(strings.ToLower(text), "e")
	if e != "" {
		var err error
		if exp, err = strconv.Atoi(e); err != nil {
			exp = math.MaxInt32 // only its sign matters: no payload has as many digits
			if e[0] == '-' {
				exp = math.MinInt32
			}
		}
	}
	whole, frac, _ := strings.Cut(digits, ".")
	digits = strings.TrimLeft(whole+frac, "0")
	trimmed := strings.TrimRight(digits, "0")
	exp += len(digits) - len(trimmed) - len(frac)
	switch {
	case trimmed == "":
		return 0, 0, ""
	case exp < 0:
		return 0, 0, "is not a whole number"
	case len(trimmed)+exp > 19:
		return 0, 0, "does not fit in 64 bits"
	}
	mant, err := strconv.ParseUint(trimmed, 10, 64)
	if err != nil {
		return 0, 0, "does not fit in 64 bits"
	}
	return mant, exp, ""
}

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
	return s.fail("expected a value")
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
