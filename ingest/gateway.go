package ingest

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/spell"
)

// Where the gateway is mounted: the name of a source follows, or that of a model.
const (
	GatewayPath    = "/v1/events/"
	InferencesPath = "/v1/inferences/"
	LabelsPath     = "/v1/labels/"
)

// Producer is the part of *kgo.Client that the gateway needs. promise is called exactly once for each record, with a
// nil error only after all in-sync replicas have it; it may be called after ctx is done. Records of one key keep their
// order. The client is made with ProducerOptions.
type Producer interface {
	Produce(ctx context.Context, rec *kgo.Record, promise func(*kgo.Record, error))
}

// ProducerOptions are what the gateway's client needs besides its connection: idempotent production acknowledged by all
// in-sync replicas, murmur2 partitioning of the key, and room for the largest record of each topic.
//
// A broker refuses a batch that is larger than its topic's max.message.bytes, and with it every record in it. So a batch
// of small records is never larger than what the topic is said to take as one record, for which Kafka's default and ours
// fit together.
func ProducerOptions(p *config.Plane) []kgo.Opt {
	const overhead = 12       // by which max.message.bytes of 1 MiB is larger, unless it is set
	const least = 64 << 10    // smaller batches would cost more than they are worth
	const unnamed = 1_000_012 // kgo's default, for a topic that no source names
	limits := map[string]int32{}
	for _, s := range p.Intakes() {
		limits[s.Topic] = max(limits[s.Topic], int32(min(max(s.MaxRecordBytes+overhead, least), 1<<30)))
	}
	return []kgo.Opt{
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),
		kgo.ProducerBatchMaxBytesFn(func(topic string) int32 {
			if limit, ok := limits[topic]; ok {
				return limit
			}
			return unnamed
		}),
		kgo.ProducerLinger(time.Millisecond),
	}
}

// Options are the limits of a Gateway. A zero field takes its default.
type Options struct {
	MaxBodyBytes     int64         // of one request, decompressed; default 8 MiB
	MaxRecords       int           // in one request; default 10,000
	MaxInFlightBytes int64         // of all requests until Kafka has answered; default 256 MiB
	MaxRequests      int           // at a time; default 512
	Timeout          time.Duration // of one request, for its body and for Kafka's answer together; default 10 s
	// Allow decides whether the request may write to the source: status 0, or the refusal. nil allows everyone.
	Allow func(r *http.Request, source string) (status int, reason string)
	// Now is the gateway's clock, which stamps records; default time.Now.
	Now func() time.Time
}

// recordOverhead is what a record costs in memory besides its bytes in the body.
const recordOverhead = 512

func (o Options) withDefaults() (Options, error) {
	if o.MaxBodyBytes == 0 {
		o.MaxBodyBytes = 8 << 20
	}
	if o.MaxRecords == 0 {
		o.MaxRecords = 10_000
	}
	if o.MaxInFlightBytes == 0 {
		o.MaxInFlightBytes = 256 << 20
	}
	if o.MaxRequests == 0 {
		o.MaxRequests = 512
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.MaxBodyBytes < 0 || o.MaxRecords < 0 || o.MaxRequests < 0 || o.Timeout < 0 {
		return o, fmt.Errorf("gateway options: limits must not be negative")
	}
	// A body that grows while it is read is held twice for a moment.
	if need := 2*o.MaxBodyBytes + int64(o.MaxRecords)*recordOverhead; o.MaxInFlightBytes < need {
		return o, fmt.Errorf("gateway options: MaxInFlightBytes %d is too little for one request of MaxBodyBytes and MaxRecords, which takes %d", o.MaxInFlightBytes, need)
	}
	return o, nil
}

// Gateway takes events over HTTP and answers when Kafka has them: POST /v1/events/{source}, the inference events of
// models at POST /v1/inferences/{model}, and their labels at POST /v1/labels/{model}. See docs/events.md for the protocol.
//
// Memory is bounded: a request first reserves what it is going to hold and is turned away (429) if that is not free. A
// reservation is given back when Kafka has answered for every record of the request, which may be after the client got
// its answer (503). Nothing waits for memory, so requests cannot block each other for ever.
type Gateway struct {
	paths    []gatewaySources
	producer Producer
	opts     Options
	logger   *slog.Logger
	memory   budget
	slots    budget
	seconds  *prometheus.HistogramVec
	quiet    atomic.Int64 // until this Unix time, failures to produce are not logged again
}

// gatewaySources are what can be named after one path.
type gatewaySources struct {
	path   string
	kind   string
	byName map[string]*gatewaySource
	names  []string // sorted
}

// gatewaySource is a source with what the gateway needs to judge its events.
type gatewaySource struct {
	src     *config.Source
	judges  sync.Pool // of *judge
	results *prometheus.CounterVec
	unknown prometheus.Counter
}

// judge is a Reader with its row, used by one request at a time.
type judge struct {
	reader *Reader
	row    []feature.Value
	key    []byte
}

// NewGateway returns a gateway for the plane's sources.
func NewGateway(p *config.Plane, producer Producer, opts Options, logger *slog.Logger, reg prometheus.Registerer) (*Gateway, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	g := &Gateway{
		producer: producer,
		opts:     opts,
		logger:   logger,
		memory:   budget{limit: opts.MaxInFlightBytes},
		slots:    budget{limit: int64(opts.MaxRequests)},
	}
	events := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "freshet_ingest_events_total",
		Help: "Events that the gateway judged, by source and result: accepted, not_acknowledged, or the class of the refusal.",
	}, []string{"source", "result"})
	unknown := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "freshet_ingest_unknown_fields_total",
		Help: "Fields of events at the gateway that the source's schema does not name, by source; they are ignored.",
	}, []string{"source"})
	g.seconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "freshet_ingest_request_seconds",
		Help:    "Time from the request's headers to its answer, by HTTP status.",
		Buckets: prometheus.ExponentialBuckets(0.001, 2, 15),
	}, []string{"code"})
	inFlight := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "freshet_ingest_in_flight_bytes",
		Help: "Memory reserved by requests that Kafka has not answered completely.",
	}, func() float64 { return float64(g.memory.used.Load()) })
	for _, c := range []prometheus.Collector{events, unknown, g.seconds, inFlight} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register the gateway's metrics: %w", err)
		}
	}
	for _, path := range intakePaths(p) {
		for name, src := range path.sources {
			if path.byName[name], err = newGatewaySource(src, events, unknown); err != nil {
				return nil, err
			}
		}
		g.paths = append(g.paths, path.gatewaySources)
	}
	return g, nil
}

