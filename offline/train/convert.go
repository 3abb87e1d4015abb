package train

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	pq "github.com/parquet-go/parquet-go"

	"github.com/freshet-io/freshet/ingest"
	"github.com/freshet-io/freshet/internal/feature"
)

// converter reads the values of a spine's column as a type.
type converter struct {
	col  SpineColumn
	to   feature.Type
	zone *time.Location // of times that name none; nil: they are an error
}

// newConverter refuses a column that cannot hold values of a type.
func newConverter(col SpineColumn, to feature.Type, zone *time.Location) (*converter, error) {
	c := &converter{col: col, to: to, zone: zone}
	if col.Text {
		return c, nil
	}
	ok := col.Type == to
	switch {
	case to == feature.Int64: // of 64 bits without a sign not every number is one
		ok = ok && !(col.Unsigned && col.Node.Type().Kind() == pq.Int64)
	case to == feature.Float64:
		ok = ok || col.Type == feature.Int64
	case to == feature.String && col.Type == feature.Bytes, to == feature.Bytes && col.Type == feature.String:
		ok = true
	case to == feature.Timestamp && col.Type == feature.String:
		ok = true
	}
	if !ok || !col.Plain() {
		return nil, fmt.Errorf("column %q of the spine is %s, not %s", col.Name, columnType(&col), to)
	}
	if to == feature.Timestamp && col.Zoneless && zone == nil {
		return nil, fmt.Errorf("column %q of the spine holds times without a zone; name their zone (--zone, UTC for one)", col.Name)
	}
	return c, nil
}

func columnType(c *SpineColumn) string {
	if c.Node != nil {
		return c.Node.Type().String()
	}
	return c.Type.String()
}

// read converts a value. The result may share v's memory.
func (c *converter) read(v *feature.Value) (feature.Value, error) {
	if v.IsNull() {
		return feature.Value{}, nil
	}
	if v.Type() == feature.String && (c.col.Text || c.to != feature.String) {
		return c.text(v.Str())
	}
	switch {
	case c.to == feature.Timestamp:
		return c.time(v.Int64())
	case c.to == feature.Float64 && v.Type() == feature.Int64:
		return feature.Float64Value(float64(v.Int64())), nil
	case c.to == feature.String && v.Type() == feature.Bytes:
		if !utf8.ValidString(v.Str()) {
			return feature.Value{}, fmt.Errorf("is not UTF-8")
		}
		return feature.StringValue(v.Str()), nil
	}
	return *v, nil
}

// time brings a timestamp of a column's unit to microseconds, finer ones floored, in UTC.
func (c *converter) time(t int64) (feature.Value, error) {
	switch c.col.Unit {
	case 1e3:
		if t > feature.MaxTime/1000 || t < feature.MinTime/1000 {
			return feature.Value{}, fmt.Errorf("%d ms is out of range", t)
		}
		t *= 1000
	case 1e9:
		t = feature.FloorTo(t, 1000) / 1000
	}
	if !c.col.Zoneless {
		return feature.TimestampValue(t), nil
	}
	wall := time.UnixMicro(t).UTC()
	text := wall.Format("2006-01-02T15:04:05.999999")
	us, problem := ingest.ParseTime(text, c.zone)
	if problem != "" {
		return feature.Value{}, fmt.Errorf("%s %s", text, problem)
	}
	return feature.TimestampValue(us), nil
}

// text reads a value that is written out.
func (c *converter) text(s string) (feature.Value, error) {
	if s == "" {
		return feature.Value{}, nil
	}
	fail := func() (feature.Value, error) {
		return feature.Value{}, fmt.Errorf("%s is no %s", strconv.Quote(shorten(s)), c.to)
	}
	switch c.to {
	case feature.Bool:
		switch strings.ToLower(s) {
		case "true":
			return feature.BoolValue(true), nil
		case "false":
			return feature.BoolValue(false), nil
		}
		return fail()
	case feature.Int64:
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return fail()
		}
		return feature.Int64Value(n), nil
	case feature.Float64:
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return fail()
		}
		return feature.Float64Value(f), nil
	case feature.Timestamp:
		return c.timeText(s)
	case feature.Bytes:
		if !c.col.Text {
			return feature.BytesValue(s), nil
		}
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			return fail()
		}
		return feature.BytesValue(string(b)), nil
	}
	if !utf8.ValidString(s) {
		return feature.Value{}, fmt.Errorf("%s is not UTF-8", strconv.Quote(shorten(s)))
	}
	return feature.StringValue(s), nil
}

// timeText reads RFC 3339, with a space in place of the T if need be, as databases and data frames write times.
func (c *converter) timeText(s string) (feature.Value, error) {
	text := s
	if len(s) > 10 && s[10] == ' ' {
		text = s[:10] + "T" + s[11:]
		if i := strings.LastIndexByte(text, ' '); i > 10 { // 2013-01-01 05:00:00 +00:00
			text = text[:i] + text[i+1:]
		}
	}
	us, problem := ingest.ParseTime(text, c.zone)
	if problem != "" {
		if c.zone == nil {
			if _, other := ingest.ParseTime(text, time.UTC); other == "" {
				problem = "has no zone; name it (--zone, UTC for one)"
			}
		}
		return feature.Value{}, fmt.Errorf("%s %s", strconv.Quote(shorten(s)), problem)
	}
	return feature.TimestampValue(us), nil
}

func shorten(s string) string {
	if len(s) > 60 {
		return s[:60] + "…"
	}
	return s
}

// instant reads a time in microseconds UTC; null is an error.
func (c *converter) instant(v *feature.Value) (int64, error) {
	t, err := c.read(v)
	switch {
	case err != nil:
		return 0, err
	case t.IsNull():
		return 0, errors.New("the time is null")
	case t.Int64() < firstTime || t.Int64() > lastTime:
		return 0, errors.New("the time is outside the years 0001 to 9999")
	}
	return t.Int64(), nil
}

// Times returns what reads the times of a column, in microseconds UTC; zone is of times that name none, nil refuses them. A
// time that is null is an error.
func Times(col SpineColumn, zone *time.Location) (func(*feature.Value) (int64, error), error) {
	c, err := newConverter(col, feature.Timestamp, zone)
	if err != nil {
		return nil, err
	}
	return c.instant, nil
}
