package scenario

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/freshet-io/freshet/internal/feature"
)

// Generator describes the values of a column or field: one and the same, or drawn from a distribution.
type Generator struct {
	kinds

	fixed *feature.Value // a plain value; null too
}

// kinds are the distributions; a generator has one of them.
type kinds struct {
	Normal      *normal      `yaml:"normal"`
	Lognormal   *normal      `yaml:"lognormal"` // of the logarithm
	Uniform     *bounds      `yaml:"uniform"`
	Integers    *bounds      `yaml:"integers"` // both ends included
	Exponential *exponential `yaml:"exponential"`
	OneOf       []any        `yaml:"one_of"`
	Weights     []float64    `yaml:"weights"`    // of one_of
	Null        float64      `yaml:"null_share"` // share that is null
}

type normal struct {
	Mean float64 `yaml:"mean"`
	SD   float64 `yaml:"sd"`
}

type bounds struct {
	From float64 `yaml:"from"`
	To   float64 `yaml:"to"`
}

type exponential struct {
	Mean float64 `yaml:"mean"`
}

// UnmarshalYAML reads a plain value, or a map with one distribution.
func (g *Generator) UnmarshalYAML(decode func(any) error) error {
	var plain any
	if err := decode(&plain); err != nil {
		return err
	}
	if _, ok := plain.(map[string]any); !ok {
		v, err := value(plain)
		if err != nil {
			return err
		}
		g.fixed = &v
		return nil
	}
	if err := decode(&g.kinds); err != nil {
		return err
	}
	return g.check()
}

// value is a YAML scalar as a value of a row.
func value(x any) (feature.Value, error) {
	switch x := x.(type) {
	case nil:
		return feature.Value{}, nil
	case bool:
		return feature.BoolValue(x), nil
	case int64:
		return feature.Int64Value(x), nil
	case uint64:
		if x > math.MaxInt64 {
			return feature.Float64Value(float64(x)), nil
		}
		return feature.Int64Value(int64(x)), nil
	case int:
		return feature.Int64Value(int64(x)), nil
	case float64:
		return feature.Float64Value(x), nil
	case string:
		return feature.StringValue(x), nil
	}
	return feature.Value{}, fmt.Errorf("%v is no value: write a number, a text, true, false or null, or a distribution", x)
}

func (g *Generator) check() error {
	n := 0
	for _, given := range []bool{g.Normal != nil, g.Lognormal != nil, g.Uniform != nil, g.Integers != nil, g.Exponential != nil, g.OneOf != nil} {
		if given {
			n++
		}
	}
	switch {
	case n != 1:
		return errors.New("give a plain value, or one of normal, lognormal, uniform, integers, exponential and one_of")
	case g.Null < 0 || g.Null > 1:
		return fmt.Errorf("null_share is a share from 0 to 1, not %v", g.Null)
	case g.Normal != nil && g.Normal.SD < 0, g.Lognormal != nil && g.Lognormal.SD < 0:
		return errors.New("sd is below 0")
	case g.Uniform != nil && g.Uniform.To < g.Uniform.From:
		return errors.New("uniform: to is below from")
	case g.Integers != nil && (g.Integers.To < g.Integers.From || !(g.Integers.To-g.Integers.From < 1<<53)):
		return errors.New("integers: to is below from, or too far from it")
	case g.Weights != nil && len(g.Weights) != len(g.OneOf):
		return fmt.Errorf("one_of has %d values and weights %d", len(g.OneOf), len(g.Weights))
	case g.OneOf != nil && len(g.OneOf) == 0:
		return errors.New("one_of is empty")
	}
	for _, w := range g.Weights {
		if !(w >= 0) || math.IsInf(w, 0) {
			return fmt.Errorf("weight %v is no share", w)
		}
	}
	if g.Weights != nil && sum(g.Weights) == 0 {
		return errors.New("all weights are 0")
	}
	for _, x := range g.OneOf {
		if _, err := value(x); err != nil {
			return fmt.Errorf("one_of: %w", err)
		}
	}
	return nil
}

func sum(xs []float64) (s float64) {
	for _, x := range xs {
		s += x
	}
	return s
}

// draw returns the next value.
func (g *Generator) draw(rng *rand.Rand) feature.Value {
	if g.fixed != nil {
		return *g.fixed
	}
	if g.Null > 0 && rng.Float64() < g.Null {
		return feature.Value{}
	}
	switch {
	case g.Normal != nil:
		return feature.Float64Value(g.Normal.Mean + g.Normal.SD*rng.NormFloat64())
	case g.Lognormal != nil:
		return feature.Float64Value(math.Exp(g.Lognormal.Mean + g.Lognormal.SD*rng.NormFloat64()))
	case g.Uniform != nil:
		return feature.Float64Value(g.Uniform.From + (g.Uniform.To-g.Uniform.From)*rng.Float64())
	case g.Integers != nil:
		return feature.Int64Value(int64(math.Ceil(g.Integers.From)) + rng.Int64N(int64(math.Floor(g.Integers.To))-int64(math.Ceil(g.Integers.From))+1))
	case g.Exponential != nil:
		return feature.Float64Value(g.Exponential.Mean * rng.ExpFloat64())
	}
	v, _ := value(g.OneOf[g.index(rng)]) // checked
	return v
}

// index draws which of one_of it is.
func (g *Generator) index(rng *rand.Rand) int {
	if g.Weights == nil {
		return rng.IntN(len(g.OneOf))
	}
	x := rng.Float64() * sum(g.Weights)
	i := slices.IndexFunc(g.Weights, func(w float64) bool { x -= w; return x < 0 })
	if i < 0 { // rounding
		i = len(g.Weights) - 1
		for g.Weights[i] == 0 {
			i--
		}
	}
	return i
}
