package ingest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
)

// departures is the source of most tests.
func departures() *config.Source {
	return &config.Source{
		Name:   "departures",
		Topic:  "flights.departures",
		Format: "json",
		Schema: []config.Field{
			{Name: "carrier", Type: feature.String, Required: true},
			{Name: "dep_delay", Type: feature.Float64},
			{Name: "flight", Type: feature.Int64},
			{Name: "departed_at", Type: feature.String, Required: true},
			{Name: "cancelled", Type: feature.Bool},
			{Name: "tag", Type: feature.Bytes},
			{Name: "seen_at", Type: feature.Timestamp},
		},
		Key:            []int{0},
		EventTime:      config.EventTime{Field: 3, Format: config.RFC3339},
		EventID:        -1,
		AllowedSkew:    5 * time.Minute,
		MaxRecordBytes: 1 << 20,
	}
}

func newTestDecoder(t testing.TB, src *config.Source) Decoder {
	t.Helper()
	d, err := NewDecoder(src)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestJSONAccepts(t *testing.T) {
	src := departures()
	for i := range src.Schema {
		src.Schema[i].Required = false
	}
	d := newTestDecoder(t, src)
	row := make([]feature.Value, len(src.Schema))
	const null = "null"
	f := func(payload, field, want string, wantUnknown int) {
		t.Helper()
		unknown, err := d.Decode([]byte(payload), row)
		if err != nil {
			t.Errorf("%s: %v", payload, err)
			return
		}
		if unknown != wantUnknown {
			t.Errorf("%s: %d unknown fields, want %d", payload, unknown, wantUnknown)
		}
		for i := range row {
			got, want := row[i].String(), want
			if src.Schema[i].Name != field {
				want = null
			}
			if got != want {
				t.Errorf("%s: %s = %s, want %s", payload, src.Schema[i].Name, got, want)
			}
			if !row[i].IsNull() && row[i].Type() != src.Schema[i].Type {
				t.Errorf("%s: %s has type %s", payload, src.Schema[i].Name, row[i].Type())
			}
		}
	}
	f(`{}`, "", "", 0)
	f(" {\t}\r\n", "", "", 0)
	f(`{"carrier":"AA"}`, "carrier", `"AA"`, 0)
	f(`{"carrier":null}`, "carrier", null, 0)
	f(`{"carrier":""}`, "carrier", `""`, 0)
	f(`{"c\u0061rrier":"AA"}`, "carrier", `"AA"`, 0)
	f(`{"carrier":"Zürich – 東京"}`, "carrier", `"Zürich – 東京"`, 0)
	f(`{"carrier":"a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00z"}`, "carrier", strconv.Quote("a\"\\/\b\f\n\r\té😀z"), 0)
	f(`{"carrier":"a long text without anything special in it, then a quote: \" and more of it"}`, "carrier",
		strconv.Quote(`a long text without anything special in it, then a quote: " and more of it`), 0)
	f(`{"Carrier":"AA"}`, "", "", 1)
	f(`{"x":1,"y":{"a":[1,{"b":null}],"c":"\u0041"},"z":[],"carrier":"AA","w":true}`, "carrier", `"AA"`, 4)
	f(`{"x":1,"x":2}`, "", "", 2)
	f(`{"x":`+strings.Repeat("[", 63)+strings.Repeat("]", 63)+`}`, "", "", 1)

	f(`{"flight":0}`, "flight", "0", 0)
	f(`{"flight":-0}`, "flight", "0", 0)
	f(`{"flight":9223372036854775807}`, "flight", "9223372036854775807", 0)
	f(`{"flight":-9223372036854775808}`, "flight", "-9223372036854775808", 0)
	f(`{"flight":1.0}`, "flight", "1", 0)
	f(`{"flight":1e3}`, "flight", "1000", 0)
	f(`{"flight":12.50e1}`, "flight", "125", 0)
	f(`{"flight":0.0000000000000000000000012e25}`, "flight", "12", 0)
	f(`{"flight":1200000000000000000000e-20}`, "flight", "12", 0)
	f(`{"flight":0e99999999999999999999}`, "flight", "0", 0)
	f(`{"flight":9223372036854775807.000000000000}`, "flight", "9223372036854775807", 0)

	f(`{"dep_delay":-3.5}`, "dep_delay", "-3.5", 0)
	f(`{"dep_delay":15}`, "dep_delay", "15", 0)
	f(`{"dep_delay":-0}`, "dep_delay", "-0", 0)
	f(`{"dep_delay":0.1}`, "dep_delay", "0.1", 0)
	f(`{"dep_delay":1.7976931348623157e308}`, "dep_delay", "1.7976931348623157e+308", 0)
	f(`{"dep_delay":1e-400}`, "dep_delay", "0", 0)
	f(`{"dep_delay":123456789012345678901234567890}`, "dep_delay", "1.2345678901234568e+29", 0)

	f(`{"cancelled":true}`, "cancelled", "true", 0)
	f(`{"cancelled":false}`, "cancelled", "false", 0)
	f(`{"tag":"AP8="}`, "tag", "00ff", 0)
	f(`{"tag":""}`, "tag", "", 0)
	f(`{"seen_at":"1970-01-01T01:00:00.0000019+01:00"}`, "seen_at", "1970-01-01T00:00:00.000001Z", 0)
	f(`{"seen_at":1700000000000001}`, "seen_at", "2023-11-14T22:13:20.000001Z", 0)
}

func TestJSONRefuses(t *testing.T) {
	src := departures()
	src.Schema[0].Required = true
	src.Schema[3].Required = false
	d := newTestDecoder(t, src)
	row := make([]feature.Value, len(src.Schema))
	f := func(payload string, class Class, field, reason string) {
		t.Helper()
		_, err := d.Decode([]byte(payload), row)
		var fe *FieldError
		if !errors.As(err, &fe) {
			t.Errorf("%s: got %v, want a FieldError", payload, err)
			return
		}
		if fe.Class != class || fe.Field != field || !strings.Contains(fe.Reason, reason) {
			t.Errorf("%s: got %v, want class %s, field %q, reason with %q", payload, fe, class, field, reason)
		}
		if len(fe.Reason) > 300 {
			t.Errorf("%.40s: reason of %d bytes", payload, len(fe.Reason))
		}
	}
	malformed := func(payload, reason string) { t.Helper(); f(payload, Malformed, "", reason) }
	malformed(``, "expected an object at byte 0")
	malformed(`null`, "expected an object")
	malformed(`[{}]`, "expected an object")
	malformed(`"x"`, "expected an object")
	malformed(`{`, "expected a field name")
	malformed(`{"carrier"`, "expected a colon")
	malformed(`{"carrier":`, "expected a value")
	malformed(`{"carrier":"AA"`, "expected a comma or '}'")
	malformed(`{"carrier":"AA",}`, "expected a field name")
	malformed(`{,}`, "expected a field name")
	malformed(`{carrier:"AA"}`, "expected a field name at byte 1")
	malformed(`{'carrier':"AA"}`, "expected a field name")
	malformed(`{"carrier":"AA"} x`, "unexpected data after the value at byte 17")
	malformed(`{"carrier":"AA"}{}`, "unexpected data")
	malformed(`{} x`, "unexpected data")
	malformed("{\"carrier\":\"A\x00\"}", "control character")
	malformed("{\"carrier\":\"A\nA\"}", "control character")
	malformed("{\"carrier\":\"A\xffA\"}", "invalid UTF-8")
	malformed("{\"x\":\"\xed\xa0\x80\"}", "invalid UTF-8")
	malformed("{\"\xff\":1}", "invalid UTF-8")
	malformed(`{"carrier":"\x41"}`, "invalid escape")
	malformed(`{"carrier":"\u12g4"}`, "invalid \\u escape")
	malformed(`{"carrier":"\u12`, "invalid \\u escape")
	malformed(`{"carrier":"\`, "unterminated string")
	malformed(`{"carrier":"\ud800"}`, "lone surrogate")
	malformed(`{"carrier":"\udc00"}`, "lone surrogate")
	malformed(`{"carrier":"\ud800\u0041"}`, "lone surrogate")
	malformed(`{"x":["\ud800"]}`, "lone surrogate")
	malformed(`{"carrier":"AA`, "unterminated string")
	malformed(`{"dep_delay":NaN}`, "expected a value; JSON has no NaN, send null, at byte 13")
	malformed(`{"dep_delay":nan}`, "invalid literal")
	malformed(`{"dep_delay":Infinity}`, "JSON has no Infinity")
	malformed(`{"dep_delay":-Infinity}`, "invalid number")
	malformed(`{"dep_delay":+1}`, "expected a value")
	malformed(`{"dep_delay":.5}`, "expected a value")
	malformed(`{"dep_delay":1.}`, "invalid number")
	malformed(`{"dep_delay":01}`, "invalid number")
	malformed(`{"dep_delay":-01}`, "invalid number")
	malformed(`{"dep_delay":1e}`, "invalid number")
	malformed(`{"dep_delay":1e+}`, "invalid number")
	malformed(`{"dep_delay":0x10}`, "expected a comma")
	malformed(`{"cancelled":tru}`, "invalid literal")
	malformed(`{"cancelled":truee}`, "expected a comma")
	malformed(`{"x":[1,]}`, "expected a value")
	malformed(`{"x":[1 2]}`, "expected a comma or ']'")
	malformed(`{"x":{"a":1,}}`, "expected a field name")
	malformed(`{"x":{"a" 1}}`, "expected a colon")
	malformed(`{"x":`+strings.Repeat("[", 64)+strings.Repeat("]", 64)+`}`, "deeper than 64")
	malformed(`{"x":`+strings.Repeat(`{"a":`, 100_000), "deeper than 64")
	f(`{"carrier":"AA","carrier":"AA"}`, Malformed, "carrier", "occurs twice")
	f(`{"carrier":null,"carri\u0065r":"AA"}`, Malformed, "carrier", "occurs twice")

	f(`{}`, MissingField, "carrier", "absent or null")
	f(`{"carrier":null}`, MissingField, "carrier", "absent or null")

	f(`{"carrier":1}`, WrongType, "carrier", "expected string, got the number \"1\"")
	f(`{"carrier":true}`, WrongType, "carrier", "got a bool")
	f(`{"carrier":{}}`, WrongType, "carrier", "got an object")
	f(`{"carrier":[]}`, WrongType, "carrier", "got an array")
	f(`{"carrier":"AA","flight":"12"}`, WrongType, "flight", `expected int64, got the string "12"`)
	f(`{"flight":1.5}`, WrongType, "flight", "is not a whole number")
	f(`{"flight":1e-1}`, WrongType, "flight", "is not a whole number")
	f(`{"flight":1.00000000000000000000000000001}`, WrongType, "flight", "is not a whole number")
	f(`{"flight":1e-99999999999999999999}`, WrongType, "flight", "is not a whole number")
	f(`{"flight":9223372036854775808}`, WrongType, "flight", "does not fit")
	f(`{"flight":-9223372036854775809}`, WrongType, "flight", "does not fit")
	f(`{"flight":1e19}`, WrongType, "flight", "does not fit")
	f(`{"flight":1e99999999999999999999}`, WrongType, "flight", "does not fit")
	f(`{"flight":18446744073709551617}`, WrongType, "flight", "does not fit")
	f(`{"flight":1`+strings.Repeat("0", 5000)+`}`, WrongType, "flight", "does not fit")
	f(`{"dep_delay":"1.5"}`, WrongType, "dep_delay", "expected float64")
	f(`{"dep_delay":1e400}`, WrongType, "dep_delay", "beyond the largest")
	f(`{"cancelled":1}`, WrongType, "cancelled", "expected bool")
	f(`{"cancelled":"true"}`, WrongType, "cancelled", "expected bool")
	f(`{"tag":"AP8"}`, WrongType, "tag", "base64")
	f(`{"tag":"AP\n8="}`, WrongType, "tag", "base64")
	f(`{"tag":"_-8="}`, WrongType, "tag", "base64")
	f(`{"seen_at":"2024-01-01T00:00:00"}`, BadTime, "seen_at", "no zone")
	f(`{"seen_at":1.5}`, WrongType, "seen_at", "whole number")
	f(`{"seen_at":253402300800000000}`, BadTime, "seen_at", "0001 to 9999")
}

func TestJSONValuesAliasThePayload(t *testing.T) {
	src := departures()
	d := newTestDecoder(t, src)
	row := make([]feature.Value, len(src.Schema))
	payload := []byte(`{"carrier":"AA","departed_at":"x"}`)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := d.Decode(payload, row); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a record, want none", n)
	}
	payload[12] = 'B'
	if got := row[0].Str(); got != "BA" {
		t.Errorf("carrier = %q; a string without escapes aliases the payload", got)
	}
}

func TestNewDecoderRefuses(t *testing.T) {
	src := departures()
	src.Format = "xml"
	if _, err := NewDecoder(src); err == nil || !strings.Contains(err.Error(), `unknown format "xml"; formats are json`) {
		t.Errorf("got %v", err)
	}
	src = departures()
	src.Schema[1].Type = feature.Null
	if _, err := NewDecoder(src); err == nil || !strings.Contains(err.Error(), "source departures: field dep_delay: a JSON source has no fields of type null") {
		t.Errorf("got %v", err)
	}
}

// oracle decodes with encoding/json and this package's stated differences from it, nothing shared with the scanner. ok
// is false where the payload must be refused.
func oracle(src *config.Source, payload []byte, row []feature.Value) (unknown int, ok bool) {
	clear(row)
	if !json.Valid(payload) || !strictStrings(payload) {
		return 0, false
	}
	dec := json.NewDecoder(bytes.NewReader(payload))
	dec.UseNumber()
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return 0, false
	}
	seen := map[string]bool{}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return 0, false
		}
		name := token.(string)
		var v any
		if err := dec.Decode(&v); err != nil || depth(v) >= maxDepth {
			return 0, false
		}
		i := -1
		for k, f := range src.Schema {
			if f.Name == name {
				i = k
			}
		}
		if i < 0 {
			unknown++
			continue
		}
		if seen[name] {
			return 0, false
		}
		seen[name] = true
		if row[i], ok = oracleValue(src.Schema[i].Type, v); !ok {
			return 0, false
		}
	}
	if _, err := dec.Token(); err != nil {
		return 0, false
	}
	if _, err := dec.Token(); err != io.EOF {
		return 0, false
	}
	for i, f := range src.Schema {
		if f.Required && row[i].IsNull() {
			return 0, false
		}
	}
	return unknown, true
}

