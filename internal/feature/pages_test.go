package feature_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/freshet-io/freshet/internal/feature"
	"pgregory.net/rapid"
)

// partsReader reads blobs as lookups do: the head, the tail's first part, and the pages that the clock asks for.
type partsReader struct {
	feature.Reader
	early int // reads that needed other pages
	bytes int // of the last read
}

func (r *partsReader) read(l *feature.Layout, head, tail []byte, at int64, want []int, out []feature.Value) (feature.Status, int64, error) {
	first, pages, _ := feature.TailParts(tail)
	byPlace := make([][]byte, l.Pages())
	for len(pages) > 0 {
		place, page, rest, _ := feature.NextPage(pages)
		byPlace[place], pages = page, rest
	}
	r.bytes = len(head) + len(first)
	var given [][]byte
	places := l.AppendPages(nil, want, at)
	for _, p := range places {
		r.bytes += len(byPlace[p])
		given = append(given, byPlace[p])
	}
	st, ts, _, err := r.ReadPages(l, head, first, places, given, at, want, out)
	if !errors.Is(err, feature.ErrEarlierPage) {
		return st, ts, err
	}
	r.early++
	places = places[:0]
	for p := range byPlace {
		places = append(places, p)
	}
	st, ts, _, err = r.ReadPages(l, head, first, places, byPlace, at, want, out)
	return st, ts, err
}

// exact reports whether an aggregation's result does not depend on how partial states are grouped.
func exact(a feature.AggregatorSpec) bool {
	switch a.Name {
	case "variance", "stddev":
		return false
	case "sum", "mean":
		return a.In != feature.Float64
	}
	return true
}

// TestPagesMatchTiles: what is read from pages is what is read from the tiles themselves, at any clock, whatever came
// late, and whichever pages a publish left in the store; float sums and variances within their rounding.
func TestPagesMatchTiles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := drawSpec(t)
		tiles, err := feature.NewLayout(spec)
		if err != nil {
			t.Fatal(err)
		}
		paged, _ := feature.NewLayout(spec)
		feature.PageNever(tiles)
		feature.PageAlways(paged, rapid.SampledFrom([]int{1, 64, 200, 512}).Draw(t, "page bytes"))
		o := &oracle{spec: spec, stream: math.MinInt64}
		a, b := new(feature.Entity), new(feature.Entity)
		var asTiles, asPages published
		var r partsReader
		want := allFeatures(paged)
		x, y := make([]feature.Value, len(want)), make([]feature.Value, len(want))
		for _, ev := range drawEvents(t, spec, rapid.IntRange(1, 60).Draw(t, "events")) {
			tiles.Apply(a, &ev.at, ev.in, ev.stream)
			paged.Apply(b, &ev.at, ev.in, ev.stream)
			o.events, o.stream = append(o.events, ev), ev.stream
			if rapid.IntRange(0, 3).Draw(t, "publish") > 0 {
				continue
			}
			asTiles.publish(tiles, a)
			asPages.publish(paged, b)
			times := drawTimes(t, o)
			for range 4 { // far behind and far ahead
				times = append(times, o.stream+rapid.Int64Range(-9e9, 9e9).Draw(t, "clock"), ev.at.Time+rapid.Int64Range(-70e6, 130e6).Draw(t, "near"))
			}
			for _, at := range times {
				st, ts, _, err := r.Read(tiles, asTiles.head, asTiles.tail, at, want, x)
				if err != nil {
					t.Fatal(err)
				}
				early := r.early
				pst, pts, err := r.read(paged, asPages.head, asPages.tail, at, want, y)
				if err != nil || pst != st || pts != ts {
					t.Fatalf("at %d: %v at %d from pages, %v; %v at %d from tiles", at, pst, pts, err, st, ts)
				}
				if r.early > early && at+spec.AllowedSkew >= b.EventTime() {
					t.Fatalf("at %d, %d after the newest event: needs other pages than it asked for", at, at-b.EventTime())
				}
				_, _, within := o.read(at)
				for i := range x {
					if exact(spec.Features[i].Agg) && !x[i].Equal(&y[i]) || !(expected{v: x[i], tol: within[i].tol}).matches(y[i]) {
						t.Fatalf("feature %d (%+v) at %d: %v from pages, %v from tiles", i, spec.Features[i], at, y[i], x[i])
					}
				}
				whole := make([]feature.Value, len(want))
				if _, _, _, err := r.Read(paged, asPages.head, asPages.tail, at, want, whole); err != nil || valuesString(whole) != valuesString(y) {
					t.Fatalf("at %d: %v from the whole tail, %v from its parts, %v", at, whole, y, err)
				}
			}
		}
	})
}

