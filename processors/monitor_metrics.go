package processors

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/freshet-io/freshet/monitors/drift"
	"github.com/freshet-io/freshet/monitors/join"
	"github.com/freshet-io/freshet/monitors/watch"
)

// monitorMetrics are those of Monitors. Slices are not among the labels: their values are the model's users', and no
// bound of theirs is known.
type monitorMetrics struct {
	inferences  *prometheus.CounterVec
	deadLetters *prometheus.CounterVec
	late        *prometheus.CounterVec
	unbaselined *prometheus.GaugeVec
	unknown     *prometheus.CounterVec
	// unknownFields are of inferences.
	unknownFields *prometheus.CounterVec
	joins         *prometheus.CounterVec
	coverage      *prometheus.GaugeVec
	windows       *prometheus.CounterVec
	series        []seriesGauge
	firing        *prometheus.GaugeVec
	messages      *prometheus.CounterVec
	streamTime    *prometheus.GaugeVec
	transactions  *prometheus.HistogramVec
	sessions      *prometheus.CounterVec
	unreadable    prometheus.Counter
	gaps          *prometheus.CounterVec
	stopped       *prometheus.CounterVec
}

func newMonitorMetrics(reg prometheus.Registerer) *monitorMetrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	}
	m := &monitorMetrics{
		inferences:    counter("freshet_monitor_inferences_total", "Inferences that were read and committed, by model.", "model"),
		deadLetters:   counter("freshet_monitor_dead_letters_total", "Inferences that could not be used, by model and class.", "model", "class"),
		late:          counter("freshet_monitor_late_total", "Inferences that came when every window they belong to first had been judged, by model.", "model"),
		unbaselined:   gauge("freshet_monitor_unbaselined_inferences", "Inferences so far whose model version has no baseline, by model.", "model"),
		unknown:       counter("freshet_monitor_unknown_checks_total", "Checks that were evaluated for monitors that are not defined, and left out, by model.", "model"),
		unknownFields: counter("freshet_monitor_unknown_fields_total", "Fields of inferences that the model does not name, by model: they are ignored.", "model"),
		joins:         counter("freshet_monitor_joins_total", "What became of inferences and labels that were joined, by model and outcome: inference, duplicate, joined, corrected, superseded, late, unmatched.", "model", "outcome"),
		coverage:      gauge("freshet_monitor_label_coverage", "Share of a window's inferences that have labels, of the window that was last judged by labels, by monitor.", "monitor"),
		windows:       counter("freshet_monitor_windows_total", "Windows that were judged, by monitor.", "monitor"),
		firing:        gauge("freshet_monitor_firing", "Series that fire or recover, slices among them, by monitor.", "monitor"),
		messages:      counter("freshet_monitor_messages_total", "Messages about episodes, by monitor and type.", "monitor", "type"),
		streamTime:    gauge("freshet_monitor_stream_time_seconds", "How far all inferences have come, as a Unix time, by model.", "model"),
		transactions: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "freshet_monitor_transaction_end_seconds", Help: "How long the ends of transactions took, by processor and outcome.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 16),
		}, []string{"processor", "outcome"}),
		gaps:     counter("freshet_monitor_gap_records_total", "Records that were deleted before they were read and gone past with --accept-gap, by topic.", "topic"),
		stopped:  counter("freshet_monitor_partitions_stopped_total", "Partitions that were stopped for good; see the log and /readyz. By processor.", "processor"),
		sessions: counter("freshet_monitor_sessions_replaced_total", "Sessions that failed and were replaced, by processor.", "processor"),
		unreadable: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "freshet_monitor_unreadable_profiles_total", Help: "Profile records that could not be read and were left out.",
		}),
	}
	for _, s := range []struct {
		name, help string
		of         func(*watch.Score) float64
	}{
		{"freshet_monitor_effect", "Effect size of the last window, bias-corrected", func(s *watch.Score) float64 { return float64(s.Effect) }},
		{"freshet_monitor_threshold", "Effect size from which on a column has changed", func(s *watch.Score) float64 { return s.Threshold }},
		{"freshet_monitor_p", "P-value of the last window, adjusted for all tests of the window", func(s *watch.Score) float64 { return float64(s.PAdjusted) }},
		{"freshet_monitor_rows", "Rows of the last window", func(s *watch.Score) float64 { return float64(s.NCur) }},
		{"freshet_monitor_effective_rows", "Independent rows that those of the last window are worth", func(s *watch.Score) float64 { return float64(s.NEffCur) }},
	} {
		g := seriesGauge{gauge(s.name, s.help+", over all slices, by monitor, kind, column and check.", "monitor", "kind", "column", "check"), s.of}
		m.series = append(m.series, g)
		reg.MustRegister(g.GaugeVec)
	}
	reg.MustRegister(m.inferences, m.deadLetters, m.late, m.unbaselined, m.unknown, m.unknownFields, m.joins, m.coverage, m.windows, m.firing, m.messages, m.streamTime, m.transactions, m.sessions, m.unreadable, m.gaps, m.stopped)
	return m
}

