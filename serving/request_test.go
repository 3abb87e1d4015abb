package serving

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/freshet-io/freshet/internal/feature"
)

func TestParseColumnTakesTheTypesOfItsField(t *testing.T) {
	f := func(typ feature.Type, array, want string) {
		t.Helper()
		w := wireColumn{name: "c", values: array}
		vs, err := w.parse(nil, &planColumn{name: "c", typ: typ}, 10)
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			list := feature.ListValue(typ, vs)
			got = list.String()
		}
		if got != want {
			t.Errorf("%s of %s: got %s, want %s", array, typ, got, want)
		}
	}
	f(feature.Int64, `[ 1 , -0 ,9223372036854775807]`, "[1 0 9223372036854775807]")
	f(feature.Int64, `[null]`, "[null]")
	f(feature.Int64, `[1e2]`, "entities.c[0]: expected int64, got 1e2")
	f(feature.Float64, `[1, 2.50, -1e3]`, "[1 2.5 -1000]")
	f(feature.Float64, `["NaN"]`, `entities.c[0]: expected float64, got "NaN"`)
	f(feature.Bool, `[true,false]`, "[true false]")
	f(feature.Bool, `[true,0]`, "entities.c[1]: expected bool, got 0")
	f(feature.String, `["a","\u00e9\ud83d\ude00\n"]`, `["a" "é😀\n"]`)
	f(feature.String, `[{"a":[1,2]}]`, `entities.c[0]: expected string, got {"a":[1,2]}`)
	f(feature.String, `[`+strings.Repeat("1", 80)+`]`, "entities.c[0]: expected string, got "+strings.Repeat("1", 64)+"...")
	f(feature.Bytes, `["AP8="]`, "[00ff]")
	f(feature.Bytes, `["A"]`, `entities.c[0]: expected bytes, got "A"`)
	f(feature.Timestamp, `[1772366400,"2026-03-01T13:00:00.5+01:00"]`, "[2026-03-01T12:00:00Z 2026-03-01T12:00:00.5Z]")
	f(feature.Timestamp, `["2026-03-01T13:00:00"]`, `entities.c[0]: expected timestamp, got "2026-03-01T13:00:00"`)
	f(feature.Timestamp, `[`+strconv.FormatInt(math.MaxInt64, 10)+`]`, "entities.c[0]: expected timestamp, got 9223372036854775807")
	f(feature.ListOf(feature.Int64), `[[1,2],[],null]`, "[[1 2] [] null]")
	f(feature.ListOf(feature.Int64), `[[1,null]]`, "entities.c[0]: expected list<int64>, got [1,null]")
	f(feature.ListOf(feature.String), `[["a"],["b",1]]`, `entities.c[1]: expected list<string>, got ["b",1]`)
}

// Two requests of one shape share a plan; nothing else may.
func TestShapeKeysDoNotCollide(t *testing.T) {
	seen := make(map[string]string)
	for _, body := range []string{
		`{"entities":{}}`,
		`{"entities":{"a":[1]}}`,
		`{"entities":{"a":[1],"b":[1]}}`,
		`{"entities":{"a\"b":[1]}}`,
		`{"entities":{"b":[1],"a":[1]}}`,
		`{"entities":{"a":[1]},"full_feature_names":true}`,
		`{"feature_service":"a","entities":{}}`,
		`{"feature_service":"a","entities":{"b":[1]}}`,
		`{"feature_service":"[\"a\"]","entities":{"b":[1]}}`,
		`{"features":["a"],"entities":{"b":[1]}}`,
		`{"features":["a","b"],"entities":{}}`,
		`{"features":[],"entities":{"a":[1]}}`,
	} {
		var r wireRequest
		if err := r.parse(body); err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		key := string(r.appendKey(nil))
		if other, ok := seen[key]; ok {
			t.Errorf("%s and %s have the key %s", body, other, key)
		}
		seen[key] = body
	}
}

func TestPlansAreSharedAndBounded(t *testing.T) {
	l, _, _ := setup(t, Options{})
	for range 3 {
		post(t, l, `{"features":["user_profile:visits"],"entities":{"user_id":[1]}}`)
		post(t, l, `{"features":["user_profile:visits"],"entities":{"user_id":[2,3]}}`)
	}
	if n := len(l.planner.plans); n != 1 {
		t.Errorf("%d plans for one shape", n)
	}
	for i := range 2 * maxPlans {
		post(t, l, `{"features":[`+strings.Repeat(" ", i)+`"user_profile:visits"],"entities":{"user_id":[1]}}`)
	}
	if n := len(l.planner.plans); n > maxPlans {
		t.Errorf("%d plans are kept", n)
	}
}

