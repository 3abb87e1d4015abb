package demo

import (
	_ "embed"
	"time"

	"github.com/freshet-io/freshet/ingest"
	"github.com/freshet-io/freshet/internal/feature"
)

// MonitorsYAML is what the demo adds to its plane when it plays the whole year.
//
//go:embed monitors.yaml
var MonitorsYAML []byte

// ModelVersion is the version of the demo's model.
const ModelVersion = "1"

// coefficients are the model's: minutes of delay a unit of a feature; what is null counts as 0. DATA.md says how they were
// fitted.
var coefficients = map[string]float64{
	"mean_delay_1h":  0.7604,
	"late_share_24h": 21.69,
	"route_delay_7d": 0.1173,
	"distance":       0.00022,
}

const intercept = -0.2284

// Predict is the demo's model: how many minutes late a flight will leave, from the features that it was served.
func Predict(names []string, features []feature.Value) float64 {
	sum := intercept
	for i, name := range names {
		c, ok := coefficients[name]
		switch v := &features[i]; {
		case !ok:
		case v.Type() == feature.Float64:
			sum += c * v.Float64()
		case v.Type() == feature.Int64:
			sum += c * float64(v.Int64())
		}
	}
	return sum
}

// AppendInference appends the inference event of a flight, as a model server logs what it was asked and what it said.
func AppendInference(dst []byte, id, carrier string, at time.Time, names []string, features []feature.Value) []byte {
	text := func(name, value string) {
		v := feature.StringValue(value)
		dst = append(ingest.AppendJSON(ingest.AppendJSONName(dst, name), &v), ',')
	}
	dst = append(dst, '{')
	text("id", id)
	text("version", ModelVersion)
	text("at", at.UTC().Format(time.RFC3339))
	text("carrier", carrier)
	predicted := feature.Float64Value(Predict(names, features))
	dst = append(ingest.AppendJSON(ingest.AppendJSONName(dst, "predicted_delay"), &predicted), `,"features":{`...)
	for i, name := range names {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = ingest.AppendJSON(ingest.AppendJSONName(dst, name), &features[i])
	}
	return append(dst, "}}"...)
}
