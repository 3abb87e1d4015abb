package notify

import "github.com/prometheus/client_golang/prometheus"

// metrics of deliveries. The label is the channels of the configuration.
type metrics struct {
	attempts *prometheus.CounterVec // channel, result
	seconds  *prometheus.HistogramVec
	waiting  *prometheus.GaugeVec
	dead     *prometheus.GaugeVec
	disabled *prometheus.GaugeVec
	unsaved  prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{"channel"})
	}
	m := &metrics{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "freshet_notification_attempts_total", Help: "Attempts to deliver a message, by result: delivered, failed, refused, gone.",
		}, []string{"channel", "result"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "freshet_notification_seconds", Help: "How long an attempt to deliver a message took.", Buckets: []float64{.01, .05, .1, .25, .5, 1, 2.5, 5, 10, 20, 30},
		}, []string{"channel"}),
		waiting:  gauge("freshet_notifications_waiting", "Messages that have not been delivered yet."),
		dead:     gauge("freshet_notifications_dead", "Messages that were given up in the last week."),
		disabled: gauge("freshet_notification_channel_disabled", "1 if the channel's endpoint said that it wants no messages any more."),
		unsaved: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "freshet_notification_saves_failed_total", Help: "Failures to keep the state of deliveries; it is tried again.",
		}),
	}
	reg.MustRegister(m.attempts, m.seconds, m.waiting, m.dead, m.disabled, m.unsaved)
	return m
}

// show sets the gauges.
func (m *metrics) show(o *outbox) {
	waits, gone := map[string]int{}, map[string]int{}
	for _, d := range o.deliveries {
		switch d.Stage {
		case waiting:
			waits[d.Channel]++
		case dead:
			gone[d.Channel]++
		}
	}
	for name, e := range o.endpoints {
		m.waiting.WithLabelValues(name).Set(float64(waits[name]))
		m.dead.WithLabelValues(name).Set(float64(gone[name]))
		v := 0.0
		if e.Disabled {
			v = 1
		}
		m.disabled.WithLabelValues(name).Set(v)
	}
}
