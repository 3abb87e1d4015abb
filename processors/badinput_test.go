package processors

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/monitors/baseline"
	"github.com/freshet-io/freshet/monitors/topics"
	"github.com/freshet-io/freshet/monitors/watch"
)

// badColumn is a column as it was in training and as it is served (a piece of JSON; "" where it is absent), and what is
// said of it.
type badColumn struct {
	name, typ string
	trained   func(r *rand.Rand, i int) feature.Value
	served    func(r *rand.Rand, i int) string
	outcome   string // of its skew
	exceeded  string // the checks of quality that are exceeded
}

func number(x float64) func(*rand.Rand, int) feature.Value {
	return func(*rand.Rand, int) feature.Value { return feature.Float64Value(x) }
}

func text(s string) func(*rand.Rand, int) string {
	return func(*rand.Rand, int) string { return s }
}

func normal(r *rand.Rand, _ int) feature.Value { return feature.Float64Value(r.NormFloat64()) }
func drawn(r *rand.Rand, _ int) string         { return fmt.Sprint(r.NormFloat64()) }
func null(*rand.Rand, int) feature.Value       { return feature.Value{} }

func badColumns() []badColumn {
	unique := func(_ *rand.Rand, i int) feature.Value { return feature.StringValue(fmt.Sprint("trained-", i)) }
	few := func(r *rand.Rand, _ int) feature.Value {
		return feature.StringValue([]string{"a", "b", "c"}[r.IntN(3)])
	}
	return []badColumn{
		{"good", "float64", normal, drawn, "stable", ""},
		{"constant", "float64", number(7), text("7"), "stable", ""},
		{"another_constant", "float64", number(7), text("8"), "drifted", "out_of_range"},
		{"becomes_constant", "float64", normal, text("0.25"), "drifted", ""},
		{"never_there", "float64", null, text("null"), "stable", ""},
		{"becomes_null", "float64", normal, text("null"), "drifted", "null_share"},
		{"absent", "float64", normal, text(""), "drifted", "null_share"},
		{"was_null", "float64", null, drawn, "drifted", ""},
		{"becomes_nan", "float64", normal, text(`"NaN"`), "drifted", "not_finite"},
		{"was_nan", "float64", number(math.NaN()), text(`"NaN"`), "stable", ""},
		{"infinite", "float64", normal, text(`"-Infinity"`), "drifted", "not_finite"},
		{"too_large", "float64", normal, text("1e999"), "drifted", "not_finite"},
		{"largest", "float64", normal, text("1.7e308"), "drifted", "out_of_range"},
		{"text_now", "float64", normal, text(`"12"`), "type_changed", "type_errors"},
		{"object_now", "string", few, text(`{"a": [1]}`), "type_changed", "type_errors"},
		{"was_text", "float64", few, drawn, "drifted", ""},
		{"endless", "string", few, func(_ *rand.Rand, i int) string { return fmt.Sprintf(`"u%d"`, i) }, "drifted", "unseen"},
		{"always_endless", "string", unique, func(_ *rand.Rand, i int) string { return fmt.Sprintf(`"served-%d"`, i) }, "stable", ""},
	}
}

// badPlane is the definition of a model of these columns, with a baseline of many rows and one of three.
func badPlane(columns []badColumn) string {
	var request []string
	for _, c := range columns {
		request = append(request, fmt.Sprintf("{name: %s, type: %s}", c.name, c.typ))
	}
	head, _, _ := strings.Cut(monitoredPlane, "feature_services:")
	return head + `feature_services:
  - {name: fraud, features: [spend], request: [` + strings.Join(request, ", ") + `]}
models:
  - name: scorer
    feature_service: fraud
    inferences: {topic: scores, id: id, event_time: {field: at, format: unix_us}, version: version, prediction: {field: p, type: probability}}
baselines:
  - {name: scorer_1, model: scorer, version: "1"}
  - {name: scorer_3, model: scorer, version: "3"}
monitors:
  - {name: inputs, model: scorer, window: {size: 10m, grace: 0s}, skew: {baseline: scorer_1}, quality: {}, min_sample: 300}
  - {name: tiny, model: scorer, window: {size: 10m, grace: 0s}, skew: {baseline: scorer_3}, quality: {}, min_sample: 300}
`
}

