package cli

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
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

func TestBaselineLearnsOfAnyVersionWhereItsOwnHasTooFew(t *testing.T) {
	_, csv, _ := trainingFiles(t)
	s := newShop(t)
	s.serve(t, 1500, 23, 0)
	expect(t, ok(t, "baseline", "create", "scorer_2", s.plane, "--from", csv, "--null", "NA", "--variation", "required").stdout, "how rows vary over time is known of 1,500 inferences of any version")
	if b, _ := shown(t, s, "scorer_2"); b.Variation.Version != "" {
		t.Errorf("variation %+v", b.Variation)
	}

	ok(t, "baseline", "create", "scorer_1", s.plane, "--from", csv, "--variation", "off")
	expect(t, ok(t, "baseline", "show", "scorer_1", s.plane).stdout, "how rows vary over time is not known")
	if b, effects := shown(t, s, "scorer_1"); b.Variation != nil || len(effects) > 0 {
		t.Errorf("with --variation off: %+v, %v", b.Variation, effects)
	}
	r := ok(t, "baseline", "diff", "scorer_2", "scorer_1", s.plane)
	expect(t, r.stdout, "spend_1d: scorer_2: how rows vary over time is known of 1,500 inferences of any version, 20", ", design effect ", "spend_1d: scorer_1: how rows vary over time is not known")
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
		{"--since=1h", "inferences, and it takes 1000"},
		{"--until=2h --since=10h", "inferences, and it takes 1000"},
		{"--since=2026-01-01 --until=2026-01-02", "there are no inferences"},
	} {
		r := ok(t, append([]string{"baseline", "create", "scorer_1", s.plane, "--from", csv}, strings.Fields(c.more)...)...)
		expect(t, r.stderr, "how rows vary over time is not known: of scores since 20", c.want, "create the baseline again once the model has served for 1d")
		expect(t, r.stdout, "how rows vary over time is not known")
		if r := run(t, append([]string{"baseline", "create", "scorer_1", s.plane, "--from", csv, "--variation", "required"}, strings.Fields(c.more)...)...); r.code != exitFailure || !strings.Contains(r.stderr, c.want) {
			t.Errorf("required with %s: %+v", c.more, r)
		}
	}
	dense := newShop(t)
	dense.serve(t, 1500, 0.5, 0)
	expect(t, ok(t, "baseline", "create", "scorer_1", dense.plane, "--from", csv).stderr, "1500 inferences are of 29m59s", "and it takes 2h0m0s")
}

// Where nobody said of what time, a busy topic's newest inferences are read, as far as they cover enough.
func TestOfABusyTopicTheNewestInferencesAreRead(t *testing.T) {
	s := newShop(t)
	s.serve(t, 3000, 23, 0)
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
	n, err := l.find(now)
	if span := now.Sub(l.rows.since); err != nil || n > 1500 || n < 700 || span < 5*time.Hour || span > 13*time.Hour {
		t.Errorf("%d records of %s, %v", n, now.Sub(l.rows.since), err)
	}
	l.most = 100
	if n, err := l.find(now); err == nil || !strings.Contains(err.Error(), "of which 100 are read unless --since says of what time") {
		t.Errorf("%d records, %v", n, err)
	}
	plane.Monitors[0].Size = 48 * time.Hour
	if l, err = newLearner(t.Context(), m, plane.Baselines[0], createFlags{since: "24h"}, now); err != nil || now.Sub(l.rows.since) != 24*24*time.Hour {
		t.Errorf("of windows of two days inferences are read since %s, %v", l.rows.since, err)
	}
}
