package node

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
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

const comparedDefinition = `
project: shop
prefix: fr.
processing: {commit_interval: 100ms}
offline: {flush_interval: 50ms}
entities:
  - {name: user, join_keys: [{name: user_id, type: int64}]}
sources:
  - name: orders
    topic: shop.orders
    key: [user_id]
    schema: [{name: user_id, type: int64, required: true}, {name: amount, type: float64}]
feature_views:
  - {name: spend, entity: user, source: orders, features: [{name: total, aggregate: sum, of: amount}, {name: orders, aggregate: count}]}
feature_services:
  - {name: fraud, features: [spend]}
models:
  - name: scorer
    feature_service: fraud
    inferences: {topic: shop.scores, id: id, event_time: {field: at, format: unix_us}, as_of: {field: as_of}}
baselines: [{name: trained, model: scorer}]
monitors:
  - {name: inputs, model: scorer, window: {size: 1m, grace: 0s}, skew: {baseline: trained}, for: 1, value_skew: {settle: 0s, timing: 500ms}}
`

// lookup asks for a user's features as a model server does, and returns them with the answer's as_of.
func lookup(t *testing.T, at Addresses, user int) (total float64, orders int, asOf string) {
	t.Helper()
	resp, err := http.Post("http://"+at.HTTP+"/get-online-features", "application/json",
		strings.NewReader(fmt.Sprintf(`{"feature_service":"fraud","entities":{"user_id":[%d]}}`, user)))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Results []struct{ Values []json.RawMessage }
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || len(answer.Results) != 3 {
		return 0, 0, "" // it has just started
	}
	if json.Unmarshal(answer.Results[1].Values[0], &total) != nil || json.Unmarshal(answer.Results[2].Values[0], &orders) != nil {
		return 0, 0, ""
	}
	return total, orders, resp.Header.Get("X-Freshet-As-Of")
}

