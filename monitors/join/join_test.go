package join

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/monitors/quality"
)

const within, pane = 1000, 100

var definition = quality.Definition{Prediction: config.Number}

// naive is the sums of all records by their rules, read once: the last label in time of each first inference.
func naive(ids map[string][]Record) map[Pane]*quality.Sums {
	j := NewJoiner(definition, within, pane)
	for _, recs := range ids {
		var first *Inference
		for _, r := range recs {
			switch {
			case r.Inference != nil && first == nil:
				first = r.Inference
				j.each(first, func(s *quality.Sums) { s.Inferences++ })
			case r.Inference != nil:
				j.each(r.Inference, func(s *quality.Sums) { s.Duplicates++ })
			}
		}
		if first == nil {
			continue
		}
		var last *Label
		for _, r := range recs {
			if l := r.Label; l != nil && l.At-first.At <= within && (last == nil || last.before(l.Order)) {
				last = l
			}
		}
		if last != nil {
			j.each(first, func(s *quality.Sums) { definition.Count(s, &first.Prediction, &last.Value, 1) })
		}
	}
	panes, _ := j.Flush()
	return panes
}

// TestAnyOrderGivesTheNaiveJoin: labels before inferences, repeated, corrected, late and in any order, with the state encoded
// between any two records.
func TestAnyOrderGivesTheNaiveJoin(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	ids := map[string][]Record{}
	var order []string
	for n := range 4000 {
		id := fmt.Sprint(r.IntN(900))
		o := Order{At: int64(r.IntN(3000)), Partition: int32(r.IntN(3)), Offset: int64(n)}
		rec := Record{Inference: &Inference{o, feature.Float64Value(r.NormFloat64()), []string{fmt.Sprint("s=", r.IntN(3))}}}
		if r.IntN(3) > 0 {
			rec = Record{Label: &Label{o, feature.Float64Value(r.NormFloat64())}}
		}
		ids[id], order = append(ids[id], rec), append(order, id)
	}
	j := NewJoiner(definition, within, pane)
	cases, at, sum := map[string][]byte{}, map[string]int{}, map[Pane]*quality.Sums{}
	var counts Counts
	flush := func() {
		panes, c := j.Flush()
		counts.Add(c)
		for k, s := range panes {
			if sum[k] == nil {
				sum[k] = &quality.Sums{}
			}
			sum[k].Merge(s)
		}
	}
	for i, id := range order {
		rec, err := Decode(ids[id][at[id]].AppendBinary(nil))
		if err != nil || !reflect.DeepEqual(rec, ids[id][at[id]]) {
			t.Fatalf("a record reads back as %+v: %v", rec, err)
		}
		at[id]++
		c := &Case{}
		if cases[id] != nil {
			if c, err = DecodeCase(cases[id]); err != nil {
				t.Fatal(err)
			}
		}
		if rec.Inference != nil {
			j.Infer(c, rec.Inference)
		} else {
			j.Label(c, *rec.Label)
		}
		cases[id] = c.AppendBinary(nil)
		if i%7 == 0 {
			flush()
		}
	}
	flush()
	want := naive(ids)
	for k, s := range want {
		if sum[k] == nil || !bytes.Equal(sum[k].AppendBinary(nil), s.AppendBinary(nil)) {
			t.Errorf("pane %v differs", k)
		}
	}
	for k, s := range sum {
		if want[k] == nil && !s.Empty() {
			t.Errorf("pane %v should be empty", k)
		}
	}
	if counts.Duplicates == 0 || counts.Corrected == 0 || counts.Late == 0 || counts.Superseded == 0 || counts.Joined == 0 {
		t.Errorf("the records prove nothing: %+v", counts)
	}
}

func TestIdsAreForgotten(t *testing.T) {
	j := NewJoiner(definition, within, pane)
	c := &Case{}
	j.Label(c, Label{Order: Order{At: 500}})
	j.Label(c, Label{Order: Order{At: 700}})
	if j.Expired(c, 1700) || !j.Expired(c, 1701) {
		t.Error("labels wait until `within` after the last")
	}
	j.Forget(c)
	if _, n := j.Flush(); n.Unmatched != 2 {
		t.Errorf("%+v", n)
	}
	j.Infer(c, &Inference{Order: Order{At: 100}})
	if j.Expired(c, 1100) || !j.Expired(c, 1101) {
		t.Error("an inference waits for `within`")
	}
	j.Forget(c)
	if _, n := j.Flush(); n.Unmatched != 0 || n.Joined != 1 || n.Corrected != 1 {
		t.Errorf("%+v", n)
	}
	if j.Expired(&Case{}, -1<<63) {
		t.Error("nothing is forgotten before time begins")
	}
}

// TestANewDefinitionBeginsAnew: what an earlier definition counted is not taken out of the sums of the new one.
func TestANewDefinitionBeginsAnew(t *testing.T) {
	old := NewJoiner(quality.Definition{Prediction: config.Probability, Cutoff: 0.5}, within, pane)
	c := &Case{}
	old.Infer(c, &Inference{Prediction: feature.Float64Value(0.6)})
	old.Label(c, Label{Order: Order{At: 1}, Value: feature.BoolValue(false)})
	fresh := NewJoiner(quality.Definition{Prediction: config.Probability, Cutoff: 0.9}, within, pane)
	fresh.Label(c, Label{Order: Order{At: 2}, Value: feature.BoolValue(true)})
	panes, _ := fresh.Flush()
	if s := panes[Pane{}]; s == nil || s.Inferences != 1 || s.Labelled != 1 || s.FN != 1 || s.FP != 0 {
		t.Errorf("%+v", s)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(Record{Inference: &Inference{Prediction: feature.StringValue("a"), Slices: []string{"x=y"}}}.AppendBinary(nil))
	f.Add(Record{Label: &Label{Value: feature.Int64Value(-1)}}.AppendBinary(nil))
	f.Add(Record{Progress: &Progress{Of: [2]Watermarks{{2, []Watermark{{1, -5}}}, {}}}}.AppendBinary(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		rec, err := Decode(data)
		if err != nil {
			return
		}
		again, err := Decode(rec.AppendBinary(nil))
		if err != nil || !bytes.Equal(again.AppendBinary(nil), rec.AppendBinary(nil)) {
			t.Fatalf("%x reads back as something else: %v", data, err)
		}
	})
}
