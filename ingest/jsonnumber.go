package ingest

import (
	"math"
	"strconv"
	"strings"
)

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

var pow10 = [...]float64{
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
	1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
}

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