// recordBaseline records a baseline of every column of the plane's model.
func recordBaseline(t *testing.T, plane *config.Plane, cl *kgo.Client) {
	t.Helper()
	d := baseline.Definition{Name: "trained", Model: "scorer", Build: time.Now().UnixMicro()}
	for _, c := range plane.Models[0].Columns {
		d.Columns = append(d.Columns, baseline.Column{Name: c.Name, Type: c.Type})
	}
	b, err := baseline.Make(d, func(fn func(row, fields []feature.Value) error) error {
		for i := range 2000 {
			if err := fn([]feature.Value{feature.Float64Value(float64(i % 100)), feature.Int64Value(int64(i % 3))}, nil); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := kafka.EnsureTopics(t.Context(), kadm.NewClient(cl), config.Kafka{ReplicationFactor: 1, MinInsyncReplicas: 1}, topics.Specs(plane)); err != nil {
		t.Fatal(err)
	}
	recs, err := baseline.Records(b)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range recs {
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: topics.Name(plane, topics.Baselines), Key: r.Key, Value: r.Value}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

// records returns what a topic of the monitors has.
func records(t *testing.T, plane *config.Plane, client []kgo.Opt, cl *kgo.Client, topic string) (out []*kgo.Record) {
	t.Helper()
	spans, err := kafka.Committed(t.Context(), cl, topics.Name(plane, topic), time.Time{})
	if err == nil {
		err = kafka.ReadSpans(t.Context(), client, topics.Name(plane, topic), spans, func(r *kgo.Record) error {
			out = append(out, r)
			return nil
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestServedValuesAreCompared: events become features, lookups are logged as inferences with their as_of, and the offline
// path computes the same values. Then one feature is logged 1.6 times too large: that is found, and told with samples.
func TestServedValuesAreCompared(t *testing.T) {
	plane, err := config.Parse([]config.File{{Name: "plane.yaml", Data: []byte(comparedDefinition)}}, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	plane.Listen.HTTP, plane.Listen.GRPC, plane.Listen.Admin = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	plane.Processing.StateDir = t.TempDir()
	connect(t, plane)
	plane.Connections.Parquet = &config.Parquet{URL: config.Secret("file://" + t.TempDir())}
	client := []kgo.Opt{kgo.SeedBrokers(plane.Connections.Kafka.Brokers...)}
	cl, err := kgo.NewClient(client...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	recordBaseline(t, plane, cl)
	p := start(t, Options{Plane: plane, Roles: DefaultRoles(plane), EmbeddedRedis: true, CreateSources: 1})

	const users = 40
	post := func(path string, body *bytes.Buffer) {
		t.Helper()
		if code, answer := post(t, "http://"+p.at.HTTP+path, "", "["+strings.TrimSuffix(body.String(), ",")+"]"); code/100 != 2 {
			t.Fatalf("the gateway answers %d: %s", code, answer)
		}
	}
	var events bytes.Buffer
	for u := range users {
		fmt.Fprintf(&events, `{"user_id":%d,"amount":%d.25},{"user_id":%d,"amount":10},`, u, u, u)
	}
	post("/v1/events/orders", &events)
	for u := range users {
		await(t, func() (string, bool) {
			total, orders, asOf := lookup(t, p.at, u)
			return fmt.Sprint(total, orders, asOf), orders == 2
		})
	}
	time.Sleep(600 * time.Millisecond) // nothing moves within the timing of the lookups
	// Windows are of event time, which is the log's: both lie in the past, so that they are over.
	window := func(n int) int64 {
		return time.Now().Add(-time.Hour).Truncate(time.Minute).Add(time.Duration(n) * time.Minute).UnixMicro()
	}
	begins := []int64{window(0), window(1), window(2), window(3)}
	infer := func(n int, factor float64) {
		var body bytes.Buffer
		for u := range users {
			total, orders, asOf := lookup(t, p.at, u)
			fmt.Fprintf(&body, `{"id":"%d-%d","at":%d,"user_id":%d,"as_of":%s,"features":{"total":%g,"orders":%d}},`, n, u, begins[n]+int64(u), u, asOf, total*factor, orders)
		}
		post("/v1/inferences/scorer", &body)
	}
	scores := func(end int64) map[string]watch.Score {
		out := map[string]watch.Score{}
		for _, r := range records(t, plane, client, cl, topics.Scores) {
			s, err := watch.DecodeScore(r.Value)
			if err != nil {
				t.Fatal(err)
			}
			if s.Kind == alert.ValueSkew && s.Window.End == end {
				out[s.Column] = s
			}
		}
		return out
	}
	expect := func(n int, column string, effect float64, outcome string) {
		t.Helper()
		var s watch.Score
		await(t, func() (string, bool) {
			all := scores(begins[n] + time.Minute.Microseconds())
			s = all[column]
			return fmt.Sprint(all), s.Column != ""
		})
		if float64(s.Effect) != effect || s.Outcome != outcome || s.NCur != users {
			t.Errorf("window %d: %s has the effect %g of %d values and is %s, want %g of %d, %s: %v", n, column, float64(s.Effect), s.NCur, s.Outcome, effect, users, outcome, s.Notes)
		}
	}
	infer(0, 1)
	infer(1, 1.6)
	expect(0, "total", 0, "stable")
	expect(0, "orders", 0, "stable")
	infer(2, 1.6) // an episode is told at the evaluation after the one that opens it
	expect(1, "total", 1, "drifted")
	expect(1, "orders", 0, "stable")
	infer(3, 1)
	await(t, func() (string, bool) {
		var text string
		for _, r := range records(t, plane, client, cl, topics.Alerts) {
			text += string(r.Value) + "\n"
		}
		found := strings.Contains(text, `"kind":"value_skew"`) && strings.Contains(text, "mismatch: 40 of 40; as id 1-") && strings.Contains(text, "served ")
		return "no alert with samples among " + text, found
	})
	if err := p.stop(); err != nil {
		t.Fatalf("it stops with %v", err)
	}
	http.DefaultClient.CloseIdleConnections()
}

// TestValueSkewNeedsHistory: a process that could not compare anything does not start.
func TestValueSkewNeedsHistory(t *testing.T) {
	plane, err := config.Parse([]config.File{{Name: "plane.yaml", Data: []byte(comparedDefinition)}}, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	if len(plane.Warnings) == 0 || !strings.Contains(plane.Warnings[0].String(), "connections.clickhouse or connections.parquet") {
		t.Errorf("check warns of %v", plane.Warnings)
	}
	plane.Connections.Kafka, plane.Connections.Redis = &config.Kafka{Brokers: []string{"127.0.0.1:1"}}, &config.Redis{URL: "redis://127.0.0.1:1"}
	err = Run(t.Context(), Options{Plane: plane, Roles: Monitor})
	if want := "monitor inputs has value_skew, which needs connections.clickhouse or connections.parquet"; err == nil || err.Error() != want {
		t.Errorf("it says %v, want %s", err, want)
	}
}
