package deliver

import "github.com/prometheus/client_golang/prometheus"

// What became of a message of the history.
const (
	offered    = "offered"    // to one or more channels
	historical = "history"    // is not for channels
	nowhere    = "nowhere"    // its monitor is not defined, or has no channel
	unreadable = "unreadable" // is not a message
)

type metrics struct {
	messages *prometheus.CounterVec // result
	owner    prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		messages: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "freshet_alert_messages_total", Help: "Messages read from the history of alerts, by result: offered, history, nowhere, unreadable.",
		}, []string{"result"}),
		owner: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "freshet_notifier_active", Help: "1 if this process delivers, 0 if another does or none.",
		}),
	}
	for _, r := range []string{offered, historical, nowhere, unreadable} {
		m.messages.WithLabelValues(r)
	}
	reg.MustRegister(m.messages, m.owner)
	return m
}
