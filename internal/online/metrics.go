package online

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
)

// metrics are what a Client counts. Without a registerer they are counted and not exported.
type metrics struct {
	writes        [outcomes]prometheus.Counter
	writeSeconds  prometheus.Histogram
	fetchSeconds  prometheus.Histogram
	fetchEntities prometheus.Counter
	fetchFailed   prometheus.Counter

	registerer prometheus.Registerer
	all        []prometheus.Collector
}

// pooled is the part of a Redis client that tells about its connections.
type pooled interface{ PoolStats() *redis.PoolStats }

func newMetrics(reg prometheus.Registerer, pool pooled) (*metrics, error) {
	writes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "freshet_online_writes_total",
		Help: "Writes of an entity's view to Redis by outcome: accepted, refused (a newer version was stored), need_tail (sent again with the tail), failed.",
	}, []string{"outcome"})
	seconds := prometheus.ExponentialBuckets(0.0001, 2.5, 12) // to 2.4 s
	m := &metrics{registerer: reg}
	for o := range outcomes {
		m.writes[o] = writes.WithLabelValues(Outcome(o).String())
	}
	m.writeSeconds = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "freshet_online_write_seconds", Help: "Time of one batch of writes.", Buckets: seconds,
	})
	m.fetchSeconds = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "freshet_online_fetch_seconds", Help: "Time of one fetch of a list of entities.", Buckets: seconds,
	})
	m.fetchEntities = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "freshet_online_fetched_entities_total", Help: "Entities asked for.",
	})
	m.fetchFailed = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "freshet_online_fetch_failed_entities_total", Help: "Entities that could not be fetched.",
	})
	m.all = []prometheus.Collector{
		writes, m.writeSeconds, m.fetchSeconds, m.fetchEntities, m.fetchFailed,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "freshet_online_connections", Help: "Open connections to Redis.",
		}, func() float64 { return float64(pool.PoolStats().TotalConns) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "freshet_online_connection_waits_failed_total", Help: "Requests that found no free connection in time.",
		}, func() float64 { return float64(pool.PoolStats().Timeouts) }),
	}
	if reg == nil {
		return m, nil
	}
	for i, c := range m.all {
		if err := reg.Register(c); err != nil {
			m.all = m.all[:i]
			m.unregister()
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) unregister() {
	if m.registerer == nil {
		return
	}
	for _, c := range m.all {
		m.registerer.Unregister(c)
	}
}

// distinct collects errors of which thousands may be the same.
type distinct struct {
	errs   []error
	seen   map[string]struct{}
	failed int // entities
}

// maxDistinct bounds the length of a joined error.
const maxDistinct = 8

func (d *distinct) add(err error, entities int) {
	d.failed += entities
	text := err.Error()
	if _, ok := d.seen[text]; ok || len(d.errs) == maxDistinct {
		return
	}
	if d.seen == nil {
		d.seen = map[string]struct{}{}
	}
	d.seen[text] = struct{}{}
	d.errs = append(d.errs, err)
}

// join wraps what was collected; nil when nothing was.
func (d *distinct) join(doing string, of int) error {
	if len(d.errs) == 0 {
		return nil
	}
	return fmt.Errorf("%s: %d of %d failed: %w", doing, d.failed, of, errors.Join(d.errs...))
}
