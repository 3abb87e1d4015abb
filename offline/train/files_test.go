package train_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	pq "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/offlinetest"
	"github.com/freshet-io/freshet/offline/train"
)

const filesPlane = `
project: files
connections: {kafka: {brokers: ["127.0.0.1:1"]}, redis: {url: "redis://127.0.0.1:1"}}
entities:
  - {name: user, join_keys: [{name: user_id, type: int64}]}
sources:
  - name: orders
    topic: orders
    format: json
    key: [user_id]
    event_time: {field: at, format: unix_us}
    schema:
      - {name: user_id, type: int64, required: true}
      - {name: item, type: string}
      - {name: amount, type: float64}
      - {name: at, type: int64, required: true}
feature_views:
  - name: user_orders
    entity: user
    source: orders
    features:
      - {name: orders_1h, aggregate: count, window: 1h}
      - {name: spent_1h, aggregate: sum, of: amount, window: 1h}
      - {name: items, aggregate: last_n, n: 3, of: item}
      - {name: item, of: item}
feature_services:
  - name: model
    features: [user_orders]
    request: [{name: budget, type: float64}]
    derived: [{name: share, expr: user_orders.spent_1h / request.budget}]
`

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// orders is a store with three orders of user 7 at noon, a minute and two minutes later.
func orders() *offlinetest.Memory {
	m := &offlinetest.Memory{}
	for i, item := range []string{"tea", "", `say "hi", all`} {
		at := noon.Add(time.Duration(i) * time.Minute).UnixMicro()
		m.Add(offline.Meta{Time: at, Arrived: at, Ordinal: 1, Topic: "orders", Offset: int64(i)},
			feature.Int64Value(7), feature.StringValue(item), feature.Float64Value(float64(i)+0.5), feature.Int64Value(at))
	}
	return m
}

