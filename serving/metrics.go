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
	seconds  *prometheus.HistogramVec // the series of failures are made when they come
	rows     [numFaces]prometheus.Counter
	failures [numFaces][len(kindNames)]prometheus.Counter
	torn     prometheus.Counter
	outside  prometheus.Counter
	views    map[string]*viewMetrics
	services map[string]*serviceMetrics // and "" for features by name
	derived  *prometheus.CounterVec
}

// outcomeOK is the outcome of a lookup that was answered; those of the others are the kinds of errors.
const outcomeOK = "ok"

// serviceMetrics time the answered lookups of one feature service.
type serviceMetrics struct {
	name    string
	seconds [numFaces]prometheus.Observer
}

// viewMetrics are of one view: its features by status, and the time that reading took by the worst status that was read.
type viewMetrics struct {
	features [len(statusNames)]prometheus.Counter
	seconds  [len(statusNames)]prometheus.Observer
}

// worstFirst are the statuses of values from the one that tells the least to the one that tells all.
var worstFirst = [...]fieldStatus{statusNotFound, statusOutsideMaxAge, statusNull, statusPresent}

// lookupBuckets are the bounds of the histograms, in seconds.
var lookupBuckets = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5}

func newMetrics(reg prometheus.Registerer, plane *config.Plane) (*metrics, error) {
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "freshet_lookup_seconds",
		Help:    "Time a lookup took in the server, from the read request to the encoded response.",
		Buckets: lookupBuckets,
	}, []string{"face", "service", "outcome"})
	viewSeconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "freshet_lookup_view_seconds",
		Help:    "Time that reading and evaluating a lookup's features took, by each view read and the worst status of its values.",
		Buckets: lookupBuckets,
	}, []string{"view", "status"})
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
		for _, c := range []prometheus.Collector{seconds, viewSeconds, rows, failures, features, torn, outside, derived} {
			errs = append(errs, reg.Register(c))
		}
		if err := errors.Join(errs...); err != nil {
			return nil, err
		}
	}
	m := &metrics{
		seconds: seconds, torn: torn, outside: outside, derived: derived,
		views: make(map[string]*viewMetrics, len(plane.Views)), services: make(map[string]*serviceMetrics, len(plane.Services)+1),
	}
	for f, name := range faceNames {
		m.rows[f] = rows.WithLabelValues(name)
		for k, kind := range kindNames {
			m.failures[f][k] = failures.WithLabelValues(name, kind)
		}
	}
	for _, v := range plane.Views {
		var of viewMetrics
		for _, s := range worstFirst {
			of.features[s] = features.WithLabelValues(v.Name, s.String())
			of.seconds[s] = viewSeconds.WithLabelValues(v.Name, s.String())
		}
		m.views[v.Name] = &of
	}
	m.addService("")
	for _, s := range plane.Services {
		m.addService(s.Name)
	}
	return m, nil
}

func (m *metrics) addService(name string) {
	of := &serviceMetrics{name: name}
	for f, face := range faceNames {
		of.seconds[f] = m.seconds.WithLabelValues(face, name, outcomeOK)
	}
	m.services[name] = of
}

// answered is what a request came to.
type answered struct {
	plan *plan // nil where the request did not say what to read
	rows int   // 0 unless it was answered
}

// done counts one lookup of a face.
func (m *metrics) done(f face, start time.Time, did answered, err *Error) {
	took := time.Since(start).Seconds()
	of := m.services[""]
	if did.plan != nil {
		of = did.plan.metrics
	}
	if err != nil {
		m.seconds.WithLabelValues(faceNames[f], of.name, err.Kind.String()).Observe(took)
		m.failures[f][err.Kind].Inc()
		return
	}
	of.seconds[f].Observe(took)
	m.rows[f].Add(float64(did.rows))
}