// intakePath is a path with what can be named after it.
type intakePath struct {
	gatewaySources
	sources map[string]*config.Source
}

func intakePaths(p *config.Plane) []intakePath {
	events, inferences, labels := map[string]*config.Source{}, map[string]*config.Source{}, map[string]*config.Source{}
	for _, s := range p.Sources {
		events[s.Name] = s
	}
	for _, m := range p.Models {
		inferences[m.Name] = m.Inferences
		if m.Labels != nil {
			labels[m.Name] = m.Labels.Source
		}
	}
	of := func(path, kind string, sources map[string]*config.Source) intakePath {
		return intakePath{gatewaySources{path, kind, map[string]*gatewaySource{}, slices.Sorted(maps.Keys(sources))}, sources}
	}
	return []intakePath{of(GatewayPath, "source", events), of(InferencesPath, "model", inferences), of(LabelsPath, "model with labels", labels)}
}

func newGatewaySource(src *config.Source, events, unknown *prometheus.CounterVec) (*gatewaySource, error) {
	newJudge := func() (*judge, error) {
		r, err := NewReader(src)
		return &judge{reader: r, row: make([]feature.Value, len(src.Schema))}, err
	}
	first, err := newJudge()
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	gs := &gatewaySource{
		src:     src,
		results: events.MustCurryWith(prometheus.Labels{"source": src.Name}),
		unknown: unknown.WithLabelValues(src.Name),
	}
	gs.judges.New = func() any {
		j, err := newJudge()
		if err != nil {
			panic(err) // the same call has succeeded above, and a source is immutable
		}
		return j
	}
	gs.judges.Put(first)
	gs.results.WithLabelValues(resultAccepted) // so that a rate exists before the first event
	return gs, nil
}

// ServeHTTP takes one request.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	a := g.serve(w, r, start.Add(g.opts.Timeout))
	a.write(w)
	g.seconds.WithLabelValues(a.code()).Observe(time.Since(start).Seconds())
}

func (g *Gateway) serve(w http.ResponseWriter, r *http.Request, deadline time.Time) *answer {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return refuse(http.StatusMethodNotAllowed, "events are sent with POST, not "+r.Method)
	}
	from, name, ok := &g.paths[0], "", false
	for i := range g.paths {
		if name, ok = strings.CutPrefix(r.URL.Path, g.paths[i].path); ok {
			from = &g.paths[i]
			break
		}
	}
	if g.opts.Allow != nil { // before anything is said of the sources
		if status, reason := g.opts.Allow(r, name); status != 0 {
			if status == http.StatusUnauthorized {
				w.Header().Set("WWW-Authenticate", `Bearer realm="freshet"`)
			}
			return refuse(status, reason)
		}
	}
	gs := from.byName[name]
	if !ok || gs == nil {
		return from.unknown(name)
	}
	form, a := contentForm(w, r, gs.src)
	if a != nil {
		return a
	}
	if !g.slots.take(1) {
		return tooMany("too many requests at a time")
	}
	defer g.slots.give(1)
	// From here on the reservation belongs to this function, until send takes it over.
	res := reservation{from: &g.memory}
	body, a := g.readBody(w, r, deadline, &res)
	if a == nil {
		var payloads [][]byte
		if payloads, a = g.split(form, body, &res); a == nil {
			return g.send(r.Context(), gs, payloads, deadline, &res)
		}
	}
	res.release()
	return a
}

func (s *gatewaySources) unknown(name string) *answer {
	a := refuse(http.StatusNotFound, "there is no "+s.kind+" "+quote(name)+spell.Suggest(name, s.names))
	if s.path == GatewayPath {
		a.body.Sources = &s.names
	} else {
		a.body.Models = &s.names
	}
	return a
}