// run makes a training set of files and returns its error.
func run(t *testing.T, spinePath, outPath string, edit func(*train.Options)) error {
	t.Helper()
	spine, err := train.OpenSpine(spinePath, train.NoLists)
	if err != nil {
		return err
	}
	out, err := train.NewFile(outPath)
	if err != nil {
		return errors.Join(err, spine.Close())
	}
	o := train.Options{Plane: parsePlane(t, filesPlane), Service: "model", Spine: spine, Store: orders(), Output: out, SpineName: spinePath, OutputName: outPath}
	if edit != nil {
		edit(&o)
	}
	s, err := train.New(o)
	if err != nil {
		return errors.Join(err, spine.Close())
	}
	_, err = s.Build(t.Context())
	return err
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const goodSpine = "\xef\xbb\xbflabel,user_id,event_timestamp,budget,note\r\n" +
	"1,7,2026-03-01T12:01:00Z,10,\"a \"\"quoted\"\", one\"\r\n" +
	"0,7,2026-03-01 13:00:00.5+01:00,,\r\n" +
	"1,8,2026-03-01T12:01:00Z,1,nobody\n" +
	"1,7,2026-03-01T12:01:00Z,10,\"a \"\"quoted\"\", one\"\n" +
	"0,7,2026-03-01T12:02:00.000001Z,0.5,two\nlines? no\n"

func TestCSV(t *testing.T) {
	dir := t.TempDir()
	spine := writeFile(t, "spine.csv", strings.Replace(goodSpine, "two\nlines? no", "\"two\nlines\"", 1))
	out := filepath.Join(dir, "set.csv")
	if err := run(t, spine, out, nil); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	want := `label,user_id,event_timestamp,budget,note,orders_1h,spent_1h,items,item,share
1,7,2026-03-01T12:01:00Z,10,"a ""quoted"", one",2,2,"[""tea"",""""]","",0.2
0,7,2026-03-01 13:00:00.5+01:00,,,1,0.5,"[""tea""]",tea,
1,8,2026-03-01T12:01:00Z,1,nobody,,,,,
1,7,2026-03-01T12:01:00Z,10,"a ""quoted"", one",2,2,"[""tea"",""""]","",0.2
0,7,2026-03-01T12:02:00.000001Z,0.5,"two
lines",3,4.5,"[""tea"","""",""say \""hi\"", all""]","say ""hi"", all",9
`
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	var m train.Manifest
	text, err := os.ReadFile(out + train.ManifestSuffix)
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err != nil {
		t.Fatal(err)
	}
	if m.Rows != 5 || m.Service != "model" || m.Features[4].Nulls != 2 || m.Features[4].NullShare != 0.4 || len(m.Views) != 1 || len(m.Views[0].Fingerprint) != 16 ||
		!m.Latest.Equal(noon.Add(2*time.Minute+time.Microsecond)) || m.Sources[0].Read != 3 || m.Sources[0].Offsets[0] != (train.RangeReport{Topic: "orders", End: 3}) {
		t.Errorf("manifest %s", text)
	}
	if s := string(text); !strings.Contains(s, `"type": "list<string>"`) || strings.Contains(s, "0001-") {
		t.Errorf("manifest %s", s)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 2 {
		t.Errorf("files %v, %v", files, err)
	}
}

// spineRow is a Parquet spine with types that are to be kept.
type spineRow struct {
	Small  int32     `parquet:"small"`
	User   int64     `parquet:"user_id"`
	At     time.Time `parquet:"timestamp,timestamp(nanosecond)"`
	Budget *float32  `parquet:"budget,optional"`
	Note   *string   `parquet:"note,optional"`
	Flag   bool      `parquet:"flag"`
	Day    int32     `parquet:"day,date"`
	Raw    []byte    `parquet:"raw"`
	Key    [4]byte   `parquet:"fixed"`
}

// setRow is what is expected of it.
type setRow struct {
	Small  int32     `parquet:"small"`
	User   int64     `parquet:"user_id"`
	At     time.Time `parquet:"timestamp,timestamp(nanosecond)"`
	Budget *float32  `parquet:"budget,optional"`
	Note   *string   `parquet:"note,optional"`
	Flag   bool      `parquet:"flag"`
	Day    int32     `parquet:"day,date"`
	Raw    []byte    `parquet:"raw"`
	Key    [4]byte   `parquet:"fixed"`
	Orders *int64    `parquet:"orders_1h,optional"`
	Spent  *float64  `parquet:"spent_1h,optional"`
	Items  []string  `parquet:"items,optional,list"`
	Item   *string   `parquet:"item,optional"`
	Share  *float64  `parquet:"share,optional"`
}

func TestParquet(t *testing.T) {
	dir := t.TempDir()
	path, out := filepath.Join(dir, "spine.parquet"), filepath.Join(dir, "set.parquet")
	note, budget := "one", float32(4)
	rows := []spineRow{
		{-3, 7, noon.Add(time.Minute).Add(999), &budget, &note, true, 20513, []byte("\x00\xff"), [4]byte{1, 2, 3, 4}},
		{1, 9, noon, nil, nil, false, 0, nil, [4]byte{}},
		{2, 7, noon.Add(-1), &budget, nil, false, 0, nil, [4]byte{}},
	}
	if err := pq.WriteFile(path, rows); err != nil {
		t.Fatal(err)
	}
	if err := run(t, path, out, nil); err != nil {
		t.Fatal(err)
	}
	got, err := pq.ReadFile[setRow](out)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"Small":-3,"User":7,"At":"2026-03-01T12:01:00.000000999Z","Budget":4,"Note":"one","Flag":true,"Day":20513,"Raw":"AP8=","Key":[1,2,3,4],` +
		`"Orders":2,"Spent":2,"Items":["tea",""],"Item":"","Share":0.5},` +
		`{"Small":1,"User":9,"At":"2026-03-01T12:00:00Z","Budget":null,"Note":null,"Flag":false,"Day":0,"Raw":"","Key":[0,0,0,0],` +
		`"Orders":null,"Spent":null,"Items":null,"Item":null,"Share":null},` +
		`{"Small":2,"User":7,"At":"2026-03-01T11:59:59.999999999Z","Budget":4,"Note":null,"Flag":false,"Day":0,"Raw":"","Key":[0,0,0,0],` +
		`"Orders":null,"Spent":null,"Items":null,"Item":null,"Share":null}]`
	if string(text) != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
	if schemaOf(t, out)[:len(schemaOf(t, path))-2] != schemaOf(t, path)[:len(schemaOf(t, path))-2] {
		t.Errorf("types changed:\n%s\n%s", schemaOf(t, path), schemaOf(t, out))
	}
	csv := filepath.Join(dir, "set.csv")
	if err := run(t, path, csv, nil); err != nil {
		t.Fatal(err)
	}
	lines, err := os.ReadFile(csv)
	if err != nil {
		t.Fatal(err)
	}
	if line, wantLine := strings.Split(string(lines), "\n")[1], `-3,7,2026-03-01T12:01:00.000000999Z,4,one,true,2026-03-01,AP8=,AQIDBA==,2,2,"[""tea"",""""]","",0.5`; line != wantLine {
		t.Errorf("csv line\n%s\nwant\n%s", line, wantLine)
	}
}

// schemaOf returns the columns of a file as text, without its name.
func schemaOf(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	file, err := pq.OpenFile(f, st.Size())
	if err != nil {
		t.Fatal(err)
	}
	_, columns, _ := strings.Cut(file.Schema().String(), "{")
	return columns
}

// TestCSVToParquet: join keys, the time and request fields get their types; the rest is text.
func TestCSVToParquet(t *testing.T) {
	spine := writeFile(t, "spine.csv", "note,user_id,timestamp,budget\nx,7,2026-03-01T12:01:00,\n,7,2026-03-01T12:00:30,2\n")
	out := filepath.Join(t.TempDir(), "set.parquet")
	zone := time.FixedZone("", 0)
	if err := run(t, spine, out, func(o *train.Options) { o.Zone, o.FullNames = zone, true }); err != nil {
		t.Fatal(err)
	}
	type row struct {
		Note   string    `parquet:"note,optional"`
		User   int64     `parquet:"user_id,optional"`
		At     time.Time `parquet:"timestamp,optional,timestamp(microsecond)"`
		Budget *float64  `parquet:"budget,optional"`
		Orders int64     `parquet:"user_orders__orders_1h,optional"`
		Share  *float64  `parquet:"model__share,optional"`
	}
	got, err := pq.ReadFile[row](out)
	if err != nil || len(got) != 2 {
		t.Fatal(got, err)
	}
	if r := got[1]; r.Note != "" || r.User != 7 || !r.At.Equal(noon.Add(30*time.Second)) || *r.Budget != 2 || r.Orders != 1 || *r.Share != 0.25 {
		t.Errorf("row %+v", r)
	}
}

func TestMistakes(t *testing.T) {
	const head = "user_id,timestamp,budget\n"
	zoned := "7,2026-03-01T12:01:00Z,1\n"
	for _, c := range []struct{ name, file, text, want string }{
		{"empty file", "s.csv", "", "the file names no columns"},
		{"empty parquet", "s.parquet", "", "the file names no columns"},
		{"not parquet", "s.parquet", strings.Repeat("hello ", 9), "not a Parquet file"},
		{"no rows", "s.csv", head, "the spine has no rows"},
		{"no key", "s.csv", "user,timestamp,budget\n" + zoned, `the spine has no column "user_id" (int64), a join key of entity user`},
		{"no time", "s.csv", "user_id,when,budget\n" + zoned, `the spine has no column "event_timestamp" or "timestamp"`},
		{"two times", "s.csv", "user_id,timestamp,event_timestamp,budget\n7,,,\n", `has both "event_timestamp" and "timestamp"`},
		{"no request field", "s.csv", "user_id,timestamp\n7,2026-03-01T12:01:00Z\n", `the spine has no column "budget" (float64), a request field of feature service model`},
		{"no zone", "s.csv", head + zoned + "7,2026-03-01T12:01:00,1\n", `row 2 of the spine: column "timestamp": "2026-03-01T12:01:00" has no zone; name it`},
		{"no date", "s.csv", head + "7,yesterday,1\n", `row 1 of the spine: column "timestamp": "yesterday" is not an RFC 3339 time`},
		{"null time", "s.csv", head + "7,,1\n", `row 1 of the spine: column "timestamp": the time is null`},
		{"null key", "s.csv", head + zoned + ",2026-03-01T12:01:00Z,1\n", `row 2 of the spine: column "user_id": the join key of entity user is null`},
		{"wrong type of key", "s.csv", head + "seven,2026-03-01T12:01:00Z,1\n", `row 1 of the spine: column "user_id": "seven" is no int64`},
		{"wrong type of request", "s.csv", head + "7,2026-03-01T12:01:00Z,much\n", `row 1 of the spine: column "budget": "much" is no float64`},
		{"two columns", "s.csv", "user_id,timestamp,budget,budget\n", `there are two columns "budget"`},
		{"unnamed column", "s.csv", "user_id,timestamp,budget,\n", `column 4 has no name`},
		{"collision", "s.csv", "user_id,timestamp,budget,item\n7,2026-03-01T12:01:00Z,1,x\n", `two columns of the training set would be called "item"`},
		{"ragged", "s.csv", head + zoned + "7\n", "row 2 has 1 fields, not 3"},
		{"too many fields", "s.csv", head + zoned + "7" + strings.Repeat(",", 9) + "\n", "row 2: it has more than 3 fields"},
		{"open quote", "s.csv", head + zoned + "\"7,2026-03-01T12:01:00Z,1\n", "row 2: a quoted field does not end"},
		{"kind of file", "s.txt", "", `s.txt: rows are in a .csv or a .parquet file, not in ".txt"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			out := filepath.Join(dir, "set.csv")
			err := run(t, writeFile(t, c.file, c.text), out, nil)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v\nwant  %s", err, c.want)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// TestAVastFileIsRefusedInLittleMemory: five gigabytes in which no row ends, as after a missing quote, and a Parquet file that is none.
func TestAVastFileIsRefusedInLittleMemory(t *testing.T) {
	const head = "user_id,timestamp,budget\n7,2026-03-01T12:01:00Z,1\n"
	for _, c := range []struct{ name, file, text, want string }{
		{"a quote is missing", "s.csv", head + "\"", "row 2: a row is longer than 64 MiB: is a quote missing?"},
		{"a line end is missing", "s.csv", head, "row 2: a row is longer than 64 MiB: is a quote missing?"},
		{"no header ends", "s.csv", "user_id", "the first line, which names the columns: row 1: a row is longer than 64 MiB"},
		{"no Parquet", "s.parquet", head, "not a Parquet file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := writeFile(t, c.file, c.text)
			if err := os.Truncate(path, 5<<30); err != nil { // sparse: it takes no room
				t.Skip("no sparse files here:", err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			if err := run(t, path, filepath.Join(t.TempDir(), "set.csv"), nil); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v\nwant  %s", err, c.want)
			}
			// All that was ever allocated: a buffer that grows to 64 MiB by doubling.
			if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 512<<20 {
				t.Errorf("%d MiB were allocated", (after.TotalAlloc-before.TotalAlloc)>>20)
			}
		})
	}
}

// TestParquetMistakes: a column of another type is named with both types.
func TestParquetMistakes(t *testing.T) {
	type textKey struct {
		User   string    `parquet:"user_id"`
		At     time.Time `parquet:"timestamp,timestamp(microsecond)"`
		Budget float64   `parquet:"budget"`
	}
	type localTime struct {
		User   int64   `parquet:"user_id"`
		At     int64   `parquet:"timestamp,timestamp(microsecond:local)"`
		Budget float64 `parquet:"budget"`
	}
	type lists struct {
		User []int64 `parquet:"user_id,list"`
	}
	for _, c := range []struct {
		name, want string
		write      func(path string) error
	}{
		{"type of key", `column "user_id" of the spine is STRING, not int64, as the join key of entity user`, func(p string) error { return pq.WriteFile(p, []textKey{{}}) }},
		{"local time", `column "timestamp" of the spine holds times without a zone`, func(p string) error { return pq.WriteFile(p, []localTime{{}}) }},
		{"list", `column "user_id": is a list or a group`, func(p string) error { return pq.WriteFile(p, []lists{{}}) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "spine.parquet")
			if err := c.write(path); err != nil {
				t.Fatal(err)
			}
			if err := run(t, path, filepath.Join(t.TempDir(), "set.csv"), nil); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v\nwant  %s", err, c.want)
			}
		})
	}
}

// TestListsAreLeftOut: what is left keeps its values, whatever its place in the file.
func TestListsAreLeftOut(t *testing.T) {
	type row struct {
		Z    string   `parquet:"z"`
		Tags []string `parquet:"tags,list"`
		A    *int64   `parquet:"a,optional"`
	}
	path, n := filepath.Join(t.TempDir(), "set.parquet"), int64(7)
	if err := pq.WriteFile(path, []row{{"one", []string{"x", "y"}, nil}, {"two", nil, &n}}); err != nil {
		t.Fatal(err)
	}
	s, err := train.OpenSpine(path, train.SkipLists)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	got := ""
	for vals := make([]feature.Value, len(s.Columns())); s.Next(vals) == nil; {
		for i, c := range s.Columns() {
			got += fmt.Sprintf("%s=%s ", c.Name, vals[i])
		}
	}
	if got != `a=null z="one" a=7 z="two" ` {
		t.Error(got)
	}
}

// TestOnlyListsAreLeftOut: a column that is none and cannot be read is refused, or who wants it would be told that there is none.
func TestOnlyListsAreLeftOut(t *testing.T) {
	type row struct {
		ID   int64              `parquet:"id"`
		Tags map[string]int64   `parquet:"tags"`
		At   []deprecated.Int96 `parquet:"at,list"`
		Seen deprecated.Int96   `parquet:"seen"`
	}
	path := filepath.Join(t.TempDir(), "set.parquet")
	if err := pq.WriteFile(path, []row{{ID: 1}}); err != nil {
		t.Fatal(err)
	}
	_, err := train.OpenSpine(path, train.SkipLists)
	if want := `column "seen": has the type INT96, which is not supported: cast it`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v\nwant  %s", err, want)
	}
}

// TestFailureLeavesNothing: what was there under the name stays, and nothing else is left.
func TestFailureLeavesNothing(t *testing.T) {
	for _, ext := range []string{"csv", "parquet"} {
		t.Run(ext, func(t *testing.T) {
			dir := t.TempDir()
			out := filepath.Join(dir, "set."+ext)
			if err := os.WriteFile(out, []byte("before"), 0o600); err != nil {
				t.Fatal(err)
			}
			var text strings.Builder
			text.WriteString("user_id,timestamp,budget\n")
			for i := range 5000 {
				fmt.Fprintf(&text, "%d,2026-03-01T12:01:00Z,1\n", i)
			}
			broken := errors.New("the disk is gone")
			err := run(t, writeFile(t, "s.csv", text.String()), out, func(o *train.Options) { o.Output = &failing{Output: o.Output, err: broken} })
			if !errors.Is(err, broken) {
				t.Fatalf("error %v", err)
			}
			if got, err := os.ReadFile(out); err != nil || string(got) != "before" {
				t.Errorf("under the name: %s, %v", got, err)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// failing is an output that fails late.
type failing struct {
	train.Output
	rows int
	err  error
}

func (f *failing) Write(spine, features []feature.Value) error {
	if f.rows++; f.rows == 4000 {
		return f.err
	}
	return f.Output.Write(spine, features)
}