// trained makes a baseline of rows as they were in training.
func (s *scored) trained(name, version string, rows int, columns []badColumn) {
	s.t.Helper()
	d := baseline.Definition{Name: name, Model: "scorer", Version: version, Build: time.Now().UnixMicro()}
	for _, c := range columns {
		d.Columns = append(d.Columns, baseline.Column{Name: c.name, Type: map[string]feature.Type{"float64": feature.Float64, "string": feature.String}[c.typ]})
	}
	b, err := baseline.Make(d, func(fn func(values, fields []feature.Value) error) error {
		r := rand.New(rand.NewPCG(5, 5))
		for i := range rows {
			row := make([]feature.Value, len(columns))
			for k, c := range columns {
				row[k] = c.trained(r, i)
			}
			if err := fn(row, nil); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.produceBaseline(b)
}

// serve produces an inference for each second of a time, whose version is versions', with a feature that nobody knows.
func (s *scored) serve(d time.Duration, columns []badColumn, versions ...string) (recs []*kgo.Record) {
	s.t.Helper()
	for end := s.at + d.Microseconds(); s.at < end; s.at += 1_000_000 {
		s.n++
		var features []string
		for _, c := range columns {
			if v := c.served(s.rng, s.n); v != "" {
				features = append(features, fmt.Sprintf("%q:%s", c.name, v))
			}
		}
		for _, version := range versions {
			value := fmt.Sprintf(`{"id":"i%d-%s","at":%d,"version":%q,"p":%g,"features":{"misspelt":1,%s}}`, s.n, version, s.at, version, s.rng.Float64(), strings.Join(features, ","))
			recs = append(recs, &kgo.Record{Topic: "scores", Value: []byte(value), Timestamp: time.UnixMicro(s.at)})
		}
	}
	return recs
}

// What nobody would log on purpose has the outcomes that docs/monitors.md states, from the topic to the scores.
func TestBadInputHasTheStatedOutcome(t *testing.T) {
	columns := badColumns()
	s := newScoredOf(t, badPlane(columns))
	m, _ := s.run("one", func(o *MonitorOptions) { o.SourcePartitions = 1 })
	s.trained("scorer_1", "1", 5000, columns)
	s.trained("scorer_3", "3", 3, columns)
	eventually(t, "ready", m.Ready)
	eventually(t, "the baselines", func() error {
		if all, _ := m.follower.all(); len(all) < 2 {
			return errors.New("they are not known yet")
		}
		return nil
	})
	recs := s.serve(10*time.Minute, columns, "1", "3", "9")
	bad := func(value string, args ...any) {
		recs = append(recs, &kgo.Record{Topic: "scores", Value: fmt.Appendf(nil, value, args...), Timestamp: time.UnixMicro(s.at - 1)})
	}
	bad(`{"id":"f","at":%d,"version":"1","p":0.5}`, s.at+time.Hour.Microseconds()) // its clock is an hour ahead
	bad(`{"id":"n","at":%d,"version":"1","p":NaN}`, s.at-1)                        // no JSON
	bad(`{"id":"w","at":%d,"version":"1","p":"high"}`, s.at-1)                     // the prediction is no feature
	recs = append(recs, s.serve(2*time.Second, columns, "1", "3")...)
	if err := s.client.ProduceSync(t.Context(), recs...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	var scores []watch.Score
	eventually(t, "the scores", func() error {
		scores = scores[:0]
		monitors := map[string]bool{}
		for _, rec := range s.read(topics.Scores, topics.Partitions) {
			sc, err := watch.DecodeScore(rec.Value)
			if err != nil {
				return err
			}
			scores = append(scores, sc)
			monitors[sc.Monitor] = true
		}
		if len(monitors) < 2 {
			return fmt.Errorf("only of %v", slices.Collect(maps.Keys(monitors)))
		}
		return nil
	})
	checkBadScores(t, columns, scores)
	if n := testutil.ToFloat64(m.met.unbaselined.WithLabelValues("scorer")); n != 600 {
		t.Errorf("%g inferences of a version without a baseline, want 600", n)
	}
	for class, want := range map[string]float64{"too_far_ahead": 1, "malformed": 1, "wrong_type": 1} {
		if n := testutil.ToFloat64(m.met.deadLetters.WithLabelValues("scorer", class)); n != want {
			t.Errorf("%g dead letters %s, want %g", n, class, want)
		}
	}
	if n := testutil.ToFloat64(m.met.unknownFields.WithLabelValues("scorer")); n != 1804 {
		t.Errorf("%g fields that the model does not name, want 1804", n)
	}
	for _, sc := range scores { // whatever it is, it can be written and read by others
		if text, err := sc.Encode(); err != nil || !json.Valid(text) {
			t.Errorf("%+v: %s, %v", sc, text, err)
		}
	}
}

// checkBadScores holds the scores of the one window of each monitor to what is said of the columns.
func checkBadScores(t *testing.T, columns []badColumn, scores []watch.Score) {
	t.Helper()
	outcomes, exceeded := map[string]string{}, map[string][]string{}
	for _, sc := range scores {
		switch {
		case sc.NCur != 600:
			t.Errorf("%s %s of %s has %d rows, want 600", sc.Kind, sc.Column, sc.Monitor, sc.NCur)
		case sc.Monitor == "tiny":
			if sc.Outcome != "too_few_rows" {
				t.Errorf("on a baseline of three rows %s %s %s is %s", sc.Kind, sc.Column, sc.Check, sc.Outcome)
			}
		case sc.Kind == "skew":
			outcomes[sc.Column] = sc.Outcome
		case sc.Outcome == "exceeded":
			exceeded[sc.Column] = append(exceeded[sc.Column], sc.Check)
		}
	}
	for _, c := range columns {
		if got := outcomes[c.name]; got != c.outcome {
			t.Errorf("%s is %q, want %s", c.name, got, c.outcome)
		}
		if got := strings.Join(exceeded[c.name], " "); got != c.exceeded {
			t.Errorf("%s exceeds %q, want %q", c.name, got, c.exceeded)
		}
	}
}
