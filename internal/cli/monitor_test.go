package cli

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/kafka"
	"github.com/freshet-io/freshet/monitors/alert"
	"github.com/freshet-io/freshet/monitors/baseline"
	"github.com/freshet-io/freshet/monitors/topics"
	"github.com/freshet-io/freshet/monitors/watch"
)

// watched has made a shop's baseline and judged two hours of inferences, an hour ago, whose spend_1d shifts by 8 after the
// first hour. It returns the end of the last window.
func watched(t *testing.T, s *shop) time.Time {
	t.Helper()
	plane, err := config.Load(s.plane)
	if err != nil {
		t.Fatal(err)
	}
	model := plane.Models[0]
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.seeds...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if err := kafka.EnsureTopics(t.Context(), kadm.NewClient(cl), config.Kafka{}, topics.Specs(plane)); err != nil {
		t.Fatal(err)
	}
	produce := func(topic string, p int32, key, value []byte) {
		t.Helper()
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: topics.Name(plane, topic), Partition: p, Key: key, Value: value}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	rng := rand.New(rand.NewPCG(5, 6))
	row := func(at int64, shift float64) []feature.Value { // id, version, at, p, region, spend_1d, orders_1d, last_country
		return []feature.Value{
			feature.StringValue("i"), feature.StringValue("1"), feature.Int64Value(at), feature.Float64Value(rng.Float64()), feature.StringValue([]string{"eu", "us"}[rng.IntN(2)]),
			feature.Float64Value(100 + shift + 10*rng.NormFloat64()), feature.Int64Value(int64(rng.IntN(12))), feature.StringValue("de"),
		}
	}
	d := baseline.Definition{Name: "scorer_1", Model: "scorer", Version: "1", Build: 7, From: "a test", Fields: []string{"region"}}
	for _, c := range model.Columns {
		d.Columns = append(d.Columns, baseline.Column{Name: c.Name, Type: c.Type})
	}
	b, err := baseline.Make(d, func(fn rowFunc) error {
		rng = rand.New(rand.NewPCG(7, 8))
		for range 5000 {
			r := row(0, 0)
			var values []feature.Value
			for _, c := range model.Columns {
				values = append(values, r[c.Field])
			}
			if err := fn(values, []feature.Value{r[model.Slices[0]]}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	records, err := baseline.Records(b)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		produce(topics.Baselines, 0, r.Key, r.Value)
	}
	w, err := watch.New(plane, model)
	if err != nil {
		t.Fatal(err)
	}
	w.SetBaseline(b.Name, b)
	acc := watch.NewAccumulator(model, watch.Pane(plane, model))
	acc.SetBaseline(b.Name, b)
	acc.Partitions([]int32{0}, 1)
	start := time.Now().Add(-3 * time.Hour).Truncate(10 * time.Minute)
	var judged []watch.Judgement
	for i := range 2*3600 + 60 {
		at := start.Add(time.Duration(i) * time.Second).UnixMicro()
		shift := 0.0
		if i >= 3600 {
			shift = 8
		}
		acc.Add(0, row(at, shift), at)
		if i%60 != 59 {
			continue
		}
		stray := row(at, 0)
		stray[1] = feature.StringValue("3")
		acc.Add(0, stray, at)
		for _, delta := range acc.Flush(at) {
			if err := w.Add(delta); err != nil {
				t.Fatal(err)
			}
		}
		acc.Committed()
		js, _, err := w.Advance(1 << 20)
		if err != nil {
			t.Fatal(err)
		}
		judged = append(judged, js...)
	}
	changes, err := w.Changes()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range changes {
		produce(topics.State, modelPartition(model), c.Key, c.Value)
	}
	for _, j := range judged {
		for i := range j.Scores {
			text, err := j.Scores[i].Encode()
			if err != nil {
				t.Fatal(err)
			}
			produce(topics.Scores, modelPartition(model), []byte(j.Monitor.Name), text)
		}
		for i := range j.Messages {
			text, err := j.Messages[i].Event()
			if err != nil {
				t.Fatal(err)
			}
			produce(topics.Alerts, 0, []byte(j.Messages[i].ID), text)
		}
	}
	return start.Add(2 * time.Hour)
}

func TestMonitorCommands(t *testing.T) {
	s := newShop(t)
	if r := run(t, "monitor", "scores", "inputs", s.plane, "--slice", "region=xx"); r.code != exitNotFound || !strings.Contains(r.stderr, `no scores of the slice "region=xx"`) {
		t.Errorf("of a slice that is not there: %+v", r)
	}
	if r := run(t, "monitor", "scores", "inputs", s.plane); r.code != exitNotFound || !strings.Contains(r.stderr, "no window has been judged") {
		t.Errorf("before there is anything: %+v", r)
	}
	expect(t, ok(t, "monitor", "list", s.plane).stdout, "inputs   scorer  10m every 5m  scorer_1 (not made)  none yet")
	end := watched(t, s)
	last := end.UTC().Format(time.RFC3339)

	r := ok(t, "monitor", "list", s.plane)
	expect(t, r.stdout, last, "scorer_1", "spend_1d", "(threshold 0.1)", " of 12 ")
	const stray = "model scorer: 121 inferences so far of version 3, which has no baseline: they are compared with nothing"
	expect(t, r.stderr, stray)
	expect(t, ok(t, "baseline", "list", s.plane).stderr, stray)
	expect(t, ok(t, "monitor", "list", s.plane, "--output", "json").stdout, `"unbaselined": {`, `"3": 121`)
	if firing := r.stdout[strings.LastIndex(r.stdout, "(threshold 0.1)"):]; !strings.Contains(firing, "spend_1d") {
		t.Errorf("nothing fires in\n%s", r.stdout)
	}

	t.Run("scores", func(t *testing.T) {
		// As an alert prints it: without a definition, which the environment names.
		r := runEnv(t, map[string]string{"FRESHET_PLANE": s.plane}, "monitor", "scores", "inputs", "--column", "spend_1d", "--until", last)
		if r.code != exitOK {
			t.Fatalf("%+v", r)
		}
		expect(t, r.stdout, "WINDOW ENDS", last+"  spend_1d             skew  drifted", "region=eu", "jensen_shannon")
		scores := func(args ...string) (out []watch.Score) {
			t.Helper()
			text := ok(t, append([]string{"monitor", "scores", "inputs", s.plane, "--output", "json"}, args...)...).stdout
			if err := json.Unmarshal([]byte(text), &out); err != nil {
				t.Fatal(err)
			}
			return out
		}
		mid := end.Add(-time.Hour).UTC().Format(time.RFC3339)
		for _, c := range []struct {
			args string
			want int // windows end every 5 minutes of two hours, the first after 5; 4 columns, of all rows and 2 slices
		}{
			{"--windows 0 --slice all", 24 * 12},
			{"--windows 0 --slice region=us --column orders_1d", 24},
			{"--windows 3 --slice all --column spend_1d", 9},
			{"--windows 0 --slice all --until " + mid, 12 * 12},
			{"--windows 2 --slice all --column spend_1d --until " + mid, 6},
			{"--windows 0 --slice all --column last_country --since " + mid, 13 * 3},
		} {
			if got := scores(strings.Fields(c.args)...); len(got) != c.want {
				t.Errorf("%s: %d scores, want %d", c.args, len(got), c.want)
			}
		}
		if got := scores("--column", "spend_1d", "--windows", "2", "--until", mid); got[len(got)-1].Outcome != "stable" || got[0].Window.End != end.Add(-65*time.Minute).UnixMicro() {
			t.Errorf("before the shift: %+v", got)
		}
	})

	t.Run("what an alert says prints its score", func(t *testing.T) {
		named := map[string]string{"FRESHET_PLANE": s.plane}
		var listed []struct{ Episode string }
		if err := json.Unmarshal([]byte(ok(t, "alerts", "list", s.plane, "--output", "json").stdout), &listed); err != nil || len(listed) == 0 {
			t.Fatalf("%d episodes, %v", len(listed), err)
		}
		var events []struct{ Data alert.Data }
		if err := json.Unmarshal([]byte(ok(t, "alerts", "show", listed[0].Episode, s.plane, "--output", "json").stdout), &events); err != nil || len(events) == 0 {
			t.Fatalf("%d messages, %v", len(events), err)
		}
		for _, e := range events[0].Data.Evidence {
			args := append(strings.Fields(e.Query)[1:], "--output", "json")
			var got []watch.Score
			if err := json.Unmarshal([]byte(runEnv(t, named, args...).stdout), &got); err != nil {
				t.Fatalf("%s: %v", e.Query, err)
			}
			if len(got) != 1 || alert.Number(got[0].Score) != e.Score || got[0].Window != e.Window || got[0].Series() != e.Series || int64(got[0].NCur) != e.Current.N {
				t.Errorf("%s prints %+v, the evidence is %+v", e.Query, got, e)
			}
		}
		if len(events[0].Data.Evidence) == 0 {
			t.Error("no evidence")
		}
	})

	t.Run("report", func(t *testing.T) {
		page := filepath.Join(t.TempDir(), "report.html")
		expect(t, ok(t, "monitor", "report", "inputs", s.plane, "--html", page).stdout, "report.html: ", fmt.Sprintf("changed in the window that ends at %s.", last))
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		expect(t, string(text), "<title>Monitor inputs</title>", "spend_1d (region=eu)", `aria-label="score over time"`, `aria-label="both distributions"`, "skew against baseline scorer_1", "24 windows")
		if strings.Contains(string(text), "orders_1d (region=eu)") {
			t.Error("a slice that has not changed is shown")
		}
		for _, out := range []string{"http://", "https://", "<script"} {
			if strings.Contains(string(text), out) {
				t.Errorf("the page has %q", out)
			}
		}
	})
}

func TestMonitorMistakes(t *testing.T) {
	s := newShop(t)
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"scores", "input", s.plane}, exitNotFound, `no monitor "input" in the definition; did you mean "inputs"?`},
		{[]string{"scores", "inputs", s.plane, "--column", "spend"}, exitNotFound, `the monitor inputs watches no column "spend"`},
		{[]string{"scores", "inputs", s.plane, "--slice", "eu"}, exitUsage, `--slice: "eu" is neither FIELD=VALUE nor all`},
		{[]string{"scores", "inputs", s.plane, "--until", "noon"}, exitUsage, `--until: "noon"`},
		{[]string{"report", "inputs", s.plane}, exitUsage, "give the file to write: --html report.html"},
	} {
		if r := run(t, append([]string{"monitor"}, c.args...)...); r.code != c.code || !strings.Contains(r.stderr, c.want) {
			t.Errorf("%q: exit %d, stderr %q; want %d, %q", c.args, r.code, r.stderr, c.code, c.want)
		}
	}
}

// The definition that docs/monitors.md tells readers to save is right.
func TestManualOfMonitorsHasARightDefinition(t *testing.T) {
	text, err := os.ReadFile("../../docs/monitors.md")
	if err != nil {
		t.Fatal(err)
	}
	_, plane, found := strings.Cut(string(text), "```yaml\n")
	plane, _, ended := strings.Cut(plane, "```")
	if !found || !ended {
		t.Fatal("docs/monitors.md has no definition")
	}
	file := filepath.Join(t.TempDir(), "plane.yaml")
	if err := os.WriteFile(file, []byte(plane), 0o600); err != nil {
		t.Fatal(err)
	}
	said := ok(t, "check", file).stdout
	expect(t, said, "shop is right")
	if strings.Contains(said, "warning") {
		t.Errorf("it is warned of:\n%s", said)
	}
}