// FuzzParse holds the parser to encoding/json: it accepts no text that is not JSON, and reads what it accepts alike.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`{"features":["v:f"],"entities":{"k":[1,"a",null,true,1.5e3,[1],{"x":"\u00e9"}]},"full_feature_names":true}`,
		`{"feature_service":"s","entities":{},"request_context":{"r":[]},"include_feature_view_version_metadata":false}`,
		`{"feature_service":null,"features":null,"entities":{"k":[]},"x":{"y":[{}]}}`,
		`{"entities":{"\ud83d\ude00":["\"\\\/\b\f\n\r\t"]}}`,
		`{"entities":{"k":[1,]}}`, `{"entities":{"k":[01]}}`, `{"entities":{"k":[-]}}`, `{"entities":{"k":[1.]}}`,
		`{"entities":{"k":["\u12"]}}`, `{"entities":{"k":["\ud800\u0041"]}}`, `{"entities":{"k":[nul]}}`, "{\"entities\":{\"k\":[\"\n\"]}}",
		` { "entities" : { "k" : [ 1 , 2 ] } } `, `{"entities":{,}}`, `{"entities":{"k":[1]}}}`, `{,"entities":{}}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		var r wireRequest
		if err := r.parse(body); err != nil {
			if err.Kind != Invalid {
				t.Fatalf("refused with %v", err)
			}
			if err.Type == "json_invalid" && json.Valid([]byte(body)) && utf8.ValidString(body) &&
				!strings.Contains(err.Message, "deeply") && !strings.Contains(err.Message, "surrogate") {
				t.Fatalf("refused JSON %q: %v", body, err)
			}
			return
		}
		var want struct {
			Entities map[string][]json.RawMessage `json:"entities"`
			Context  map[string][]json.RawMessage `json:"request_context"`
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal([]byte(body), &members); err != nil {
			t.Fatalf("accepted %q: %v", body, err)
		}
		unmarshal := func(name string, into any) {
			if raw, ok := members[name]; ok {
				if err := json.Unmarshal(raw, into); err != nil {
					t.Fatalf("member %s of %q: %v", name, body, err)
				}
			}
		}
		unmarshal("entities", &want.Entities)
		unmarshal("request_context", &want.Context)
		var service *string
		unmarshal("feature_service", &service)
		if service != nil && *service != r.service {
			t.Fatalf("service %q, want %q", r.service, *service)
		}
		var full bool
		unmarshal("full_feature_names", &full)
		if full != r.full || len(r.columns) != len(want.Entities)+len(want.Context) {
			t.Fatalf("%q became %+v", body, r)
		}
		for _, c := range r.columns {
			vals, ok := want.Entities[c.name]
			if !ok {
				vals, ok = want.Context[c.name]
			}
			if !ok {
				t.Fatalf("column %q is not in %q", c.name, body)
			}
			checkColumn(t, c, vals)
		}
		if sh, err := r.shape(10); err == nil {
			var features []string
			unmarshal("features", &features)
			if r.service == "" && !equal(sh.features, features) {
				t.Fatalf("features %q, want %q", sh.features, features)
			}
		}
	})
}

func equal(a, b []string) bool {
	return strings.Join(a, "\x00") == strings.Join(b, "\x00") && len(a) == len(b)
}

// checkColumn reads a column as each type and compares every value with encoding/json's.
func checkColumn(t *testing.T, c wireColumn, want []json.RawMessage) {
	for _, typ := range []feature.Type{feature.Int64, feature.Float64, feature.String, feature.Bool, feature.ListOf(feature.Float64)} {
		vs, err := c.parse(nil, &planColumn{name: c.name, typ: typ}, math.MaxInt)
		if err == nil && len(vs) != len(want) {
			t.Fatalf("%s: %d values, want %d", c.values, len(vs), len(want))
		}
		for i := range vs {
			var got any
			text := appendValue(nil, &vs[i])
			json.Unmarshal(text, &got)
			var lib any
			json.Unmarshal(want[i], &lib)
			if vs[i].IsNull() != (lib == nil) {
				t.Fatalf("%s as %s: null is %v", want[i], typ, vs[i])
			}
			if s, ok := lib.(string); ok && s != vs[i].Str() {
				t.Fatalf("%s became %q", want[i], vs[i].Str())
			}
			if f, ok := lib.(float64); ok && got != lib && !(f == 0 && typ == feature.Int64) {
				t.Fatalf("%s as %s became %s", want[i], typ, text)
			}
		}
	}
}