func oracleValue(typ feature.Type, v any) (feature.Value, bool) {
	switch v := v.(type) {
	case nil:
		return feature.Value{}, true
	case bool:
		return feature.BoolValue(v), typ == feature.Bool
	case []any:
		elems := make([]feature.Value, len(v))
		for i := range v {
			var ok bool
			if elems[i], ok = oracleValue(typ.Elem(), v[i]); !ok || v[i] == nil {
				return feature.Value{}, false
			}
		}
		return feature.ListValue(typ.Elem(), elems), typ.IsList()
	case string:
		switch typ {
		case feature.String:
			return feature.StringValue(v), true
		case feature.Bytes:
			var b []byte
			quoted, _ := json.Marshal(v)
			if json.Unmarshal(quoted, &b) != nil || strings.ContainsAny(v, "\r\n") {
				return feature.Value{}, false
			}
			return feature.BytesValue(string(b)), true
		case feature.Timestamp:
			us, ok := oracleTime(v)
			return feature.TimestampValue(us), ok
		}
	case json.Number:
		switch typ {
		case feature.Float64:
			f, err := v.Float64()
			return feature.Float64Value(f), err == nil
		case feature.Int64, feature.Timestamp:
			n, ok := oracleInt(v.String())
			if typ == feature.Timestamp {
				return feature.TimestampValue(n), ok && n >= minMicros && n <= maxMicros
			}
			return feature.Int64Value(n), ok
		}
	}
	return feature.Value{}, false
}

