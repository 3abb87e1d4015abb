package profile_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/monitors/profile"
)

// shapes are the kinds of columns that people have.
var shapes = []struct {
	name string
	draw func(r *rand.Rand) float64
}{
	{"normal", func(r *rand.Rand) float64 { return r.NormFloat64() }},
	{"lognormal", func(r *rand.Rand) float64 { return math.Exp(r.NormFloat64()) }},
	{"wide_lognormal", func(r *rand.Rand) float64 { return math.Exp(4 * r.NormFloat64()) }},
	{"zero_inflated", func(r *rand.Rand) float64 {
		if r.Float64() < 0.6 {
			return 0
		}
		return r.ExpFloat64() * 100
	}},
	{"integers", func(r *rand.Rand) float64 { return math.Floor(r.ExpFloat64() * 6) }},
	{"constant", func(*rand.Rand) float64 { return 3.5 }},
}

func draws(n int, seed uint64, draw func(*rand.Rand) float64) []float64 {
	r := rand.New(rand.NewPCG(seed, 1))
	out := make([]float64, n)
	for i := range out {
		out[i] = draw(r)
	}
	return out
}

// BenchmarkAddFloat64s counts numbers into 64 bins, beside a plain binary search over the same cuts.
func BenchmarkAddFloat64s(b *testing.B) {
	for _, s := range shapes {
		values := draws(1<<16, 1, s.draw)
		bins, err := profile.NumericBins(feature.Float64, values, profile.Options{})
		if err != nil {
			b.Fatal(err)
		}
		for _, sketch := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/sketch=%v", s.name, sketch), func(b *testing.B) {
				p := profile.New(bins, sketch)
				for b.Loop() {
					p.AddFloat64s(values)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(values)), "ns/value")
			})
		}
		b.Run(s.name+"/search", func(b *testing.B) {
			cuts := bins.Cuts()
			counts := make([]uint64, len(cuts)+1)
			for b.Loop() {
				for _, x := range values {
					i, found := slices.BinarySearch(cuts, x)
					if found {
						i++
					}
					counts[i]++
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(values)), "ns/value")
		})
	}
}

// BenchmarkAdd counts single values, as a stream brings them.
func BenchmarkAdd(b *testing.B) {
	values := draws(1<<16, 1, shapes[0].draw)
	bins, err := profile.NumericBins(feature.Float64, values, profile.Options{})
	if err != nil {
		b.Fatal(err)
	}
	boxed := make([]feature.Value, len(values))
	for i, x := range values {
		boxed[i] = feature.Float64Value(x)
	}
	for _, sketch := range []bool{false, true} {
		b.Run(fmt.Sprintf("number/sketch=%v", sketch), func(b *testing.B) {
			p := profile.New(bins, sketch)
			i := 0
			for b.Loop() {
				p.Add(&boxed[i&(1<<16-1)])
				i++
			}
		})
	}
	categories, err := profile.CategoricalBins(feature.String, func(yield func(string, uint64) bool) {
		for i := range 20 {
			if !yield(fmt.Sprint("category ", i), 100) {
				return
			}
		}
	}, profile.Options{})
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name string
		n    int
	}{{"category", 20}, {"unseen", 10_000}} {
		b.Run(c.name, func(b *testing.B) {
			for i := range boxed {
				boxed[i] = feature.StringValue(fmt.Sprint("category ", i*7919%c.n))
			}
			p := profile.New(categories, false)
			i := 0
			for b.Loop() {
				p.Add(&boxed[i&(1<<16-1)])
				i++
			}
		})
	}
}

// BenchmarkMerge merges a pane into a window, and BenchmarkDecode reads one back.
func BenchmarkMerge(b *testing.B) {
	values := draws(1<<12, 1, shapes[0].draw)
	bins, err := profile.NumericBins(feature.Float64, values, profile.Options{})
	if err != nil {
		b.Fatal(err)
	}
	pane := profile.New(bins, true)
	pane.AddFloat64s(values)
	encoded := pane.AppendBinary(nil)
	b.Run("merge", func(b *testing.B) {
		sum := profile.New(bins, true)
		for b.Loop() {
			if err := sum.Merge(pane); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encode", func(b *testing.B) {
		var buf []byte
		for b.Loop() {
			buf = pane.AppendBinary(buf[:0])
		}
		b.ReportMetric(float64(len(buf)), "bytes")
	})
	b.Run("decode", func(b *testing.B) {
		for b.Loop() {
			if _, err := profile.Decode(bins, encoded); err != nil {
				b.Fatal(err)
			}
		}
	})
}
