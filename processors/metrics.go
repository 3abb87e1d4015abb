package processors

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/freshet-io/freshet/internal/online"
)

// metrics of both processors. Labels are bounded: sources, reasons and partitions of the plane's own topics.
type metrics struct {
	events       *prometheus.CounterVec // source, result
	deadLetters  *prometheus.CounterVec // source, class
	late         *prometheus.CounterVec // source
	values       *prometheus.CounterVec // source, problem
	sessions     prometheus.Counter
	gapRecords   prometheus.Counter
	paused       prometheus.Counter
	taskFailures prometheus.Counter
	txns         *prometheus.CounterVec // processor, result
	txnSeconds   *prometheus.HistogramVec
	storeSeconds prometheus.Histogram
	pubSeconds   prometheus.Histogram
	pubEntities  *prometheus.CounterVec // outcome
	republished  prometheus.Counter
	cacheBytes   prometheus.Gauge
	restores     prometheus.Histogram
	restoredRecs prometheus.Counter
	sweptCells   prometheus.Counter
	lag          *prometheus.GaugeVec     // reader, topic, partition
	watermark    *prometheus.GaugeVec     // topic, partition
	freshness    *prometheus.HistogramVec // view
	routed       *prometheus.CounterVec   // source, entity
	logged       *prometheus.CounterVec   // source
	outcomes     [4]prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := factory{reg}
	latency := []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	m := &metrics{
		events: f.counters("freshet_events_total", "Records read by the materializer, by what became of them: applied, dead_letter, duplicate, skipped (already counted before a restart).",
			"source", "result"),
		deadLetters:  f.counters("freshet_dead_letters_total", "Records put aside, by reason.", "source", "class"),
		late:         f.counters("freshet_late_tiles_total", "Updates dropped because their tile was no longer kept.", "source"),
		values:       f.counters("freshet_values_total", "Values that were taken as null: evaluation errors, not finite numbers, strings too long for a state; and unknown fields that were ignored.", "source", "problem"),
		sessions:     f.counter("freshet_sessions_failed_total", "Transactional sessions that were given up and replaced."),
		gapRecords:   f.counter("freshet_gap_records_total", "Records that were deleted before they were processed and gone past with --accept-gap."),
		paused:       f.counter("freshet_backpressure_pauses_total", "Rounds in which nothing was read because too many entities waited for the online store."),
		taskFailures: f.counter("freshet_tasks_stopped_total", "Tasks that were stopped for good; see the log and /readyz."),
		txns:         f.counters("freshet_transactions_total", "Transactions by outcome: committed, aborted, failed.", "processor", "result"),
		storeSeconds: f.histogram("freshet_store_write_seconds", "Writing a committed transaction to the local store.", latency),
		pubSeconds:   f.histogram("freshet_publish_seconds", "One batch of entities to the online store.", latency),
		pubEntities:  f.counters("freshet_published_entities_total", "Entities sent to the online store, by outcome.", "outcome"),
		republished:  f.counter("freshet_republished_entities_total", "Entities sent again because the online store had lost them, or by the daily sweep."),
		cacheBytes:   f.gauge("freshet_state_cache_bytes", "Entities held in memory."),
		restores:     f.histogram("freshet_restore_seconds", "Bringing a task's store up to its changelog.", []float64{.01, .1, .5, 1, 5, 10, 30, 60, 300, 1800}),
		restoredRecs: f.counter("freshet_restored_records_total", "Changelog records read by restores."),
		sweptCells:   f.counter("freshet_swept_cells_total", "Dead tiles and event ids deleted from state by the sweep."),
		lag:          f.gauges("freshet_lag_records", "Records of a partition that its reader has not processed yet: a task (materialize) or a router (its route).", "reader", "topic", "partition"),
		watermark:    f.gauges("freshet_watermark_delay_seconds", "How far a partition's stream time is behind the clock.", "topic", "partition"),
		freshness: f.histograms("freshet_freshness_seconds", "From an event's time to the online store's acknowledgement, for each entity that is published: of the first event that it had not shown yet.",
			[]float64{.001, .0025, .005, .01, .015, .025, .05, .1, .15, .25, .5, 1, 5, 30, 60}, "view"),
		routed: f.counters("freshet_routed_records_total", "Records copied to repartition topics.", "source", "entity"),
		logged: f.counters("freshet_feature_log_records_total", "Records of the views' logs, for the offline stores.", "source"),
	}
	m.txnSeconds = f.histograms("freshet_transaction_end_seconds", "Ending a transaction: changelog flush and commit.", latency, "processor")
	for _, o := range []online.Outcome{online.Accepted, online.Refused, online.NeedTail, online.Failed} {
		m.outcomes[o] = m.pubEntities.WithLabelValues(o.String())
	}
	return m
}

