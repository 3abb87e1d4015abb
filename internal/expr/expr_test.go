package expr

import (
	"testing"

	"github.com/freshet-io/freshet/internal/feature"
)

var testVars = []Variable{
	{"i", feature.Int64}, {"j", feature.Int64}, {"f", feature.Float64}, {"g", feature.Float64},
	{"s", feature.String}, {"t", feature.String}, {"b", feature.Bool}, {"c", feature.Bool},
	{"y", feature.Bytes}, {"ts", feature.Timestamp}, {"us", feature.Timestamp},
	{"ints", feature.ListOf(feature.Int64)}, {"floats", feature.ListOf(feature.Float64)},
	{"strs", feature.ListOf(feature.String)},
	{"request.distance", feature.Float64}, {"carrier_delays.mean", feature.Float64}, {"type", feature.String},
}

// testRow has a value in every variable but c, g, j, t and us, which are null.
func testRow() []feature.Value {
	return []feature.Value{
		feature.Int64Value(7), {}, feature.Float64Value(2.5), {},
		feature.StringValue("hello"), {}, feature.BoolValue(true), {},
		feature.BytesValue("\x00\xff"), feature.TimestampValue(1_700_000_000_000_001), {},
		feature.ListValue(feature.Int64, []feature.Value{feature.Int64Value(1), feature.Int64Value(2)}),
		{},
		feature.ListValue(feature.String, []feature.Value{feature.StringValue("a"), feature.StringValue("b")}),
		feature.Float64Value(99), feature.Float64Value(12), feature.StringValue("x"),
	}
}

func testEnv(t testing.TB) *Env {
	t.Helper()
	env, err := NewEnv(testVars)
	if err != nil {
		t.Fatal(err)
	}
	return env
}

// evalTests state the semantics: want is the value's text, "null", or "error".
var evalTests = []struct{ src, want string }{
	{"i", "7"},
	{"j", "null"},
	{"type", `"x"`},
	{"request.distance", "99"},
	{"carrier_delays.mean / (request.distance + 1.0)", "0.12"},
	{"carrier_delays.mean / (request.distance + 1)", "0.12"},
	// Numbers mix.
	{"i + 1", "8"},
	{"i + 0.5", "7.5"},
	{"f + 1", "3.5"},
	{"f * i", "17.5"},
	{"i / 2", "3"},
	{"i / 2.0", "3.5"},
	{"-i", "-7"},
	{"-f", "-2.5"},
	{"i % 4", "3"},
	{"f > 2", "true"},
	{"i >= 7.0", "true"},
	{"i == 7.0", "true"},
	{"f != 2", "true"},
	{"b ? 1 : 2.5", "1"},
	{"i in [1, 2.5, 7]", "true"},
	{"f in [1, 2.5]", "true"},
	{"f in [1, 2]", "false"},
	{"[1, 2.5]", "[1 2.5]"},
	// Null.
	{"j + 1", "null"},
	{"j > 1", "null"},
	{"j == 1", "null"},
	{"j != 1", "null"},
	{"j == null", "true"},
	{"j != null", "false"},
	{"null == j", "true"},
	{"i == null", "false"},
	{"i != null", "true"},
	{"(j + 1) == null", "true"},
	{"!c", "null"},
	{"-j", "null"},
	{"c ? 1 : 2", "null"},
	{"b ? null : 2", "null"},
	{"b ? i : null", "7"},
	{"b ? j : i", "null"},
	{"c && true", "null"},
	{"c && false", "false"},
	{"false && c", "false"},
	{"c || true", "true"},
	{"c || false", "null"},
	{"j == null || j > 3", "true"},
	{"j != null && j > 3", "false"},
	{"t + \"x\"", "null"},
	{"t.startsWith(\"h\")", "null"},
	{"s.startsWith(t)", "null"},
	{"size(t)", "null"},
	{"j in [1, 2]", "null"},
	{"i in ints", "false"},
	{"f in floats", "null"},
	{"[i, j]", "null"},
	{"[1, 2][j]", "null"},
	{"floats.exists(x, x > 1.0)", "null"},
	{"ints.exists(x, x > j)", "null"},
	{"ints.map(x, x + j)", "null"},
	{"string(j)", "null"},
	{"us > ts", "null"},
	// Errors.
	{"i / 0", "error"},
	{"i % 0", "error"},
	{"i + 9223372036854775807", "error"},
	{"-9223372036854775807 - i", "error"},
	{"i * 9223372036854775807", "error"},
	{"(-9223372036854775807 - 1) / -1", "error"},
	{"-(-9223372036854775807 - 1)", "error"},
	{"f / 0.0", "+Inf"},
	{"int(s)", "error"},
	{"int(1e30)", "error"},
	{"ints[2]", "error"},
	{"i / 0 > 1 || b", "true"},
	{"b || i / 0 > 1", "true"},
	{"i / 0 > 1 && b", "error"},
	{"c && i / 0 > 1", "error"},
	{"b ? i : i / 0", "7"},
	{"i / 0 > 1 ? 1 : 2", "error"},
	{"(i / 0) == null", "error"},
	{"j + i / 0", "error"},
	// Strings, bytes, time.
	{"s + \" world\"", `"hello world"`},
	{"s == \"hello\"", "true"},
	{"s != \"hello\"", "false"},
	{"s < \"help\"", "true"},
	{"s.contains(\"ell\") && s.endsWith(\"lo\")", "true"},
	{"s.matches(\"^h.*o$\")", "true"},
	{"size(s)", "5"},
	{"\"h\\u00e9\".size()", "2"},
	{"size(y)", "2"},
	{"s in [\"hello\", \"x\"]", "true"},
	{"s in strs", "false"},
	{"int(f)", "2"},
	{"double(i)", "7"},
	{"string(i)", `"7"`},
	{"string(f)", `"2.5"`},
	{"int(\"12\")", "12"},
	{"ts > timestamp(\"2023-01-01T00:00:00Z\")", "true"},
	{"ts.getFullYear()", "2023"},
	{"(ts - timestamp(\"2023-11-14T22:13:19Z\")).getSeconds()", "1"},
	{"ts + duration(\"1s\")", "2023-11-14T22:13:21.000001Z"},
	// Lists and maps.
	{"ints[1]", "2"},
	{"size(ints)", "2"},
	{"ints == [1, 2]", "true"},
	{"ints + [3]", "[1 2 3]"},
	{"ints.all(x, x > 0)", "true"},
	{"ints.exists_one(x, x > 1)", "true"},
	{"ints.filter(x, x > 1)", "[2]"},
	{"ints.map(x, x * 2)", "[2 4]"},
	{"[1, 2, 3].exists(x, x == i)", "false"},
	{"{\"hello\": 1, \"x\": 2.5}[s]", "1"},
	{"{\"y\": 1.0}[s]", "error"},
	{"s in {\"hello\": 1.0}", "true"},
}

