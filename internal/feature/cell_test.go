package feature_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/freshet-io/freshet/internal/feature"
	"pgregory.net/rapid"
)

// goldenSpec has every part of the formats: two hops, states of fixed and of varying size, lifetimes, row features.
var goldenSpec = feature.LayoutSpec{AllowedSkew: 5e6, Features: []feature.FeatureSpec{
	{Name: "g_dest", Type: feature.String},
	{Name: "a_1m", Agg: feature.AggregatorSpec{Name: "count"}, Window: 60e6},
	{Name: "b_1m", Agg: feature.AggregatorSpec{Name: "last", In: feature.String}, Window: 60e6},
	{Name: "c_1h", Agg: feature.AggregatorSpec{Name: "count", In: feature.Int64}, Window: 3600e6},
	{Name: "d_ever", Agg: feature.AggregatorSpec{Name: "count"}},
	{Name: "e_ever", Agg: feature.AggregatorSpec{Name: "last", In: feature.String}},
	{Name: "f_amount", Type: feature.Int64},
	{Name: "h_tags", Type: feature.ListOf(feature.String)},
	{Name: "i_gone", Type: feature.Bool},
}}

func goldenEntity(t testing.TB) (*feature.Layout, *feature.Entity) {
	l, err := feature.NewLayout(goldenSpec)
	if err != nil {
		t.Fatal(err)
	}
	e := new(feature.Entity)
	for i, time := range []int64{-1, 1_700_000, 2_000_000} {
		text := feature.StringValue(strings.Repeat("x", i+1))
		amount := feature.Int64Value(int64(i) + 40)
		tags := feature.ListValue(feature.String, []feature.Value{text, feature.StringValue("")})
		at := feature.Order{Time: time, Ordinal: 1, Partition: 2, Offset: int64(i)}
		l.Apply(e, &at, []*feature.Value{&text, &text, &text, &amount, &text, &text, &amount, &tags, new(feature.Value)}, time)
	}
	return l, e
}

var goldenCells = []string{
	// The entity cell.
	"01766965772d3939390461626364" + "00000000" + "8000000000000000" +
		" 01" + "80841e0000000000" + "80000000001e8480" + "01" + "80000002" + "8000000000000002" +
		"022a00000000000000" + "000000000000000000" + "0300000000000000" +
		"04" + "04787878" + "08" + "84" + "0403787878" + "0400" + "18" + "80000000001e8480018000000280000000000000" + "02787878",
	// The head cell: hop 1 s at 2 s, hop 60 s at 0.
	"01766965772d3939390461626364" + "00000000" + "8000000000000001" +
		" 01" + "01000000" + "29" + "80841e0000000000" + "0100000000000000" + "18" + "80000000001e848001800000028000000000000002" + "787878" +
		"3c000000" + "10" + "80841e0000000000" + "0200000000000000",
	// Hop 1 s: tiles at -1 s, 1 s.
	"01766965772d3939390461626364" + "00000001" + "7ffffffffff0bdc0" +
		" 01" + "ffffffffffffffff" + "0100000000000000" + "16" + "7fffffffffffffff01800000028000000000000000" + "78",
	"01766965772d3939390461626364" + "00000001" + "80000000000f4240" +
		" 01" + "a0f0190000000000" + "0100000000000000" + "17" + "800000000019f0a001800000028000000000000001" + "7878",
	// Hop 60 s: the tile at -60 s.
	"01766965772d3939390461626364" + "0000003c" + "7ffffffffc6c7900" +
		" 01" + "ffffffffffffffff" + "0100000000000000",
}

// goldenTiles are what earlier versions wrote instead of the head cell.
var goldenTiles = []string{
	"01766965772d3939390461626364" + "00000001" + "80000000001e8480" +
		" 01" + "80841e0000000000" + "0100000000000000" + "18" + "80000000001e848001800000028000000000000002" + "787878",
	"01766965772d3939390461626364" + "0000003c" + "8000000000000000" +
		" 01" + "80841e0000000000" + "0200000000000000",
}

