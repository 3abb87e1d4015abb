package e2e

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/freshet-io/freshet/config"
	core "github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/parquet"
)

// Lines of a connections file that name offline stores.

func parquetIn(dir string) string { return fmt.Sprintf("  parquet: {url: \"file://%s\"}\n", dir) }

func clickHouseAt(url string) string { return fmt.Sprintf("  clickhouse: {url: %q}\n", url) }

// stored is a row of an offline table. Lists in it are JSON.
type stored struct {
	row
	partition  int32
	offset, at int64
}

func byPlace(a, b stored) int {
	return cmp.Or(cmp.Compare(a.partition, b.partition), cmp.Compare(a.offset, b.offset))
}

// table returns one of the plane's offline tables.
func (p *plane) table(name string) *offline.Table {
	p.t.Helper()
	def, err := config.Load(p.file, p.connections("reader"))
	if err != nil {
		p.t.Fatal(err)
	}
	tables := offline.Tables(def)
	i := slices.IndexFunc(tables, func(t *offline.Table) bool { return t.Name == name })
	if i < 0 {
		p.t.Fatalf("there is no table %s", name)
	}
	return tables[i]
}

// inParquet reads a table from its files, in the order of the rows' places.
func (p *plane) inParquet(dir, name string) []stored {
	p.t.Helper()
	store, err := parquet.Open(p.t.Context(), config.Secret("file://"+dir), parquet.Options{})
	if err != nil {
		p.t.Fatal(err)
	}
	defer store.Close()
	t := p.table(name)
	var all []int
	for i := range t.Columns {
		all = append(all, i)
	}
	var out []stored
	err = store.Scan(p.t.Context(), t, offline.Query{Columns: all}, func(_ int, b *offline.Batch) error {
		for i := range b.Meta {
			m := &b.Meta[i]
			s := stored{row: row{}, partition: m.Partition, offset: m.Offset, at: m.Time}
			for k, v := range b.Row(i) {
				s.row[t.Columns[k].Name] = goValue(&v)
				if v.IsNull() && t.Columns[k].Type.IsList() {
					s.row[t.Columns[k].Name] = "[]" // ClickHouse has no null arrays
				}
			}
			out = append(out, s)
		}
		return nil
	})
	if err != nil {
		p.t.Fatal(err)
	}
	slices.SortFunc(out, byPlace)
	return out
}

func goValue(v *core.Value) any {
	switch v.Type() {
	case core.Int64:
		return v.Int64()
	case core.Float64:
		return v.Float64()
	case core.String:
		return strings.Clone(v.Str())
	case core.Timestamp:
		return strconv.Quote(time.UnixMicro(v.Int64()).UTC().Format(time.RFC3339Nano))
	case core.Null:
		return nil
	}
	list := []any{}
	for i := range v.List() {
		list = append(list, goValue(&v.List()[i]))
	}
	text, err := json.Marshal(list)
	if err != nil {
		panic(err) // it is made of numbers and strings
	}
	return string(text)
}

// inClickHouse reads a table's published view as people do, in the order of the rows' places.
func (p *plane) inClickHouse(name string) []stored {
	p.t.Helper()
	t := p.table(name)
	columns := []string{"_partition", "_offset", "toUnixTimestamp64Micro(_event_time) AS _at"}
	for _, c := range t.Columns {
		columns = append(columns, c.Name)
	}
	text := p.cli("sql", "SELECT "+strings.Join(columns, ", ")+" FROM "+name, p.file, "--connections", p.connections("reader"), "--engine", "clickhouse", "--output", "json")
	var rows []map[string]json.RawMessage
	if err := json.Unmarshal(text, &rows); err != nil {
		p.t.Fatalf("freshet sql: %v\n%.1000s", err, text)
	}
	out := make([]stored, len(rows))
	for i, r := range rows {
		s := &out[i]
		s.row = row{}
		for into, from := range map[any]string{&s.partition: "_partition", &s.offset: "_offset", &s.at: "_at"} {
			if err := json.Unmarshal(r[from], into); err != nil {
				p.t.Fatalf("%s of %s: %v", from, name, err)
			}
		}
		for _, c := range t.Columns {
			v, err := jsonValue(r[c.Name], c.Type)
			if err != nil {
				p.t.Fatalf("%s of %s: %v", c.Name, name, err)
			}
			s.row[c.Name] = v
		}
	}
	slices.SortFunc(out, byPlace)
	return out
}