// factory makes and registers.
type factory struct{ reg prometheus.Registerer }

func (f factory) counters(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	f.reg.MustRegister(c)
	return c
}

func (f factory) counter(name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	f.reg.MustRegister(c)
	return c
}

func (f factory) gauge(name, help string) prometheus.Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	f.reg.MustRegister(g)
	return g
}

func (f factory) gauges(name, help string, labels ...string) *prometheus.GaugeVec {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	f.reg.MustRegister(g)
	return g
}

func (f factory) histogram(name, help string, buckets []float64) prometheus.Histogram {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
	f.reg.MustRegister(h)
	return h
}

func (f factory) histograms(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	f.reg.MustRegister(h)
	return h
}

// applied takes up and clears what one task counted in a batch. What a transaction that aborts had counted is counted
// again when its records are: these are records read, not records in state.
func (m *metrics) applied(t *task) {
	c, src := &t.counts, t.in.source.Name
	add := func(v *prometheus.CounterVec, n int, labels ...string) {
		if n > 0 {
			v.WithLabelValues(labels...).Add(float64(n))
		}
	}
	add(m.events, c.applied, src, "applied")
	add(m.events, c.skipped, src, "skipped")
	add(m.events, c.duplicates, src, "duplicate")
	add(m.late, c.late, src)
	add(m.values, c.unknownFields, src, "unknown_field")
	add(m.values, c.evalErrors, src, "evaluation_error")
	add(m.values, c.notFinite, src, "not_finite")
	add(m.values, c.tooLong, src, "too_long")
	for class, n := range c.dead {
		add(m.events, n, src, "dead_letter")
		add(m.deadLetters, n, src, string(class))
	}
	dead := c.dead
	clear(dead)
	*c = taskCounts{dead: dead}
}

// watermarks is set once a second.
func (m *metrics) watermarks(tasks []*task, now time.Time) {
	for _, t := range tasks {
		if d, ok := t.watermarkDelay(now); ok && !t.idle(now, time.Minute) {
			m.watermark.WithLabelValues(t.in.topic, t.partitionLabel).Set(d.Seconds())
		} else {
			m.watermark.DeleteLabelValues(t.in.topic, t.partitionLabel)
		}
	}
}

// forget removes the gauges of a task that went to another instance.
func (m *metrics) forget(t *task) {
	m.watermark.DeleteLabelValues(t.in.topic, t.partitionLabel)
}

func (m *metrics) transaction(processor string, committed bool, err error, took time.Duration) {
	result := "committed"
	switch {
	case err != nil:
		result = "failed"
	case !committed:
		result = "aborted"
	}
	m.txns.WithLabelValues(processor, result).Inc()
	m.txnSeconds.WithLabelValues(processor).Observe(took.Seconds())
}

func (m *metrics) restored(d restored) {
	m.restores.Observe(d.took.Seconds())
	m.restoredRecs.Add(float64(d.records))
}

func (m *metrics) published(b *publishBatch) {
	var n [4]int
	for _, o := range b.outcomes {
		n[o]++
	}
	for o, c := range n {
		if c > 0 {
			m.outcomes[o].Add(float64(c))
		}
	}
	m.pubSeconds.Observe(b.took.Seconds())
}
