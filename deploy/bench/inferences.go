package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"text/template"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/kafka"
	"github.com/freshet-io/freshet/monitors/baseline"
	"github.com/freshet-io/freshet/monitors/topics"
)

// monitoredPlane has a model of as many columns as it is given, the last of which is its prediction, and one monitor of
// all of them.
var monitoredPlane = template.Must(template.New("plane").Parse(`
project: bench
prefix: {{.Prefix}}
connections:
  kafka: {brokers: ["{{.Kafka}}"], replication_factor: 1, min_insync_replicas: 1}
  redis: {url: "redis://127.0.0.1:1"}
entities:
  - {name: user, join_keys: [{name: user_id, type: string}]}
sources:
  - {name: events, topic: {{.Topic}}-events, key: [user_id], schema: [{name: user_id, type: string, required: true}, {name: amount, type: float64}]}
feature_views:
  - {name: spend, entity: user, source: events, features: [{name: f0, aggregate: sum, of: amount, window: 1d}]}
feature_services:
  - name: fraud
    features: [spend]
    request:
{{- range .Request}}
      - {name: {{.Name}}, type: {{.Type}}}
{{- end}}
models:
  - name: scorer
    feature_service: fraud
    inferences:
      topic: {{.Topic}}
      id: id
      event_time: {field: at, format: unix_ms}
      prediction: {field: score, type: probability}
{{- if .Sliced}}
      slices: [region]
{{- end}}
baselines:
  - {name: scorer_1, model: scorer}
monitors:
  - name: inputs
    model: scorer
    window: {size: 1m, grace: 1s}
    skew: {baseline: scorer_1}
    min_sample: 300
    for: 1
{{- if .Hook}}
    channels: [hook]
channels:
  - {name: hook, webhook: {url: "{{.Hook}}", secret: "file:{{.Secret}}", allow: ["127.0.0.0/8"]}}
{{- end}}
`))

// monitoring is what the definition of a monitored model differs by.
type monitoring struct {
	Kafka, Prefix, Topic string
	Window, Every        time.Duration // of the monitor
	Columns              int           // features and the prediction
	Sliced               bool          // by the region
	Hook, Secret         string        // URL and file; "": the alerts go nowhere
}

// load loads the definition. Its windows are set afterwards: files have none shorter than a minute, and tests do.
func (m monitoring) load(dir string) (p *config.Plane, remove func() error, err error) {
	if p, remove, err = loadPlane(dir, monitoredPlane, m); err == nil {
		p.Monitors[0].Size, p.Monitors[0].Every = m.Window, m.Every
	}
	return p, remove, err
}

// Request are the features that come with requests: all but the first, which is a view's. Of seven four are floats, two
// whole numbers and one is a string.
func (m monitoring) Request() []config.Field {
	fields := make([]config.Field, max(0, m.Columns-2))
	for i := range fields {
		fields[i] = config.Field{Name: "f" + strconv.Itoa(i+1), Type: feature.Float64}
		switch i % 7 {
		case 2, 5:
			fields[i].Type = feature.Int64
		case 6:
			fields[i].Type = feature.String
		}
	}
	return fields
}

// inferenceMaker makes a model's inferences. It is seeded: every run has the same ones.
type inferenceMaker struct {
	rng     *rand.Rand
	model   *config.Model
	regions []feature.Value // that there are, if the model has slices
	row     []feature.Value // one for each column of the model
	n       int
	shift   float64 // by how many standard deviations the first feature is larger than it was in training
}

func newInferenceMaker(model *config.Model, regions int, seed uint64) *inferenceMaker {
	m := &inferenceMaker{rng: rand.New(rand.NewPCG(seed, 7)), model: model, row: make([]feature.Value, len(model.Columns))}
	for i := range regions {
		m.regions = append(m.regions, feature.StringValue("r"+strconv.Itoa(i)))
	}
	return m
}

var countries = []string{"DE", "FR", "US", "GB", "JP", "BR", "IN", "CN", "ZA", "AU"}