const goldenHead = "02" + "0000000000000001" + "00000002" + "0000000000000003" + "00000004" +
	"0000000000000001" + "00000002" + "0000000000000002" + "00000000" +
	"0000" + "0000" +
	"80841e0000000000" +
	"41000000" + "022a00000000000000" + "000000000000000000" + "0300000000000000" +
	"04" + "04787878" + "08" + "84" + "0403787878" + "0400" + "18" + "80000000001e848001800000028000000000000002" + "787878" +
	"01000000" + "10000000" + "80841e0000000000" + "0100000000000000" + "18" + "80000000001e848001800000028000000000000002" + "787878" +
	"3c000000" + "10000000" + "80841e0000000000" + "0200000000000000" +
	"cefdb41b"

const goldenTail = "02" + "0000000000000001" + "00000002" + "0000000000000002" + "00000000" + "9a000000" +
	"01000000" + "10000000" + "02000000" + "00" +
	"ffffffffffffffff" + "0100000000000000" + "a0f0190000000000" + "0100000000000000" +
	"16" + "7fffffffffffffff01800000028000000000000000" + "78" + "17" + "800000000019f0a001800000028000000000000001" + "7878" +
	"3c000000" + "10000000" + "01000000" + "00" + "ffffffffffffffff" + "0100000000000000" +
	"4b94b535"