func depth(v any) int {
	most := 0
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			most = max(most, depth(e))
		}
		return most + 1
	case map[string]any:
		for _, e := range v {
			most = max(most, depth(e))
		}
		return most + 1
	}
	return 0
}

func FuzzJSON(f *testing.F) {
	for _, seed := range []string{
		`{"carrier":"AA","dep_delay":-3.25,"flight":1421,"departed_at":"2024-03-01T12:00:00.5Z","cancelled":false}`,
		`{"carrier":"\ud83d\ude00\u00e9","tag":"AP8=","seen_at":"2024-02-29T23:59:59.999999999-05:00","x":[{"y":null}]}`,
		`{"flight":1.0,"dep_delay":1e-5,"seen_at":1700000000000000}`,
		`{"flight":12345678901234567890e-1,"dep_delay":1234567890123456789012345e-30}`,
		`{"routes":["JFK-LAX","\u00e9"],"delays":[1,-2.5e3, 0 ],"stops":[]}`, `{"delays":[null]}`, `{"delays":[[1]]}`, `{"routes":"a","delays":[1,]}`, `{"delays":[1`,
		`{"carrier":"A","carrier":"B"}`, `{"x":[[[[]]]],"x":{"x":{}}}`, `{"carrier":"A"} 1`, `{"dep_delay":1e999}`, "{\"carrier\":\"\xff\"}",
	} {
		f.Add([]byte(seed))
	}
	src := departures()
	src.Schema[0].Required, src.Schema[3].Required = false, false
	src.Schema = append(src.Schema, // as the log of a view has
		config.Field{Name: "routes", Type: feature.ListOf(feature.String)},
		config.Field{Name: "delays", Type: feature.ListOf(feature.Float64)},
		config.Field{Name: "stops", Type: feature.ListOf(feature.Int64)})
	d, err := NewDecoder(src)
	if err != nil {
		f.Fatal(err)
	}
	row, want := make([]feature.Value, len(src.Schema)), make([]feature.Value, len(src.Schema))
	f.Fuzz(func(t *testing.T, payload []byte) {
		if hugeExponent(payload) {
			t.Skip("big.Rat would take minutes")
		}
		kept := bytes.Clone(payload)
		unknown, err := d.Decode(payload, row)
		if !bytes.Equal(kept, payload) {
			t.Fatal("Decode changed the payload")
		}
		var fe *FieldError
		if err != nil && (!errors.As(err, &fe) || fe.Class == "" || fe.Reason == "") {
			t.Fatalf("error %v is no FieldError", err)
		}
		wantUnknown, ok := oracle(src, payload, want)
		if ok != (err == nil) {
			t.Fatalf("%q: Decode says %v, the oracle accepts: %v", payload, err, ok)
		}
		if err != nil {
			return
		}
		if unknown != wantUnknown {
			t.Fatalf("%q: %d unknown fields, want %d", payload, unknown, wantUnknown)
		}
		for i := range row {
			if !row[i].Equal(&want[i]) {
				t.Fatalf("%q: %s = %s, want %s", payload, src.Schema[i].Name, row[i], want[i])
			}
		}
	})
}

