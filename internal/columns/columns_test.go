package columns_test

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	pq "github.com/parquet-go/parquet-go"

	"github.com/freshet-io/freshet/internal/columns"
	"github.com/freshet-io/freshet/internal/feature"
)

// taken keeps what a sink was given.
type taken struct {
	numbers         []float64
	texts           map[string]uint64
	nulls, mistyped uint64
}

func (t *taken) AddFloat64s(v []float64) { t.numbers = append(t.numbers, v...) }
func (t *taken) AddNulls(n uint64)       { t.nulls += n }
func (t *taken) AddMistyped(n uint64)    { t.mistyped += n }
func (t *taken) AddString(s string, n uint64) {
	if t.texts == nil {
		t.texts = map[string]uint64{}
	}
	t.texts[strings.Clone(s)] += n
}

func (t *taken) String() string {
	return fmt.Sprintf("%v %v nulls %d mistyped %d", t.numbers, t.texts, t.nulls, t.mistyped)
}

func write(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t testing.TB, path string, o columns.Options) columns.File {
	t.Helper()
	f, err := columns.Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// read gives a column of a file as values of a type.
func read(t testing.TB, f columns.File, name string, typ feature.Type, text bool) *taken {
	t.Helper()
	at := slices.IndexFunc(f.Columns(), func(c columns.Column) bool { return c.Name == name })
	sink := &taken{}
	if err := f.Read(t.Context(), []columns.Want{{Column: at, Type: typ, Text: text, Sink: sink}}, nil); err != nil {
		t.Fatal(err)
	}
	return sink
}

func TestCSVTypes(t *testing.T) {
	for _, tc := range []struct {
		name, values string
		want         feature.Type
	}{
		{"integers", "1\n-2\n\n 3 \n", feature.Int64},
		{"integers and a NaN", "1\nNaN\n", feature.Float64},
		{"floats", "1\n2.5\n-inf\n1e300\n", feature.Float64},
		{"larger than an int64", "1\n99999999999999999999\n", feature.Float64},
		{"bools", "true\nFalse\n\nTRUE\n", feature.Bool},
		{"bools and numbers", "true\n1\n", feature.String},
		{"times", "2013-01-02T03:04:05Z\n2013-01-02T03:04:05.123456789+01:00\n", feature.Timestamp},
		{"a time without a zone", "2013-01-02T03:04:05\n", feature.String},
		{"texts", "1\nx\n", feature.String},
		{"nothing", "\n\n", feature.String},
		{"the empty string is a text", "1\n\"\"\n", feature.String},
		{"quoted numbers", "\"1\"\n\"2\"\n", feature.Int64},
		{"NA is a text until it is said to be null", "1\nNA\n", feature.String},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := open(t, write(t, "x.csv", "a,b\n"+strings.ReplaceAll(tc.values, "\n", ",z\n")), columns.Options{})
			if err := f.Infer(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			if got := f.Columns()[0].Type; got != tc.want {
				t.Errorf("%s, want %s", got, tc.want)
			}
		})
	}
}

