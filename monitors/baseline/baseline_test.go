package baseline

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/monitors/profile"
)

func definition() Definition {
	return Definition{
		Name: "b", Model: "m", Version: "1", Build: 1_700_000_000_000_000, From: "train.parquet",
		Columns: []Column{{Name: "x", Type: feature.Float64}, {Name: "city", Type: feature.String}, {Name: "ok", Type: feature.Bool}},
		Fields:  []string{"carrier"},
	}
}

// rows are n rows of two carriers, whose values differ.
func rows(n int) Rows {
	return func(fn func(values, fields []feature.Value) error) error {
		rng := rand.New(rand.NewPCG(1, 2))
		for i := range n {
			carrier := []string{"AA", "UA"}[i%2]
			x := feature.Float64Value(rng.NormFloat64() + float64(i%2))
			switch i % 50 {
			case 7:
				x = feature.Value{}
			case 8:
				x = feature.Float64Value(math.NaN())
			case 9:
				x = feature.StringValue("seven")
			}
			v := []feature.Value{x, feature.StringValue(fmt.Sprintf("c%d", rng.IntN(30))), feature.BoolValue(rng.IntN(3) == 0)}
			f := []feature.Value{feature.StringValue(carrier)}
			if i%10 == 3 {
				f[0] = feature.Value{}
			}
			if err := fn(v, f); err != nil {
				return err
			}
		}
		return nil
	}
}

func TestMakeCountsEveryRow(t *testing.T) {
	for _, n := range []int{3, 1000, 70_000} { // the last are more than are kept at the first reading
		b, err := Make(definition(), rows(n))
		if err != nil {
			t.Fatal(err)
		}
		var sliced uint64
		for _, s := range b.Slices {
			sliced += s.Rows
			for k, p := range s.Profiles {
				if p.Rows() != s.Rows {
					t.Errorf("%d rows: slice %s, column %d has %d of %d rows", n, s.Value, k, p.Rows(), s.Rows)
				}
			}
		}
		if b.Rows != uint64(n) || b.Columns[0].Profile.Rows() != b.Rows || n >= 1000 && sliced != b.Rows*9/10 {
			t.Errorf("%d rows: %d, %d in x, %d in slices", n, b.Rows, b.Columns[0].Profile.Rows(), sliced)
		}
		if n >= 1000 && (b.Columns[0].Profile.Of(profile.Null) != b.Rows/50 || b.Columns[0].Profile.Of(profile.Mistyped) != b.Rows/50) {
			t.Errorf("%d rows: %d null, %d mistyped", n, b.Columns[0].Profile.Of(profile.Null), b.Columns[0].Profile.Of(profile.Mistyped))
		}
		if n >= 1000 {
			aa, ua := b.Profile(0, "carrier=AA").Moments(), b.Profile(0, "carrier=UA").Moments()
			if math.Abs(ua.Mean-aa.Mean-1) > 0.3 {
				t.Errorf("%d rows: means of the slices %g and %g", n, aa.Mean, ua.Mean)
			}
		}
	}
}

func TestMakeRefusesWhatIsNoReference(t *testing.T) {
	if _, err := Make(definition(), rows(0)); err == nil || !strings.Contains(err.Error(), "there are no rows") {
		t.Errorf("no rows: %v", err)
	}
	n := 100
	shrinking := func(fn func(values, fields []feature.Value) error) error { n--; return rows(n)(fn) }
	if _, err := Make(definition(), shrinking); err == nil || !strings.Contains(err.Error(), "99 rows at first and 98") {
		t.Errorf("rows that differ: %v", err)
	}
}

func TestRecordsComeBack(t *testing.T) {
	b, err := Make(definition(), rows(2000))
	if err != nil {
		t.Fatal(err)
	}
	data := b.AppendBinary(nil)
	got, err := Decode(data)
	if err != nil || !bytes.Equal(got.AppendBinary(nil), data) {
		t.Fatalf("decoded another baseline: %v", err)
	}
	recs, err := Records(b)
	if err != nil {
		t.Fatal(err)
	}
	var c Collection
	for i, r := range recs {
		name, err := c.Add(r.Key, r.Value)
		if err != nil || (name == "b") != (i == len(recs)-1) {
			t.Errorf("record %d: %q, %v", i, name, err)
		}
	}
	if c.Get("b").Rows != 2000 {
		t.Errorf("collected %+v", c.Get("b"))
	}
	for _, r := range Deletion("b") {
		if _, err := c.Add(r.Key, r.Value); err != nil {
			t.Error(err)
		}
	}
	if c.Get("b") != nil {
		t.Error("it is still there")
	}
}

// A build counts when it is whole, and the one before stays until then.
func TestABuildInPartsReplacesTheOneBefore(t *testing.T) {
	var c Collection
	old, err := Make(definition(), rows(10))
	if err != nil {
		t.Fatal(err)
	}
	next := definition()
	next.Build++
	for k := range 40 { // large enough for several parts
		next.Columns = append(next.Columns, Column{Name: fmt.Sprintf("s%d", k), Type: feature.String})
	}
	large, err := Make(next, func(fn func(values, fields []feature.Value) error) error {
		for i := range 50 * 60 {
			v := make([]feature.Value, len(next.Columns))
			for k := 3; k < len(v); k++ {
				v[k] = feature.StringValue(strings.Repeat("x", 60) + fmt.Sprint(i%250))
			}
			if err := fn(v, []feature.Value{feature.StringValue(fmt.Sprint("slice", i%50))}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	add := func(b *Baseline) {
		recs, err := Records(b)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range recs {
			if _, err := c.Add(r.Key, r.Value); err != nil {
				t.Fatal(err)
			}
			if i < len(recs)-1 && c.Get("b").Build != old.Build {
				t.Fatal("an incomplete build counts")
			}
		}
		if len(recs) < 2 && b == large {
			t.Fatalf("%d parts", len(recs))
		}
	}
	add(old)
	add(large)
	if c.Get("b").Build != next.Build || len(c.Get("b").Slices) != 50 {
		t.Errorf("build %d, %d slices", c.Get("b").Build, len(c.Get("b").Slices))
	}
}

func FuzzDecode(f *testing.F) {
	b, err := Make(definition(), rows(60))
	if err != nil {
		f.Fatal(err)
	}
	data := b.AppendBinary(nil)
	f.Add(data)
	f.Add(data[:len(data)/2])
	f.Add([]byte{encodingVersion})
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := Decode(data)
		if err != nil {
			return
		}
		if _, err := Decode(b.AppendBinary(nil)); err != nil {
			t.Errorf("what was decoded cannot be decoded again: %v", err)
		}
	})
}
