package expr

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/freshet-io/freshet/internal/feature"
)

// interpretAll compiles src so that cel-go runs all of it: the oracle of the closures.
func interpretAll(t testing.TB, env *Env, src string) *interpreted {
	t.Helper()
	tree, typ, loops, err := check(env, src)
	if err != nil {
		t.Fatalf("%s: %v", src, err)
	}
	p, err := interpret(env, tree, tree.Expr(), typ, loops)
	if err != nil {
		t.Fatalf("%s: %v", src, err)
	}
	return p
}

// same reports whether two results are equal; all NaNs are one.
func same(a, b *feature.Value) bool {
	if a.Type() == feature.Float64 && b.Type() == feature.Float64 && math.IsNaN(a.Float64()) {
		return math.IsNaN(b.Float64())
	}
	if a.Type() != b.Type() || len(a.List()) != len(b.List()) {
		return false
	}
	for i := range a.List() {
		if !same(&a.List()[i], &b.List()[i]) {
			return false
		}
	}
	return a.Type().IsList() || a.Equal(b)
}

// checkSame evaluates p and its oracle over a row.
func checkSame(t interface{ Fatalf(string, ...any) }, src string, p *Program, oracle *interpreted, row []feature.Value) {
	var scratch feature.Value
	got, ok := p.Eval(row, &scratch)
	want, wantOK := oracle.eval(row)
	if ok != wantOK || !same(got, &want) {
		t.Fatalf("%s\nover %v\nclosures: %s ok=%v\ncel-go:   %s ok=%v", src, row, got, ok, want, wantOK)
	}
	if p.Type() == feature.Bool {
		if pass, ok := p.Test(row); ok != wantOK || pass != want.Bool() {
			t.Fatalf("%s over %v: Test = %v, %v; cel-go: %s, %v", src, row, pass, ok, want, wantOK)
		}
	}
}

func TestClosuresEqualCELOnExamples(t *testing.T) {
	env := testEnv(t)
	for _, tt := range evalTests {
		p, err := Compile(env, tt.src)
		if err != nil {
			t.Fatalf("%s: %v", tt.src, err)
		}
		checkSame(t, tt.src, p, interpretAll(t, env, tt.src), testRow())
	}
}

// TestClosuresEqualCEL is the promise that an expression means the same however it is run.
func TestClosuresEqualCEL(t *testing.T) {
	env := testEnv(t)
	rapid.Check(t, func(rt *rapid.T) {
		g := generator{rt}
		src := g.expr(rapid.SampledFrom([]string{"bool", "int", "float", "string", "ints"}).Draw(rt, "type"), 4)
		p, err := Compile(env, src)
		if err != nil {
			rt.Fatalf("%s: %v", src, err)
		}
		oracle := interpretAll(t, env, src)
		for range 4 {
			checkSame(rt, src, p, oracle, g.row())
		}
	})
}

// generator makes well-typed expressions over testVars, and rows for them.
type generator struct{ t *rapid.T }

var generatorForms = map[string][]string{
	"bool": {
		"true", "false", "b", "c",
		"BOOL && BOOL", "BOOL || BOOL", "!BOOL", "BOOL ? BOOL : BOOL", "BOOL == BOOL", "BOOL != BOOL", "BOOL ? null : BOOL",
		"INT < INT", "INT <= FLOAT", "FLOAT > INT", "FLOAT >= FLOAT", "INT == INT", "INT == FLOAT", "FLOAT != FLOAT", "FLOAT == FLOAT",
		"STRING == STRING", "STRING != STRING", "STRING < STRING", "STRING >= STRING",
		"INT == null", "FLOAT != null", "STRING == null", "BOOL == null", "null != INTS",
		"INT in [1, 2, -7]", "FLOAT in [1, 2.5]", "INT in [0.5, 7]", "STRING in ['a', 'hello', '']",
		"STRING in ['a','b','c','d','e','f','g','h','hello']", "INT in INTS", "FLOAT in floats", "STRING in strs", "FLOAT in INTS",
		"STRING.startsWith(STRING)", "STRING.endsWith(STRING)", "STRING.contains(STRING)", "STRING.matches('^h?e.*')", "STRING.matches(STRING)",
		"ts < us", "ts == us", "ts != us", "us >= ts", "y == b'a'", "y < b'b'", "INTS.exists(x, x > INT)", "INTS.all(x, x != 2)", "INTS == INTS",
		"bool('tru')", "true < BOOL",
	},
	"int": {
		"0", "1", "-3", "9223372036854775807", "-9223372036854775808", "i", "j",
		"INT + INT", "INT - INT", "INT * INT", "INT / INT", "INT % INT", "-(INT)", "BOOL ? INT : INT", "BOOL ? INT : null",
		"int(FLOAT)", "int(INT)", "int(STRING)", "size(STRING)", "STRING.size()", "size(INTS)", "size(y)", "INTS[INT]", "int(ts)",
		"ts.getFullYear()", "(us - ts).getSeconds()", "{'a': 1, 'hello': INT}[STRING]",
	},
	"float": {
		"0.0", "1.5", "-2.25", "1e308", "f", "g",
		"FLOAT + FLOAT", "FLOAT - INT", "INT * FLOAT", "FLOAT / FLOAT", "INT / FLOAT", "-(FLOAT)", "BOOL ? FLOAT : INT", "BOOL ? INT : FLOAT",
		"BOOL ? null : FLOAT", "double(INT)", "double(FLOAT)", "double(STRING)", "floats[INT]",
	},
	"string": {
		"''", "'a'", "'hello'", "'h\\u00e9'", "s", "t", "STRING + STRING", "BOOL ? STRING : STRING", "string(INT)", "string(BOOL)", "strs[0]", "'12'", "'-3'",
	},
	"ints": {"ints", "[1, 2]", "[INT, INT]", "INTS + INTS", "BOOL ? INTS : INTS", "INTS.map(x, x + INT)", "INTS.filter(x, x > INT)"},
}

