package alert_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/freshet-io/freshet/monitors/alert"
)

// TestSameAsOracle feeds random evaluations, with repeated and late ones, silences and restarts from the encoded state,
// and compares every message with the oracle's.
func TestSameAsOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := rapid.IntRange(1, 3).Draw(t, "k")
		size := rapid.Int64Range(1, 4).Draw(t, "size")
		state, want := alert.New("m"), newOracle()
		ends := map[string]int64{"windows": 1000, "ticks": 1000}
		ids := map[string]bool{}
		steps := rapid.IntRange(1, 60).Draw(t, "steps")
		for i := range steps {
			if rapid.IntRange(0, 14).Draw(t, "silence") == 0 {
				s := drawSilence(t, want.now)
				var err error
				if state, err = state.SetSilence(s); err != nil {
					t.Fatal(err)
				}
				want.silences[s.ID] = s
			}
			e := drawEvaluation(t, ends, k, size)
			said := want.evaluate(e)
			before, err := state.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if rapid.Bool().Draw(t, "restart") {
				if state, err = alert.Decode(before); err != nil {
					t.Fatal(err)
				}
			}
			next, result, err := state.Evaluate(e)
			if err != nil {
				t.Fatal(err)
			}
			if after, _ := state.Encode(); !bytes.Equal(before, after) {
				t.Fatalf("step %d: evaluating changed the state it began with", i)
			}
			state = next
			var got []string
			for _, m := range result.Messages {
				if ids[m.ID] {
					t.Fatalf("step %d: a second message %s", i, m.ID)
				}
				ids[m.ID] = true
				got = append(got, describe(m))
			}
			slices.Sort(got)
			if !slices.Equal(got, said) {
				t.Fatalf("step %d, %s [%d, %d):\n got %q\nwant %q", i, e.Lane, e.Window.Start, e.Window.End, got, said)
			}
		}
	})
}

// describe is a message as the oracle says it.
func describe(m alert.Message) string {
	var of []alert.Series
	for _, f := range m.Features {
		of = append(of, f.Series)
	}
	kind := m.Type[strings.LastIndex(string(m.Type), ".")+1:]
	return fmt.Sprintf("%s %s/%s %s %s", kind, m.Class, m.Group, m.Episode, list(of))
}

var columns = []struct {
	kind    alert.Kind
	column  string
	slice   string
	sources []string
	lane    string
}{
	{alert.Skew, "a1", "", []string{"s"}, "windows"},
	{alert.Skew, "a1", "x=1", []string{"s"}, "windows"},
	{alert.Drift, "a2", "", []string{"s", "r"}, "windows"},
	{alert.Drift, "b", "", nil, "windows"},
	{alert.Freshness, "s", "", []string{"s"}, "ticks"},
	{alert.Freshness, "s", "x=1", []string{"s"}, "ticks"},
}

func drawEvaluation(t *rapid.T, ends map[string]int64, k int, size int64) alert.Evaluation {
	lane := rapid.SampledFrom([]string{"windows", "windows", "ticks"}).Draw(t, "lane")
	end := ends[lane] + rapid.SampledFrom([]int64{1, 1, 1, 2, 5, 0, -1}).Draw(t, "step")
	ends[lane] = max(ends[lane], end)
	e := alert.Evaluation{Monitor: "m", Lane: lane, Window: alert.Window{Start: end - size, End: end}, At: end, For: k}
	for _, c := range columns {
		if c.lane != lane || rapid.IntRange(0, 9).Draw(t, "absent") == 0 {
			continue
		}
		v := alert.Verdict{Series: alert.Series{Kind: c.kind, Column: c.column, Slice: c.slice}, Sources: c.sources, Threshold: 2, Lower: 1, Significant: true, Enough: true}
		if len(c.sources) > 0 {
			v.Group = c.sources[0]
		}
		v.Effect = rapid.SampledFrom([]float64{3, 3, 3, 2, 1.5, 0, 0, 0}).Draw(t, "effect")
		v.Significant = rapid.IntRange(0, 9).Draw(t, "significant") > 0
		v.Enough = rapid.IntRange(0, 9).Draw(t, "enough") > 1
		e.Verdicts = append(e.Verdicts, v)
	}
	return e
}

func drawSilence(t *rapid.T, now int64) alert.Silence {
	start := max(1, now+rapid.Int64Range(-2, 3).Draw(t, "start"))
	return alert.Silence{
		ID: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "id"), Author: "ann", Comment: "known",
		Matchers: []alert.Matcher{{Field: "column", Op: "=~", Value: rapid.SampledFrom([]string{"a.*", "a1.*", "s.*", ".*"}).Draw(t, "value")}},
		Start:    start, End: start + rapid.Int64Range(1, 12).Draw(t, "long"),
	}
}
