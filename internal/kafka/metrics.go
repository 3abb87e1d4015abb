package kafka

import (
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Metrics count what the clients of a process do, all of them together. A client belongs to it by the option
// kgo.WithHooks(m). It outlives its clients, so that counters do not fall when a session is replaced. It is told once a
// request, never once a record.
type Metrics struct {
	connects    *prometheus.CounterVec // outcome
	disconnects prometheus.Counter
	requests    *prometheus.HistogramVec // request
	failed      *prometheus.CounterVec   // request
	bytes       *prometheus.CounterVec   // direction
	throttled   prometheus.Counter
}

var (
	_ kgo.HookBrokerConnect    = (*Metrics)(nil)
	_ kgo.HookBrokerDisconnect = (*Metrics)(nil)
	_ kgo.HookBrokerE2E        = (*Metrics)(nil)
	_ kgo.HookBrokerThrottle   = (*Metrics)(nil)
)

// NewMetrics makes and registers the metrics; a registry takes them once.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		connects: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "freshet_kafka_connects_total", Help: "Connections to brokers, by outcome: opened, failed.",
		}, []string{"outcome"}),
		disconnects: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "freshet_kafka_disconnects_total", Help: "Connections to brokers that were closed, by either side.",
		}),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "freshet_kafka_request_seconds",
			Help:    "From writing a request to a broker until its answer was read, by request. A Fetch waits at the broker for records.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"request"}),
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "freshet_kafka_requests_failed_total", Help: "Requests that could not be written, or whose answer could not be read, by request.",
		}, []string{"request"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "freshet_kafka_bytes_total", Help: "Bytes written to and read from brokers, as they are compressed, by direction.",
		}, []string{"direction"}),
		throttled: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "freshet_kafka_throttled_seconds_total", Help: "How long brokers have asked clients to wait because of quotas.",
		}),
	}
	reg.MustRegister(m.connects, m.disconnects, m.requests, m.failed, m.bytes, m.throttled)
	return m
}

// OnBrokerConnect counts a connection, or that there is none.
func (m *Metrics) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	outcome := "opened"
	if err != nil {
		outcome = "failed"
	}
	m.connects.WithLabelValues(outcome).Inc()
}

// OnBrokerDisconnect counts the end of a connection.
func (m *Metrics) OnBrokerDisconnect(kgo.BrokerMetadata, net.Conn) { m.disconnects.Inc() }

// OnBrokerE2E takes up a request with its answer.
func (m *Metrics) OnBrokerE2E(_ kgo.BrokerMetadata, key int16, e kgo.BrokerE2E) {
	request := kmsg.NameForKey(key)
	m.bytes.WithLabelValues("written").Add(float64(e.BytesWritten))
	m.bytes.WithLabelValues("read").Add(float64(e.BytesRead))
	if e.Err() != nil {
		m.failed.WithLabelValues(request).Inc()
		return
	}
	m.requests.WithLabelValues(request).Observe(e.DurationE2E().Seconds())
}

// OnBrokerThrottle adds a wait that a quota asked for.
func (m *Metrics) OnBrokerThrottle(_ kgo.BrokerMetadata, d time.Duration, _ bool) {
	m.throttled.Add(d.Seconds())
}