// TestGoldenCells: the stored bytes are those of the format document.
func TestGoldenCells(t *testing.T) {
	l, e := goldenEntity(t)
	var got []string
	var scratch []byte
	l.Flush(e, &scratch, func(c feature.Cell, value []byte) {
		key := feature.AppendCellKey(nil, [8]byte([]byte("view-999")), []byte("abcd"), c)
		got = append(got, hex.EncodeToString(key)+" "+hex.EncodeToString(value))
	})
	slices.Sort(got)
	if !slices.Equal(got, goldenCells) {
		t.Errorf("cells are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(goldenCells, "\n"))
	}
}

// TestGoldenBlobs: the published bytes are those of the format document.
func TestGoldenBlobs(t *testing.T) {
	l, e := goldenEntity(t)
	tail := feature.MakeVersion(1, 2, 2, 0)
	if got := hex.EncodeToString(l.AppendHead(nil, e, feature.MakeVersion(1, 2, 3, 4), tail)); got != goldenHead {
		t.Errorf("head is\n%s\nwant\n%s", got, goldenHead)
	}
	if got := hex.EncodeToString(l.AppendTail(nil, e, tail)); got != goldenTail {
		t.Errorf("tail is\n%s\nwant\n%s", got, goldenTail)
	}
}

// TestGoldenIsRead: committed bytes are read as the values they were written from.
func TestGoldenIsRead(t *testing.T) {
	l, _ := goldenEntity(t)
	e := restoreLines(t, l, goldenCells)
	var r feature.Reader
	mem, blob := make([]feature.Value, 9), make([]feature.Value, 9)
	r.ReadEntity(l, e, 62e6, allFeatures(l), mem)
	st, ts, v, err := r.Read(l, mustHex(goldenHead), mustHex(goldenTail), 62e6, allFeatures(l), blob)
	if err != nil || st != feature.Present || ts != 2e6 || v != feature.MakeVersion(1, 2, 3, 4) {
		t.Fatalf("read %v at %d, version %x, %v", st, ts, v, err)
	}
	const want = `["xxx" 1 "xxx" 3 3 "xxx" 42 ["xxx" ""] null]`
	if got := valuesString(mem); got != want {
		t.Errorf("cells read as %s; want %s", got, want)
	}
	if got := valuesString(blob); got != want {
		t.Errorf("blobs read as %s; want %s", got, want)
	}
}

func restoreLines(t *testing.T, l *feature.Layout, lines []string) *feature.Entity {
	t.Helper()
	e := new(feature.Entity)
	for _, line := range lines {
		key, value, _ := strings.Cut(line, " ")
		_, _, c, err := feature.ParseCellKey(mustHex(key))
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Restore(e, c, mustHex(value)); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

// TestFormerCellsAreRead: where no head cell was written each tile has a cell of its own, and leaves it when it goes to the head cell.
func TestFormerCellsAreRead(t *testing.T) {
	l, want := goldenEntity(t)
	e := restoreLines(t, l, slices.Concat(goldenCells[:1], goldenCells[2:], goldenTiles))
	var v feature.Version
	blobs := func(e *feature.Entity) []byte { return append(l.AppendHead(nil, e, v, v), l.AppendTail(nil, e, v)...) }
	if !bytes.Equal(blobs(e), blobs(want)) || l.Dirty(e) {
		t.Fatalf("another entity, dirty %v", l.Dirty(e))
	}
	l.Apply(e, &feature.Order{Time: 2e6, Ordinal: 1}, make([]*feature.Value, 9), 2e6)
	var got []string
	var scratch []byte
	l.Flush(e, &scratch, func(c feature.Cell, value []byte) { got = append(got, fmt.Sprint(c, len(value) > 0)) })
	if want := []string{"{0 0} true", "{1 2000000} false", "{60 0} false", "{0 1} true"}; !slices.Equal(got, want) {
		t.Errorf("cells %v are written; want %v", got, want)
	}
}

// TestHeadCellExpires when its last tile does, and not before.
func TestHeadCellExpires(t *testing.T) {
	l, _ := goldenEntity(t)
	head, c := mustHex(strings.Fields(goldenCells[1])[1]), feature.Cell{Start: 1}
	own := feature.Cell{Hop: 60}
	last := int64(0)
	for ; !l.Expired(own, last); last += 60e6 {
		if l.ExpiredCell(c, head, last) {
			t.Fatalf("expired at %d, before a tile of it", last)
		}
	}
	if !l.ExpiredCell(c, head, last) || l.ExpiredCell(c, head[:len(head)-1], last) || l.ExpiredCell(c, nil, last) {
		t.Error("it outlives its tiles, or what is none is taken for expired")
	}
}

func mustHex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func valuesString(vs []feature.Value) string {
	s := make([]string, len(vs))
	for i := range vs {
		s[i] = vs[i].String()
	}
	return "[" + strings.Join(s, " ") + "]"
}

// TestCellKeyOrder: keys sort by view, entity, hop and start, and the prefix of an entity is of its cells alone.
func TestCellKeyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) (view [8]byte, entity []byte, c feature.Cell) {
			view[7] = byte(rapid.IntRange(0, 1).Draw(t, name+" view"))
			entity = []byte(rapid.SampledFrom([]string{"", "a", "ab", "b", strings.Repeat("a", 200), "\x00", "a\x00"}).Draw(t, name+" entity"))
			if c.Hop = rapid.SampledFrom([]uint32{0, 1, 60, 255, 256}).Draw(t, name+" hop"); c.Hop > 0 {
				c.Start = rapid.Int64Range(-300, 300).Draw(t, name+" start") * int64(c.Hop) * feature.Second
			}
			return view, entity, c
		}
		v1, e1, c1 := draw("one")
		v2, e2, c2 := draw("other")
		k1, k2 := feature.AppendCellKey(nil, v1, e1, c1), feature.AppendCellKey([]byte("x"), v2, e2, c2)[1:]
		v, e, c, err := feature.ParseCellKey(k1)
		if err != nil || v != v1 || !bytes.Equal(e, e1) || c != c1 {
			t.Fatalf("ParseCellKey(%x) = %x, %q, %+v, %v", k1, v, e, c, err)
		}
		same := v1 == v2 && bytes.Equal(e1, e2)
		if got := bytes.HasPrefix(k1, feature.AppendEntityPrefix(nil, v2, e2)); got != same {
			t.Fatalf("%x begins with the prefix of view %x, entity %q: %v", k1, v2, e2, got)
		}
		order := bytes.Compare(k1, k2)
		switch {
		case v1 != v2:
			if order != bytes.Compare(v1[:], v2[:]) {
				t.Fatalf("%x and %x do not sort by view", k1, k2)
			}
		case same && c1.Hop != c2.Hop:
			if (order < 0) != (c1.Hop < c2.Hop) {
				t.Fatalf("%x and %x do not sort by hop", k1, k2)
			}
		case same:
			if (order < 0) != (c1.Start < c2.Start) || (order == 0) != (c1.Start == c2.Start) {
				t.Fatalf("%x and %x do not sort by start", k1, k2)
			}
		}
	})
}

