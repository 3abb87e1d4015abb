package e2e

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	values "github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/testenv"
	"github.com/freshet-io/freshet/monitors/alert"
	"github.com/freshet-io/freshet/monitors/topics"
	"github.com/freshet-io/freshet/monitors/watch"
)

const servedPlane = `
project: %[1]s
entities:
  - {name: user, join_keys: [{name: user, type: string}]}
sources:
  - {name: orders, topic: %[2]s, key: [user], schema: [{name: user, type: string, required: true}, {name: amount, type: float64}]}
feature_views:
  - {name: spend, entity: user, source: orders, features: [{name: total, aggregate: sum, of: amount}, {name: orders, aggregate: count}]}
feature_services:
  - {name: fraud, features: [spend]}
models:
  - name: scorer
    feature_service: fraud
    inferences: {topic: %[2]s.scores, id: id, event_time: {field: at, format: unix_us}, as_of: {field: as_of}, prediction: {field: p, type: float64}}
    labels: {topic: %[2]s.truth, id: id, field: y, type: float64, event_time: {field: at, format: unix_us}, within: 10m}
baselines:
  - {name: scorer_1, model: scorer}
monitors:
  - {name: inputs, model: scorer, window: {size: 1m, grace: 0s}, skew: {baseline: scorer_1}, value_skew: {settle: 0s, timing: 500ms}, for: 1}
  - {name: predictions, model: scorer, window: {size: 1m, grace: 0s}, performance: {min_coverage: 0.5, metrics: [{name: rmse, max: 1}, {name: mae, max: 1}]}, min_sample: 20, for: 1}
offline: {flush_interval: 100ms}
`

// served is a model's server and the world that it predicts, in the minute that begins at begin.
type served struct {
	p     *plane
	cl    *kgo.Client
	begin int64
	rng   *rand.Rand

	ordered  map[string]float64 // sum of a user's amounts, which there are two of
	predict  map[string]float64 // by id, what was predicted at first
	at       map[string]int64
	truth    map[string]float64        // by id, the label that counts
	compared map[string]map[string]int // by feature and outcome
	unkeyed  int
}

func (s *served) produce(recs ...*kgo.Record) {
	s.p.t.Helper()
	if err := s.cl.ProduceSync(s.p.t.Context(), recs...).FirstErr(); err != nil {
		s.p.t.Fatal(err)
	}
}

// order makes a record of an order, which came when it was made. All are in one partition.
func (s *served) order(user string, amount float64, at int64) *kgo.Record {
	return &kgo.Record{Topic: s.p.topic, Key: []byte(user), Value: fmt.Appendf(nil, `{"user":%q,"amount":%g}`, user, amount), Timestamp: time.UnixMicro(at)}
}

// infer makes a record of an inference of some time of the minute; features are as they are written.
func (s *served) infer(id, user, features string, asOf int64) *kgo.Record {
	p := float64(s.rng.IntN(64)) / 4 // sums of such numbers, and of their squares, are exact
	if _, again := s.predict[id]; !again {
		s.predict[id], s.at[id] = p, s.begin+s.rng.Int64N(59*second)
	}
	text := fmt.Sprintf(`{"id":%q,"at":%d,"user":%s,"as_of":%d,"p":%g,"features":{%s}}`, id, s.at[id], user, asOf, p, features)
	return &kgo.Record{Topic: s.p.topic + ".scores", Value: []byte(text), Partition: int32(len(s.predict) % 2)}
}

// label makes a record of a label; labels are partitioned otherwise than inferences.
func (s *served) label(id string, y float64, at int64) *kgo.Record {
	return &kgo.Record{Topic: s.p.topic + ".truth", Value: fmt.Appendf(nil, `{"id":%q,"at":%d,"y":%g}`, id, at, y), Partition: s.rng.Int32N(2)}
}

// count notes what comes of comparing an inference.
func (s *served) count(total, orders string) {
	for feature, outcome := range map[string]string{"total": total, "orders": orders} {
		if s.compared[feature] == nil {
			s.compared[feature] = map[string]int{}
		}
		s.compared[feature][outcome]++
	}
}

