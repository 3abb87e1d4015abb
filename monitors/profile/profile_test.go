package profile_test

import (
	"errors"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/monitors/profile"
)

// numbers draws the kinds of values that make binning hard: ties, neighbours, extremes, signs of zero.
func numbers() *rapid.Generator[float64] {
	return rapid.OneOf(
		rapid.Float64Range(-3, 3),
		rapid.Custom(func(t *rapid.T) float64 { return float64(rapid.IntRange(-4, 4).Draw(t, "whole")) }),
		rapid.SampledFrom([]float64{
			0, math.Copysign(0, -1), 1, math.Nextafter(1, 2), math.Nextafter(1, 0), 1e300, -1e300,
			math.MaxFloat64, -math.MaxFloat64, math.SmallestNonzeroFloat64,
		}),
		rapid.Custom(func(t *rapid.T) float64 { return math.Exp(rapid.Float64Range(-30, 30).Draw(t, "log")) }),
	)
}

func anyNumbers() *rapid.Generator[float64] {
	return rapid.OneOf(numbers(), numbers(), rapid.SampledFrom([]float64{math.NaN(), math.Inf(1), math.Inf(-1)}))
}

// plainBin finds a bin by its bounds alone.
func plainBin(b *profile.Bins, x float64) int {
	switch {
	case math.IsNaN(x):
		return b.At(profile.NaN)
	case math.IsInf(x, 1):
		return b.At(profile.PosInf)
	case math.IsInf(x, -1):
		return b.At(profile.NegInf)
	}
	for i := range b.Regular() {
		if low, high := b.Interval(i); low <= x && x < high {
			return i
		}
	}
	return -1
}

func TestEveryValueIsInTheBinWhoseBoundsItIsWithin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ref := rapid.SliceOfN(numbers(), 0, 200).Draw(t, "reference")
		typ := rapid.SampledFrom([]feature.Type{feature.Float64, feature.Int64}).Draw(t, "type")
		bins, err := profile.NumericBins(typ, ref, profile.Options{Bins: rapid.IntRange(2, 80).Draw(t, "bins")})
		if err != nil {
			t.Fatal(err)
		}
		values := append(rapid.SliceOfN(anyNumbers(), 0, 200).Draw(t, "values"), ref...)
		values = append(values, bins.Cuts()...)
		want := make([]uint64, bins.Len())
		one, many := profile.New(bins, false), profile.New(bins, false)
		for _, x := range values {
			want[plainBin(bins, x)]++
			one.AddFloat64(x)
		}
		many.AddFloat64s(values)
		if !slices.Equal(one.Counts.Counts(), want) {
			t.Fatalf("one by one %v, by the bounds %v", one.Counts.Counts(), want)
		}
		if !slices.Equal(many.Counts.Counts(), want) {
			t.Fatalf("at once %v, by the bounds %v", many.Counts.Counts(), want)
		}
	})
}

func TestBinsOfAReference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ref := rapid.SliceOfN(numbers(), 1, 400).Draw(t, "reference")
		b := rapid.IntRange(2, 64).Draw(t, "bins")
		bins, err := profile.NumericBins(feature.Float64, ref, profile.Options{Bins: b})
		if err != nil {
			t.Fatal(err)
		}
		p := profile.New(bins, false)
		p.AddFloat64s(ref)
		n := p.Counts.Counts()
		if n[bins.Underflow()] != 0 || n[bins.Overflow()] != 0 {
			t.Fatalf("the reference is outside of its own range: %v", n)
		}
		if most := 2*b + 3; bins.Regular() > most {
			t.Fatalf("%d bins, at most %d", bins.Regular(), most)
		}
		counts := map[float64]int{}
		for _, x := range ref {
			counts[x+0]++
		}
		for x, count := range counts {
			i := plainBin(bins, x)
			if v, point := bins.Point(i); count >= 2 && count*b >= len(ref) && (!point || v != x) {
				t.Fatalf("%v holds %d of %d and is in %s", x, count, len(ref), bins.Name(i))
			}
		}
		for i, k := range n[:bins.Regular()] {
			_, point := bins.Point(i)
			if heavy := float64(k) > 2*float64(len(ref))/float64(b)+1; heavy && !point {
				t.Fatalf("%s holds %d of %d", bins.Name(i), k, len(ref))
			}
			if m := bins.Means()[i]; k > 0 && plainBin(bins, m) != i && plainBin(bins, math.Nextafter(m, math.Inf(-1))) != i {
				t.Fatalf("the mean %v of %s is not in it", m, bins.Name(i))
			}
		}
		if !slices.IsSorted(bins.Means()) {
			t.Fatalf("means %v", bins.Means())
		}
	})
}