func jsonValue(text json.RawMessage, t core.Type) (any, error) {
	if string(text) == "null" {
		return nil, nil
	}
	var err error
	switch t {
	case core.Int64:
		var v int64
		err = json.Unmarshal(text, &v)
		return v, err
	case core.Float64:
		var v float64
		err = json.Unmarshal(text, &v)
		return v, err
	case core.String:
		var v string
		err = json.Unmarshal(text, &v)
		return v, err
	}
	var compact bytes.Buffer
	err = json.Compact(&compact, text)
	return compact.String(), err
}

// sameRows compares what two stores have of a table.
func sameRows(a, b []stored) error {
	if len(a) != len(b) {
		return fmt.Errorf("%d rows and %d", len(a), len(b))
	}
	for i := range a {
		if byPlace(a[i], b[i]) != 0 || a[i].at != b[i].at || fmt.Sprint(a[i].row) != fmt.Sprint(b[i].row) {
			return fmt.Errorf("%+v and %+v", a[i], b[i])
		}
	}
	return nil
}

// eventRows is what a store must have of events: each once, as it was sent.
func eventRows(es []*event) []stored {
	out := make([]stored, len(es))
	for i, e := range es {
		out[i] = stored{row: e.row, partition: e.partition, offset: e.offset, at: e.at}
	}
	slices.SortFunc(out, byPlace)
	return out
}

// loggedOrder is what the log has of one event, in its lifetime counts.
type loggedOrder struct{ at, n int64 }

// checkLog compares the log of a view with lifetime features ever and n_ever with the events that the view accepts: the
// counts of each entity go up by one event a row.
func checkLog(v *view, rows []stored, es []*event) error {
	got := map[any][]loggedOrder{}
	sums := map[any]int64{}
	for _, r := range rows {
		key := r.row[v.joinKeys[0]]
		ever, _ := r.row["ever"].(int64)
		sum, _ := r.row["n_ever"].(int64)
		if ever != int64(len(got[key])+1) {
			return fmt.Errorf("row %d of %v counts %d events: %+v", len(got[key])+1, key, ever, r)
		}
		got[key] = append(got[key], loggedOrder{r.at, sum - sums[key]})
		sums[key] = sum
	}
	n := 0
	for _, ent := range expect(v, es).entities {
		key, want := ent.key[0], []loggedOrder{}
		for _, e := range ent.events {
			want = append(want, loggedOrder{e.at, e.row["n"].(int64)})
		}
		for _, l := range [][]loggedOrder{got[key], want} {
			slices.SortFunc(l, func(a, b loggedOrder) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.n, b.n)) })
		}
		if !slices.Equal(got[key], want) {
			return fmt.Errorf("the log of %v has %d rows %v, want %d: %v", key, len(got[key]), got[key], len(want), want)
		}
		n += len(want)
	}
	if n != len(rows) {
		return fmt.Errorf("%d rows, want %d", len(rows), n)
	}
	return nil
}

// checkStores waits until both stores have each event once, and of each view's log a row for each event that counts, the same.
func (p *plane) checkStores(dir string, views []view, es []*event) {
	p.t.Helper()
	want := eventRows(es)
	eventually(p.t, fmt.Sprintf("each of %d events once in both stores", len(es)), func() error {
		return errors.Join(
			inStore("ClickHouse", sameRows(p.inClickHouse("events_orders"), want)),
			inStore("Parquet", sameRows(p.inParquet(dir, "events_orders"), want)),
		)
	})
	for i := range views {
		table := "features_" + views[i].name
		eventually(p.t, "the log "+table, func() error {
			rows := p.inClickHouse(table)
			return errors.Join(inStore("ClickHouse", checkLog(&views[i], rows, es)), inStore("Parquet", sameRows(p.inParquet(dir, table), rows)))
		})
	}
}

func inStore(name string, err error) error {
	if err != nil {
		err = fmt.Errorf("%s: %w", name, err)
	}
	return err
}
