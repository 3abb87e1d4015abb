package scenario

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/monitors/baseline"
)

const planeText = `
project: shop
entities:
  - {name: user, join_keys: [{name: user_id, type: int64}]}
sources:
  - {name: orders, topic: orders, key: [user_id], schema: [{name: user_id, type: int64, required: true}, {name: amount, type: float64}, {name: country, type: string}]}
feature_views:
  - {name: spend, entity: user, source: orders, features: [{name: spend_1d, aggregate: sum, of: amount, window: 1d}, {name: last_country, of: country}]}
feature_services:
  - {name: fraud, features: [spend]}
models:
  - {name: scorer, feature_service: fraud, inferences: {topic: scores, id: id, version: version, event_time: {field: at, format: rfc3339}, slices: [region]}}
baselines:
  - {name: scorer_1, model: scorer, version: "1"}
monitors:
  - {name: inputs, model: scorer, window: {size: 10m, every: 5m, grace: 10s}, skew: {baseline: scorer_1}, min_sample: 200, for: 2}
`

// head is a test whose inferences and expectations follow.
const head = `
plane: [plane.yaml]
tests:
  - name: a test
    values: {version: "1", spend_1d: {normal: {mean: 100, sd: 10}}, last_country: {one_of: [de, fr], weights: [3, 1]}, region: {one_of: [eu, us]}}
`

const shift = `    inferences:
      - {from: 0, to: 1h, every: 1s}
      - {from: 1h, to: 2h, every: 1s, values: {spend_1d: {normal: {mean: 108, sd: 10}}}}
      - {from: 2h, to: 3h, every: 1s}
`

