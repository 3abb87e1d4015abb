package files_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	pq "github.com/parquet-go/parquet-go"

	"github.com/freshet-io/freshet/internal/columns"
	"github.com/freshet-io/freshet/monitors/compat"
	"github.com/freshet-io/freshet/monitors/distance"
	"github.com/freshet-io/freshet/monitors/drift"
	"github.com/freshet-io/freshet/monitors/files"
	"github.com/freshet-io/freshet/monitors/profile"
)

// row is what both kinds of files have.
type row struct {
	Number  *float64 `parquet:"number,optional"`
	Count   int64    `parquet:"count"`
	Carrier *string  `parquet:"carrier,optional,dict"`
	Late    bool     `parquet:"late"`
}

func rows(n int, seed uint64, shift float64) []row {
	r := rand.New(rand.NewPCG(seed, 2))
	out := make([]row, n)
	for i := range out {
		x := math.Round((r.NormFloat64()+shift)*1e6) / 1e6
		c := []string{"UA", "", "B6", "say \"hi\", you"}[r.IntN(4)]
		out[i] = row{&x, int64(r.IntN(7)), &c, r.IntN(5) == 0}
		if r.IntN(10) == 0 {
			out[i].Number = nil
		}
		if r.IntN(10) == 0 {
			out[i].Carrier = nil
		}
	}
	return out
}

func parquetOf(t testing.TB, rows []row) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.parquet")
	if err := pq.WriteFile(path, rows); err != nil {
		t.Fatal(err)
	}
	return path
}

func csvOf(t testing.TB, rows []row) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("late,carrier,number,count\n") // another order
	for _, r := range rows {
		carrier, number := "", ""
		if r.Carrier != nil {
			carrier = `"` + strings.ReplaceAll(*r.Carrier, `"`, `""`) + `"`
		}
		if r.Number != nil {
			number = fmt.Sprint(*r.Number)
		}
		fmt.Fprintf(&b, "%v,%s,%s,%d\n", r.Late, carrier, number, r.Count)
	}
	path := filepath.Join(t.TempDir(), "x.csv")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func options() files.Options {
	o := files.Options{Alpha: 0.01, Judge: drift.Options{MinSample: 30, Movers: 3}}
	for _, d := range distance.Methods() {
		o.Judge.Methods = append(o.Judge.Methods, drift.Asked{Method: d.Method, Threshold: drift.DefaultThreshold(d.Method)})
	}
	return o
}