func (g generator) expr(typ string, depth int) string {
	forms := generatorForms[typ]
	form := rapid.SampledFrom(forms).Draw(g.t, typ)
	if depth <= 0 {
		form = forms[rapid.IntRange(0, 1).Draw(g.t, "leaf")]
	}
	if depth < 3 {
		form = strings.ReplaceAll(form, "INTS.map", "ints.map") // bounds the macros nested
		form = strings.ReplaceAll(form, "INTS.filter", "ints.filter")
	}
	var out strings.Builder
	for form != "" {
		matched := false
		for _, p := range [...]struct{ hole, typ string }{{"INTS", "ints"}, {"INT", "int"}, {"BOOL", "bool"}, {"FLOAT", "float"}, {"STRING", "string"}} {
			if strings.HasPrefix(form, p.hole) {
				fmt.Fprintf(&out, "(%s)", g.expr(p.typ, depth-1))
				form, matched = form[len(p.hole):], true
				break
			}
		}
		if !matched {
			out.WriteByte(form[0])
			form = form[1:]
		}
	}
	return out.String()
}

var generatorValues = map[feature.Type][]feature.Value{
	feature.Bool:   {feature.BoolValue(true), feature.BoolValue(false)},
	feature.Int64:  {feature.Int64Value(0), feature.Int64Value(1), feature.Int64Value(-1), feature.Int64Value(7), feature.Int64Value(math.MaxInt64), feature.Int64Value(math.MinInt64), feature.Int64Value(1 << 53)},
	feature.String: {feature.StringValue(""), feature.StringValue("a"), feature.StringValue("hello"), feature.StringValue("12"), feature.StringValue("\xff"), feature.StringValue("2.5")},
	feature.Bytes:  {feature.BytesValue(""), feature.BytesValue("a"), feature.BytesValue("\xff\x00")},
	feature.Float64: {
		feature.Float64Value(0), feature.Float64Value(math.Copysign(0, -1)), feature.Float64Value(2.5), feature.Float64Value(-1e300),
		feature.Float64Value(math.NaN()), feature.Float64Value(math.Inf(1)), feature.Float64Value(math.Inf(-1)), feature.Float64Value(1 << 63), feature.Float64Value(7),
	},
	feature.Timestamp: {feature.TimestampValue(0), feature.TimestampValue(-1), feature.TimestampValue(1_700_000_000_123_456)},
}

func (g generator) row() []feature.Value {
	row := make([]feature.Value, len(testVars))
	for i, v := range testVars {
		switch kind := rapid.IntRange(0, 3).Draw(g.t, v.Name); {
		case kind == 0: // null
		case v.Type.IsList():
			elems := make([]feature.Value, rapid.IntRange(0, 3).Draw(g.t, "length"))
			for k := range elems {
				elems[k] = rapid.SampledFrom(generatorValues[v.Type.Elem()]).Draw(g.t, "element")
			}
			row[i] = feature.ListValue(v.Type.Elem(), elems)
		default:
			row[i] = rapid.SampledFrom(generatorValues[v.Type]).Draw(g.t, "value")
		}
	}
	return row
}

// FuzzCompile: any text compiles or is refused with a place inside it, and what compiles means the same both ways.
func FuzzCompile(f *testing.F) {
	for _, tt := range evalTests {
		f.Add(tt.src)
	}
	for _, tt := range compileErrorTests {
		f.Add(tt.src)
	}
	env := testEnv(f)
	f.Fuzz(func(t *testing.T, src string) {
		p, err := Compile(env, src)
		if err != nil {
			e, ok := err.(*Error)
			if !ok {
				t.Fatalf("%q: %v", src, err)
			}
			if lines := strings.Count(src, "\n") + 1; e.Line < 1 || e.Line > lines+1 || e.Column < 1 || e.Message == "" {
				t.Fatalf("%q: %d:%d %q", src, e.Line, e.Column, e.Message)
			}
			return
		}
		checkSame(t, src, p, interpretAll(t, env, src), testRow())
	})
}