func TestEval(t *testing.T) {
	env := testEnv(t)
	for _, tt := range evalTests {
		p, err := Compile(env, tt.src)
		if err != nil {
			t.Errorf("%s: %v", tt.src, err)
			continue
		}
		row := testRow()
		var scratch feature.Value
		v, ok := p.Eval(row, &scratch)
		got := v.String()
		if !ok {
			if !v.IsNull() {
				t.Errorf("%s: an error gives %s, want null", tt.src, v)
			}
			got = "error"
		}
		if got != tt.want {
			t.Errorf("%s = %s, want %s", tt.src, got, tt.want)
		}
		if ok && !v.IsNull() && v.Type() != p.Type() {
			t.Errorf("%s gives a %s, declared %s", tt.src, v.Type(), p.Type())
		}
	}
}

var compileErrorTests = []struct{ src, want string }{
	{"dep_dealy > 1", ""},
	{"requst.distance > 1.0", ""},
	{"carrier_delays.maen", ""},
	{"i + s", ""},
	{"i && b", ""},
	{"s > 1", ""},
	{"b ? 1 : s", ""},
	{"i ? 1 : 2", ""},
	{"null", ""},
	{"ts - ts", ""},
	{"i +", ""},
	{"", ""},
	{"(i", ""},
	{"i == 'x", ""},
	{"has(i)", ""},
	{"sized(s)", ""},
	{"s.startWith('x')", ""},
	{"size(i)", ""},
	{"return", ""},
	{"i.x", ""},
	{"ints[s]", ""},
	{"[1, s]", ""},
	{"i.map(x, x)", ""},
	{"x + y\n + z", ""},
	{"Foo{a: 1}", ""},
	{"1u", ""},
	{"{}", ""}, {"[]", ""}, {"i == s", ""}, {"[b ? i : null, 2]", ""},
}

func TestCompileErrors(t *testing.T) {
	env := testEnv(t)
	for _, tt := range compileErrorTests {
		_, err := Compile(env, tt.src)
		t.Logf("%q: %v", tt.src, err)
	}
}