func plane(t testing.TB) *config.Plane {
	t.Helper()
	p, err := config.Parse([]config.File{{Name: "plane.yaml", Data: []byte(planeText)}}, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// noFiles opens nothing.
type noFiles struct{}

func (noFiles) Training(path string, _ baseline.Definition, _ *config.Model) (*baseline.Baseline, error) {
	return nil, errors.New("no file " + path)
}

func (noFiles) Inferences(path string, _ *config.Model, _ func([]feature.Value, int64) error) error {
	return errors.New("no file " + path)
}

func run(t *testing.T, text string) (*Result, error) {
	t.Helper()
	f, err := Parse("x_test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return Run(plane(t), &f.Tests[0], noFiles{})
}

func TestWhatIsExpected(t *testing.T) {
	r, err := run(t, head+shift+`    expect:
      - {status: firing, class: values, group: orders, columns: [spend_1d], after: 75m, before: 90m}
      - {status: resolved, columns: [spend_1d], before: 150m}
    firing:
      - {at: 60m, columns: []}
      - {at: 110m, columns: [spend_1d]}
      - {at: 150m, columns: []}
`)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Failures) > 0 || r.Rows != 3*3600 || r.Windows != 36 {
		t.Errorf("%q, %d rows, %d windows", r.Failures, r.Rows, r.Windows)
	}
}

func TestWhatIsNot(t *testing.T) {
	for _, c := range []struct{ expect, want string }{
		{"    expect: []\n", "not expected: firing of inputs at 1h25m, class values, group orders, columns [spend_1d]"},
		{"    expect: [{status: firing, before: 80m}, {status: resolved}]\n", "expect[0]: expected was before 1h20m; sent was firing of inputs at 1h25m"},
		{"    expect: [{status: firing, class: availability, columns: [last_country]}, {status: resolved}]\n", "expect[0]: expected was class availability; sent was|expect[0]: expected was columns [last_country]; sent was"},
		{"    expect: [{status: firing}, {status: resolved}, {status: firing, after: 3h}]\n", "expect[2]: firing of inputs, after 3h was not sent"},
		{"    expect: [{status: firing, group: trips}, {status: resolved}]\n", `expect[0]: expected was group "trips"`},
		{"    expect: [{status: firing}, {status: resolved}]\n    firing: [{at: 100m, columns: [last_country]}]\n", "firing[0]: at 1h40m [spend_1d] fires of inputs, expected was [last_country]"},
	} {
		r, err := run(t, head+shift+c.expect)
		if err != nil {
			t.Fatal(err)
		}
		all := strings.Join(r.Failures, "\n")
		for want := range strings.SplitSeq(c.want, "|") {
			if !strings.Contains(all, want) {
				t.Errorf("%s\nsays %q, want %q", c.expect, all, want)
			}
		}
	}
}

// That nothing fires is often because the inferences' version has no baseline.
func TestAVersionWithoutABaselineIsTold(t *testing.T) {
	r, err := run(t, strings.ReplaceAll(head, `version: "1"`, `version: "2"`)+shift+"    expect: [{status: firing}]\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"expect[0]: firing of inputs was not sent", `10800 inferences of version "2" have no baseline and were not judged`}
	if !slices.Equal(r.Failures, want) {
		t.Errorf("%q, want %q", r.Failures, want)
	}
}

func TestTheSameSeedGivesTheSame(t *testing.T) {
	say := func(seed int) string {
		r, err := run(t, head+fmt.Sprintf("    seed: %d\n", seed)+shift)
		if err != nil {
			t.Fatal(err)
		}
		var out string
		for _, m := range r.Messages {
			out += fmt.Sprint(m.At, m.Evidence)
		}
		return out
	}
	if a, b, c := say(1), say(1), say(2); a != b || a == c || a == "" {
		t.Errorf("%q\n%q\n%q", a, b, c)
	}
}

func TestMistakes(t *testing.T) {
	const one = "    inferences: [{from: 0, to: 1m, every: 1s}]\n"
	for _, c := range []struct{ text, want string }{
		{"tests: []", "plane is missing"},
		{"plane: [a]\n", "tests is missing"},
		{"plane: [a]\ntests: [{nam: x}]", `[2:10] unknown field "nam"`},
		{"plane: [a]\ntests: [{inferences: []}]", "test 1 has no name"},
		{head, "inferences is missing"},
		{"plane: [a]\ntests:\n  - name: x\n    values:\n      a: {nrmal: {mean: 1}}\n", `[5:11] unknown field "nrmal"`},
		{head + "    inferences: [{from: 0, to: 1m}]\n", "every is missing"},
		{head + "    inferences: [{from: 2m, to: 1m, every: 1s}]\n", "to 1m is not after from 2m"},
		{head + "    inferences: [{from: 0, to: 10000d, every: 1ms}]\n", "more than 50000000"},
		{head + "    inferences: [{file: a, every: 1s}]\n", "do not go with it"},
		{head + "    inferences: [{from: 0, to: 1x, every: 1s}]\n", `"1x" is no duration`},
		{head + one + "    expect: [{status: fired}]\n", `status is firing or resolved, not "fired"`},
		{head + one + "    expect: [{status: firing, after: 2m, before: 1m}]\n", "before 1m is earlier than after 2m"},
		{head + one + "    baselines: {scorer_1: {file: a, rows: 1}}\n", "give one of file and rows"},
		{"plane: [a]\ntests: [{name: x, inferences: [{to: 1m, every: 1s}]}, {name: x, inferences: [{to: 1m, every: 1s}]}]", `two tests are called "x"`},
	} {
		if _, err := Parse("x_test.yaml", []byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "x_test.yaml:") {
			t.Errorf("%s\nsays %v, want %q", c.text, err, c.want)
		}
	}
	for _, c := range []struct{ text, want string }{
		{"    model: scored\n" + one, `no model "scored"; did you mean "scorer"?`},
		{"    inferences: [{from: 0, to: 1m, every: 1s, values: {spend_1: 3}}]\n", `no column or field "spend_1"; did you mean "spend_1d"?`},
		{one + "    expect: [{monitor: input, status: firing}]\n", `expect[0]: no monitor "input" watches model scorer; did you mean "inputs"?`},
		{one + "    firing: [{monitor: x, at: 1m}]\n", `firing[0]: no monitor "x"`},
		{one + "    baselines: {scorer_2: {rows: 10}}\n", `no baseline "scorer_2" of model scorer; did you mean "scorer_1"?`},
		{one + "    baselines: {scorer_1: {file: train.csv}}\n", "baseline scorer_1: no file train.csv"},
		{"    inferences: [{file: log.ndjson}]\n", "no file log.ndjson"},
		{"    inferences: [{file: log.ndjson}, {to: 1m, every: 1s}]\n", "a file is the only inferences"},
	} {
		if _, err := run(t, head+c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s\nsays %v, want %q", c.text, err, c.want)
		}
	}
}

func TestGenerators(t *testing.T) {
	parse := func(text string) (g Generator, err error) {
		return g, yaml.UnmarshalWithOptions([]byte(text), &g, yaml.Strict())
	}
	for _, c := range []struct {
		text     string
		mean, sd float64
	}{
		{"{normal: {mean: 5, sd: 2}}", 5, 2},
		{"{lognormal: {mean: 0, sd: 0.5}}", math.Exp(0.125), math.Sqrt((math.Exp(0.25) - 1) * math.Exp(0.25))},
		{"{uniform: {from: -1, to: 3}}", 1, 4 / math.Sqrt(12)},
		{"{integers: {from: 1, to: 6}}", 3.5, math.Sqrt(35. / 12)},
		{"{exponential: {mean: 3}}", 3, 3},
		{"{one_of: [0, 10], weights: [9, 1]}", 1, 3},
		{"{one_of: [1.5, 2.5]}", 2, 0.5},
		{"7", 7, 0},
	} {
		g, err := parse(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		const n = 20_000
		rng := rand.New(rand.NewPCG(1, 1))
		var s, ss float64
		for range n {
			v := g.draw(rng)
			x := v.Float64()
			if v.Type() == feature.Int64 {
				x = float64(v.Int64())
			}
			s, ss = s+x, ss+x*x
		}
		mean := s / n
		if sd := math.Sqrt(ss/n - mean*mean); math.Abs(mean-c.mean) > 0.05*(1+c.sd) || math.Abs(sd-c.sd) > 0.05*c.sd {
			t.Errorf("%s: mean %v and sd %v, want %v and %v", c.text, mean, sd, c.mean, c.sd)
		}
	}
	for _, c := range []struct{ text, want string }{
		{"{normal: {mean: 1}, uniform: {to: 1}}", "give a plain value, or one of"},
		{"{gamma: {mean: 1}}", "unknown field"},
		{"{normal: {sd: -1}}", "sd is below 0"},
		{"{uniform: {from: 2, to: 1}}", "to is below from"},
		{"{integers: {from: 2, to: 1}}", "to is below from"},
		{"{one_of: []}", "one_of is empty"},
		{"{one_of: [1], weights: [1, 2]}", "weights 2"},
		{"{one_of: [1], weights: [-1]}", "no share"},
		{"{one_of: [1], weights: [0]}", "all weights are 0"},
		{"{one_of: [[1]]}", "is no value"},
		{"{one_of: [1], null_share: 2}", "null_share is a share"},
		{"[1]", "is no value"},
	} {
		if _, err := parse(c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s says %v, want %q", c.text, err, c.want)
		}
	}
	for text, want := range map[string]feature.Value{"null": {}, "a": feature.StringValue("a"), "true": feature.BoolValue(true), "2.5": feature.Float64Value(2.5), "-3": feature.Int64Value(-3)} {
		if g, err := parse(text); err != nil || !g.fixed.Equal(&want) {
			t.Errorf("%s: %v, %v", text, g.fixed, err)
		}
	}
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{"0": 0, "90s": 90 * time.Second, "7d": 168 * time.Hour, "1d12h": 36 * time.Hour, "'5m'": 5 * time.Minute} {
		var d Duration
		if err := yaml.Unmarshal([]byte(text), &d); err != nil || time.Duration(d) != want {
			t.Errorf("%s: %v, %v", text, d, err)
		}
	}
	for d, want := range map[time.Duration]string{0: "0s", 90 * time.Minute: "1h30m", 2 * time.Hour: "2h", 5 * time.Second: "5s", 5 * time.Minute: "5m"} {
		if got := Duration(d).String(); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}

// FuzzParse: no text panics.
func FuzzParse(f *testing.F) {
	f.Add([]byte(head + shift))
	f.Add([]byte("plane: [a]\ntests: [{name: x, values: {a: {one_of: [1, b, null], null_share: 0.5}}, inferences: [{to: 1d, every: 1h}]}]"))
	f.Fuzz(func(_ *testing.T, text []byte) {
		_, _ = Parse("x", text)
	})
}