func compare(t testing.TB, ref, cur string, o files.Options) (*files.Comparison, error) {
	t.Helper()
	var opened []columns.File
	for _, path := range []string{ref, cur} {
		f, err := columns.Open(path, columns.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		opened = append(opened, f)
	}
	return files.Compare(t.Context(), opened[0], opened[1], o, nil)
}

// TestAFileIsWhatItSaysInAnyFormat compares the same rows from Parquet and CSV: nothing differs, whichever is the
// reference.
func TestAFileIsWhatItSaysInAnyFormat(t *testing.T) {
	same := rows(20_000, 1, 0)
	p, c := parquetOf(t, same), csvOf(t, same)
	for _, pair := range [][2]string{{p, c}, {c, p}, {p, p}, {c, c}} {
		got, err := compare(t, pair[0], pair[1], options())
		if err != nil {
			t.Fatal(err)
		}
		for _, col := range got.Columns {
			if col.Outcome != drift.Stable {
				t.Errorf("%s: %s", col.Name, col.Outcome)
			}
			for _, s := range col.Scores {
				if s.Score != 0 {
					t.Errorf("%s from %s to %s: %s is %v", col.Name, filepath.Ext(pair[0]), filepath.Ext(pair[1]), s.Method, s.Score)
				}
			}
		}
	}
}

// TestALargeReferenceIsCountedWhole has more values than a builder keeps.
func TestALargeReferenceIsCountedWhole(t *testing.T) {
	ref, cur := rows(30_000, 1, 0), rows(5000, 2, 0.5)
	o := options()
	o.Bins = profile.Options{Sample: 2000}
	for _, write := range []func(testing.TB, []row) string{parquetOf, csvOf} {
		got, err := compare(t, write(t, ref), write(t, cur), o)
		if err != nil {
			t.Fatal(err)
		}
		for _, col := range got.Columns {
			if col.NRef != 30_000 || col.NCur != 5000 {
				t.Errorf("%s: %d and %d rows", col.Name, col.NRef, col.NCur)
			}
			if (col.Outcome == drift.Drifted) != (col.Name == "number") {
				t.Errorf("%s: %s", col.Name, col.Outcome)
			}
		}
	}
}

// TestOtherToolsNumbersFromFiles computes psi.evidently of a file as of the values themselves.
func TestOtherToolsNumbersFromFiles(t *testing.T) {
	ref, cur := rows(3000, 1, 0), rows(2000, 2, 0.3)
	o := options()
	var numbers [2][]float64
	var labels [2][]string
	for s, rs := range [][]row{ref, cur} {
		for _, r := range rs {
			if r.Number != nil {
				numbers[s] = append(numbers[s], *r.Number)
			}
			if r.Carrier != nil {
				labels[s] = append(labels[s], *r.Carrier)
			}
		}
	}
	for _, name := range []string{"psi.evidently", "js.nannyml", "ks.evidently", "chi_square.nannyml"} {
		m, err := compat.Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		o.Modes = append(o.Modes, m)
	}
	got, err := compare(t, csvOf(t, ref), parquetOf(t, cur), o)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, col := range got.Columns {
		for _, other := range col.Others {
			m, err := compat.Lookup(other.Mode)
			if err != nil {
				t.Fatal(err)
			}
			var want float64
			switch col.Name {
			case "number":
				want, err = m.Numbers(numbers[0], numbers[1])
			case "carrier":
				want, err = m.Labels(labels[0], labels[1])
			default:
				continue
			}
			seen++
			if err != nil || math.Abs(other.Score-want) > 1e-12 {
				t.Errorf("%s of %s: %v, want %v, %v", other.Mode, col.Name, other.Score, want, err)
			}
			if m.PValue && other.P != other.Score {
				t.Errorf("%s of %s: p %v beside a score of %v", other.Mode, col.Name, other.P, other.Score)
			}
		}
	}
	if seen != 6 {
		t.Errorf("%d numbers, want 3 of each column", seen)
	}
}

// wide is 25 columns of shapes that people have.
type wide struct {
	N00, N01, N02, N03, N04, N05, N06, N07, N08, N09 float64
	L00, L01, L02, L03, L04                          float64
	Z00, Z01, Z02, Z03, Z04                          float64
	I00, I01, I02                                    int64
	C00, C01                                         string `parquet:",dict"`
}

func wideFile(b *testing.B, n int, seed uint64) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), fmt.Sprint(seed, ".parquet"))
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	w := pq.NewGenericWriter[wide](f, pq.MaxRowsPerRowGroup(128<<10))
	r := rand.New(rand.NewPCG(seed, 3))
	buf := make([]wide, 4096)
	for n > 0 {
		k := min(n, len(buf))
		for i := range buf[:k] {
			d := &buf[i]
			for _, x := range []*float64{&d.N00, &d.N01, &d.N02, &d.N03, &d.N04, &d.N05, &d.N06, &d.N07, &d.N08, &d.N09} {
				*x = r.NormFloat64()
			}
			for _, x := range []*float64{&d.L00, &d.L01, &d.L02, &d.L03, &d.L04} {
				*x = math.Exp(r.NormFloat64())
			}
			for _, x := range []*float64{&d.Z00, &d.Z01, &d.Z02, &d.Z03, &d.Z04} {
				*x = max(0, r.NormFloat64())
			}
			d.I00, d.I01, d.I02 = int64(r.ExpFloat64()*4), int64(r.IntN(100)), int64(r.IntN(1_000_000))
			d.C00, d.C01 = fmt.Sprint("c", r.IntN(20)), fmt.Sprint("city ", int(r.ExpFloat64()*50))
		}
		if _, err := w.Write(buf[:k]); err != nil {
			b.Fatal(err)
		}
		n -= k
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	return path
}

// bare takes values and does nothing with them.
type bare struct{}

func (bare) AddFloat64s([]float64)    {}
func (bare) AddString(string, uint64) {}
func (bare) AddNulls(uint64)          {}
func (bare) AddMistyped(uint64)       {}
