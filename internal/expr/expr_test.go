package expr

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/freshet-io/freshet/internal/feature"
)

var testVars = []Variable{
	{Name: "i", Type: feature.Int64},
	{Name: "j", Type: feature.Int64},
	{Name: "f", Type: feature.Float64},
	{Name: "g", Type: feature.Float64},
	{Name: "s", Type: feature.String},
	{Name: "t", Type: feature.String},
	{Name: "b", Type: feature.Bool},
	{Name: "c", Type: feature.Bool},
	{Name: "y", Type: feature.Bytes},
	{Name: "ts", Type: feature.Timestamp},
	{Name: "us", Type: feature.Timestamp},
	{Name: "ints", Type: feature.ListOf(feature.Int64)},
	{Name: "floats", Type: feature.ListOf(feature.Float64)},
	{Name: "strs", Type: feature.ListOf(feature.String)},
	{Name: "request.distance", Type: feature.Float64},
	{Name: "carrier_delays.mean", Type: feature.Float64},
	{Name: "type", Type: feature.String},
}

// testRow has a value in every variable but c, g, j, t and us, which are null.
func testRow() []feature.Value {
	return []feature.Value{
		feature.Int64Value(7),
		{},
		feature.Float64Value(2.5),
		{},
		feature.StringValue("hello"),
		{},
		feature.BoolValue(true),
		{},
		feature.BytesValue("\x00\xff"), feature.TimestampValue(1_700_000_000_000_001),
		{},
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
	{"size([i, j])", "null"},
	{"i in [j, 7]", "null"},
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

// compileErrorTests state what is said of each mistake; an empty want compiles.
var compileErrorTests = []struct{ src, want string }{
	{"hello > 1", `1:1: unknown field "hello"`},
	{"requst.distance > 1.0", `1:1: unknown field "requst.distance"; did you mean "request.distance"?`},
	{"i > 1 &&\n  carrier_delays.maen > 2", `2:3: unknown field "carrier_delays.maen"; did you mean "carrier_delays.mean"?`},
	{"i + s", `1:3: operator + does not apply to int64 and string`},
	{"i && b", `1:3: operator && does not apply to int64 and bool`},
	{"s > 1", `1:3: operator > does not apply to string and int64`},
	{"i == s", `1:3: operator == does not apply to int64 and string`},
	{"-s", `1:1: operator - does not apply to string`},
	{"b ? 1 : s", `1:3: the two results of ?: must have one type, not int64 and string`},
	{"i ? 1 : 2", `1:3: the condition of ?: must be a bool, not int64`},
	{"null", `1:1: the expression is always null`},
	{"ts - ts", `1:1: the expression gives a duration, which cannot be stored; take its getSeconds() or getMilliseconds()`},
	{"i +", `1:4: syntax error: unexpected the end`},
	{"", `1:1: syntax error: unexpected the end`},
	{"(i", `1:3: syntax error: missing ')' at the end`},
	{"i == 'x", `1:6: syntax error: this is not understood: x`},
	{"has(i)", "1:1: unknown function has(); to ask whether a field has a value, write `field != null`"},
	{"sized(s)", `1:1: unknown function "sized"; did you mean "size"?`},
	{"s.startWith('x')", `1:3: unknown function "startWith"; did you mean "startsWith"?`},
	{"size(i)", `1:1: function size does not take these arguments: size(int64)`},
	{"s.endsWith(1)", `1:3: function endsWith does not take these arguments: string.endsWith(int64)`},
	{"return", `1:1: "return" is a reserved word of the expression language and cannot name a field here`},
	{"i.x", `1:1: a value of type int64 has no fields`},
	{"ints[s]", `1:5: a value of type list(int64) cannot be indexed by string`},
	{"[1, s]", `1:5: all elements must have one type: expected int64, found string`},
	{"i.map(x, x)", `1:1: a value of type int64 is not a list`},
	{"s.matches('(')", "1:11: the pattern of matches() is not a regular expression: error parsing regexp: missing closing ): `(`"},
	{"Foo{a: 1}", `1:1: expressions have no messages like Foo{...}`},
	{"1u", `1:1: the expression gives uint; it must give one of bool, int64, float64, string, bytes, timestamp or a list of one`},
	{"dyn(i)", `1:1: unknown function "dyn"`},
	{"i + nope + nada", `1:5: unknown field "nope"`},
	{strings.Repeat("i + ", 2000) + "i", `1:1: the expression is too long; at most 4096 characters`},
	{strings.Repeat("(", 100) + "i" + strings.Repeat(")", 100), `1:1: the expression is nested too deeply; at most 60 levels`},
	{strings.Repeat("ints.exists(x, x == 1) || ", 9) + "b", `1:1: 9 macros over lists; at most 8 in one expression`},
	{"[b ? i : null, 2]", ""},
	{"type == 'x' && in", `1:16: syntax error: unexpected 'in'`},
}

func TestCompileErrors(t *testing.T) {
	env := testEnv(t)
	for _, tt := range compileErrorTests {
		_, err := Compile(env, tt.src)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%.60q:\n got %s\nwant %s", tt.src, got, tt.want)
		}
	}
}

func TestCompileReportsEveryMistake(t *testing.T) {
	_, err := Compile(testEnv(t), "nope + 1 > nada && i + s > 2")
	var e *Error
	if !errors.As(err, &e) || len(e.More) != 2 || e.More[1].Column != 22 {
		t.Fatalf("got %#v", err)
	}
}

func TestNewEnvRefuses(t *testing.T) {
	for _, vars := range [][]Variable{
		{{Name: "a-b", Type: feature.Int64}},
		{{Name: "", Type: feature.Int64}},
		{{Name: "1a", Type: feature.Int64}},
		{{Name: "a.", Type: feature.Int64}},
		{{Name: "a", Type: feature.Null}},
		{{Name: "a", Type: feature.Int64}, {Name: "a", Type: feature.Int64}},
	} {
		if _, err := NewEnv(vars); err == nil {
			t.Errorf("NewEnv(%v) accepted", vars)
		}
	}
	if _, err := NewEnv([]Variable{{Name: "in", Type: feature.Int64}, {Name: "return", Type: feature.Bool}, {Name: "int", Type: feature.Int64}}); err != nil {
		t.Errorf("a field may be named like a word of the language: %v", err)
	}
}

// TestUnknownTypes: the mistakes of an expression are found though the type of a variable is not known.
func TestUnknownTypes(t *testing.T) {
	env, err := NewEnv([]Variable{{Name: "x", Unknown: true}, {Name: "s", Type: feature.String}, {Name: "n", Type: feature.Int64}})
	if err != nil || !env.Partly() {
		t.Fatalf("partly %v, %v", env.Partly(), err)
	}
	for _, src := range []string{"x", "x + 1", "x > 2.0 && s == 'a'", "[x]", "x ? n : 2", "n + 1"} {
		if err := Check(env, src); err != nil {
			t.Errorf("%s: %v", src, err)
		}
	}
	for src, want := range map[string]string{"y + x": "y", "s + n": "+", "x > (": "", "s.matches('(') && x": "matches"} {
		var e *Error
		if err := Check(env, src); !errors.As(err, &e) || !strings.Contains(e.Message, want) {
			t.Errorf("%s: %v", src, err)
		}
	}
	if _, err := Compile(env, "n + 1"); err == nil {
		t.Error("compiled")
	}
}

// TestCostIsBounded: nested macros over long lists end as an evaluation error, soon.
func TestCostIsBounded(t *testing.T) {
	p, err := Compile(testEnv(t), "ints.all(x, ints.all(y, ints.all(z, x + y + z >= 0)))")
	if err != nil {
		t.Fatal(err)
	}
	elems := make([]feature.Value, 1000)
	for i := range elems {
		elems[i] = feature.Int64Value(1)
	}
	row := testRow()
	row[11] = feature.ListValue(feature.Int64, elems)
	if pass, ok := p.Test(row); pass || ok {
		t.Errorf("1e9 steps ended as %v, ok=%v", pass, ok)
	}
}

func TestReads(t *testing.T) {
	p, err := Compile(testEnv(t), "f > 1 || ints.exists(e, e == i) || carrier_delays.mean > 2.0")
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Reads(); !slices.Equal(got, []int{0, 2, 11, 15}) {
		t.Errorf("Reads = %v", got)
	}
}

// TestWrongTypeReadsAsNull: a row that breaks its types gives nulls, alike both ways.
func TestWrongTypeReadsAsNull(t *testing.T) {
	env := testEnv(t)
	row := testRow()
	row[2] = feature.StringValue("2.5")
	for _, src := range []string{"f > 1.0", "f == null", "string(f)"} {
		p, err := Compile(env, src)
		if err != nil {
			t.Fatal(err)
		}
		checkSame(t, src, p, interpretAll(t, env, src), row)
	}
}
