package cli

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/monitors/baseline"
	"github.com/freshet-io/freshet/monitors/significance"
	"github.com/freshet-io/freshet/monitors/topics"
)

// serve writes inferences of version 1 over the last so many hours, whose spend stays alike thirty times in a row, and to which it
// adds what is given; the number of orders is drawn anew for each.
func (s *shop) serve(t *testing.T, n int, hours float64, shift int) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.seeds...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if _, err := kadm.NewClient(cl).CreateTopic(t.Context(), 3, 1, nil, "scores"); err != nil {
		t.Fatal(err)
	}
	rng, spend := rand.New(rand.NewPCG(1, 2)), 0
	begin := time.Now().Add(-time.Duration(hours * float64(time.Hour)))
	var recs []*kgo.Record
	for i := range n {
		if i%30 == 0 {
			spend = 50 + rng.IntN(1000) + shift
		}
		at := begin.Add(time.Duration(float64(i) / float64(n) * hours * float64(time.Hour)))
		text := fmt.Sprintf(`{"id":"i%d","at":%d,"version":"1","p":0.5,"region":"eu","features":{"spend_1d":%d,"orders_1d":%d}}`, i, at.UnixMicro(), spend, rng.IntN(12))
		recs = append(recs, &kgo.Record{Topic: "scores", Key: fmt.Append(nil, i), Value: []byte(text), Timestamp: at})
	}
	if err := cl.ProduceSync(t.Context(), recs...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// shown is a baseline as programs read it.
func shown(t *testing.T, s *shop, name string) (b baselineInfo, effects map[string]float64) {
	t.Helper()
	if err := json.Unmarshal([]byte(ok(t, "baseline", "show", name, s.plane, "--output", "json").stdout), &b); err != nil {
		t.Fatal(err)
	}
	effects = map[string]float64{}
	for _, c := range b.Columns {
		if c.DesignEffect != nil {
			effects[c.Name] = *c.DesignEffect
		}
	}
	return b, effects
}

// A baseline of training data knows how the model's own inferences vary, wherever they lie.
func TestBaselineOfTrainingDataLearnsHowInferencesVary(t *testing.T) {
	_, csv, _ := trainingFiles(t)
	effect := map[int]float64{}
	for _, shift := range []int{0, 300} {
		s := newShop(t)
		s.serve(t, 6000, 23, shift)
		r := ok(t, "baseline", "create", "scorer_1", s.plane, "--from", csv, "--null", "NA")
		expect(t, r.stdout, "scorer_1: 3,000 rows of train.csv", "how rows vary over time is known of 6,000 inferences of version 1, 20")
		expect(t, r.stderr, "how rows vary over time is not known of last_country: inferences share less than half")
		b, effects := shown(t, s, "scorer_1")
		if b.Variation == nil || b.Variation.Inferences != 6000 || b.Variation.Version != "1" || b.Variation.Since >= b.Variation.Until {
			t.Errorf("variation %+v", b.Variation)
		}
		if e := effects["orders_1d"]; e < 1 || e > 1.6 {
			t.Errorf("the design effect of values that are drawn anew is %g", e)
		}
		effect[shift] = effects["spend_1d"]
		if len(effects) != 2 || effects["spend_1d"] < 18 || effects["spend_1d"] > 45 {
			t.Errorf("effects %v: each spend comes thirty times", effects)
		}
	}
	if ratio := effect[300] / effect[0]; ratio < 0.7 || ratio > 1.3 {
		t.Errorf("of a standing skew the design effect is %g, without one %g: parts are compared with each other, not with the training data", effect[300], effect[0])
	}
}

func TestBaselineLearnsOfAnotherVersionWhereItsOwnHasTooFew(t *testing.T) {
	_, csv, _ := trainingFiles(t)
	s := newShop(t)
	s.serve(t, 1500, 23, 0)
	expect(t, ok(t, "baseline", "create", "scorer_2", s.plane, "--from", csv, "--null", "NA", "--variation", "required").stdout, "how rows vary over time is known of 1,500 inferences of version 1")
	if b, _ := shown(t, s, "scorer_2"); b.Variation.Version != "1" {
		t.Errorf("variation %+v", b.Variation)
	}

	ok(t, "baseline", "create", "scorer_1", s.plane, "--from", csv, "--variation", "off")
	expect(t, ok(t, "baseline", "show", "scorer_1", s.plane).stdout, "how rows vary over time is not known")
	if b, effects := shown(t, s, "scorer_1"); b.Variation != nil || len(effects) > 0 {
		t.Errorf("with --variation off: %+v, %v", b.Variation, effects)
	}
	r := ok(t, "baseline", "diff", "scorer_2", "scorer_1", s.plane)
	expect(t, r.stdout, "spend_1d: scorer_2: how rows vary over time is known of 1,500 inferences of version 1, 20", ", design effect ", "spend_1d: scorer_1: how rows vary over time is not known")
	var diff map[string]map[string]struct {
		N     uint64   `json:"n_ref"`
		NEff  float64  `json:"n_eff_ref"`
		Notes []string `json:"notes"`
	}
	if err := json.Unmarshal([]byte(ok(t, "baseline", "diff", "scorer_2", "scorer_1", s.plane, "--output", "json").stdout), &diff); err != nil {
		t.Fatal(err)
	}
	if d := diff["spend_1d"]["jensen_shannon"]; d.NEff > float64(d.N)/15 || len(d.Notes) < 2 {
		t.Errorf("the columns differ by %+v: rows count for as many as the baseline knows", d)
	}
}

func TestBaselineSaysWhyItDoesNotKnowHowInferencesVary(t *testing.T) {
	_, csv, _ := trainingFiles(t)
	s := newShop(t)
	s.serve(t, 1500, 23, 0)
	for _, c := range []struct {
		more string
		want string
	}{
		{"--since=1h", "and it takes 1,000"},
		{"--until=2h --since=10h", "and it takes 1,000"},
		{"--since=2026-01-01 --until=2026-01-02", "scores has no inferences since 2026-01-01T00:00:00Z until 2026-01-02T00:00:00Z"},
	} {
		r := ok(t, append([]string{"baseline", "create", "scorer_1", s.plane, "--from", csv}, strings.Fields(c.more)...)...)
		expect(t, r.stderr, "how rows vary over time is not known: scores has ", c.want, ": take a longer time (--since, --until)")
		expect(t, r.stdout, "how rows vary over time is not known")
		if r := run(t, append([]string{"baseline", "create", "scorer_1", s.plane, "--from", csv, "--variation", "required"}, strings.Fields(c.more)...)...); r.code != exitFailure || !strings.Contains(r.stderr, c.want) {
			t.Errorf("required with %s: %+v", c.more, r)
		}
	}
	dense := newShop(t)
	dense.serve(t, 1500, 0.5, 0)
	expect(t, ok(t, "baseline", "create", "scorer_1", dense.plane, "--from", csv).stderr, "the 1,500 inferences of version 1 of scores since 20", " are of 30m, and it takes 2h. ", "(--since 2d)")
}

// A baseline of inferences knows how they vary under the same conditions as one of training data.
func TestABaselineOfFewInferencesDoesNotKnowHowTheyVary(t *testing.T) {
	short, day := newShop(t), newShop(t)
	short.serve(t, 400, 54.0/3600, 0)
	day.serve(t, 6000, 23, 0)
	r := ok(t, "baseline", "create", "scorer_1", short.plane, "--from-topic")
	expect(t, r.stderr, "how rows vary over time is not known: scores has 400 inferences of version 1 since 20", "and it takes 1,000. ")
	if b, effects := shown(t, short, "scorer_1"); b.Rows != 400 || b.Variation != nil || len(effects) > 0 {
		t.Errorf("of 54 seconds: %+v", b)
	}
	expect(t, ok(t, "baseline", "create", "scorer_1", day.plane, "--from-topic").stdout, "how rows vary over time is known of 6,000 inferences of version 1")
	if _, effects := shown(t, day, "scorer_1"); effects["spend_1d"] < 18 || effects["spend_1d"] > 45 {
		t.Errorf("effects %v: each spend comes thirty times", effects)
	}
}

// A topic that cannot be read is no reason to make no baseline, unless it has to be.
func TestBaselineOfTrainingDataWhereTheTopicCannotBeRead(t *testing.T) {
	_, csv, _ := trainingFiles(t)
	s := newShop(t)
	s.serve(t, 10, 1, 0)
	s.cluster.ControlKey(int16(kmsg.ListOffsets), func(req kmsg.Request) (kmsg.Response, error, bool) {
		s.cluster.KeepControl()
		asked := req.(*kmsg.ListOffsetsRequest)
		if len(asked.Topics) == 0 || asked.Topics[0].Topic != "scores" {
			return nil, nil, false
		}
		resp := asked.ResponseKind().(*kmsg.ListOffsetsResponse)
		for _, topic := range asked.Topics {
			of := kmsg.ListOffsetsResponseTopic{Topic: topic.Topic}
			for _, p := range topic.Partitions {
				of.Partitions = append(of.Partitions, kmsg.ListOffsetsResponseTopicPartition{Partition: p.Partition, ErrorCode: kerr.TopicAuthorizationFailed.Code})
			}
			resp.Topics = append(resp.Topics, of)
		}
		return resp, nil, true
	})
	r := ok(t, "baseline", "create", "scorer_1", s.plane, "--from", csv)
	expect(t, r.stderr, "how rows vary over time is not known: scores cannot be read (--variation off does without): ", "TOPIC_AUTHORIZATION_FAILED")
	r = run(t, "baseline", "create", "scorer_1", s.plane, "--from", csv, "--variation", "required")
	if r.code != exitFailure || !strings.Contains(r.stderr, "read from scores how rows vary over time (--variation off does without)") || strings.Contains(r.stderr, "does not have prediction") {
		t.Errorf("required: %+v, before the training data are read", r)
	}
}

// What a baseline has not learnt, or not well, is told.
func TestWhatIsNotLearntIsTold(t *testing.T) {
	s := newShop(t)
	s.serve(t, 1500, 23, 1_000_000)
	lines := "spend_1d\n" + strings.Repeat("50\n60\n70\n", 100)
	spend := filepath.Join(t.TempDir(), "spend.csv")
	if err := os.WriteFile(spend, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	r := ok(t, "baseline", "create", "scorer_1", s.plane, "--from", spend)
	expect(t, r.stderr, "share less than half of their distribution with the training data in every column")
	expect(t, r.stdout, "how rows vary over time is not known")
	if r := run(t, "baseline", "create", "scorer_1", s.plane, "--from", spend, "--variation", "required"); r.code != exitFailure || !strings.Contains(r.stderr, "--variation required: the inferences of scores share less than half") {
		t.Errorf("required: %+v", r)
	}

	told := learnt(&baseline.Baseline{Rows: 500, Columns: []baseline.Column{
		{Name: "a", Dispersion: &significance.Dispersion{Effect: 8, DF: 5, Unsettled: true}}, {Name: "b"}, {Name: "c"}, {Name: "d", Dispersion: &significance.Dispersion{Effect: 1, DF: 95}},
	}}, []string{"b"})
	want := []string{
		"how rows vary over time is not known of b: inferences share less than half of their distribution with the training data",
		"how rows vary over time is not known of c: too few inferences have a value",
		"values of a stay alike for a good part of the time that was looked at, or for longer: learn from a longer one (--since)",
		"500 rows count for fewer than 100 independent ones in a: only large changes will be found; make the baseline of more",
	}
	if !slices.Equal(told, want) {
		t.Errorf("told %q", told)
	}
}

// Where nobody said of what time, a busy topic's newest inferences are read, as far as they cover enough.
func TestOfABusyTopicTheNewestInferencesAreRead(t *testing.T) {
	const rows = 3000
	s := newShop(t)
	s.serve(t, rows, 23, 0)
	plane, err := config.Load(s.plane)
	if err != nil {
		t.Fatal(err)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.seeds...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	now := time.Now()
	m := &monitored{plane: plane, client: cl}
	l, err := newLearner(t.Context(), m, plane.Baselines[0], createFlags{since: "24h"}, now)
	if err != nil || l.most != mostLearnt || l.least != 2*time.Hour {
		t.Fatalf("%+v, %v", l, err)
	}
	l.most = 1500
	n, err := l.find(now, true)
	if span := now.Sub(l.rows.since); err != nil || n > 1500 || n < 700 || span < 5*time.Hour || span > 13*time.Hour {
		t.Errorf("%d records of %s, %v", n, now.Sub(l.rows.since), err)
	}
	l.most = 100 // fewer than the windows need, of which all are read then
	n, err = l.find(now, true)
	if span := now.Sub(l.rows.since); err != nil || n < 200 || n > 600 || span != 132*time.Minute {
		t.Errorf("%d records of %s, %v", n, span, err)
	}
	l.mostAtAll = 200
	if n, err := l.find(now, true); err == nil || !strings.Contains(err.Error(), " records in 132m, and it is no more than 200 that are read unasked") {
		t.Errorf("%d records, %v", n, err)
	}
	// Where --since is given all are read, but for those that came after --until.
	l.rows.since, l.rows.until = now.Add(-24*time.Hour), now.Add(-12*time.Hour)
	if n, err := l.find(l.rows.until, false); err != nil || n < rows/2 || n > rows*6/10 {
		t.Errorf("%d records until twelve hours ago, %v", n, err)
	}
	plane.Monitors[0].Size = 48 * time.Hour
	if l, err = newLearner(t.Context(), m, plane.Baselines[0], createFlags{since: "24h"}, now); err != nil || now.Sub(l.rows.since) != 24*24*time.Hour {
		t.Errorf("of windows of two days inferences are read since %s, %v", l.rows.since, err)
	}
}

// A baseline that an earlier version made of inferences knows it of its own rows.
func TestABaselineOfAnEarlierVersionIsShown(t *testing.T) {
	_, csv, _ := trainingFiles(t)
	s := newShop(t)
	ok(t, "baseline", "create", "scorer_1", s.plane, "--from", csv, "--variation", "off")
	text, err := os.ReadFile("../../monitors/baseline/testdata/baseline_v2.hex")
	if err != nil {
		t.Fatal(err)
	}
	data, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	old, err := baseline.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	records, err := baseline.Records(old)
	if err != nil || len(records) != 1 {
		t.Fatalf("%d records, %v", len(records), err)
	}
	plane, err := config.Load(s.plane)
	if err != nil {
		t.Fatal(err)
	}
	header := len(records[0].Value) - len(old.AppendBinary(nil))
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.seeds...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	value := append(records[0].Value[:header:header], data...)
	if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: topics.Name(plane, topics.Baselines), Key: records[0].Key, Value: value}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	expect(t, ok(t, "baseline", "show", "b", s.plane).stdout, "how rows vary over time is known of its own rows")
	expect(t, ok(t, "baseline", "diff", "b", "b", s.plane).stdout, "x: b: how rows vary over time is known of its own rows, design effect 11.6")
}
