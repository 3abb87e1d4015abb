package profile_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/monitors/profile"
)

var update = flag.Bool("update", false, "write the golden files anew")

// examples are profiles with everything that the format knows.
func examples(t testing.TB) map[string]*profile.Profile {
	t.Helper()
	numeric, err := profile.NumericBins(feature.Float64, []float64{0, 0, 0, 1, 2, 3, 4, 5, 6, 7.5}, profile.Options{Bins: 4})
	if err != nil {
		t.Fatal(err)
	}
	full, empty, plain := profile.New(numeric, true), profile.New(numeric, true), profile.New(numeric, false)
	full.AddFloat64s([]float64{-2, 0, 0, 1.5, 3, 3, 5, 8, 100, math.NaN(), math.Inf(1), math.Inf(-1)})
	full.AddNulls(300)
	full.AddMistyped(1)
	plain.AddFloat64(3)
	categories, err := profile.CategoricalBins(feature.String, func(yield func(string, uint64) bool) {
		_ = yield("UA", 5) && yield("AA", 3) && yield("", 1)
	}, profile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	carriers := profile.New(categories, false)
	carriers.AddString("AA", 1000)
	carriers.AddString("", 2)
	carriers.AddString("B6", 7)
	carriers.AddString(strings.Repeat("long", 100), 1)
	return map[string]*profile.Profile{"full": full, "empty": empty, "plain": plain, "carriers": carriers}
}

// TestFormatIsKept holds the bytes of bins and profiles to those of earlier versions.
func TestFormatIsKept(t *testing.T) {
	for name, p := range examples(t) {
		t.Run(name, func(t *testing.T) {
			got := fmt.Sprintf("bins %s\n%s\nprofile\n%s\n", p.Bins().Fingerprint(), hex.EncodeToString(p.Bins().AppendBinary(nil)), hex.EncodeToString(p.AppendBinary(nil)))
			path := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		})
	}
}

func TestReadBackItIsTheSame(t *testing.T) {
	for name, p := range examples(t) {
		t.Run(name, func(t *testing.T) {
			data := p.AppendBinary([]byte("before"))[6:]
			back, err := profile.Decode(p.Bins(), data)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(back.Counts.Counts(), p.Counts.Counts()) || back.Moments() != p.Moments() {
				t.Errorf("counts %v and moments %+v", back.Counts.Counts(), back.Moments())
			}
			if u, w := back.Unseen(), p.Unseen(); u.Distinct != w.Distinct || !slices.Equal(u.Categories, w.Categories) {
				t.Errorf("unseen %+v, want %+v", u, w)
			}
			if again := back.AppendBinary(nil); !bytes.Equal(again, data) {
				t.Errorf("written again\n%x\nwas\n%x", again, data)
			}
			if most := p.Bins().EncodedBytes(true); len(data) > most {
				t.Errorf("%d bytes, stated %d", len(data), most)
			}
			for n := range data {
				if _, err := profile.Decode(p.Bins(), data[:n]); err == nil {
					t.Errorf("the first %d of %d bytes are a profile", n, len(data))
				}
			}
			if _, err := profile.Decode(p.Bins(), append(slices.Clone(data), 0)); err == nil {
				t.Error("a byte too many is not seen")
			}
		})
	}
	all := examples(t)
	if _, err := profile.Decode(all["carriers"].Bins(), all["full"].AppendBinary(nil)); !errors.Is(err, profile.ErrOtherBins) {
		t.Errorf("a profile of other bins: %v", err)
	}
}

// FuzzDecode gives the decoder anything: what it takes must be usable, and be written as it was read.
func FuzzDecode(f *testing.F) {
	all := examples(f)
	for _, p := range all {
		f.Add(p.AppendBinary(nil))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, e := range all {
			p, err := profile.Decode(e.Bins(), data)
			if err != nil {
				continue
			}
			again := p.AppendBinary(nil)
			back, err := profile.Decode(e.Bins(), again)
			if err != nil {
				t.Fatalf("%x was read and written as %x: %v", data, again, err)
			}
			if err := back.Merge(p); err != nil {
				t.Fatal(err)
			}
			back.Quantile(0.5)
			back.Unseen()
			if back.Rows() != 2*p.Rows() {
				t.Fatalf("%d rows twice are %d", p.Rows(), back.Rows())
			}
			back.AppendBinary(nil)
		}
	})
}