// serve makes the inferences of all users, some of which were served something else than what is computed.
func (s *served) serve(in *instance, users []string) (recs []*kgo.Record) {
	t := s.p.t
	t.Helper()
	for i, u := range users {
		sum, asOf := s.ordered[u], s.begin+30*second
		total, orders := fmt.Sprint(sum), "2"
		switch i % 5 {
		case 0: // as it was looked up
			a, at, err := lookup(in.http, []string{"spend:total", "spend:orders"}, map[string][]any{"user": {u}})
			if err != nil {
				t.Fatal(err)
			}
			total, orders, asOf = string(a.Results[1].Values[0]), string(a.Results[2].Values[0]), at
			s.count("match", "match")
		case 1: // in another unit
			total = fmt.Sprint(sum * 1.5)
			s.count("mismatch", "match")
		case 2: // not at all
			total = "null"
			s.count("missing", "match")
		case 3: // a moment too early: an order came just before the lookup, and is not in it
			recs = append(recs, s.order(u, 4, asOf-second/10))
			s.count("timing", "timing")
		case 4: // as text
			orders = `"two"`
			s.count("match", "mismatch")
		}
		recs = append(recs, s.infer("i-"+u, fmt.Sprintf("%q", u), fmt.Sprintf(`"total":%s,"orders":%s`, total, orders), asOf))
	}
	s.unkeyed++
	return append(recs, s.infer("nobody", "null", `"total":1,"orders":1`, s.begin+30*second))
}

// errors returns the root of the mean squared error and the mean absolute one of the inferences that have labels, and their share.
func (s *served) errors() (rmse, mae, coverage float64) {
	var n float64
	for id, y := range s.truth {
		d := s.predict[id] - y
		rmse, mae, n = rmse+d*d, mae+math.Abs(d), n+1
	}
	return math.Sqrt(rmse / n), mae / n, n / float64(len(s.predict))
}

// scores returns the scores of the minute, by kind, column and check, each of its last revision.
func (s *served) scores() map[string]watch.Score {
	out := map[string]watch.Score{}
	for _, rec := range s.p.records(s.p.t, s.p.prefix+topics.Scores) {
		sc, err := watch.DecodeScore(rec.Value)
		if err != nil {
			s.p.t.Fatal(err)
		}
		key := strings.TrimSpace(fmt.Sprint(sc.Kind, " ", sc.Column, " ", sc.Check))
		if have, ok := out[key]; sc.Window.End == s.begin+60*second && (!ok || sc.Revision > have.Revision) {
			out[key] = sc
		}
	}
	return out
}

// passed tells all partitions of inferences and labels that the time has come.
func (s *served) passed(at int64) {
	var recs []*kgo.Record
	for part := range int32(2) {
		inference := fmt.Sprintf(`{"id":"clock-%d-%d","at":%d,"p":1,"features":{}}`, at, part, at)
		label := fmt.Sprintf(`{"id":"none-%d-%d","at":%d,"y":1}`, at, part, at)
		recs = append(recs, &kgo.Record{Topic: s.p.topic + ".scores", Value: []byte(inference), Partition: part}, &kgo.Record{Topic: s.p.topic + ".truth", Value: []byte(label), Partition: part})
	}
	s.produce(recs...)
}

// TestServedValuesAndLateLabels: what a model was served is compared with the history, and its predictions with labels that come early,
// late, corrected, twice and never; what is found equals plain loops over what was sent.
func TestServedValuesAndLateLabels(t *testing.T) {
	t.Parallel()
	broker := testenv.Kafka(t)
	p := newPlane(t, servedPlane, broker, broker, testenv.Redis(t), 1)
	clickhouse, _ := testenv.ClickHouse(t)
	p.processing, p.stores = ", commit_interval: 200ms", clickHouseAt(clickhouse)
	s := &served{
		p: p, cl: p.client(kgo.RecordPartitioner(kgo.ManualPartitioner())), begin: time.Now().Add(-time.Hour).Truncate(time.Minute).UnixMicro(), rng: rand.New(rand.NewPCG(7, 7)),
		ordered: map[string]float64{}, predict: map[string]float64{}, at: map[string]int64{}, truth: map[string]float64{}, compared: map[string]map[string]int{},
	}
	if _, err := kadm.NewClient(s.cl).CreateTopics(t.Context(), 2, 1, nil, p.topic+".scores", p.topic+".truth"); err != nil {
		t.Fatal(err)
	}
	createBaseline(p, s.cl, p.definition(), func() []values.Value {
		return []values.Value{values.Float64Value(50 * s.rng.Float64()), values.Int64Value(2), values.Float64Value(float64(s.rng.IntN(64)) / 4)}
	})
	in := p.run("one")
	var users []string
	for i := range 40 {
		u := fmt.Sprint("u", i)
		users = append(users, u)
		s.ordered[u] = float64(i) + 10.25
		s.produce(s.order(u, float64(i)+0.25, s.begin-600*second), s.order(u, 10, s.begin-300*second))
	}
	eventually(t, "features", func() error {
		a, _, err := lookup(in.http, []string{"spend:orders"}, map[string][]any{"user": {users[39]}})
		if err == nil && string(a.Results[1].Values[0]) != "2" {
			err = fmt.Errorf("orders: %s", a.Results[1].Values[0])
		}
		return err
	})
	recs := s.serve(in, users)
	// Half of the labels come with their inferences or before them, one of them twice, and one inference comes again.
	var labels []*kgo.Record
	for i, u := range users {
		id := "i-" + u
		y := float64(s.rng.IntN(64)) / 4
		switch {
		case i%2 == 0:
			labels = append(labels, s.label(id, y, s.at[id]+second), s.label(id, y+1, s.at[id]))
			s.truth[id] = y // the later one
		case i == 1:
			recs = append(recs, s.infer(id, fmt.Sprintf("%q", u), `"total":1,"orders":1`, s.begin+30*second))
			s.count("mismatch", "mismatch")
		}
	}
	s.produce(labels...)
	s.produce(recs...)
	s.passed(s.begin + 180*second)
	s.awaitQuality("first", 0)

	labels = nil
	for i, u := range users {
		id := "i-" + u
		switch {
		case i%4 == 1: // late
			s.truth[id] = float64(s.rng.IntN(64)) / 4
			labels = append(labels, s.label(id, s.truth[id], s.at[id]+120*second))
		case i%8 == 0: // corrected
			s.truth[id] += 2
			labels = append(labels, s.label(id, s.truth[id], s.at[id]+130*second))
		case i == 3: // too late
			labels = append(labels, s.label(id, 1000, s.at[id]+601*second))
		}
	}
	s.produce(labels...)
	s.passed(s.begin + 240*second)
	s.awaitQuality("second", 1)
	s.checkCompared()
	in.stop()
}

