package serving

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/freshet-io/freshet/internal/feature"
)

// The parts of a Feast HTTP response that do not depend on values.
const (
	epochStamp    = "1970-01-01T00:00:00Z"
	openValues    = `{"values":[`
	openStatuses  = `],"statuses":[`
	openStamps    = `],"event_timestamps":[`
	presentStatus = `"PRESENT"`
)

// encodeMetadata makes the end of the plan's responses.
func (pl *plan) encodeMetadata() {
	dst := append([]byte(nil), `],"metadata":{"feature_names":[`...)
	for i, n := range pl.names {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, n)
	}
	dst = append(dst, ']')
	pl.metadata = append(append([]byte(nil), dst...), "}}"...)
	dst = append(dst, `,"feature_view_metadata":[`...)
	for i, v := range pl.views {
		if i > 0 {
			dst = append(dst, ',')
		}
		// Feast leaves version 0 out, and a view has no other.
		dst = append(appendString(append(dst, `{"name":`...), v), '}')
	}
	pl.withView = append(dst, "]}}"...)
}

// encoder writes the response of a batch. The timestamp of a view of an entity is formatted once and used for each of
// the view's features.
type encoder struct {
	stamps [][]stamp // for each group, of each found
}

// stamp is a formatted timestamp with its quotes.
type stamp struct {
	n    uint8
	text [29]byte
}

// append appends the response to dst. A column a name: values, statuses, timestamps, each by row.
func (e *encoder) append(dst []byte, b *batch, views bool) []byte {
	e.format(b)
	dst = append(dst, `{"results":[`...)
	for i := range b.plan.columns {
		dst = e.appendPlain(dst, b.columns[i], 1, b.rows)
	}
	for _, o := range b.plan.outputs {
		dst = e.appendStored(dst, b, o)
	}
	for i := range b.plan.derived {
		dst = e.appendPlain(dst, b.derived[i:], len(b.plan.derived), b.rows)
	}
	dst = dst[:len(dst)-1] // the last comma
	if views {
		return append(dst, b.plan.withView...)
	}
	return append(dst, b.plan.metadata...)
}

// format formats the timestamps of all that was found.
func (e *encoder) format(b *batch) {
	for len(e.stamps) < len(b.plan.groups) {
		e.stamps = append(e.stamps, nil)
	}
	for g := range b.plan.groups {
		found := b.groups[g].found
		e.stamps[g] = resize(e.stamps[g], len(found))
		for i := range found {
			s := &e.stamps[g][i]
			text := append(s.text[:0], '"')
			text = append(appendTime(text, found[i].time), '"')
			s.n = uint8(len(text))
		}
	}
}

// appendStored appends the column of a stored feature.
func (e *encoder) appendStored(dst []byte, b *batch, o planOutput) []byte {
	rows, group := &b.groups[o.group], &b.plan.groups[o.group]
	width, views, stamps := group.width, len(group.views), e.stamps[o.group]
	dst = append(dst, openValues...)
	for _, u := range rows.index {
		dst = append(appendValue(dst, &rows.values[int(u)*width+o.slot]), ',')
	}
	dst = append(dst[:len(dst)-1], openStatuses...)
	for _, u := range rows.index {
		if encodable(&rows.values[int(u)*width+o.slot]) {
			dst = append(dst, presentStatus...)
		} else {
			dst = append(append(append(dst, '"'), statusNames[rows.found[int(u)*views+o.view].status]...), '"')
		}
		dst = append(dst, ',')
	}
	dst = append(dst[:len(dst)-1], openStamps...)
	for _, u := range rows.index {
		s := &stamps[int(u)*views+o.view]
		dst = append(append(dst, s.text[:s.n]...), ',')
	}
	return append(dst[:len(dst)-1], "]},"...)
}

// appendPlain appends a column that has no event time: join keys, request data, derived features. Its values are every
// stride-th of vs.
func (e *encoder) appendPlain(dst []byte, vs []feature.Value, stride, rows int) []byte {
	dst = append(dst, openValues...)
	for r := range rows {
		dst = append(appendValue(dst, &vs[r*stride]), ',')
	}
	dst = append(dst[:len(dst)-1], openStatuses...)
	for r := range rows {
		status := presentStatus
		if !encodable(&vs[r*stride]) {
			status = `"NULL_VALUE"`
		}
		dst = append(append(dst, status...), ',')
	}
	dst = append(dst[:len(dst)-1], openStamps...)
	for range rows {
		dst = append(dst, `"`+epochStamp+`",`...)
	}
	return append(dst[:len(dst)-1], "]},"...)
}

// encodable reports whether a value is one in JSON as Feast's clients read it: NaN and infinities have no form, and a
// client infers a list's type from its elements, which an empty list has not.
func encodable(v *feature.Value) bool {
	switch t := v.Type(); {
	case t == feature.Null:
		return false
	case t == feature.Float64:
		return v.Finite()
	case t.IsList():
		vs := v.List()
		if t.Elem() == feature.Float64 {
			for i := range vs {
				if !vs[i].Finite() {
					return false
				}
			}
		}
		return len(vs) > 0
	}
	return true
}

// appendValue appends a value, null when it has no form.
func appendValue(dst []byte, v *feature.Value) []byte {
	if !encodable(v) {
		return append(dst, "null"...)
	}
	if !v.Type().IsList() {
		return appendScalar(dst, v)
	}
	dst = append(dst, '[')
	for i := range v.List() {
		dst = append(appendScalar(dst, &v.List()[i]), ',')
	}
	dst[len(dst)-1] = ']'
	return dst
}

