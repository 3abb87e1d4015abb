package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"text/template"
	"time"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/online"
)

var lookupTemplate = template.Must(template.New("plane").Parse(`
project: {{.Project}}
connections:
  kafka: {brokers: ["localhost:9092"]}
entities:
  - {name: user, join_keys: [{name: user_id, type: int64}]}
sources:
  - name: events
    topic: events
    format: json
    key: [user_id]
    event_time: {field: ts, format: unix_ms}
    schema:
      - {name: user_id, type: int64, required: true}
      - {name: amount, type: float64}
      - {name: country, type: string}
      - {name: ts, type: int64, required: true}
feature_views:
  - name: wide
    entity: user
    source: events
    ttl: 1d
    features:
{{- range .Wide}}
      - {name: {{.Name}}, aggregate: {{.Aggregate}},{{if .Of}} of: {{.Of}},{{end}} window: 1h}
{{- end}}
  - name: eight
    entity: user
    source: events
    ttl: 1d
    features:
{{- range .Eight}}
      - {name: {{.Name}}, aggregate: {{.Aggregate}},{{if .Of}} of: {{.Of}},{{end}} window: 1h}
{{- end}}
  - name: sketches
    entity: user
    source: events
    ttl: 2d
    features:
      - {name: countries_24h, aggregate: approx_distinct, of: country, window: 24h}
      - {name: p90_24h, aggregate: approx_quantile, q: 0.9, of: amount, window: 24h}
feature_services:
  - {name: wide, features: [wide]}
  - {name: eight, features: [eight]}
  - {name: sketches, features: [sketches]}
`))

// templateFeature is a feature of a view of lookupTemplate.
type templateFeature struct{ Name, Aggregate, Of string }

// templateFeatures are n features, of the aggregates in turn.
func templateFeatures(n int) []templateFeature {
	of := make([]templateFeature, n)
	for i := range of {
		aggregate := []string{"sum", "mean", "count", "max"}[i%4]
		of[i] = templateFeature{Name: fmt.Sprintf("%s_%02d", aggregate, i), Aggregate: aggregate}
		if aggregate != "count" {
			of[i].Of = "amount"
		}
	}
	return of
}

// lookupPlane writes and loads a definition of a project of its own.
func lookupPlane(dir string) (p *config.Plane, file string, remove func() error, err error) {
	p, remove, err = loadPlane(dir, lookupTemplate, map[string]any{
		"Project": "bench" + strconv.FormatInt(time.Now().UnixMilli(), 36), "Wide": templateFeatures(50), "Eight": templateFeatures(8),
	})
	if err != nil {
		return nil, "", nil, err
	}
	return p, filepath.Join(filepath.Dir(p.Processing.StateDir), "plane.yaml"), remove, nil
}

// keepEntities is how long the entities of a run stay in a Redis that is not the run's own.
const keepEntities = time.Hour

// fillViews publishes the entities of every view, as processors do: events are applied, and what is written is the state
// as blobs, through the guard. Every tile of the longest window has events.
func fillViews(ctx context.Context, rdb *online.Client, plane *config.Plane, entities int) error {
	now := time.Now().UnixMicro()
	rng := rand.New(rand.NewPCG(1, 2))
	const batch = 200
	writes := make([]online.Write, 0, batch)
	out := make([]online.Outcome, batch)
	for _, v := range plane.Views {
		head, tail := online.Fields(v.Name, v.Fingerprint)
		for id := range entities {
			e := filledEntity(v, rng, now)
			version := feature.MakeVersion(1, 0, uint64(id), 0)
			writes = append(writes, online.Write{
				Key: entityKey(plane, v, id), HeadField: head, TailField: tail, Expire: keepEntities,
				Head: v.Layout.AppendHead(nil, e, version, version), Tail: v.Layout.AppendTail(nil, e, version),
			})
			if len(writes) < batch && id < entities-1 {
				continue
			}
			if err := rdb.Write(ctx, writes, out[:len(writes)]); err != nil {
				return err
			}
			for i, o := range out[:len(writes)] {
				if o != online.Accepted {
					return fmt.Errorf("write of %s: %v", writes[i].Key, o)
				}
			}
			writes = writes[:0]
		}
	}
	return nil
}

// filledEntity has events at every sixtieth of the view's longest window, as far back as processors keep them, so that
// the window stays full while it moves on.
func filledEntity(v *config.View, rng *rand.Rand, now int64) *feature.Entity {
	e := new(feature.Entity)
	in := make([]*feature.Value, len(v.Features))
	step := v.Layout.MaxWindow() / 60
	const kept = 66 // with a skew of five minutes beside an hour
	for k := int64(kept); k >= 0; k-- {
		amount := feature.Float64Value(float64(rng.IntN(50_000)) / 100)
		country := feature.StringValue(strconv.Itoa(rng.IntN(100)))
		for i := range v.Features {
			if in[i] = &amount; v.Features[i].Spec.In == feature.String {
				in[i] = &country
			}
		}
		at := now - k*step
		v.Layout.Apply(e, &feature.Order{Time: at, Ordinal: 1, Offset: kept + 1 - k}, in, at)
	}
	return e
}

// entityKey names an entity's hash.
func entityKey(plane *config.Plane, v *config.View, id int) []byte {
	return appendEntityKey(nil, plane, v, id)
}

func appendEntityKey(dst []byte, plane *config.Plane, v *config.View, id int) []byte {
	var scratch [16]byte
	key, err := feature.AppendKey(scratch[:0], feature.Int64Value(int64(id)))
	if err != nil {
		panic("bench: an int64 is no key: " + err.Error())
	}
	return online.AppendKey(dst, plane.Project, v.Entity.Name, key)
}
