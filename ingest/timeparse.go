package ingest

import (
	"math"
	"strconv"
	"time"
)

// The range of event times: the years 0001 to 9999, which every store and format of the plane can hold.
const (
	minMicros = -62135596800 * microsPerSecond
	maxMicros = 253402300800*microsPerSecond - 1

	microsPerSecond = 1_000_000
	outsideYears    = "is outside the years 0001 to 9999"
)

// ParseTime reads an RFC 3339 date and time as microseconds since the Unix epoch; a finer fraction is floored. A time
// without a zone is one of zone, or a problem where zone is nil. problem says what is wrong, empty if nothing is. T and
// Z may be lower case; a leap second is refused, since no Unix time stands for it.
func ParseTime(s string, zone *time.Location) (us int64, problem string) {
	const notRFC3339 = "is not an RFC 3339 time, as 2026-01-31T17:04:05.678Z"
	if len(s) < len("2006-01-02T15:04:05") {
		return 0, notRFC3339
	}
	year, ok1 := digits4(s)
	month, ok2 := digits2(s[5:])
	day, ok3 := digits2(s[8:])
	hour, ok4 := digits2(s[11:])
	minute, ok5 := digits2(s[14:])
	second, ok6 := digits2(s[17:])
	if !(ok1 && ok2 && ok3 && ok4 && ok5 && ok6) || s[4] != '-' || s[7] != '-' || s[10]|0x20 != 't' || s[13] != ':' || s[16] != ':' {
		return 0, notRFC3339
	}
	if month < 1 || month > 12 || day < 1 || day > daysIn(year, month) || hour > 23 || minute > 59 || second > 59 {
		return 0, "names a date or time that does not exist"
	}
	rest := s[19:]
	micros, n := fraction(rest)
	if n < 0 {
		return 0, notRFC3339
	}
	seconds := daysSinceEpoch(year, month, day)*86400 + hour*3600 + minute*60 + second
	if rest[n:] == "" && zone != nil {
		seconds, problem = inZone(seconds, zone)
	} else {
		var offset int64
		offset, problem = zoneOffset(rest[n:])
		seconds -= offset
	}
	if problem != "" {
		return 0, problem
	}
	us = seconds*microsPerSecond + micros
	if us < minMicros || us > maxMicros {
		return 0, outsideYears
	}
	return us, ""
}

// fraction reads ".digits" at the start of s, if it is there, in microseconds; n is its length, -1 if it is broken.
func fraction(s string) (micros int64, n int) {
	if s == "" || s[0] != '.' {
		return 0, 0
	}
	n = 1
	for scale := int64(microsPerSecond / 10); n < len(s) && s[n]-'0' <= 9; n++ {
		micros += int64(s[n]-'0') * scale
		scale /= 10
	}
	if n == 1 {
		return 0, -1
	}
	return micros, n
}

// inZone returns the Unix time at which clocks in zone show local, which is counted as if it were UTC. When they show it
// twice, as summer time ends, it is the first; when they skip it there is none.
func inZone(local int64, zone *time.Location) (seconds int64, problem string) {
	const day = 86400 // more than any offset, so that the offsets before and after a change are both seen
	_, before := time.Unix(local-day, 0).In(zone).Zone()
	_, after := time.Unix(local+day, 0).In(zone).Zone()
	for _, offset := range [...]int{max(before, after), min(before, after)} { // the larger offset is the earlier time
		t := local - int64(offset)
		if _, at := time.Unix(t, 0).In(zone).Zone(); at == offset {
			return t, ""
		}
	}
	return 0, "does not exist in " + zone.String() + ", where clocks skip it"
}

// zoneOffset reads a zone, all of s, in seconds east of UTC.
func zoneOffset(s string) (seconds int64, problem string) {
	switch {
	case s == "Z" || s == "z":
		return 0, ""
	case s == "":
		return 0, "has no zone; write Z or an offset as +02:00, or name the source's event_time.zone"
	case len(s) == 6 && (s[0] == '+' || s[0] == '-') && s[3] == ':':
		h, ok1 := digits2(s[1:])
		m, ok2 := digits2(s[4:])
		if ok1 && ok2 && h <= 23 && m <= 59 {
			if seconds = h*3600 + m*60; s[0] == '-' {
				seconds = -seconds
			}
			return seconds, ""
		}
	}
	return 0, "has a zone that is neither Z nor an offset as +02:00"
}

func digits2(s string) (int64, bool) {
	a, b := s[0]-'0', s[1]-'0'
	return int64(a)*10 + int64(b), a <= 9 && b <= 9
}

func digits4(s string) (int64, bool) {
	hi, ok1 := digits2(s)
	lo, ok2 := digits2(s[2:])
	return hi*100 + lo, ok1 && ok2
}

func daysIn(year, month int64) int64 {
	switch month {
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}

// daysSinceEpoch counts days in the proleptic Gregorian calendar. The year is taken to begin in March, so that the leap
// day is its last, and eras of 400 years (146,097 days) repeat exactly; 719,468 days lie between 0000-03-01 and 1970.
func daysSinceEpoch(year, month, day int64) int64 {
	if month <= 2 {
		year--
		month += 12
	}
	era := year / 400
	if year < 0 {
		era = -1
	}
	y := year - era*400
	dayOfYear := (153*(month-3)+2)/5 + day - 1
	return era*146097 + y*365 + y/4 - y/100 + dayOfYear - 719468
}

// unixMicros converts a count of units since the epoch, each perSecond-th of a second.
func unixMicros(n, perSecond int64) (us int64, ok bool) {
	scale := microsPerSecond / perSecond
	if n < minMicros/scale || n > maxMicros/scale {
		return 0, false
	}
	return n * scale, true
}

// unixMicrosFloat converts a fractional count of units since the epoch and floors it once. It takes the float to stand
// for the shortest decimal that names it, as its producer wrote it: the float64 nearest to 1700000000.123456 lies below
// it, and the microsecond must not be lost.
func unixMicrosFloat(f float64, perSecond int64) (us int64, ok bool) {
	limit := float64(maxMicros / (microsPerSecond / perSecond))
	if math.IsNaN(f) || f < -limit || f > limit+1 {
		return 0, false
	}
	var buf [32]byte
	text := strconv.AppendFloat(buf[:0], f, 'f', -1, 64)
	neg := text[0] == '-'
	if neg {
		text = text[1:]
	}
	// The decimal in microseconds: shift is how many of its fraction's digits are whole microseconds.
	shift := 0
	for p := perSecond; p < microsPerSecond; p *= 10 {
		shift++
	}
	var rest bool // something is left below a microsecond
	point := false
	for _, c := range text {
		switch {
		case c == '.':
			point = true
		case point && shift == 0:
			rest = rest || c != '0'
		default:
			us = us*10 + int64(c-'0')
			if point {
				shift--
			}
		}
	}
	for ; shift > 0; shift-- {
		us *= 10
	}
	if neg {
		us = -us
		if rest {
			us--
		}
	}
	return us, us >= minMicros && us <= maxMicros
}