func appendScalar(dst []byte, v *feature.Value) []byte {
	switch v.Type() {
	case feature.Bool:
		return strconv.AppendBool(dst, v.Bool())
	case feature.Int64:
		return strconv.AppendInt(dst, v.Int64(), 10)
	case feature.Float64:
		return appendFloat(dst, v.Float64())
	case feature.Timestamp:
		return strconv.AppendInt(dst, unixSeconds(v.Int64()), 10)
	case feature.Bytes:
		dst = append(dst, '"')
		dst = base64.StdEncoding.AppendEncode(dst, []byte(v.Str()))
		return append(dst, '"')
	case feature.String:
		return appendString(dst, v.Str())
	}
	return append(dst, "null"...)
}

// unixSeconds is Feast's unix_timestamp of a time: whole seconds, the fraction floored.
func unixSeconds(micros int64) int64 { return feature.FloorTo(micros, feature.Second) / feature.Second }

// appendFloat appends the shortest form that reads back as f and always as a float: clients take 1 for an integer.
func appendFloat(dst []byte, f float64) []byte {
	format := byte('f')
	if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e21) {
		format = 'e'
	}
	start := len(dst)
	dst = strconv.AppendFloat(dst, f, format, -1, 64)
	if format == 'e' {
		return dst
	}
	for _, c := range dst[start:] {
		if c == '.' {
			return dst
		}
	}
	return append(dst, '.', '0')
}

// appendString appends a JSON string. What is not UTF-8, which a stored string is not expected to be, is replaced.
func appendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				dst = append(append(dst, s[start:i]...), "\ufffd"...)
				start = i + 1
			}
			i += n
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, `\n`...)
		case '\r':
			dst = append(dst, `\r`...)
		case '\t':
			dst = append(dst, `\t`...)
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		start = i
	}
	return append(append(dst, s[start:]...), '"')
}

// validUTF8 returns s with what is not UTF-8 replaced: protobuf refuses to send it.
func validUTF8(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return string([]rune(s))
}

// The years that RFC 3339 and protobuf timestamps can name.
var (
	minStamp = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()
	maxStamp = time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC).UnixMicro()
)

// clampStamp returns the time nearest to us that a timestamp can name.
func clampStamp(us int64) int64 { return min(max(us, minStamp), maxStamp) }

// appendTime appends a time as protobuf's JSON does: RFC 3339 in UTC with no, three or six digits of a second.
func appendTime(dst []byte, us int64) []byte {
	if us == 0 {
		return append(dst, epochStamp...)
	}
	us = clampStamp(us)
	secs := unixSeconds(us)
	frac := us - secs*feature.Second
	const day = 24 * 60 * 60
	date := feature.FloorTo(secs, day) / day
	clock := int(secs - date*day)
	year, month, dom := civil(date)
	dst = append(dst, byte('0'+year/1000), byte('0'+year/100%10), byte('0'+year/10%10), byte('0'+year%10))
	dst = append(append2(append(append2(append(dst, '-'), month), '-'), dom), 'T')
	dst = append2(append(append2(append(append2(dst, clock/3600), ':'), clock/60%60), ':'), clock%60)
	if frac != 0 {
		ms, rest := int(frac/1000), int(frac%1000)
		dst = append3(append(dst, '.'), ms)
		if rest != 0 {
			dst = append3(dst, rest)
		}
	}
	return append(dst, 'Z')
}

func append2(dst []byte, n int) []byte { return append(dst, byte('0'+n/10), byte('0'+n%10)) }
func append3(dst []byte, n int) []byte { return append2(append(dst, byte('0'+n/100)), n%100) }

// civil returns the date of a day counted from 1970-01-01, in the proleptic Gregorian calendar. Years are counted from
// March so that the leap day is their last.
func civil(days int64) (year, month, dom int) {
	const era = 400*365 + 97
	z := days + 719_468 // from 0000-03-01
	e := feature.FloorTo(z, era) / era
	doe := int(z - e*era)
	yoe := (doe - doe/1460 + doe/36_524 - doe/146_096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	m := (5*doy + 2) / 153
	dom = doy - (153*m+2)/5 + 1
	month = m + 3
	if month > 12 {
		month -= 12
	}
	year = int(e)*400 + yoe
	if month <= 2 {
		year++
	}
	return year, month, dom
}

// maxVersions bounds the views named in a response's versions.
const maxVersions = 64

// appendVersions appends the newest version read of each view, "view=epoch.partition.offset.revision" with commas
// between. A view of which nothing was read is left out.
func appendVersions(dst []byte, b *batch) []byte {
	named := 0
	for i := range b.version {
		v := &b.version[i]
		if *v == (feature.Version{}) {
			continue
		}
		if named++; named > maxVersions {
			break
		}
		if named > 1 {
			dst = append(dst, ',')
		}
		dst = append(append(dst, b.plan.views[i]...), '=')
		dst = append(strconv.AppendUint(dst, binary.BigEndian.Uint64(v[:8]), 10), '.')
		dst = append(strconv.AppendUint(dst, uint64(binary.BigEndian.Uint32(v[8:12])), 10), '.')
		dst = append(strconv.AppendUint(dst, binary.BigEndian.Uint64(v[12:20]), 10), '.')
		dst = strconv.AppendUint(dst, uint64(binary.BigEndian.Uint32(v[20:24])), 10)
	}
	return dst
}