// TestRestoreRefuses: bytes that no Flush writes are refused, and leave the entity as it was.
func TestRestoreRefuses(t *testing.T) {
	own, tile := mustHex(strings.Fields(goldenCells[0])[1]), mustHex(strings.Fields(goldenCells[3])[1])
	head, headCell := mustHex(strings.Fields(goldenCells[1])[1]), feature.Cell{Start: 1}
	edit := func(b []byte, at int, to ...byte) []byte {
		b = bytes.Clone(b)
		copy(b[at:], to)
		return b
	}
	ownCell, tileCell := feature.Cell{}, feature.Cell{Hop: 1, Start: 1e6}
	for _, tc := range []struct {
		name  string
		c     feature.Cell
		value []byte
		want  string
	}{
		{"nothing", tileCell, nil, "short"},
		{"format", tileCell, edit(tile, 0, 2), "unknown format 2"},
		{"hop", feature.Cell{Hop: 2, Start: 1e6}, tile, "no such hop"},
		{"start", feature.Cell{Hop: 1, Start: 2e6}, tile, "not of this tile"},
		{"time out of range", tileCell, edit(tile, 1, 0, 0, 0, 0, 0, 0, 0, 0x80), "not of this tile"},
		{"negative count", tileCell, edit(tile, 16, 0x80), "feature 1: count of"},
		{"short tile", tileCell, tile[:10], "at least 16 are due"},
		{"short state", tileCell, tile[:len(tile)-1], "feature 2: short"},
		{"long length", tileCell, edit(tile, 17, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01), "feature 2: short"},
		{"bad state", tileCell, edit(tile[:28], 17, 10), "feature 2: "},
		{"long tile", tileCell, append(bytes.Clone(tile), 0), "1 bytes too many"},
		{"short entity cell", ownCell, own[:40], "are due"},
		{"timestamp out of range", ownCell, edit(own, 1, 0, 0, 0, 0, 0, 0, 0, 0x7f), "out of range"},
		{"order of another event", ownCell, edit(own, 1, 0), "row features of an event at"},
		{"row type", ownCell, edit(own, 30, 3), "row feature 6: type byte 3"},
		{"row null with content", ownCell, edit(own, 40, 1), "row feature 8: type byte 0"},
		{"bool content", ownCell, edit(own, 39, 1, 2), "row feature 8: bool of content 2"},
		{"row text type", ownCell, edit(own, 57, 5), "row feature 0: type byte 5"},
		{"list element type", ownCell, edit(own, 63, 5), "row feature 7: list element 0: type byte 5"},
		{"list element length", ownCell, edit(own, 64, 100), "row feature 7: list element 0: short"},
		{"head without tiles", headCell, append(head[:1:1], make([]byte, 8)...), "hop 0 s after hop 0 s"},
		{"head hop", headCell, edit(head, 1, 2), "hop 2 s: the view has no such hop"},
		{"head hops out of order", headCell, edit(head, 47, 1), "hop 1 s after hop 1 s"},
		{"head tile twice", headCell, append(bytes.Clone(head), head[47:]...), "hop 60 s after hop 60 s"},
		{"short head", headCell, head[:len(head)-1], "hop 60 s: short"},
		{"long head", headCell, append(bytes.Clone(head), 1), "short"},
		{"head tile's length", headCell, edit(head, 5, 0x28), "hop 1 s: feature 2: short"},
		{"head tile's state", headCell, edit(head, 67, 0x80), "hop 60 s: feature 3: count of"},
	} {
		l, e := goldenEntity(t)
		var v feature.Version
		before := append(l.AppendHead(nil, e, v, v), l.AppendTail(nil, e, v)...)
		err := l.Restore(e, tc.c, tc.value)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v; want %q", tc.name, err, tc.want)
		}
		if after := append(l.AppendHead(nil, e, v, v), l.AppendTail(nil, e, v)...); !bytes.Equal(before, after) {
			t.Errorf("%s: the entity changed", tc.name)
		}
	}
}

