package kafka_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/freshet-io/freshet/internal/kafka"
)

// TestMetricsOutliveTheirClients: one client after the other is counted in the same series, what fails among it.
func TestMetricsOutliveTheirClients(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "events"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	reg := prometheus.NewPedanticRegistry()
	m := kafka.NewMetrics(reg)
	for range 2 {
		cl, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.DefaultProduceTopic("events"), kgo.WithHooks(m))
		if err != nil {
			t.Fatal(err)
		}
		if err := cl.ProduceSync(t.Context(), kgo.StringRecord("one")).FirstErr(); err != nil {
			t.Fatal(err)
		}
		cl.Close()
	}
	for _, c := range []struct {
		series string
		least  float64
	}{
		{`freshet_kafka_request_seconds_count{request="Produce"}`, 2},
		{`freshet_kafka_connects_total{outcome="opened"}`, 2},
		{"freshet_kafka_disconnects_total", 1},
		{`freshet_kafka_bytes_total{direction="written"}`, 100},
		{`freshet_kafka_bytes_total{direction="read"}`, 100},
	} {
		if got := value(t, scrape(t, reg), c.series); got < c.least {
			t.Errorf("%s is %v, want at least %v", c.series, got, c.least)
		}
	}
	const failed = `freshet_kafka_requests_failed_total{request="Produce"}`
	if n := value(t, scrape(t, reg), failed); n != 0 {
		t.Errorf("%v requests failed, want none", n)
	}

	cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		return nil, errors.New("the connection dies"), true
	})
	cl, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.DefaultProduceTopic("events"), kgo.WithHooks(m))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if err := cl.ProduceSync(t.Context(), kgo.StringRecord("one")).FirstErr(); err != nil {
		t.Fatal(err)
	}
	m.OnBrokerConnect(kgo.BrokerMetadata{}, 0, nil, errors.New("refused"))
	m.OnBrokerThrottle(kgo.BrokerMetadata{}, 250*time.Millisecond, true)
	after := scrape(t, reg)
	for series, want := range map[string]float64{
		failed: 1, `freshet_kafka_connects_total{outcome="failed"}`: 1, "freshet_kafka_throttled_seconds_total": 0.25,
	} {
		if got := value(t, after, series); got != want {
			t.Errorf("%s is %v, want %v", series, got, want)
		}
	}
}

// scrape returns what a scrape of the registry shows.
func scrape(t *testing.T, reg prometheus.Gatherer) string {
	t.Helper()
	w := httptest.NewRecorder()
	promhttp.HandlerFor(reg, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w.Body.String()
}

// value returns a series of a scrape; 0 when there is none.
func value(t *testing.T, scraped, series string) float64 {
	t.Helper()
	for line := range strings.Lines(scraped) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), series+" "); ok {
			x, err := strconv.ParseFloat(text, 64)
			if err != nil {
				t.Fatal(err)
			}
			return x
		}
	}
	return 0
}
