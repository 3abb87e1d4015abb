package profile_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"pgregory.net/rapid"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/monitors/profile"
)

func TestASmallReferenceNeedsOneReading(t *testing.T) {
	values := draws(5000, 1, shapes[3].draw)
	b, err := profile.NewBuilder(feature.Float64, profile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b.AddFloat64s(values)
	b.AddFloat64s([]float64{math.NaN(), math.Inf(1)})
	b.AddNulls(3)
	b.AddMistyped(2)
	p, err := b.Profile(false)
	if err != nil {
		t.Fatal(err)
	}
	direct, err := profile.NumericBins(feature.Float64, values, profile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !p.Bins().Equal(direct) {
		t.Error("the builder's bins are not those of the values")
	}
	want := map[profile.Special]uint64{profile.Null: 3, profile.NaN: 1, profile.PosInf: 1, profile.NegInf: 0, profile.Mistyped: 2}
	for s, n := range want {
		if p.Of(s) != n {
			t.Errorf("%s: %d, want %d", s, p.Of(s), n)
		}
	}
	if p.Rows() != 5007 || p.Present() != 5000 {
		t.Errorf("%d rows, %d present", p.Rows(), p.Present())
	}
}

func TestALargeReferenceIsSampled(t *testing.T) {
	b, err := profile.NewBuilder(feature.Float64, profile.Options{Sample: 20_000})
	if err != nil {
		t.Fatal(err)
	}
	values := draws(400_000, 1, func(r *rand.Rand) float64 {
		if r.Float64() < 0.1 {
			return 7
		}
		return r.NormFloat64()
	})
	values[123] = 1000 // an extreme that a sample may miss
	b.AddFloat64s(values)
	if _, err := b.Profile(false); !errors.Is(err, profile.ErrIncomplete) {
		t.Fatalf("a profile of what was not kept: %v", err)
	}
	bins, err := b.Bins()
	if err != nil {
		t.Fatal(err)
	}
	p := profile.New(bins, false)
	p.AddFloat64s(values)
	n := p.Counts.Counts()
	if n[bins.Underflow()]+n[bins.Overflow()] != 0 {
		t.Errorf("%d values outside of the reference's own range", n[bins.Underflow()]+n[bins.Overflow()])
	}
	point := slices.IndexFunc(n, func(k uint64) bool { return k > 30_000 })
	if v, ok := bins.Point(point); !ok || v != 7 {
		t.Errorf("the value that holds a tenth is in %s", bins.Name(point))
	}
	for i, k := range n[:bins.Regular()] {
		if share := float64(k) * 64 / 400_000; i != point && share > 1.4 {
			t.Errorf("%s holds %.2f of a 64th", bins.Name(i), share)
		}
	}
}

func TestManyCategoriesAreBounded(t *testing.T) {
	b, err := profile.NewBuilder(feature.String, profile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	const rare = 200_000
	add := func(s string, n uint64) {
		v := feature.StringValue(s)
		for range n {
			b.Add(&v)
		}
	}
	for i := range rare {
		add(fmt.Sprint("id-", i), 1)
		if i%40 == 0 {
			add("often", 2)
			add("sometimes", 1)
		}
	}
	if b.Complete() {
		t.Error("hundreds of thousands of categories were all kept")
	}
	bins, err := b.Bins()
	if err != nil {
		t.Fatal(err)
	}
	if got := bins.Categories(); !slices.Equal(got, []string{"often", "sometimes"}) {
		t.Errorf("%d categories, want the two that stand out", len(got))
	}
}

// TestNoBinIsChosenByLuck makes bins of thousands of equally frequent values beside a few that stand out, and looks at
// another sample: the bins hold what they held.
func TestNoBinIsChosenByLuck(t *testing.T) {
	sample := func(seed uint64) map[string]uint64 {
		r := rand.New(rand.NewPCG(seed, 8))
		out := map[string]uint64{}
		for range 20_000 {
			if r.IntN(2) == 0 {
				out[fmt.Sprint("big", r.IntN(5))]++
			} else {
				out[fmt.Sprint("small", r.IntN(3000))]++
			}
		}
		return out
	}
	b, err := profile.NewBuilder(feature.String, profile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, n := range sample(1) {
		b.AddString(name, n)
	}
	ref, err := b.Profile(false)
	if err != nil {
		t.Fatal(err)
	}
	if got := ref.Bins().Categories(); len(got) != 5 {
		t.Fatalf("categories %q, want the five that stand out", got)
	}
	cur := profile.New(ref.Bins(), false)
	for name, n := range sample(2) {
		cur.AddString(name, n)
	}
	for i, n := range ref.Counts.Counts() {
		if k := cur.Counts.Counts()[i]; math.Abs(float64(n)-float64(k)) > 5*math.Sqrt(float64(n+k)) {
			t.Errorf("%s: %d and %d", ref.Bins().Name(i), n, k)
		}
	}
}

func TestLongCategoriesAreToldApart(t *testing.T) {
	long := strings.Repeat("x", 10_000)
	b, err := profile.NewBuilder(feature.String, profile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b.AddString(long+"a", 2)
	b.AddString(long+"b", 1)
	p, err := b.Profile(false)
	if err != nil {
		t.Fatal(err)
	}
	p.AddString(long+"a", 5)
	p.AddString(long+"c", 1)
	if got := p.Counts.Counts(); got[0] != 7 || got[1] != 1 || p.Of(profile.Other) != 1 {
		t.Errorf("%v", got)
	}
	for _, c := range p.Bins().Categories() {
		if len(c) > profile.MaxCategoryBytes || !strings.HasPrefix(c, "xxx") {
			t.Errorf("%q", c)
		}
	}
}

func TestUnseenCategoriesKeepToTheirError(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bins, err := profile.CategoricalBins(feature.String, func(yield func(string, uint64) bool) { yield("known", 1) }, profile.Options{})
		if err != nil {
			t.Fatal(err)
		}
		truth := map[string]uint64{}
		whole := profile.New(bins, false)
		for range rapid.IntRange(1, 4).Draw(t, "panes") {
			p := profile.New(bins, false)
			for _, c := range rapid.SliceOfN(rapid.IntRange(0, 60), 0, 120).Draw(t, "values") {
				s := fmt.Sprint("c", c*c/40) // some are frequent
				truth[s]++
				p.AddString(s, 1)
			}
			if err := whole.Merge(p); err != nil {
				t.Fatal(err)
			}
		}
		u := whole.Unseen()
		if u.Error*17 > whole.Of(profile.Other) {
			t.Fatalf("an error of %d in %d values", u.Error, whole.Of(profile.Other))
		}
		if u.Distinct != uint64(len(truth)) { // few enough for the sketch to be exact
			t.Fatalf("%d different, want %d", u.Distinct, len(truth))
		}
		for _, c := range u.Categories {
			if n := truth[c.Name]; c.Count > n || n > c.Count+u.Error {
				t.Fatalf("%s: %d with an error of %d, really %d", c.Name, c.Count, u.Error, n)
			}
			delete(truth, c.Name)
		}
		for name, n := range truth {
			if n > u.Error {
				t.Fatalf("%s was there %d times and is not listed; the error is %d", name, n, u.Error)
			}
		}
	})
}

func TestCategoriesWithoutEndTakeTheStatedMemory(t *testing.T) {
	bins, err := profile.CategoricalBins(feature.String, func(yield func(string, uint64) bool) { yield("known", 1) }, profile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p := profile.New(bins, false)
	buf := []byte("user-00000000")
	const n = endless
	for i := range n {
		for k, v := len(buf)-1, i; k >= 5; k, v = k-1, v/10 {
			buf[k] = byte('0' + v%10)
		}
		v := feature.StringValue(unsafe.String(&buf[0], len(buf)))
		p.Add(&v)
	}
	if u := p.Unseen(); math.Abs(float64(u.Distinct)-n) > 0.08*n {
		t.Errorf("about %d different of %d", u.Distinct, n)
	}
	if got, most := len(p.AppendBinary(nil)), bins.EncodedBytes(false); got > most {
		t.Errorf("%d bytes, stated %d", got, most)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, tc := range []struct {
		name string
		typ  feature.Type
		o    profile.Options
		want string
	}{
		{"one bin", feature.Float64, profile.Options{Bins: 1}, "bins must be 2 to 256"},
		{"too many categories", feature.String, profile.Options{Categories: 1 << 20}, "categories must be 2 to 4096"},
		{"a list", feature.ListOf(feature.Float64), profile.Options{}, "list<float64> cannot be profiled"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := profile.NewBuilder(tc.typ, tc.o); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestBinsAreAFunctionOfTheReference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(numbers(), 0, 100).Draw(t, "values")
		shuffled := rapid.Permutation(values).Draw(t, "shuffled")
		a, err := profile.NumericBins(feature.Float64, values, profile.Options{})
		if err != nil {
			t.Fatal(err)
		}
		b, err := profile.NumericBins(feature.Float64, shuffled, profile.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if !a.Equal(b) || !bytes.Equal(a.AppendBinary(nil), b.AppendBinary(nil)) {
			t.Fatal("another order gives other bins")
		}
		back, err := profile.DecodeBins(a.AppendBinary(nil))
		if err != nil {
			t.Fatal(err)
		}
		if !back.Equal(a) || !slices.Equal(back.Cuts(), a.Cuts()) || !slices.Equal(back.Means(), a.Means()) {
			t.Fatal("read back they differ")
		}
	})
}
