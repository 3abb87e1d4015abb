package train

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	pq "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/offline"
)

// csvOutput writes RFC 4180 with a header. A null is nothing, an empty string is "".
type csvOutput struct {
	file newFile
	w    *bufio.Writer
	cols []SpineColumn
	line []byte
}

// Text implements Output.
func (o *csvOutput) Text() bool { return true }

// Begin implements Output.
func (o *csvOutput) Begin(_ context.Context, spine []SpineColumn, features []offline.Column) error {
	for i := range spine {
		c := &spine[i]
		if !c.Plain() && !isDate(c.Node) {
			return fmt.Errorf("column %q of the spine is %s, which a CSV file cannot keep: write Parquet, or cast it", c.Name, c.Node.Type())
		}
	}
	o.cols = spine
	if err := o.file.create(); err != nil {
		return err
	}
	o.w = bufio.NewWriterSize(o.file.f, 1<<20)
	for _, c := range spine {
		o.text(c.Name, false)
	}
	for _, c := range features {
		o.text(c.Name, false)
	}
	return o.end()
}

// Write implements Output.
func (o *csvOutput) Write(spine, features []feature.Value) error {
	for i := range spine {
		o.spine(&o.cols[i], &spine[i])
	}
	for i := range features {
		o.value(&features[i])
	}
	return o.end()
}

func (o *csvOutput) spine(c *SpineColumn, v *feature.Value) {
	switch {
	case c.Text:
		o.text(v.Str(), false)
	case v.IsNull():
		o.line = append(o.line, ',')
	case c.Type == feature.Timestamp:
		o.raw(timeText(c, v.Int64()))
	case c.Type == feature.Int64 && !c.Plain():
		o.raw(time.Unix(v.Int64()*86400, 0).UTC().Format("2006-01-02"))
	case c.Type == feature.Int64 && c.Unsigned:
		o.raw(strconv.FormatUint(v.Num(), 10))
	case c.Type == feature.Float64 && c.Node != nil && c.Node.Type().Kind() == pq.Float:
		o.raw(strconv.FormatFloat(v.Float64(), 'g', -1, 32))
	default:
		o.value(v)
	}
}

func isDate(n pq.Node) bool {
	_, ok := logicalType(n).(*format.DateType)
	return ok
}

// timeText writes a time of a column's unit, with its zone if it has one.
func timeText(c *SpineColumn, t int64) string {
	unit := c.Unit
	if unit == 0 {
		unit = feature.Second
	}
	second := feature.FloorTo(t, unit) / unit
	at := time.Unix(second, (t-second*unit)*(1e9/unit)).UTC()
	if c.Zoneless {
		return at.Format("2006-01-02T15:04:05.999999999")
	}
	return at.Format(time.RFC3339Nano)
}

func (o *csvOutput) value(v *feature.Value) {
	switch t := v.Type(); {
	case t == feature.Null:
		o.line = append(o.line, ',')
	case t == feature.String:
		o.text(v.Str(), true)
	case t == feature.Bytes:
		o.raw(base64.StdEncoding.EncodeToString([]byte(v.Str())))
	case t.IsList():
		o.text(listText(v), true)
	case t == feature.Float64:
		o.raw(floatText(v.Float64()))
	default:
		o.raw(v.String())
	}
}

func floatText(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}

// listText writes a list as JSON.
func listText(v *feature.Value) string {
	out := []any{}
	list := v.List()
	for i := range list {
		switch e := &list[i]; e.Type() {
		case feature.Null:
			out = append(out, nil)
		case feature.Bool:
			out = append(out, e.Bool())
		case feature.Int64:
			out = append(out, e.Int64())
		case feature.Float64:
			if e.Finite() {
				out = append(out, e.Float64())
			} else {
				out = append(out, floatText(e.Float64()))
			}
		case feature.Bytes:
			out = append(out, []byte(e.Str()))
		case feature.String:
			out = append(out, e.Str())
		default:
			out = append(out, e.String())
		}
	}
	text, err := json.Marshal(out)
	if err != nil {
		return "" // of such values there is none that cannot be written
	}
	return string(text)
}

// raw adds a field that needs no quotes.
func (o *csvOutput) raw(s string) { o.line = append(append(o.line, s...), ',') }

// text adds a field, in quotes where its characters need them, or where it is empty and not null.
func (o *csvOutput) text(s string, typed bool) {
	if !strings.ContainsAny(s, ",\"\r\n") && (s != "" || !typed) {
		o.raw(s)
		return
	}
	o.line = append(o.line, '"')
	o.line = append(o.line, strings.ReplaceAll(s, `"`, `""`)...)
	o.line = append(o.line, '"', ',')
}

// end writes the line; CSV's is CRLF by the letter, and LF by custom.
func (o *csvOutput) end() error {
	if len(o.line) == 1 { // one empty field would be an empty line
		o.line = append(o.line[:0], `"",`...)
	}
	o.line[len(o.line)-1] = '\n'
	_, err := o.w.Write(o.line)
	o.line = o.line[:0]
	if err != nil {
		return fmt.Errorf("write %s: %w", o.file.path, err)
	}
	return nil
}

// Commit implements Output.
func (o *csvOutput) Commit(_ context.Context, m *Manifest) error {
	if err := o.w.Flush(); err != nil {
		return fmt.Errorf("write %s: %w", o.file.path, err)
	}
	return o.file.commit(m)
}

// Abort implements Output.
func (o *csvOutput) Abort() error { return o.file.abort() }
