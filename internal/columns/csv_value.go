package columns

import (
	"bytes"
	"errors"
	"math"
	"strconv"
	"time"
	"unsafe"

	"github.com/freshet-io/freshet/internal/feature"
)

// csvValues turns one column's fields into values of the wanted type.
type csvValues struct {
	file    *csvFile
	want    *Want
	numbers []float64
}

func (v *csvValues) take(b *csvBatch) {
	v.numbers = v.numbers[:0]
	var nulls, mistyped uint64
	text := v.want.text()
	for at := v.want.Column; at < len(b.fields); at += len(v.file.cols) {
		f := b.fields[at]
		switch {
		case v.file.null(b, f):
			nulls++
		case text:
			if !v.addText(b.text(f)) {
				mistyped++
			}
		default:
			x, ok := v.number(b.text(f))
			if !ok {
				mistyped++
				continue
			}
			v.numbers = append(v.numbers, x)
		}
	}
	sink := v.want.Sink
	if len(v.numbers) > 0 {
		sink.AddFloat64s(v.numbers)
	}
	if nulls > 0 {
		sink.AddNulls(nulls)
	}
	if mistyped > 0 {
		sink.AddMistyped(mistyped)
	}
}

// alias is b as a string that shares its memory.
func alias(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// addText gives a field to the sink as what is wanted; ok is false if it is not of that type.
func (v *csvValues) addText(b []byte) (ok bool) {
	switch v.want.Type {
	case feature.Bool:
		t, ok := boolean(b)
		if ok {
			v.want.Sink.AddString(strconv.FormatBool(t), 1)
		}
		return ok
	case feature.Int64, feature.Float64:
		x, ok := float(b)
		if !ok || x != math.Trunc(x) || math.Abs(x) >= 1<<63 {
			return false
		}
		if i, err := strconv.ParseInt(alias(bytes.TrimSpace(b)), 10, 64); err == nil {
			v.want.Sink.AddString(strconv.FormatInt(i, 10), 1) // larger than a float64 can tell
			return true
		}
		v.want.Sink.AddString(strconv.FormatInt(int64(x), 10), 1)
		return true
	}
	v.want.Sink.AddString(alias(b), 1)
	return true
}

func (v *csvValues) number(b []byte) (float64, bool) {
	if v.want.Type == feature.Timestamp {
		us, ok := timestamp(b)
		return float64(us), ok
	}
	return float(b)
}

// float reads a number; one that is too large is infinite.
func float(b []byte) (float64, bool) {
	b = bytes.TrimSpace(b)
	if len(b) == 0 {
		return 0, false
	}
	x, err := strconv.ParseFloat(alias(b), 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, false
	}
	return x, true
}

func boolean(b []byte) (value, ok bool) {
	switch alias(bytes.TrimSpace(b)) {
	case "true", "True", "TRUE":
		return true, true
	case "false", "False", "FALSE":
		return false, true
	}
	return false, false
}

// timestamp reads RFC 3339, in microseconds; finer ones are floored.
func timestamp(b []byte) (int64, bool) {
	if len(b) < len("2006-01-02T15:04:05Z") || b[4] != '-' {
		return 0, false
	}
	t, err := time.Parse(time.RFC3339Nano, alias(b))
	if err != nil {
		return 0, false
	}
	return t.Unix()*feature.Second + int64(t.Nanosecond())/1000, true
}

// guess is which types the values seen so far can all be of.
type guess struct{ seen, boolean, integer, float, time bool }

func newGuess() guess { return guess{boolean: true, integer: true, float: true, time: true} }

func (g *guess) see(b []byte) {
	g.seen = true
	if g.boolean {
		_, g.boolean = boolean(b)
	}
	if g.integer {
		_, err := strconv.ParseInt(alias(bytes.TrimSpace(b)), 10, 64)
		g.integer = err == nil
	}
	if g.float && !g.integer {
		_, g.float = float(b)
	}
	if g.time {
		_, g.time = timestamp(b)
	}
}

func (g *guess) typ() feature.Type {
	switch {
	case !g.seen:
		return feature.String
	case g.boolean:
		return feature.Bool
	case g.integer:
		return feature.Int64
	case g.float:
		return feature.Float64
	case g.time:
		return feature.Timestamp
	}
	return feature.String
}