// denseEntity returns an entity with an event a minute and eight features over an hour.
func denseEntity(t testing.TB, tiles int64) (*feature.Layout, *feature.Entity) {
	spec := eightSpec()
	spec.AllowedSkew = 300e6
	l := mustLayout(t, spec)
	return l, filled(l, inputs(spec), 60e6, tiles*60e6)
}

// TestPagesAreFewBytes: an hour of an entity is read in a few hundred bytes, at any minute, and one that has few tiles has
// no pages.
func TestPagesAreFewBytes(t *testing.T) {
	v := feature.MakeVersion(1, 2, 3, 4)
	for _, tc := range []struct {
		tiles          int64
		stored, lookup int
	}{
		{3, 700, 700}, {14, 2300, 2300}, {16, 6500, 900}, {61, 13_000, 900},
	} {
		l, e := denseEntity(t, tc.tiles)
		head, tail := l.AppendHead(nil, e, v, v), l.AppendTail(nil, e, v)
		var r partsReader
		out := make([]feature.Value, l.NumFeatures())
		if len(head)+len(tail) > tc.stored {
			t.Errorf("%d tiles: %d bytes stored; want at most %d", tc.tiles, len(head)+len(tail), tc.stored)
		}
		for at := tc.tiles * 60e6; at < tc.tiles*60e6+3600e6; at += 61e6 {
			if _, _, err := r.read(l, head, tail, at, allFeatures(l), out); err != nil || r.bytes > tc.lookup {
				t.Errorf("%d tiles: %d bytes read at %d; want at most %d, %v", tc.tiles, r.bytes, at, tc.lookup, err)
			}
		}
		if r.early > 0 {
			t.Errorf("%d tiles: %d reads asked for the wrong pages", tc.tiles, r.early)
		}
	}
}

// TestHeadKnowsPages: a head names the pages of the tail that is stored, also when the entity has lost tiles since.
func TestHeadKnowsPages(t *testing.T) {
	l, e := denseEntity(t, 30)
	v1, v2 := feature.MakeVersion(1, 0, 1, 0), feature.MakeVersion(1, 0, 2, 0)
	pagesOf := func(head []byte) string { return hex.EncodeToString(head[49:53]) }
	with := l.AppendHead(nil, e, v1, v1) // before its tail
	l.AppendTail(nil, e, v1)
	e.ClearTailChanged()
	l.Trim(e, 30*60e6+2*3600e6) // nothing closed is kept
	if alone := l.AppendHead(nil, e, v2, v1); pagesOf(with) != "01001700" || pagesOf(alone) != pagesOf(with) {
		t.Errorf("pages %s with the tail, %s without", pagesOf(with), pagesOf(alone))
	}
	l.AppendTail(nil, e, v2)
	if anew := l.AppendHead(nil, e, v2, v2); pagesOf(anew) != "00000000" {
		t.Errorf("pages %s with a tail that has none", pagesOf(anew))
	}
	if none := l.AppendHead(nil, e, v2, feature.Version{}); pagesOf(none) != "00000000" {
		t.Errorf("pages %s without a tail", pagesOf(none))
	}
}