const benchEvent = `{"carrier":"AA","dep_delay":-3.25,"flight":1421,"departed_at":"2024-03-01T12:34:56.789Z","origin":"JFK","destin":"LAX"}`

func BenchmarkJSONDecode(b *testing.B) {
	src := departures()
	src.Schema = append(src.Schema[:4], config.Field{Name: "origin", Type: feature.String}, config.Field{Name: "destin", Type: feature.String})
	b.Run("freshet", func(b *testing.B) {
		d := newTestDecoder(b, src)
		row := make([]feature.Value, len(src.Schema))
		payload := []byte(benchEvent)
		b.SetBytes(int64(len(payload)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := d.Decode(payload, row); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("freshet-4-fields", func(b *testing.B) {
		four := *src
		four.Schema = src.Schema[:4]
		d := newTestDecoder(b, &four)
		row := make([]feature.Value, 4)
		payload := []byte(`{"carrier":"AmericanAirlines","dep_delay":-3.25,"flight":1421123,"departed_at":"2024-03-01T12:34:56.789123+00:00"}`)
		b.SetBytes(int64(len(payload)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := d.Decode(payload, row); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		var event struct {
			Carrier    string   `json:"carrier"`
			DepDelay   *float64 `json:"dep_delay"`
			Flight     *int64   `json:"flight"`
			DepartedAt string   `json:"departed_at"`
			Origin     string   `json:"origin"`
			Destin     string   `json:"destin"`
		}
		payload := []byte(benchEvent)
		b.SetBytes(int64(len(payload)))
		b.ReportAllocs()
		for b.Loop() {
			if err := json.Unmarshal(payload, &event); err != nil {
				b.Fatal(err)
			}
		}
		if math.IsNaN(*event.DepDelay) {
			b.Fatal("impossible")
		}
	})
}
