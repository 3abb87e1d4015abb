package sink_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/ingest"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/parquet"
	"github.com/freshet-io/freshet/offline/sink"
)

// Two models log inferences; a monitor watches the first.
const modelsText = `
project: test
connections:
  kafka: {brokers: ["127.0.0.1:1"]}
  parquet: {url: "file://%s"}
offline: {flush_interval: 20ms}
entities:
  - {name: user, join_keys: [{name: user, type: string}]}
sources:
  - name: orders
    topic: orders
    key: [user]
    schema: [{name: user, type: string, required: true}, {name: amount, type: float64}]
feature_views:
  - name: spend
    entity: user
    source: orders
    features:
      - {name: total, aggregate: sum, of: amount}
      - {name: orders, aggregate: count}
      - {name: region, of: user}
feature_services:
  - {name: fraud, features: [spend]}
models:
  - name: watched
    feature_service: fraud
    inferences: {topic: watched, id: id, prediction: {field: score, type: float64}, slices: [region]}
  - name: alone
    feature_service: fraud
    inferences: {topic: alone, id: id}
baselines: [{name: trained, model: watched}]
monitors:
  - {name: inputs, model: watched, window: {size: 1m}, skew: {baseline: trained}}
`

// startParquet fills a plane's tables in Parquet until the test ends.
func startParquet(t *testing.T, c *kfake.Cluster, plane *config.Plane) *parquet.Store {
	t.Helper()
	store, err := parquet.Open(t.Context(), plane.Connections.Parquet.URL, parquet.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	s, err := sink.New(sink.Options{
		Plane: plane, Name: "parquet", Store: store, Tables: offline.Tables(plane), DeadLetters: true,
		Client: []kgo.Opt{kgo.SeedBrokers(c.ListenAddrs()...)}, Budget: sink.NewBudget(plane.Offline.Memory),
		Metrics: sink.NewMetrics(prometheus.NewRegistry()), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

// TestInferencesAreRows: what a model was served is kept as far as it fits its column, and what does not is named. What cannot
// be read is a dead letter once: of a watched model that is the profiler's business, of another one the sink's.
func TestInferencesAreRows(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "orders", "watched", "alone"), kfake.GroupMinSessionTimeout(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	plane := loadPlane(t, fmt.Sprintf(modelsText, t.TempDir()))
	topics := []string{plane.FeatureLog(plane.Views[0]).Topic, ingest.DeadLetterTopic(plane, "watched"), ingest.DeadLetterTopic(plane, "alone")}
	for _, topic := range topics {
		if err := c.CreateTopic(topic, 1, nil); err != nil {
			t.Fatal(err)
		}
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	for _, topic := range []string{"watched", "alone"} {
		for _, text := range []string{
			`{"id":"1","score":0.5,"region":"eu","features":{"total":12.5,"orders":3,"region":"south"}}`,
			`{"no":"id"}`,
			`{"id":"2","score":0.5,"region":"eu","features":{"total":"12.5","orders":3.5,"region":null}}`,
			`{"id":"3"}`,
		} {
			if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte(text)}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	store := startParquet(t, c, plane)

	table := offline.InferencesTable(plane.Models[0])
	var names []string
	for _, col := range table.Columns {
		names = append(names, col.Name)
	}
	if got, want := strings.Join(names, " "), "id score region total orders features__region _mistyped"; got != want {
		t.Fatalf("columns %s, want %s", got, want)
	}
	q := offline.Query{Columns: []int{0, 1, 2, 3, 4, 5, 6}}
	var rows []string
	until(t, "three rows", func() bool {
		rows = rows[:0]
		err := store.Scan(t.Context(), table, q, func(_ int, b *offline.Batch) error {
			for i := range b.Len() {
				text := ""
				for _, v := range b.Row(i) {
					text += v.String() + " "
				}
				rows = append(rows, strings.TrimSpace(text))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return len(rows) == 3
	})
	slices.Sort(rows)
	for i, want := range []string{`"1" 0.5 "eu" 12.5 3 "south" null`, `"2" 0.5 "eu" null null null ["total" "orders"]`, `"3" null null null null null null`} {
		if got := rows[i]; got != want {
			t.Errorf("row %d is %s, want %s", i, got, want)
		}
	}

	adm := kadm.NewClient(cl)
	letters := func(model string) (n int64) {
		ends, err := adm.ListEndOffsets(t.Context(), ingest.DeadLetterTopic(plane, model))
		if err != nil {
			t.Fatal(err)
		}
		ends.Each(func(o kadm.ListedOffset) { n += o.Offset })
		return n
	}
	until(t, "a dead letter of the model that nobody watches", func() bool { return letters("alone") == 1 })
	if n := letters("watched"); n != 0 {
		t.Errorf("the sink put %d inferences aside that the profiler puts aside", n)
	}
}
