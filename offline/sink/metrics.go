package sink

import "github.com/prometheus/client_golang/prometheus"

// Metrics of the sinks of a process. Labels are bounded: stores, tables, and partitions of the tables' topics.
type Metrics struct {
	rows, bytes, batches, retries, refused, gaps *prometheus.CounterVec   // store, table
	seconds                                      *prometheus.HistogramVec // store, table
	lag                                          *prometheus.GaugeVec     // store, table, partition
	waiting                                      prometheus.Gauge
}

// NewMetrics registers the metrics, once a process.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	labels := []string{"store", "table"}
	counters := func(name, help string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		reg.MustRegister(c)
		return c
	}
	m := &Metrics{
		rows:    counters("freshet_offline_rows_total", "Rows that an offline store has acknowledged."),
		bytes:   counters("freshet_offline_bytes_total", "Bytes of the records of those rows."),
		batches: counters("freshet_offline_batches_total", "Ranges of offsets that an offline store has acknowledged."),
		retries: counters("freshet_offline_retries_total", "Writes of a range that failed and were tried again."),
		refused: counters("freshet_offline_refused_total", "Records without a row, because the source's definition refuses them."),
		gaps:    counters("freshet_offline_gap_records_total", "Records that were deleted before they were read and gone past with --accept-gap."),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "freshet_offline_write_seconds", Help: "How long a store took for a range, retries included.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, labels),
		lag: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "freshet_offline_lag_records", Help: "Records of a partition that are not in the store yet, as of the last fetch.",
		}, append(labels, "partition")),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{Name: "freshet_offline_waiting_bytes", Help: "Memory of records that wait to be written."}),
	}
	reg.MustRegister(m.seconds, m.lag, m.waiting)
	return m
}