// TestReadPagesRefuses: a page that is missing, of another tail, of another place or changed is an error, never numbers;
// one that no feature needs is not looked at.
func TestReadPagesRefuses(t *testing.T) {
	l, e := denseEntity(t, 61)
	v, other := feature.MakeVersion(1, 0, 1, 0), feature.MakeVersion(1, 0, 2, 0)
	head, tail, tail2 := l.AppendHead(nil, e, v, v), l.AppendTail(nil, e, v), l.AppendTail(nil, e, other)
	first, pages, _ := feature.TailParts(tail)
	_, pages2, _ := feature.TailParts(tail2)
	const at = 61 * 60e6
	byPlace := func(pages []byte) map[int][]byte {
		m := map[int][]byte{}
		for len(pages) > 0 {
			place, page, rest, ok := feature.NextPage(pages)
			if !ok {
				t.Fatal("a tail that is cut")
			}
			m[place], pages = page, rest
		}
		return m
	}
	all, others := byPlace(pages), byPlace(pages2)
	want := allFeatures(l)
	places := l.AppendPages(nil, want, at)
	if len(places) != 1 || len(all) != l.Pages() {
		t.Fatalf("places %v of %d pages", places, len(all))
	}
	good := all[places[0]]
	var r feature.Reader
	read := func(page []byte) error {
		out := slices.Repeat([]feature.Value{feature.Int64Value(1)}, len(want))
		_, _, _, err := r.ReadPages(l, head, first, places, [][]byte{page}, at, want, out)
		for i := range out {
			if out[i].IsNull() != (err != nil) {
				t.Errorf("feature %d is %v beside %v", i, out[i], err)
			}
		}
		return err
	}
	if err := read(good); err != nil {
		t.Fatal(err)
	}
	for name, page := range map[string][]byte{
		"absent": nil, "another tail's": others[places[0]], "empty": {}, "long": append(bytes.Clone(good), 0),
	} {
		if err := read(page); !errors.Is(err, feature.ErrTornBlob) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for place, page := range all {
		if err := read(page); (err == nil) != (place == places[0]) {
			t.Errorf("the page of place %d: %v", place, err)
		}
	}
	for i := range good {
		if read(good[:i:i]) == nil {
			t.Errorf("a page cut to %d bytes is read", i)
		}
		b := bytes.Clone(good)
		b[i] ^= 0x10
		if !errors.Is(read(b), feature.ErrTornBlob) {
			t.Errorf("a page with byte %d changed is read", i)
		}
	}
	if _, _, _, err := r.Read(l, head, tail[:len(tail)-1], at, want, make([]feature.Value, len(want))); err == nil {
		t.Error("a tail whose last page is cut is read")
	}
}

const goldenPagedTail = "02" + "0000000000000001" + "00000002" + "0000000000000002" + "00000000" + "8a000000" +
	"01000000" + "10000000" + "02000000" + "01" + "40420f0000000000" + "ffffffffffffffff" + "a0f0190000000000" +
	"16" + "7fffffffffffffff01800000028000000000000000" + "78" + "17" + "800000000019f0a001800000028000000000000001" + "7878" +
	"3c000000" + "10000000" + "01000000" + "01" + "00796cfcffffffff" +
	"22965e07" +
	// Hop 1 s: pages of 32 starts, from 0, -32 s, -64 s and -96 s.
	"0000" + "1c000000" + "0000000000000000" + "40420f0000000000" + "0100000000000000" + "46fa4ccb" +
	"0300" + "1c000000" + "00b817feffffffff" + "c0bdf0ffffffffff" + "0200000000000000" + "d184b6e2" +
	"0200" + "1c000000" + "00702ffcffffffff" + "c07508feffffffff" + "0200000000000000" + "353ab6cf" +
	"0100" + "1c000000" + "002847faffffffff" + "c02d20fcffffffff" + "0200000000000000" + "5a4a1eb7" +
	// Hop 60 s: pages of 32 starts, from -32 min, -64 min and -96 min.
	"0600" + "1c000000" + "00208f8dffffffff" + "00796cfcffffffff" + "0100000000000000" + "cad607c8" +
	"0500" + "1c000000" + "00401e1bffffffff" + "0099fb89ffffffff" + "0100000000000000" + "7c9597d5" +
	"0400" + "1c000000" + "0060ada8feffffff" + "00b98a17ffffffff" + "0100000000000000" + "efef4b9d"

// TestGoldenPages: the published pages are those of the format document.
func TestGoldenPages(t *testing.T) {
	l, _ := goldenEntity(t)
	feature.PageAlways(l, 512)
	_, e := goldenEntity(t)
	tail := feature.MakeVersion(1, 2, 2, 0)
	if got := hex.EncodeToString(l.AppendTail(nil, e, tail)); got != goldenPagedTail {
		t.Errorf("tail is\n%s\nwant\n%s", got, goldenPagedTail)
	}
	var r feature.Reader
	out := make([]feature.Value, l.NumFeatures())
	if _, _, _, err := r.Read(l, l.AppendHead(nil, e, tail, tail), mustHex(goldenPagedTail), 62e6, allFeatures(l), out); err != nil {
		t.Fatal(err)
	}
	if got, want := valuesString(out), `["xxx" 1 "xxx" 3 3 "xxx" 42 ["xxx" ""] null]`; got != want {
		t.Errorf("read as %s; want %s", got, want)
	}
}
