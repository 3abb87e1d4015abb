package watch

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/freshet-io/freshet/monitors/alert"
)

var update = flag.Bool("update", false, "write the golden files")

func encoded(t testing.TB, d *Delta) []byte {
	t.Helper()
	data, err := d.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// someDelta has something of everything that version 1 knows.
func someDelta() *Delta {
	return &Delta{
		Clock: 5, Total: 4, Marks: []Mark{{0, 7}, {3, Unknown}}, Pane: 60, Baseline: "b", Build: 9,
		Panes:  []PaneDelta{{Start: -5, Slice: "a=b", Rows: 3, Columns: [][]byte{{1, 2}, nil}}},
		Strays: []Stray{{"2", 4}},
	}
}

func someCheck() Check {
	return Check{
		Monitor: "inputs", Lane: "labels", Window: alert.Window{Start: 1_000_000, End: 2_000_000}, For: 3,
		Verdicts: []alert.Verdict{
			{
				Series: alert.Series{Kind: alert.Performance, Column: "prediction", Check: "rmse"}, Group: "g", Sources: []string{"s"}, Effect: math.Inf(1), Threshold: .5,
				Lower: .4, Significant: true, Enough: true, Evidence: alert.Evidence{Method: "rmse", P: alert.Number(math.NaN()), Note: "why"},
			},
			{Series: alert.Series{Kind: alert.Performance, Column: "prediction", Check: "mae"}, Effect: math.NaN(), Threshold: math.Inf(-1)},
		},
		Scores: []Score{{Kind: alert.Performance, Column: "prediction", Check: "rmse", Revision: 2, Score: 1.5, Effect: Number(math.NaN())}},
	}
}

func someJoined() *Joined {
	return &Joined{Partition: 1, Total: 3, Time: 7, Build: 5, Panes: []JoinedPane{{Start: 60, Slice: "region=eu", Sums: []byte{1, 2}}}}
}

func someSource() SourceDelta {
	return SourceDelta{Source: "orders", Total: 3, Marks: []SourceMark{{0, 8, 9}, {2, Unknown, Unknown}}, Slices: []SliceTime{{"origin=JFK", 7}}}
}

// Readers of later versions must read what earlier ones wrote.
func TestDeltasAreEncodedAsTheyWere(t *testing.T) {
	checked := someDelta()
	checked.Checks = []Check{someCheck()}
	sourced := someDelta()
	sourced.Checks, sourced.Sources = checked.Checks, []SourceDelta{someSource()}
	joined := someDelta()
	joined.Joined = someJoined()
	for name, d := range map[string]*Delta{"delta_v1.hex": someDelta(), "delta_v2.hex": checked, "delta_v3.hex": joined, "delta_v4.hex": sourced} {
		data := encoded(t, d)
		file := filepath.Join("testdata", name)
		if *update {
			if err := os.MkdirAll("testdata", 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(hex.EncodeToString(data)+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want, err := hex.DecodeString(strings.TrimSpace(string(text)))
		if err != nil || !bytes.Equal(data, want) {
			t.Errorf("%s is now\n%x\nnot\n%x (%v; -update writes it)", name, data, want, err)
		}
		got, err := DecodeDelta(want)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !reflect.DeepEqual(got.Joined, d.Joined) {
			t.Errorf("%s comes back with\n%+v\nnot\n%+v", name, got.Joined, d.Joined)
		}
		got.Joined, d.Joined = nil, nil // a pointer, compared above
		if fmt.Sprint(got) != fmt.Sprint(d) {
			t.Errorf("%s comes back as\n%v\nnot\n%v", name, got, d)
		}
	}
}

func TestDeltasOfOtherVersionsAreRefused(t *testing.T) {
	for _, data := range [][]byte{nil, {}, {0}, {5}, append(encoded(t, someDelta()), 0)} {
		if d, err := DecodeDelta(data); err == nil {
			t.Errorf("%x is taken as %v", data, d)
		}
	}
}

func FuzzDecodeDelta(f *testing.F) {
	d := someDelta()
	f.Add(encoded(f, d))
	d.Checks = []Check{someCheck(), {Monitor: "x"}}
	f.Add(encoded(f, d))
	d.Sources = []SourceDelta{someSource(), {}}
	f.Add(encoded(f, d))
	d.Joined = someJoined()
	f.Add(encoded(f, d))
	f.Add([]byte{deltaVersion})
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := DecodeDelta(data)
		if err != nil {
			return
		}
		once, err := d.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		again, err := DecodeDelta(once)
		if err != nil {
			t.Fatalf("%v does not come back: %v", d, err)
		}
		if twice := encoded(t, again); !bytes.Equal(once, twice) {
			t.Errorf("%v comes back as %v", d, again)
		}
	})
}