func (m *monitorMetrics) transaction(processor string, committed bool, err error, took time.Duration) {
	how := "aborted"
	switch {
	case err != nil:
		how = "failed"
	case committed:
		how = "committed"
	}
	m.transactions.WithLabelValues(processor, how).Observe(took.Seconds())
}

func (m *monitorMetrics) joined(model string, c join.Counts) {
	for outcome, n := range map[string]int{
		"inference": c.Inferences, "duplicate": c.Duplicates, "joined": c.Joined, "corrected": c.Corrected, "superseded": c.Superseded, "late": c.Late, "unmatched": c.Unmatched,
	} {
		m.joins.WithLabelValues(model, outcome).Add(float64(n))
	}
}

func (m *monitorMetrics) judged(j watch.Judgement) {
	if !j.Check {
		m.windows.WithLabelValues(j.Monitor.Name).Inc()
	}
	for i := range j.Scores {
		s := &j.Scores[i]
		if s.Slice != "" {
			continue
		}
		if s.Coverage != nil {
			m.coverage.WithLabelValues(s.Monitor).Set(float64(*s.Coverage))
			if drift.Outcome(s.Outcome) == watch.TooFewLabels {
				continue // the last window that has enough of them is told of
			}
		} else if s.Revision > 0 {
			continue // not of the last window
		}
		for _, g := range m.series {
			g.WithLabelValues(s.Monitor, string(s.Kind), s.Column, s.Check).Set(g.of(s))
		}
	}
	for i := range j.Messages {
		m.messages.WithLabelValues(j.Monitor.Name, string(j.Messages[i].Type)).Inc()
	}
}

// seriesGauge is a figure of the last score of each series.
type seriesGauge struct {
	*prometheus.GaugeVec
	of func(*watch.Score) float64
}

// lost takes back what this process said of a model that another one evaluates now: two processes would contradict each
// other.
func (m *monitorMetrics) lost(model string, w *watch.Watch) {
	m.streamTime.DeleteLabelValues(model)
	m.unbaselined.DeleteLabelValues(model)
	for _, name := range w.Monitors() {
		m.firing.DeleteLabelValues(name)
		m.coverage.DeleteLabelValues(name)
		for _, g := range m.series {
			g.DeletePartialMatch(prometheus.Labels{"monitor": name})
		}
	}
}

func (m *monitorMetrics) watching(model string, w *watch.Watch) {
	if t := w.StreamTime(); t != watch.Unknown {
		m.streamTime.WithLabelValues(model).Set(float64(t) / 1e6)
	}
	var strays uint64
	for _, n := range w.Strays() {
		strays += n
	}
	m.unbaselined.WithLabelValues(model).Set(float64(strays))
	for _, name := range w.Monitors() {
		m.firing.WithLabelValues(name).Set(float64(w.Firing(name)))
	}
}