// FuzzDecodeBins gives the decoder anything: bins that it takes must be usable, and be written as they were read.
func FuzzDecodeBins(f *testing.F) {
	for _, p := range examples(f) {
		f.Add(p.Bins().AppendBinary(nil))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := profile.DecodeBins(data)
		if err != nil {
			return
		}
		if again := b.AppendBinary(nil); !bytes.Equal(again, data) {
			t.Fatalf("%x was read and written as %x", data, again)
		}
		p := profile.New(b, true)
		for _, v := range []feature.Value{feature.Float64Value(1.5), feature.Int64Value(-3), feature.StringValue("UA"), feature.BoolValue(true), {}} {
			p.Add(&v)
		}
		for i := range b.Len() {
			b.Name(i)
		}
		if p.Rows() != 5 {
			t.Fatalf("5 values are %d rows", p.Rows())
		}
	})
}

// TestAThousandColumnsOfTwentySlicesFitInAGigabyte measures what the design promises: for each column and slice the
// pane that is being filled, and eleven closed ones as bytes.
func TestAThousandColumnsOfTwentySlicesFitInAGigabyte(t *testing.T) {
	const columns, slicesOf, panes, scale = 20, 10, 11, 100 // a hundredth of it
	var bins []*profile.Bins
	for c := range columns {
		if c%4 == 3 {
			b, err := profile.CategoricalBins(feature.String, func(yield func(string, uint64) bool) {
				for i := range 500 {
					if !yield(fmt.Sprint("category ", i), uint64(1000-i)) {
						return
					}
				}
			}, profile.Options{})
			if err != nil {
				t.Fatal(err)
			}
			bins = append(bins, b)
			continue
		}
		b, err := profile.NumericBins(feature.Float64, draws(2000, uint64(c), shapes[c%4].draw), profile.Options{})
		if err != nil {
			t.Fatal(err)
		}
		bins = append(bins, b)
	}
	before := heap()
	var live []*profile.Profile
	var closed [][]byte
	most := 0
	for c, b := range bins {
		values := draws(2000, uint64(c)+100, shapes[c%4].draw)
		for range slicesOf {
			p := profile.New(b, true)
			if b.Kind() == profile.Categorical {
				for i := range 2000 {
					p.AddString(fmt.Sprint("category ", i*i%997), 1)
				}
			} else {
				p.AddFloat64s(values)
			}
			live = append(live, p)
			data := p.AppendBinary(nil)
			most = max(most, len(data))
			for range panes {
				closed = append(closed, bytes.Clone(data))
			}
		}
	}
	used := heap() - before
	runtime.KeepAlive(live)
	runtime.KeepAlive(closed)
	t.Logf("%.1f KB a column and slice, of which a closed pane at most %d bytes; 1,000 columns of 20 slices: %.0f MB",
		float64(used)/float64(len(live))/1e3, most, float64(used)*scale/1e6)
	if used*scale > 1e9 {
		t.Errorf("1,000 columns of 20 slices take %.0f MB", float64(used)*scale/1e6)
	}
}

// TestAProfileTakesNoMoreMemoryThanStated fills profiles with everything they can hold.
func TestAProfileTakesNoMoreMemoryThanStated(t *testing.T) {
	for _, kind := range []profile.Kind{profile.Numeric, profile.Categorical} {
		t.Run(kind.String(), func(t *testing.T) {
			const n = 16
			bins, err := profile.NumericBins(feature.Float64, draws(5000, 1, shapes[2].draw), profile.Options{})
			if kind == profile.Categorical {
				bins, err = profile.CategoricalBins(feature.String, func(yield func(string, uint64) bool) { yield("a", 1) }, profile.Options{})
			}
			if err != nil {
				t.Fatal(err)
			}
			values := draws(20_000, 2, shapes[2].draw)
			var names []string
			for i := range 20_000 {
				names = append(names, fmt.Sprint(strings.Repeat("n", 150), i))
			}
			before := heap()
			all := make([]*profile.Profile, n)
			for i := range all {
				all[i] = profile.New(bins, true)
				if kind == profile.Numeric {
					all[i].AddFloat64s(values)
					continue
				}
				for _, s := range names {
					all[i].AddString(s, 1)
				}
			}
			used := float64(heap()-before) / n
			runtime.KeepAlive(all)
			stated := float64(bins.MemoryBytes(true))
			t.Logf("%.0f bytes, stated %.0f", used, stated)
			if used > 1.15*stated { // allocations are rounded up
				t.Errorf("%.0f bytes, stated %.0f", used, stated)
			}
			runtime.KeepAlive(values)
			runtime.KeepAlive(names)
		})
	}
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