// TestParseCellKeyRefuses: what AppendCellKey does not write is no key.
func TestParseCellKeyRefuses(t *testing.T) {
	good := mustHex(strings.Fields(goldenCells[3])[0])
	for name, key := range map[string][]byte{
		"empty":         nil,
		"format":        append([]byte{2}, good[1:]...),
		"short":         good[:len(good)-1],
		"long":          append(bytes.Clone(good), 0),
		"length":        append(append(bytes.Clone(good[:9]), 0x84, 0x00), good[10:]...),
		"start":         append(bytes.Clone(good[:len(good)-1]), 1),
		"entity start":  feature.AppendCellKey(nil, [8]byte{}, nil, feature.Cell{Start: 1e6}),
		"key too long":  feature.AppendCellKey(nil, [8]byte{}, make([]byte, feature.MaxKeyBytes+1), feature.Cell{}),
		"start too far": feature.AppendCellKey(nil, [8]byte{}, nil, feature.Cell{Hop: 1, Start: math.MaxInt64 / 1e6 * 1e6}),
	} {
		if _, _, c, err := feature.ParseCellKey(key); err == nil {
			t.Errorf("%s: %x is the key of %+v", name, key, c)
		}
	}
}

// TestTTLChanges: a view's ttl decides whether it has an entity cell, and is not part of its identity: state written with
// one ttl is read with another.
func TestTTLChanges(t *testing.T) {
	features := []feature.FeatureSpec{{Name: "n", Agg: feature.AggregatorSpec{Name: "count"}, Window: 60e6}}
	long, err := feature.NewLayout(feature.LayoutSpec{TTL: 3600e6, Features: features})
	if err != nil {
		t.Fatal(err)
	}
	short, err := feature.NewLayout(feature.LayoutSpec{TTL: 60e6, Features: features})
	if err != nil {
		t.Fatal(err)
	}
	for name, pair := range map[string][2]*feature.Layout{"shorter": {long, short}, "longer": {short, long}} {
		e, cells := new(feature.Entity), store{}
		pair[0].Apply(e, &feature.Order{Time: 5e6}, []*feature.Value{new(feature.Value)}, 5e6)
		cells.flush(pair[0], e)
		back := cells.restore(t, pair[1])
		var r feature.Reader
		out := make([]feature.Value, 1)
		if st, ts := r.ReadEntity(pair[1], back, 10e6, []int{0}, out); st != feature.Present || ts != 5e6 || out[0].Int64() != 1 {
			t.Errorf("%s: %v at %d, %v", name, st, ts, out)
		}
	}
	value := append([]byte{1}, make([]byte, 8)...)
	if !short.Expired(feature.Cell{}, 0) || !short.ExpiredCell(feature.Cell{}, value, 0) {
		t.Error("an entity cell outlives a view that has none")
	}
	if keep := long.KeepFor(); long.ExpiredCell(feature.Cell{}, value, keep) || !long.ExpiredCell(feature.Cell{}, value, keep+1) || long.Expired(feature.Cell{}, keep+1) {
		t.Error("an entity cell does not expire by its timestamp")
	}
}
