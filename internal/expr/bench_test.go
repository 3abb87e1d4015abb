package expr

import (
	"testing"

	"github.com/freshet-io/freshet/internal/feature"
)

func benchmarkEnv(tb testing.TB) (*Env, []feature.Value) {
	tb.Helper()
	env, err := NewEnv([]Variable{{Name: "amount", Type: feature.Float64}, {Name: "country", Type: feature.String}, {Name: "delay", Type: feature.Float64}, {Name: "n", Type: feature.Int64}})
	if err != nil {
		tb.Fatal(err)
	}
	return env, []feature.Value{feature.Float64Value(12.5), feature.StringValue("US"), feature.Float64Value(20), feature.Int64Value(3)}
}

func BenchmarkTest(b *testing.B) {
	for _, bb := range []struct{ name, src string }{
		{"where", `amount > 10.0 && country == "US"`},
		{"in", `country in ["DE", "FR", "US"] && n != null`},
		{"interpreted", `country.matches(country) && amount > 10.0`},
	} {
		b.Run(bb.name, func(b *testing.B) {
			env, row := benchmarkEnv(b)
			p, err := Compile(env, bb.src)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if pass, ok := p.Test(row); !pass || !ok {
					b.Fatal("does not pass")
				}
			}
		})
	}
}

func BenchmarkEval(b *testing.B) {
	for _, bb := range []struct{ name, src string }{
		{"field", `amount`},
		{"ternary", `delay > 15.0 ? 1.0 : 0.0`},
		{"arithmetic", `amount * 2.0 + double(n) / 3.0`},
	} {
		b.Run(bb.name, func(b *testing.B) {
			env, row := benchmarkEnv(b)
			p, err := Compile(env, bb.src)
			if err != nil {
				b.Fatal(err)
			}
			var scratch feature.Value
			b.ReportAllocs()
			for b.Loop() {
				if v, ok := p.Eval(row, &scratch); !ok || v.IsNull() {
					b.Fatal("no value")
				}
			}
		})
	}
}

// TestClosuresAllocateNothing holds for every operator that is lowered, strings being joined excepted.
func TestClosuresAllocateNothing(t *testing.T) {
	env, row := benchmarkEnv(t)
	for _, src := range []string{
		`amount > 10.0 && country == "US"`, `amount`, `delay > 15.0 ? 1.0 : 0.0`, `n % 2 == 1 || !(n > 3)`,
		`amount * 2.0 + double(n) / 3.0`, `country in ["DE", "US"]`, `country.startsWith("U")`, `size(country) + int(amount)`,
		`amount == null`, `n < 2.5 ? null : n`,
	} {
		p, err := Compile(env, src)
		if err != nil {
			t.Fatal(err)
		}
		var scratch feature.Value
		if n := testing.AllocsPerRun(100, func() { p.Eval(row, &scratch) }); n != 0 {
			t.Errorf("%s allocates %v times", src, n)
		}
	}
}

func TestEvalOfAFieldPointsIntoTheRow(t *testing.T) {
	env, row := benchmarkEnv(t)
	p, err := Compile(env, "country")
	if err != nil {
		t.Fatal(err)
	}
	var scratch feature.Value
	if v, ok := p.Eval(row, &scratch); !ok || v != &row[1] || p.Field() != 1 {
		t.Errorf("Eval copied the field")
	}
}