func TestCSVValues(t *testing.T) {
	for _, tc := range []struct {
		name, file string
		typ        feature.Type
		text       bool
		nulls      []string
		want       string
	}{
		{"numbers", "a\n1\n\n2.5\nx\n", feature.Float64, false, nil, "[1 2.5] map[] nulls 1 mistyped 1"},
		{"null is not the empty string", "a,b\n,1\n\"\",1\nx,1\n", feature.String, false, nil, `[] map[:1 x:1] nulls 1 mistyped 0`},
		{"the empty string is no number", "a,b\n\"\",1\n,1\n", feature.Float64, false, nil, "[] map[] nulls 1 mistyped 1"},
		{"other nulls", "a,b\nNA,1\n\"NA\",1\nNULL,1\n", feature.String, false, []string{"NA", "NULL"}, "[] map[NA:1] nulls 2 mistyped 0"},
		{"quotes, commas and lines", "a,b\r\n\"x, \"\"y\"\"\nz\",1\r\nplain,2", feature.String, false, nil, "[] map[plain:1 x, \"y\"\nz:1] nulls 0 mistyped 0"},
		{"codes", "a\n7\n7.0\n7.5\n9007199254740993\n", feature.Int64, true, nil, "[] map[7:2 9007199254740993:1] nulls 0 mistyped 1"},
		{"bools", "a\ntrue\nFALSE\n1\n", feature.Bool, false, nil, "[] map[false:1 true:1] nulls 0 mistyped 1"},
		{"times", "a\n1970-01-01T00:00:01.0000005Z\nyesterday\n", feature.Timestamp, false, nil, "[1e+06] map[] nulls 0 mistyped 1"},
		{"a mark of byte order", "\xef\xbb\xbfa\n1\n", feature.Int64, false, nil, "[1] map[] nulls 0 mistyped 0"},
		{"empty lines of many columns are no rows", "a,b\n1,2\n\n3,4\n", feature.Int64, false, nil, "[1 3] map[] nulls 0 mistyped 0"},
		{"no rows", "a,b\n", feature.Int64, false, nil, "[] map[] nulls 0 mistyped 0"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := open(t, write(t, "x.csv", tc.file), columns.Options{Nulls: tc.nulls})
			if got := read(t, f, "a", tc.typ, tc.text).String(); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestFilesThatAreRefused(t *testing.T) {
	for _, tc := range []struct{ name, file, content, want string }{
		{"another kind", "x.json", "{}", "not a .parquet or .csv file"},
		{"empty", "x.csv", "", "the file is empty"},
		{"two columns of one name", "x.csv", "a,b,a\n", `two columns "a"`},
		{"a column without a name", "x.csv", "a,,b\n", "column 2 has no name"},
		{"not Parquet", "x.parquet", "a,b\n1,2\n", "not a Parquet file"},
		{"no Parquet at all", "x.parquet", "", "not a Parquet file"},
		{"a short row", "x.csv", "a,b\n1,2\n3\n", "row 3 has 1 fields, not 2"},
		{"a quote in a field", "x.csv", "a,b\n1,2\nx\"y,3\n", "row 3: a quote inside of a field"},
		{"text behind a quote", "x.csv", "a,b\n\"x\"y,3\n", "row 2: a quoted field goes on"},
		{"an open quote", "x.csv", "a,b\n\"x,3\n", "row 2: a quoted field does not end"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, err := columns.Open(write(t, tc.file, tc.content), columns.Options{})
			if err == nil {
				err = f.Infer(t.Context(), nil)
				if err := f.Close(); err != nil {
					t.Error(err)
				}
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), tc.file) {
				t.Errorf("got %v, want %q of %s", err, tc.want, tc.file)
			}
		})
	}
}

// everyType has a column of each type that Parquet knows and is read.
type everyType struct {
	F64   *float64          `parquet:"f64,optional"`
	F32   float32           `parquet:"f32"`
	I64   *int64            `parquet:"i64,optional,dict"`
	I32   int32             `parquet:"i32"`
	U32   uint32            `parquet:"u32"`
	U64   uint64            `parquet:"u64"`
	Text  *string           `parquet:"text,optional,dict"`
	Plain string            `parquet:"plain"`
	Raw   []byte            `parquet:"raw"`
	Bool  *bool             `parquet:"bool,optional"`
	Milli time.Time         `parquet:"milli,timestamp(millisecond)"`
	Nano  time.Time         `parquet:"nano,timestamp(nanosecond)"`
	Day   int32             `parquet:"day,date"`
	Price int64             `parquet:"price,decimal(2:18)"`
	List  []int64           `parquet:"list"`
	Map   map[string]string `parquet:"map"`
	After float64           `parquet:"after"`
}

func everyRow(i int) everyType {
	f, n, s, b := float64(i)/2, int64(i%5), fmt.Sprint("t", i%3), i%2 == 0
	at := time.Unix(int64(i), 123_456_789).UTC()
	r := everyType{
		F64: &f, F32: float32(i), I64: &n, I32: -int32(i), U32: math.MaxUint32 - uint32(i), U64: math.MaxUint64, Text: &s, Plain: s, Raw: []byte{1, byte(i % 2)},
		Bool: &b, Milli: at, Nano: at.Add(-time.Hour), Day: int32(i), Price: int64(i), List: []int64{1, 2}, After: float64(i),
	}
	if i%4 == 3 {
		r.F64, r.I64, r.Text, r.Bool = nil, nil, nil, nil
	}
	return r
}

func parquetFile[T any](t testing.TB, rows []T) string {
	t.Helper()
	var buf bytes.Buffer
	w := pq.NewGenericWriter[T](&buf, pq.MaxRowsPerRowGroup(1000))
	if _, err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return write(t, "x.parquet", buf.String())
}

func TestParquetTypes(t *testing.T) {
	const n = 2500 // several row groups
	var rows []everyType
	for i := range n {
		rows = append(rows, everyRow(i))
	}
	f := open(t, parquetFile(t, rows), columns.Options{})
	want := map[string]struct {
		typ     feature.Type
		number  func(i int) float64 // nil: a text
		text    func(i int) string
		quarter bool // null in every fourth row
	}{
		"f64":   {feature.Float64, func(i int) float64 { return float64(i) / 2 }, nil, true},
		"f32":   {feature.Float64, func(i int) float64 { return float64(i) }, nil, false},
		"i64":   {feature.Int64, func(i int) float64 { return float64(i % 5) }, nil, true},
		"i32":   {feature.Int64, func(i int) float64 { return float64(-i) }, nil, false},
		"u32":   {feature.Int64, func(i int) float64 { return math.MaxUint32 - float64(i) }, nil, false},
		"u64":   {feature.Int64, func(int) float64 { return math.MaxUint64 }, nil, false},
		"text":  {feature.String, nil, func(i int) string { return fmt.Sprint("t", i%3) }, true},
		"plain": {feature.String, nil, func(i int) string { return fmt.Sprint("t", i%3) }, false},
		"raw":   {feature.Bytes, nil, func(i int) string { return string([]byte{1, byte(i % 2)}) }, false},
		"bool":  {feature.Bool, nil, func(i int) string { return fmt.Sprint(i%2 == 0) }, true},
		"milli": {feature.Timestamp, func(i int) float64 { return float64(i)*1e6 + 123_000 }, nil, false},
		"nano":  {feature.Timestamp, func(i int) float64 { return float64(i)*1e6 + 123_456 - 3600e6 }, nil, false},
		"day":   {feature.Timestamp, func(i int) float64 { return float64(i) * 24 * 3600e6 }, nil, false},
		"price": {feature.Float64, func(i int) float64 { return float64(i) * 0.01 }, nil, false},
		"after": {feature.Float64, func(i int) float64 { return float64(i) }, nil, false},
	}
	for _, c := range f.Columns() {
		w, ok := want[c.Name]
		if !ok {
			if c.Type != feature.Null || c.Why == "" {
				t.Errorf("%s has the type %s", c.Name, c.Type)
			}
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			if c.Type != w.typ {
				t.Fatalf("type %s, want %s", c.Type, w.typ)
			}
			got := read(t, f, c.Name, c.Type, false)
			expect := &taken{}
			for i := range n {
				switch {
				case w.quarter && i%4 == 3:
					expect.nulls++
				case w.number != nil:
					expect.numbers = append(expect.numbers, w.number(i))
				default:
					expect.AddString(w.text(i), 1)
				}
			}
			if got.String() != expect.String() {
				t.Errorf("got %.200s\nwant %.200s", got, expect)
			}
			other := read(t, f, c.Name, map[bool]feature.Type{true: feature.String, false: feature.Float64}[w.number != nil], false)
			if len(other.numbers)+len(other.texts) > 0 || other.mistyped+other.nulls != n {
				t.Errorf("as another type: %.200s", other)
			}
		})
	}
}

