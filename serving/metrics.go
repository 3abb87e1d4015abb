package serving

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/freshet-io/freshet/config"
)

// A face is one of the protocols that lookups speak; its number indexes the metrics.
type face uint8

const (
	faceHTTP face = iota
	faceGRPC
	numFaces
)

var faceNames = [numFaces]string{"http", "grpc"}

// metrics of lookups. Every label value is known when the plane is: the series of a face, a view or a service are
// resolved once, so that counting a lookup costs a few atomic additions.
type metrics struct {
	seconds  [numFaces]prometheus.Observer
	rows     [numFaces]prometheus.Counter
	failures [numFaces][len(kindNames)]prometheus.Counter
	torn     prometheus.Counter
	outside  prometheus.Counter
	views    map[string]*viewCounters
	derived  *prometheus.CounterVec
}

// viewCounters count the features of one view by status.
type viewCounters [len(statusNames)]prometheus.Counter

func newMetrics(reg prometheus.Registerer, plane *config.Plane) (*metrics, error) {
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "freshet_lookup_seconds",
		Help:    "Time a lookup took in the server, from the read request to the encoded response.",
		Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
	}, []string{"face"})
	rows := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "freshet_lookup_rows_total", Help: "Entity rows asked for.",
	}, []string{"face"})
	failures := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "freshet_lookup_errors_total", Help: "Lookups refused or failed, by kind.",
	}, []string{"face", "kind"})
	features := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "freshet_lookup_features_total", Help: "Feature values read for the distinct entities of lookups, by view and status.",
	}, []string{"view", "status"})
	torn := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "freshet_lookup_torn_total", Help: "Views of an entity read again because their stored parts did not belong together.",
	})
	outside := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "freshet_lookup_out_of_range_total", Help: "Values served as null because they are outside the range of their type.",
	})
	derived := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "freshet_lookup_derived_errors_total", Help: "Derived features that are null because their expression failed.",
	}, []string{"service", "feature"})
	if reg != nil {
		var errs []error
		for _, c := range []prometheus.Collector{seconds, rows, failures, features, torn, outside, derived} {
			errs = append(errs, reg.Register(c))
		}
		if err := errors.Join(errs...); err != nil {
			return nil, err
		}
	}
	m := &metrics{torn: torn, outside: outside, derived: derived, views: make(map[string]*viewCounters, len(plane.Views))}
	for f, name := range faceNames {
		m.seconds[f] = seconds.WithLabelValues(name)
		m.rows[f] = rows.WithLabelValues(name)
		for k, kind := range kindNames {
			m.failures[f][k] = failures.WithLabelValues(name, kind)
		}
	}
	for _, v := range plane.Views {
		var c viewCounters
		for s, status := range statusNames {
			if fieldStatus(s) != statusInvalid {
				c[s] = features.WithLabelValues(v.Name, status)
			}
		}
		m.views[v.Name] = &c
	}
	return m, nil
}

// done counts one lookup of a face.
func (m *metrics) done(f face, start time.Time, rows int, err *Error) {
	m.seconds[f].Observe(time.Since(start).Seconds())
	if err != nil {
		m.failures[f][err.Kind].Inc()
		return
	}
	m.rows[f].Add(float64(rows))
}
