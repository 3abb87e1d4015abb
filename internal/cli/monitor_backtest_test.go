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
)

// history is three hours of a shop's inferences, one every two seconds, whose spend_1d is higher in the second: as lines, as
// a server logs them, and as a CSV file, neither in order, and training rows.
type history struct {
	lines           []string
	log, csv, train string
	begin           time.Time
}

func newHistory(t *testing.T) *history {
	t.Helper()
	dir := t.TempDir()
	h := &history{log: filepath.Join(dir, "log.ndjson"), csv: filepath.Join(dir, "log.csv"), train: filepath.Join(dir, "train.csv"), begin: time.Now().Add(-4 * time.Hour).Truncate(10 * time.Minute).UTC()}
	rng := rand.New(rand.NewPCG(3, 4))
	values := func(shift float64) (spend float64, orders int, country, region string) {
		return 100 + shift + 10*rng.NormFloat64(), rng.IntN(12), []string{"de", "fr"}[rng.IntN(2)], []string{"eu", "us"}[rng.IntN(2)]
	}
	train := []string{"spend_1d,orders_1d,last_country,region,p"}
	for range 4000 {
		s, o, c, r := values(0)
		train = append(train, fmt.Sprintf("%v,%d,%s,%s,%v", s, o, c, r, rng.Float64()))
	}
	table := []string{"at,id,version,p,region,spend_1d,orders_1d,last_country"}
	for i := range 3 * 1800 {
		shift := 0.0
		if i >= 1800 && i < 3600 {
			shift = 8
		}
		at := h.begin.Add(time.Duration(2*i) * time.Second)
		s, o, c, r := values(shift)
		p := rng.Float64()
		h.lines = append(h.lines, fmt.Sprintf(`{"id":"i%d","version":"1","at":%d,"p":%v,"region":%q,"features":{"spend_1d":%v,"orders_1d":%d,"last_country":%q}}`, i, at.UnixMicro(), p, r, s, o, c))
		table = append(table, fmt.Sprintf("%s,i%d,1,%v,%s,%v,%d,%s", at.Format(time.RFC3339), i, p, r, s, o, c))
	}
	shuffle := func(rows []string) { rng.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] }) }
	shuffle(table[1:])
	logged := append([]string{`{"id":"bad"`}, h.lines...)
	shuffle(logged)
	for path, rows := range map[string][]string{h.log: logged, h.csv: table, h.train: train} {
		if err := os.WriteFile(path, []byte(strings.Join(rows, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// produce sends the inferences to a topic of three partitions.
func (h *history) produce(t *testing.T, s *shop) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.seeds...), kgo.DefaultProduceTopic("scores"))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if _, err := kadm.NewClient(cl).CreateTopic(t.Context(), 3, 1, nil, "scores"); err != nil {
		t.Fatal(err)
	}
	var recs []*kgo.Record
	for i, line := range h.lines {
		recs = append(recs, &kgo.Record{Key: []byte(fmt.Sprint("i", i)), Value: []byte(line)})
	}
	if err := cl.ProduceSync(t.Context(), recs...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

func backtested(t *testing.T, args ...string) backtestResult {
	t.Helper()
	var out backtestResult
	if err := json.Unmarshal([]byte(ok(t, append([]string{"monitor", "backtest", "inputs", "--output", "json"}, args...)...).stdout), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// A backtest says the same of a topic, of a log and of a table, in whatever order they are.
func TestBacktest(t *testing.T) {
	s, h := newShop(t), newHistory(t)
	h.produce(t, s)
	ok(t, "baseline", "create", "scorer_1", s.plane, "--from", h.train, "--variation", "off") // what the topic has holds the fault itself
	got := backtested(t, s.plane)
	minutes := func(m int) string { return instant(h.begin.Add(time.Duration(m) * time.Minute).UnixMicro()) }
	if got.Inferences != 5400 || got.Windows != 36 || got.From != minutes(0) || len(got.Episodes) != 1 {
		t.Fatalf("%+v", got)
	}
	e := got.Episodes[0]
	if e.Class != "values" || e.Group != "orders" || e.Told < minutes(80) || e.Told > minutes(90) || e.Resolved < minutes(130) || e.Resolved > minutes(145) || !strings.Contains(strings.Join(e.Features, " "), "spend_1d") {
		t.Errorf("episode %+v", e)
	}
	if c := got.Columns[0]; c.Column != "spend_1d" || c.Windows != 35 || // the first has too few rows
		c.Changed < 9 || !(c.Max > 0.2) || !(c.Median < 0.2) || c.Threshold != 0.1 {
		t.Errorf("column %+v", c)
	}
	for name, other := range map[string]backtestResult{
		"log": backtested(t, s.plane, "--events", h.log), "table": backtested(t, s.plane, "--events", h.csv),
		"files alone": backtested(t, s.plane, "--events", h.log, "--baseline", h.train, "--brokers", "127.0.0.1:1"),
	} {
		if a, b := fmt.Sprintf("%+v", withoutIDs(got)), fmt.Sprintf("%+v", withoutIDs(other)); a != b {
			t.Errorf("%s: %s\ntopic: %s", name, b, a)
		}
	}
	r := ok(t, "monitor", "backtest", "inputs", s.plane, "--events", h.log)
	expect(t, r.stderr, "the baseline scorer_1 does not know how rows vary over time", "log.ndjson: 1 line cannot be read, and are left out; the first: line ")
	expect(t, r.stdout, "inputs over 5,400 inferences from "+minutes(0), "36 windows, 1 episode; by chance 0.0042 were to be expected.", "values  orders  spend_1d", "EFFECT P50")

	if got := backtested(t, s.plane, "--threshold", "0.6"); len(got.Episodes) != 0 || got.Columns[0].Threshold != 0.6 || got.Columns[0].Changed != 0 {
		t.Errorf("with a threshold that nothing reaches: %+v", got)
	}
	if got := backtested(t, s.plane, "--false-alarms", "7/7d"); got.Expected < 0.12 || got.Expected > 0.13 { // in three hours
		t.Errorf("false alarms expected: %v", got.Expected)
	}
	few := []string{"monitor", "backtest", "inputs", s.plane, "--min-sample", "2000", "--events", h.log, "--baseline", h.train}
	expect(t, ok(t, few...).stdout, "No window was judged: all had fewer inferences than 2,000.", "skew        0        0           -    -    -    -        0.1")
	expect(t, ok(t, append(few, "--output", "json")...).stdout, `"effect_p50": null`)
	if got := backtested(t, s.plane, "--to", minutes(60), "--from", minutes(20)); got.Inferences != 1200 || len(got.Episodes) != 0 || got.From != minutes(20) {
		t.Errorf("of the time before: %+v", got)
	}
}

func withoutIDs(r backtestResult) backtestResult {
	for i := range r.Episodes {
		r.Episodes[i].id = ""
	}
	return r
}

func TestBacktestMistakes(t *testing.T) {
	s, h := newShop(t), newHistory(t)
	for _, c := range []struct {
		code int
		says string
		args []string
	}{
		{exitNotFound, `no monitor "input" in the definition; did you mean "inputs"?`, []string{"input", s.plane}},
		{exitNotFound, "the baseline scorer_1 has not been made", []string{"inputs", s.plane, "--events", h.log}},
		{exitNotFound, "there are no inferences of that time", []string{"inputs", s.plane, "--events", h.log, "--baseline", h.train, "--from", "1h"}},
		{exitUsage, "--to is not after --from", []string{"inputs", s.plane, "--from", "1h", "--to", "2h"}},
		{exitUsage, "--from: ", []string{"inputs", s.plane, "--from", "yesterday"}},
		{exitUsage, `--false-alarms: "3" is no number of episodes in a time`, []string{"inputs", s.plane, "--false-alarms", "3"}},
		{exitUsage, "--threshold must be below 1", []string{"inputs", s.plane, "--threshold", "1.5", "--events", h.log, "--baseline", h.train}},
		{exitUsage, "--for is from 1 to 100", []string{"inputs", s.plane, "--for", "101"}},
		{exitUsage, `recorded inferences are a .ndjson, .csv or .parquet file, not ".txt"`, []string{"inputs", s.plane, "--events", "a.txt", "--baseline", h.train}},
		{exitFailure, "train.csv: there is no column of the event time (at, ", []string{"inputs", s.plane, "--events", h.train, "--baseline", h.train}},
		{exitNotFound, "no such file", []string{"inputs", s.plane, "--events", h.log, "--baseline", h.train + "x.csv"}},
	} {
		r := run(t, append([]string{"monitor", "backtest"}, c.args...)...)
		if r.code != c.code || !strings.Contains(r.stderr, c.says) {
			t.Errorf("%q: exit %d: %s; want %d: %s", c.args, r.code, r.stderr, c.code, c.says)
		}
	}
}

func TestTestsOfMonitors(t *testing.T) {
	s, h := newShop(t), newHistory(t)
	file := filepath.Join(filepath.Dir(s.plane), "shop_test.yaml")
	text := fmt.Sprintf(`
plane: [%s]
tests:
  - name: higher spend is told once
    values: &usual
      version: "1"
      spend_1d: {normal: {mean: 100, sd: 10}}
      orders_1d: {integers: {from: 0, to: 11}}
      last_country: {one_of: [de, fr]}
      region: {one_of: [eu, us]}
    inferences:
      - {from: 0, to: 1h, every: 2s}
      - {from: 1h, to: 2h, every: 2s, values: {spend_1d: {normal: {mean: 108, sd: 10}}}}
      - {from: 2h, to: 3h, every: 2s}
    expect:
      - {status: firing, class: values, group: orders, columns: [spend_1d], before: 95m}
      - {status: resolved, before: 150m}
  - name: the recorded day
    baselines: {scorer_1: {file: %s}}
    inferences: [{file: %s}]
    expect:
      - {status: firing, columns: [spend_1d]}
      - {status: resolved}
  - name: nothing is told of nothing
    values: *usual
    inferences: [{from: 0, to: 1h, every: 2s}]
    expect: [{status: firing}]
`, filepath.Base(s.plane), h.train, h.log)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := run(t, "test", file)
	if r.code != exitFailure {
		t.Errorf("exit %d", r.code)
	}
	expect(t, r.stdout, "ok    higher spend is told once (5,400 inferences, 36 windows, 2 messages, ", "ok    the recorded day (5,400 inferences, 36 windows, 2 messages, ",
		"FAIL  nothing is told of nothing (1,800 inferences, 12 windows, 0 messages, ", "      expect[0]: firing of inputs was not sent")
	expect(t, r.stderr, "tests have failed")
	ok(t, "test", file, "--run", "told once")

	var rows []testRow
	if err := json.Unmarshal([]byte(run(t, "test", file, "--output", "json").stdout), &rows); err != nil || len(rows) != 3 || !rows[0].OK || rows[2].OK || len(rows[0].Messages) != 2 || rows[0].Messages[0].At == "" {
		t.Errorf("%+v, %v", rows, err)
	}
	if r := run(t, "test", file, "--run", "xyz"); r.code != exitNotFound {
		t.Errorf("no test of that name: exit %d", r.code)
	}
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte("plane: [x]\ntests: [{named: a}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := run(t, "test", bad); r.code != exitDefinition || !strings.Contains(r.stderr, `bad.yaml: [2:10] unknown field "named"`) {
		t.Errorf("exit %d: %s", r.code, r.stderr)
	}
}
