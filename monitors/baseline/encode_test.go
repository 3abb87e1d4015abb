package baseline

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/monitors/significance"
)

var update = flag.Bool("update", false, "write the golden file of the newest version")

// golden is a small baseline, as the golden files have it.
func golden(t *testing.T) *Baseline {
	t.Helper()
	d := Definition{
		Name: "b", Model: "m", Version: "1", Build: 1_700_000_000_000_000, From: "train.csv",
		Columns: []Column{{Name: "x", Type: feature.Float64}, {Name: "ok", Type: feature.Bool}}, Fields: []string{"region"},
	}
	b, err := Make(d, func(fn func(values, fields []feature.Value) error) error {
		for i := range 200 {
			x := feature.Float64Value(float64(i / 10 % 7))
			if i == 9 {
				x = feature.Value{}
			}
			if err := fn([]feature.Value{x, feature.BoolValue(i%3 == 0)}, []feature.Value{feature.StringValue([]string{"eu", "us"}[i%2])}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func readGolden(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	data, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Baselines are read as every version wrote them, and those that know nothing of how rows vary are written as ever.
func TestBaselinesAreEncodedAsTheyWere(t *testing.T) {
	first := readGolden(t, "baseline_v1.hex")
	if got := golden(t).AppendBinary(nil); !bytes.Equal(got, first) {
		t.Errorf("version 1 is written as\n%x\nand was\n%x", got, first)
	}
	if b, err := Decode(first); err != nil || b.Variation != nil || b.Columns[0].Dispersion != nil || b.Rows != 200 {
		t.Errorf("version 1: %+v, %v", b, err)
	}

	b, err := Decode(readGolden(t, "baseline_v2.hex"))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []significance.Dispersion{{Effect: 11.61480057419296, DF: 11}, {Effect: 1, DF: 95}} {
		if *b.Columns[i].Dispersion != want { // of 200 rows of 199 seconds
			t.Errorf("version 2, column %d: %+v, want %+v", i, b.Columns[i].Dispersion, want)
		}
	}
	if *b.Variation != (Variation{Version: "1"}) {
		t.Errorf("version 2: %+v", b.Variation)
	}

	live := golden(t)
	live.Variation = &Variation{Since: 0, Until: 199_000_000, Rows: 200, Version: "1"}
	live.Columns[0].Dispersion = &significance.Dispersion{Effect: 7.5, DF: 11, Peak: 0.25, Unsettled: true}
	data := live.AppendBinary(nil)
	if *update {
		if err := os.WriteFile("testdata/baseline_v3.hex", []byte(hex.EncodeToString(data)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	third := readGolden(t, "baseline_v3.hex")
	if !bytes.Equal(data, third) {
		t.Errorf("version 3 is written as\n%x\nand was\n%x", data, third)
	}
	got, err := Decode(third)
	if err != nil || *got.Columns[0].Dispersion != *live.Columns[0].Dispersion || got.Columns[1].Dispersion != nil ||
		*got.Variation != *live.Variation {
		t.Errorf("version 3: %+v, %+v, %v", got, got.Variation, err)
	}
}