func TestBinNames(t *testing.T) {
	for _, tc := range []struct {
		name   string
		typ    feature.Type
		values []float64
		want   []string
	}{
		{"a constant", feature.Float64, []float64{2.5, 2.5, 2.5}, []string{"< 2.5", "2.5", "> 2.5"}},
		{"whole numbers have no gaps", feature.Int64, []float64{1, 1, 2, 2, 4, 4}, []string{"< 1", "1", "2", "3", "4", ">= 5"}},
		{"floats have gaps", feature.Float64, []float64{0, 0, 1, 1}, []string{"< 0", "0", "[4.94066e-324, 1)", "1", "> 1"}},
		{"nothing", feature.Float64, nil, []string{"any number"}},
		{"three rows", feature.Float64, []float64{1, 2, 3}, []string{"< 1", "[1, 2)", "[2, 3)", "3", "> 3"}},
		{"a time", feature.Timestamp, []float64{0, 0}, []string{"< 1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z", ">= 1970-01-01T00:00:00.000001Z"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bins, err := profile.NumericBins(tc.typ, tc.values, profile.Options{})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for i := range bins.Len() {
				got = append(got, bins.Name(i))
			}
			if want := append(tc.want, "null", "NaN", "+Inf", "-Inf", "mistyped", "other"); !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestValuesOfOtherTypes(t *testing.T) {
	numeric := func(typ feature.Type) *profile.Bins {
		b, err := profile.NumericBins(typ, []float64{1, 2, 3}, profile.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	categorical := func(typ feature.Type, values ...string) *profile.Bins {
		b, err := profile.CategoricalBins(typ, func(yield func(string, uint64) bool) {
			for _, v := range values {
				if !yield(v, 1) {
					return
				}
			}
		}, profile.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	null := feature.Value{}
	for _, tc := range []struct {
		name string
		bins *profile.Bins
		v    feature.Value
		want string
	}{
		{"null in numbers", numeric(feature.Float64), null, "null"},
		{"null in categories", categorical(feature.String, "a"), null, "null"},
		{"a float in integers", numeric(feature.Int64), feature.Float64Value(2), "2"},
		{"an integer in floats", numeric(feature.Float64), feature.Int64Value(3), "3"},
		{"text in numbers", numeric(feature.Float64), feature.StringValue("2"), "mistyped"},
		{"a time in numbers", numeric(feature.Float64), feature.TimestampValue(2), "mistyped"},
		{"a number in times", numeric(feature.Timestamp), feature.Int64Value(2), "mistyped"},
		{"a list", numeric(feature.Float64), feature.ListValue(feature.Float64, nil), "mistyped"},
		{"a number in texts", categorical(feature.String, "1"), feature.Int64Value(1), "mistyped"},
		{"bytes in texts", categorical(feature.String, "1"), feature.BytesValue("1"), "mistyped"},
		{"bool", categorical(feature.Bool), feature.BoolValue(true), "true"},
		{"a code", categorical(feature.Int64, "7", "8"), feature.Int64Value(8), "8"},
		{"a code as a float", categorical(feature.Int64, "7", "8"), feature.Float64Value(8), "8"},
		{"a fraction as a code", categorical(feature.Int64, "7", "8"), feature.Float64Value(7.5), "mistyped"},
		{"NaN as a code", categorical(feature.Int64, "7", "8"), feature.Float64Value(math.NaN()), "mistyped"},
		{"an unseen category", categorical(feature.String, "a"), feature.StringValue("b"), "other"},
		{"the empty string is not null", categorical(feature.String, "a", ""), feature.StringValue(""), ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := profile.New(tc.bins, true)
			p.Add(&tc.v)
			for i, n := range p.Counts.Counts() {
				if (n == 1) != (tc.bins.Name(i) == tc.want) {
					t.Errorf("%d in %q, want it in %q", n, tc.bins.Name(i), tc.want)
				}
			}
		})
	}
}

// split cuts values at random places.
func split(t *rapid.T, values []float64) (parts [][]float64) {
	for len(values) > 0 {
		n := rapid.IntRange(1, len(values)).Draw(t, "part")
		parts, values = append(parts, values[:n]), values[n:]
	}
	return parts
}

func TestPartsMakeTheWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ref := rapid.SliceOfN(rapid.Float64Range(-5, 5), 1, 100).Draw(t, "reference")
		bins, err := profile.NumericBins(feature.Float64, ref, profile.Options{})
		if err != nil {
			t.Fatal(err)
		}
		wide := rapid.OneOf(rapid.Float64Range(-50, 50), rapid.SampledFrom([]float64{math.NaN(), math.Inf(1), 0, 1}))
		values := rapid.SliceOfN(wide, 1, 300).Draw(t, "values")
		whole := profile.New(bins, true)
		for _, x := range values {
			whole.AddFloat64(x)
		}
		merged := profile.New(bins, true)
		window := profile.NewWindow(bins)
		parts := split(t, values)
		for _, part := range parts {
			p := profile.New(bins, true)
			p.AddFloat64s(part)
			if err := merged.Merge(p); err != nil {
				t.Fatal(err)
			}
			if err := window.Push(p); err != nil {
				t.Fatal(err)
			}
		}
		sameNumbers(t, whole, merged)
		gone := rapid.IntRange(0, len(parts)).Draw(t, "gone")
		rest := profile.New(bins, true)
		for i, part := range parts {
			if i < gone {
				if _, err := window.Pop(); err != nil {
					t.Fatal(err)
				}
				continue
			}
			rest.AddFloat64s(part)
		}
		slid, err := window.Profile(true)
		if err != nil {
			t.Fatal(err)
		}
		sameNumbers(t, rest, slid)
		if !slices.Equal(window.Counts().Counts(), rest.Counts.Counts()) {
			t.Fatalf("after sliding %v, of the panes that stay %v", window.Counts().Counts(), rest.Counts.Counts())
		}
	})
}

// sameNumbers holds two profiles of the same values together: counts and sketches bit for bit, moments to rounding.
func sameNumbers(t *rapid.T, a, b *profile.Profile) {
	t.Helper()
	if !slices.Equal(a.Counts.Counts(), b.Counts.Counts()) {
		t.Fatalf("counts %v and %v", a.Counts.Counts(), b.Counts.Counts())
	}
	for _, q := range []float64{0, 0.1, 0.5, 0.9, 1} {
		x, okA := a.Quantile(q)
		y, okB := b.Quantile(q)
		if x != y || okA != okB {
			t.Fatalf("quantile %v: %v and %v", q, x, y)
		}
	}
	m, o := a.Moments(), b.Moments()
	scale := 50.0 * float64(m.N+1)
	if m.N != o.N || m.Min != o.Min || m.Max != o.Max || math.Abs(m.Mean-o.Mean) > 1e-12*scale || math.Abs(m.M2-o.M2) > 1e-10*scale ||
		math.Abs(m.Below-o.Below) > 1e-12*scale || math.Abs(m.Above-o.Above) > 1e-12*scale {
		t.Fatalf("moments %+v and %+v", m, o)
	}
}

func TestMomentsAreThoseOfTheFormula(t *testing.T) {
	for _, s := range shapes {
		t.Run(s.name, func(t *testing.T) {
			values := draws(5000, 3, s.draw)
			bins, err := profile.NumericBins(feature.Float64, values[:1000], profile.Options{})
			if err != nil {
				t.Fatal(err)
			}
			p := profile.New(bins, false)
			p.AddFloat64s(append(values, math.NaN(), math.Inf(-1)))
			var sum, squares float64
			for _, x := range values {
				sum += x
			}
			mean := sum / float64(len(values))
			for _, x := range values {
				squares += (x - mean) * (x - mean)
			}
			m := p.Moments()
			if math.Abs(m.Mean-mean) > 1e-12*math.Abs(mean)+1e-15 || math.Abs(m.M2-squares) > 1e-9*squares {
				t.Errorf("mean %v and M2 %v, want %v and %v", m.Mean, m.M2, mean, squares)
			}
			if m.Min != slices.Min(values) || m.Max != slices.Max(values) || m.N != uint64(len(values)) {
				t.Errorf("%+v", m)
			}
			var above float64
			low, high := slices.Min(values[:1000]), slices.Max(values[:1000])
			var below float64
			for _, x := range values {
				above += max(0, x-high)
				below += max(0, low-x)
			}
			if math.Abs(m.Above-above) > 1e-9*above || math.Abs(m.Below-below) > 1e-9*below {
				t.Errorf("below %v, above %v, want %v and %v", m.Below, m.Above, below, above)
			}
		})
	}
}

func TestALargeMeanLosesNothing(t *testing.T) {
	values := draws(10_000, 4, shapes[0].draw)
	for i := range values {
		values[i] += 1e9
	}
	bins, err := profile.NumericBins(feature.Float64, values, profile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p := profile.New(bins, false)
	p.AddFloat64s(values)
	m := p.Moments()
	if v := m.Variance(); math.Abs(v-1) > 0.05 {
		t.Errorf("variance %v of a normal column around a thousand million", v)
	}
}

func TestSumsOutOfRange(t *testing.T) {
	bins, err := profile.NumericBins(feature.Float64, []float64{1, 2}, profile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p := profile.New(bins, true)
	p.AddFloat64s([]float64{math.MaxFloat64, -math.MaxFloat64, math.MaxFloat64, 1})
	m := p.Moments()
	if m.N != 4 || m.Mean != 0 || !math.IsInf(m.Variance(), 1) {
		t.Errorf("%+v", m)
	}
	back, err := profile.Decode(bins, p.AppendBinary(nil))
	if err != nil || back.Moments() != m {
		t.Errorf("read back %+v: %v", back, err)
	}
}

func TestSubtractRefusesWhatWasNotAdded(t *testing.T) {
	bins, err := profile.NumericBins(feature.Float64, []float64{1, 2}, profile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	a, b := profile.New(bins, false), profile.New(bins, false)
	a.AddFloat64s([]float64{1, 1})
	b.AddFloat64s([]float64{1, 2})
	if err := a.Counts.Subtract(&b.Counts); err == nil {
		t.Error("a value that was not there was taken away")
	}
	if a.Rows() != 2 {
		t.Errorf("a refused subtraction changed the counts: %v", a.Counts.Counts())
	}
	other, err := profile.NumericBins(feature.Float64, []float64{1, 3}, profile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := profile.New(other, false)
	if err := a.Merge(c); !errors.Is(err, profile.ErrOtherBins) {
		t.Errorf("other bins merge: %v", err)
	}
	if err := a.Counts.Subtract(&c.Counts); !errors.Is(err, profile.ErrOtherBins) {
		t.Errorf("other bins are subtracted: %v", err)
	}
}

func TestAddingDoesNotAllocate(t *testing.T) {
	bins, err := profile.NumericBins(feature.Float64, draws(1000, 1, shapes[0].draw), profile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p := profile.New(bins, true)
	p.AddFloat64s(draws(20_000, 2, shapes[0].draw)) // what grows has grown
	x := feature.Float64Value(0.3)
	if n := testing.AllocsPerRun(5000, func() { p.Add(&x) }); n != 0 {
		t.Errorf("a number allocates %v times", n)
	}
	categories, err := profile.CategoricalBins(feature.Int64, func(yield func(string, uint64) bool) { yield("17", 1) }, profile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p = profile.New(categories, false)
	i := int64(0)
	v := feature.Int64Value(0)
	for ; i < 10_000; i++ {
		v = feature.Int64Value(i)
		p.Add(&v)
	}
	if n := testing.AllocsPerRun(5000, func() { v = feature.Int64Value(i); i++; p.Add(&v) }); n != 0 {
		t.Errorf("an unseen code allocates %v times", n)
	}
}
