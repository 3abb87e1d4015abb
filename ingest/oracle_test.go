package ingest

import (
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// oracleTime is what ParseTime must say, by way of package time.
func oracleTime(s string) (us int64, ok bool) {
	if strings.Contains(s, ",") { // which package time takes for a decimal point
		return 0, false
	}
	t, err := time.Parse(time.RFC3339Nano, strings.ToUpper(s))
	if err != nil || !rfc3339Shape.MatchString(s) {
		return 0, false
	}
	us = t.Unix()*1e6 + int64(t.Nanosecond())/1000
	return us, us >= minMicros && us <= maxMicros
}

// rfc3339Shape refuses what package time takes beyond the RFC.
var rfc3339Shape = regexp.MustCompile(`^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)$`)

// oracleInt is what number.int64 must say, by way of exact rationals.
func oracleInt(s string) (int64, bool) {
	r, ok := new(big.Rat).SetString(s)
	if !ok || !r.IsInt() || !r.Num().IsInt64() {
		return 0, false
	}
	return r.Num().Int64(), true
}

var exponents = regexp.MustCompile(`[eE][+-]?0*([1-9]\d*)`)

// hugeExponent reports whether a number's exponent is too much for the rationals of the oracle.
func hugeExponent(payload []byte) bool {
	for _, m := range exponents.FindAllSubmatch(payload, -1) {
		if n, err := strconv.Atoi(string(m[1])); err != nil || n > 10_000 {
			return true
		}
	}
	return false
}

var surrogates = regexp.MustCompile(`\\u[dD][89a-fA-F][0-9a-fA-F]{2}`)

// strictStrings reports whether valid JSON holds nothing that encoding/json would mend silently: invalid UTF-8 and lone
// surrogates.
func strictStrings(payload []byte) bool {
	if !utf8.Valid(payload) {
		return false
	}
	text := strings.ReplaceAll(string(payload), `\\`, "__")
	for {
		at := surrogates.FindStringIndex(text)
		if at == nil {
			return true
		}
		next := surrogates.FindStringIndex(text[at[1]:])
		high := strings.ContainsRune("89abAB", rune(text[at[0]+3]))
		if !high || next == nil || next[0] != 0 || strings.ContainsRune("89abAB", rune(text[at[1]+3])) {
			return false
		}
		text = text[at[1]+next[1]:]
	}
}