// values makes the columns of an inference, which are overwritten by the next, and its region, if there are any.
func (m *inferenceMaker) values() (row, region []feature.Value) {
	for i := range m.row {
		switch c := &m.model.Columns[i]; {
		case c.Name == config.PredictionColumn:
			m.row[i] = feature.Float64Value(m.rng.Float64())
		case c.Type == feature.Float64:
			m.row[i] = feature.Float64Value(100 + 10*m.rng.NormFloat64())
		case c.Type == feature.Int64:
			m.row[i] = feature.Int64Value(int64(40 * m.rng.ExpFloat64()))
		default:
			m.row[i] = feature.StringValue(countries[m.rng.IntN(len(countries))])
		}
	}
	m.row[0] = feature.Float64Value(m.row[0].Float64() + 10*m.shift)
	if len(m.regions) > 0 {
		k := m.rng.IntN(len(m.regions))
		region = m.regions[k : k+1]
	}
	return m.row, region
}

// next makes one inference at a time in milliseconds, and its record key: about 350 bytes of JSON for 25 columns. It is an
// eventFunc.
func (m *inferenceMaker) next(millis int64) (key, value []byte) {
	m.n++
	row, region := m.values()
	v := make([]byte, 0, 480)
	key = strconv.AppendInt([]byte("i"), int64(m.n), 10)
	v = fmt.Appendf(v, `{"id":"%s","at":%d,`, key, millis)
	if len(region) > 0 {
		v = fmt.Appendf(v, `"region":"%s",`, region[0].Str())
	}
	v = append(v, `"features":{`...)
	var score float64
	for i := range row {
		c := &m.model.Columns[i]
		if c.Name == config.PredictionColumn {
			score = row[i].Float64()
			continue
		}
		v = append(append(append(v, '"'), c.Name...), '"', ':')
		switch c.Type {
		case feature.Float64:
			v = strconv.AppendFloat(v, row[i].Float64(), 'g', 6, 64)
		case feature.Int64:
			v = strconv.AppendInt(v, row[i].Int64(), 10)
		default:
			v = append(append(append(v, '"'), row[i].Str()...), '"')
		}
		v = append(v, ',')
	}
	v = append(v[:len(v)-1], `},"score":`...)
	v = append(strconv.AppendFloat(v, score, 'g', 4, 64), '}')
	return key, v
}

// trained makes the baseline of a model whose training set is like its inferences.
func trained(model *config.Model, regions, rows int) (*baseline.Baseline, error) {
	d := baseline.Definition{Name: "scorer_1", Model: model.Name, Build: time.Now().UnixMicro(), From: "a benchmark"}
	for _, c := range model.Columns {
		d.Columns = append(d.Columns, baseline.Column{Name: c.Name, Type: c.Type})
	}
	for _, i := range model.Slices {
		d.Fields = append(d.Fields, model.Inferences.Schema[i].Name)
	}
	return baseline.Make(d, func(fn func(values, fields []feature.Value) error) error {
		m := newInferenceMaker(model, regions, 1)
		for range rows {
			if err := fn(m.values()); err != nil {
				return err
			}
		}
		return nil
	})
}

// recordBaseline writes a baseline where the monitors of a plane look for it.
func recordBaseline(ctx context.Context, opts []kgo.Opt, plane *config.Plane, b *baseline.Baseline) error {
	records, err := baseline.Records(b)
	if err != nil {
		return err
	}
	cl, err := kgo.NewClient(append(opts[:len(opts):len(opts)], kgo.ProducerBatchMaxBytes(topics.MaxRecordBytes))...)
	if err != nil {
		return err
	}
	defer cl.Close()
	if err := kafka.EnsureTopics(ctx, kadm.NewClient(cl), *plane.Connections.Kafka, topics.Specs(plane)); err != nil {
		return err
	}
	for _, r := range records {
		rec := &kgo.Record{Topic: topics.Name(plane, topics.Baselines), Key: r.Key, Value: r.Value}
		if err := cl.ProduceSync(ctx, rec).FirstErr(); err != nil {
			return fmt.Errorf("produce to %s: %w", rec.Topic, err)
		}
	}
	return nil
}