// awaitQuality waits for a revision of the scores by labels that says what the oracle does.
func (s *served) awaitQuality(what string, revision int) {
	s.p.t.Helper()
	rmse, mae, coverage := s.errors()
	eventually(s.p.t, "the "+what+" revision of quality", func() error {
		scores := s.scores()
		for check, want := range map[string]float64{"rmse": rmse, "mae": mae} {
			sc, ok := scores["performance prediction "+check]
			if !ok || sc.Revision < revision || float64(sc.Score) != want || sc.Coverage == nil || float64(*sc.Coverage) != coverage || sc.NCur != uint64(len(s.truth)) {
				return fmt.Errorf("%s is %v of %d, coverage %v, revision %d; want %v of %d, %v", check, sc.Score, sc.NCur, sc.Coverage, sc.Revision, want, len(s.truth), coverage)
			}
		}
		return nil
	})
}

// checkCompared holds the counts of compared values to what was served.
func (s *served) checkCompared() {
	t := s.p.t
	t.Helper()
	eventually(t, "compared values", func() error {
		if scores := s.scores(); scores["value_skew total"].Column == "" || scores["value_skew orders"].Column == "" {
			return fmt.Errorf("there are scores of %d series", len(scores))
		}
		return nil
	})
	for feature, want := range s.compared {
		sc := s.scores()["value_skew "+feature]
		n := 0
		for _, k := range want {
			n += k
		}
		differ := float64(want["mismatch"]+want["missing"]) / float64(n)
		if int(sc.NCur) != n || float64(sc.Score) != differ || sc.Outcome != "drifted" {
			t.Errorf("%s: %v of %d values differ, %s; want %v of %d", feature, sc.Score, sc.NCur, sc.Outcome, differ, n)
		}
		for _, outcome := range []string{"mismatch", "missing", "timing"} {
			starts := fmt.Sprintf("%s: %d of %d; as id ", outcome, want[outcome], n)
			if found := slices.ContainsFunc(sc.Notes, func(note string) bool { return strings.HasPrefix(note, starts) }); found != (want[outcome] > 0) {
				t.Errorf("%s: %q in %q: %t", feature, starts, sc.Notes, found)
			}
		}
		if want := fmt.Sprintf("%d more inferences have no join key", s.unkeyed); !slices.Contains(sc.Notes, want) {
			t.Errorf("%s: no %q in %q", feature, want, sc.Notes)
		}
	}
	var skews []string
	for _, rec := range s.p.records(t, s.p.prefix+topics.Scores) {
		var sc struct {
			Kind   alert.Kind
			Column string
			Window alert.Window
		}
		if err := json.Unmarshal(rec.Value, &sc); err != nil {
			t.Fatal(err)
		}
		if sc.Kind == alert.ValueSkew && sc.Window.End == s.begin+60*second {
			skews = append(skews, sc.Column)
		}
	}
	if slices.Sort(skews); !slices.Equal(skews, []string{"orders", "total"}) {
		t.Errorf("the minute was compared as %q", skews)
	}
}
