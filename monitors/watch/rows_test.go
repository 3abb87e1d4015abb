package watch

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/ingest"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/monitors/alert"
)

// rowOf reads a record of a monitors' log as the sinks do, into values by field.
func rowOf(t *testing.T, src *config.Source, value []byte) (at int64, row map[string]*feature.Value) {
	t.Helper()
	r, err := ingest.NewReader(src)
	if err != nil {
		t.Fatal(err)
	}
	values := make([]feature.Value, len(src.Schema))
	at, _, refused := r.Read(&kgo.Record{Key: []byte("inputs"), Value: value, Timestamp: time.UnixMicro(start)}, values)
	if refused != nil {
		t.Fatalf("%s: %v", value, refused)
	}
	row = map[string]*feature.Value{}
	for i, f := range src.Schema {
		row[f.Name] = &values[i]
	}
	return at, row
}

func texts(v *feature.Value) (out []string) {
	for i := range v.List() {
		out = append(out, v.List()[i].Str())
	}
	return out
}

func ints(v *feature.Value) (out []int64) {
	for i := range v.List() {
		out = append(out, v.List()[i].Int64())
	}
	return out
}

// Every score is a row of the scores' table, told apart by what the table says tells rows apart, and says in it what it says.
func TestScoresAreRows(t *testing.T) {
	p := loadPlane(t, "5m", "skew: {baseline: scorer_1}\n    drift: {against: 20m}\n    quality: {}")
	s := newStream(p, 41)
	x := newPlant(t, p, s.baseline(t, 5000))
	x.run(s, 0, 3*time.Hour, shifted)
	src := p.ScoreLog()
	seen := map[string]bool{}
	kinds := map[alert.Kind]int{}
	for _, j := range x.out {
		for i := range j.Scores {
			sc := &j.Scores[i]
			text, err := sc.Encode()
			if err != nil {
				t.Fatal(err)
			}
			at, row := rowOf(t, src, text)
			kinds[sc.Kind]++
			id := fmt.Sprint(row["monitor"], row["kind"], row["column"], row["slice"], row["check"], at, row["revision"])
			if seen[id] {
				t.Fatalf("two scores are the row %s", id)
			}
			seen[id] = true
			if at != sc.Window.End || row["window_start"].Int64() != sc.Window.Start || row["column"].Str() != sc.Column || row["slice"].Str() != sc.Slice ||
				row["check"].Str() != sc.Check || row["outcome"].Str() != sc.Outcome || row["n_cur"].Int64() != int64(sc.NCur) || len(texts(row["moved"])) != len(sc.Movers) ||
				!slices.Equal(texts(row["notes"]), sc.Notes) {
				t.Fatalf("%s is the row %v", text, row)
			}
			for name, want := range map[string]Number{"score": sc.Score, "effect": sc.Effect, "p": sc.P, "p_adjusted": sc.PAdjusted, "n_eff_ref": sc.NEffRef} {
				got := row[name]
				if none := math.IsNaN(float64(want)) || math.IsInf(float64(want), 0); none != got.IsNull() || !none && got.Float64() != float64(want) {
					t.Fatalf("%s of %s is %v", name, text, got)
				}
			}
			if again, err := DecodeScore(text); err != nil || again.Series() != sc.Series() || again.Window != sc.Window {
				t.Fatalf("%s is read as %+v, %v", text, again, err)
			}
		}
	}
	for _, k := range []alert.Kind{alert.Skew, alert.Drift, alert.Quality} {
		if kinds[k] == 0 {
			t.Errorf("no score is of the kind %s: %v", k, kinds)
		}
	}
}

// The profiles that are written down have each inference once although windows overlap, of all rows and by slice.
func TestProfilesAreRows(t *testing.T) {
	p := loadPlane(t, "5m", "skew: {baseline: scorer_1}")
	s := newStream(p, 42)
	x := newPlant(t, p, s.baseline(t, 5000))
	x.watch.KeepProfiles()
	x.run(s, 0, time.Hour, func(at int64, row []feature.Value) {
		if at%(60*gap) == 0 {
			row[5] = feature.Value{}
		}
	})
	src := p.WindowLog()
	rows := map[string]int64{}
	var nulls, counted int64
	windows := map[int64]bool{}
	for _, j := range x.out {
		for w := range j.TakeProfiles() {
			text, err := w.Encode()
			if err != nil {
				t.Fatal(err)
			}
			at, row := rowOf(t, src, text)
			windows[at] = true
			column, slice := row["column"].Str(), row["slice"].Str()
			rows[column+" "+slice] += row["rows"].Int64()
			bins, counts, ref := texts(row["bins"]), ints(row["counts"]), ints(row["reference"])
			if len(bins) != len(counts) || len(bins) != len(ref) {
				t.Fatalf("%s: %d bins, %d counts, %d of the baseline", text, len(bins), len(counts), len(ref))
			}
			if column == "last_country" && (!row["mean"].IsNull() || !slices.Equal(slices.Sorted(slices.Values(bins)), []string{"de", "fr", "us"})) {
				t.Errorf("%s: bins %q, mean %v", text, bins, row["mean"])
			}
			if column != "spend_1d" || slice != "" {
				continue
			}
			nulls += row["nulls"].Int64()
			if i := slices.Index(bins, "null"); i < 0 || counts[i] != row["nulls"].Int64() {
				t.Errorf("%s has no bin of its nulls", text)
			}
			for i := range counts {
				counted += counts[i]
			}
			if m, sd := row["mean"].Float64(), row["stddev"].Float64(); math.Abs(m-100) > 3 || math.Abs(sd-10) > 2 || row["min"].Float64() >= m || row["max"].Float64() <= m {
				t.Errorf("%s: mean %g, standard deviation %g", text, m, sd)
			}
		}
	}
	if len(windows) != 5 { // the sixth ends when the last inference has come, and is not judged
		t.Errorf("profiles of %d windows", len(windows))
	}
	for name, want := range map[string]int64{"spend_1d ": 3000, "last_country ": 3000, "prediction ": 3000, "spend_1d region=eu": 3000 - rows["spend_1d region=us"]} {
		if rows[name] != want {
			t.Errorf("the profiles of %q have %d rows, want %d", name, rows[name], want)
		}
	}
	if nulls != 50 || counted != 3000 {
		t.Errorf("%d nulls, %d counted", nulls, counted)
	}
}