func TestCodesOfParquet(t *testing.T) {
	type row struct {
		I int64   `parquet:"i"`
		F float64 `parquet:"f"`
	}
	f := open(t, parquetFile(t, []row{{7, 7}, {8, 7.5}, {7, 9}}), columns.Options{})
	if got, want := read(t, f, "i", feature.Int64, true).String(), "[] map[7:2 8:1] nulls 0 mistyped 0"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := read(t, f, "f", feature.Int64, true).String(), "[] map[7:1 9:1] nulls 0 mistyped 1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestDamagedParquetIsAnError changes every part of a file: nothing may panic, hang or be read as if nothing were wrong
// with the structure.
func TestDamagedParquetIsAnError(t *testing.T) {
	var rows []everyType
	for i := range 50 {
		rows = append(rows, everyRow(i))
	}
	whole, err := os.ReadFile(parquetFile(t, rows))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "damaged.parquet")
	for at := 0; at < len(whole); at += 101 {
		b := slices.Clone(whole)
		b[at] ^= 0x55
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := columns.Open(path, columns.Options{})
		if err != nil {
			continue
		}
		var wants []columns.Want
		for i, c := range f.Columns() {
			if c.Type != feature.Null {
				wants = append(wants, columns.Want{Column: i, Type: c.Type, Sink: &taken{}})
			}
		}
		_ = f.Read(t.Context(), wants, nil) // an error or not, but no panic: values themselves carry no checksum
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path, whole[:len(whole)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := columns.Open(path, columns.Options{}); err == nil {
		t.Error("half a file is a file")
	}
}

// TestALargeCSVIsReadWhole crosses the boundaries of chunks with fields of every length.
func TestALargeCSVIsReadWhole(t *testing.T) {
	var b strings.Builder
	b.WriteString("n,text\n")
	const rows = 60_000
	want := map[string]uint64{}
	for i := range rows {
		s := strings.Repeat(`x"y`, i%40)
		want[s]++
		fmt.Fprintf(&b, "%d,\"%s\"\n", i, strings.ReplaceAll(s, `"`, `""`))
	}
	f := open(t, write(t, "x.csv", b.String()), columns.Options{})
	n, texts := &taken{}, &taken{}
	var last int64
	err := f.Read(t.Context(), []columns.Want{{Column: 0, Type: feature.Int64, Sink: n}, {Column: 1, Type: feature.String, Sink: texts}}, func(done int64) {
		if done < last {
			t.Errorf("progress went from %d back to %d", last, done)
		}
		last = done
	})
	if err != nil {
		t.Fatal(err)
	}
	if last != f.Size(nil) {
		t.Errorf("progress ended at %d of %d", last, f.Size(nil))
	}
	for i, x := range n.numbers {
		if x != float64(i) {
			t.Fatalf("row %d has %v", i, x)
		}
	}
	if len(n.numbers) != rows || fmt.Sprint(texts.texts) != fmt.Sprint(want) {
		t.Errorf("%d rows, %d texts", len(n.numbers), len(texts.texts))
	}
}

// FuzzCSV holds the scanner to encoding/csv: what that reads, this reads alike.
func FuzzCSV(f *testing.F) {
	for _, s := range []string{"a,b\n1,2\n", "a\r\n\"x\"\"y\"\r\n", "a,b\n\"\n\",\n", "\"a\",b\n,\n", "a\n\n1", "a,b\n1,2,3\n", "a,b\n\"x\r\ny\",\"\"\"\"\r\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, content string) {
		r := csv.NewReader(strings.NewReader(content))
		records, wantErr := r.ReadAll()
		file, err := columns.Open(write(t, "x.csv", content), columns.Options{})
		if err != nil {
			return // names that are no names are ours to refuse
		}
		defer file.Close()
		cols := file.Columns()
		sinks := make([]taken, len(cols))
		var wants []columns.Want
		for i := range cols {
			wants = append(wants, columns.Want{Column: i, Type: feature.String, Sink: &sinks[i]})
		}
		err = file.Read(t.Context(), wants, nil)
		if wantErr != nil || err != nil || strings.Contains(content, "\r") || strings.HasPrefix(content, "\xef\xbb\xbf") || len(cols) == 1 {
			return // line ends in quotes, and empty lines of one column, are kept here and not there
		}
		for i := range cols {
			want := map[string]uint64{}
			for _, rec := range records[1:] {
				want[rec[i]]++
			}
			if sinks[i].nulls > 0 {
				sinks[i].AddString("", sinks[i].nulls)
			}
			if fmt.Sprint(sinks[i].texts) != fmt.Sprint(want) && len(want) > 0 {
				t.Fatalf("column %q of %q: %v, encoding/csv: %v", cols[i].Name, content, sinks[i].texts, want)
			}
		}
	})
}
