package ingest

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
)

// aValue draws a value of a type that the decoder has a form for.
func aValue(t *rapid.T, typ feature.Type) feature.Value {
	if typ.IsList() {
		elems := make([]feature.Value, rapid.IntRange(0, 4).Draw(t, "elements"))
		for i := range elems {
			elems[i] = aValue(t, typ.Elem())
		}
		return feature.ListValue(typ.Elem(), elems)
	}
	switch typ {
	case feature.Bool:
		return feature.BoolValue(rapid.Bool().Draw(t, "bool"))
	case feature.Int64:
		return feature.Int64Value(rapid.Int64().Draw(t, "int64"))
	case feature.Float64:
		return feature.Float64Value(rapid.Float64().Filter(func(f float64) bool { return !math.IsInf(f, 0) }).Draw(t, "float64"))
	case feature.Timestamp:
		return feature.TimestampValue(rapid.Int64Range(minMicros, maxMicros).Draw(t, "timestamp"))
	case feature.String:
		return feature.StringValue(rapid.String().Draw(t, "string"))
	}
	return feature.BytesValue(string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")))
}

func TestAppendedJSONIsDecodedBitForBit(t *testing.T) {
	scalars := []feature.Type{feature.Bool, feature.Int64, feature.Float64, feature.Timestamp, feature.String, feature.Bytes}
	src := &config.Source{Name: "log", Format: "json", EventID: -1, EventTime: config.EventTime{Field: -1}}
	for _, typ := range scalars {
		src.Schema = append(src.Schema, config.Field{Name: typ.String(), Type: typ}, config.Field{Name: `a "list" of ` + typ.String(), Type: feature.ListOf(typ)})
	}
	d := newTestDecoder(t, src)
	row := make([]feature.Value, len(src.Schema))
	rapid.Check(t, func(t *rapid.T) {
		want := make([]feature.Value, len(src.Schema))
		text := []byte{'{'}
		for i, f := range src.Schema {
			if rapid.IntRange(0, 9).Draw(t, "null") > 0 {
				want[i] = aValue(t, f.Type)
			}
			if i > 0 {
				text = append(text, ',')
			}
			text = AppendJSON(AppendJSONName(text, f.Name), &want[i])
		}
		text = append(text, '}')
		if !json.Valid(text) {
			t.Fatalf("not JSON: %s", text)
		}
		if _, err := d.Decode(text, row); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		for i := range want {
			if !row[i].Equal(&want[i]) {
				t.Fatalf("%s of %s: %s, want %s", src.Schema[i].Name, text, row[i], want[i])
			}
		}
	})
}

func TestWhatJSONHasNoFormForIsNull(t *testing.T) {
	for _, v := range []feature.Value{
		{},
		feature.Float64Value(math.NaN()), feature.Float64Value(math.Inf(1)), feature.Float64Value(math.Inf(-1)),
		feature.TimestampValue(minMicros - 1), feature.TimestampValue(maxMicros + 1),
	} {
		if got := string(AppendJSON(nil, &v)); got != "null" {
			t.Errorf("%s is %s", v, got)
		}
	}
	broken := feature.StringValue("a\xffb")
	if got := string(AppendJSON(nil, &broken)); got != "\"a\uFFFDb\"" {
		t.Errorf("invalid UTF-8 is %s", got)
	}
}

func TestAppendJSONAllocatesNothing(t *testing.T) {
	vals := []feature.Value{
		feature.StringValue(strings.Repeat("a", 100)), feature.BytesValue(strings.Repeat("b", 100)), feature.Float64Value(1.5), feature.Int64Value(-7),
		feature.ListValue(feature.Int64, []feature.Value{feature.Int64Value(1)}),
	}
	buf := make([]byte, 0, 1024)
	if n := testing.AllocsPerRun(100, func() {
		for i := range vals {
			buf = AppendJSON(buf[:0], &vals[i])
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestAListIsRefusedWhereItsElementsAreNot(t *testing.T) {
	d := newTestDecoder(t, &config.Source{
		Name: "log", Format: "json", EventID: -1, EventTime: config.EventTime{Field: -1},
		Schema: []config.Field{{Name: "last", Type: feature.ListOf(feature.Int64)}, {Name: "one", Type: feature.Int64}},
	})
	row := make([]feature.Value, 2)
	for text, want := range map[string]string{
		`{"last":[1,"2"]}`:  `expected list<int64>, got the string "2"`,
		`{"last":[1,null]}`: "expected list<int64>, got a list that holds null, a list or an object",
		`{"last":[[1]]}`:    "expected list<int64>, got a list that holds null, a list or an object",
		`{"last":1}`:        `expected list<int64>, got the number "1"`,
		`{"one":[1]}`:       "expected int64, got an array",
		`{"last":[1.5]}`:    `expected list<int64>; "1.5" is not a whole number`,
		`{"last":[1 2]}`:    "expected a comma or ']' at byte 11",
	} {
		if _, err := d.Decode([]byte(text), row); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
