package demo

import (
	_ "embed"
	"strconv"
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
	"mean_delay_1h":  0.6129,
	"late_share_24h": 20.30,
	"route_delay_7d": 0.1336,
	"board_delay_3h": 0.2887,
	"distance":       0.00009,
}

const intercept = -0.8361

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
func AppendInference(dst []byte, id, carrier, origin string, at time.Time, names []string, features []feature.Value) []byte {
	text := func(name, value string) {
		v := feature.StringValue(value)
		dst = append(ingest.AppendJSON(ingest.AppendJSONName(dst, name), &v), ',')
	}
	dst = append(dst, '{')
	text("id", id)
	text("version", ModelVersion)
	text("at", at.UTC().Format(time.RFC3339))
	text("carrier", carrier)
	text("origin", origin)
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

// AppendLabel appends the label of an inference: how many minutes late the flight left, and when that was reported.
func AppendLabel(dst []byte, id string, delay int, reported time.Time) []byte {
	dst = append(dst, `{"id":`...)
	dst = strconv.AppendQuote(dst, id)
	dst = append(dst, `,"delay":`...)
	dst = strconv.AppendInt(dst, int64(delay), 10)
	dst = append(dst, `,"reported_at":"`...)
	dst = reported.UTC().AppendFormat(dst, time.RFC3339)
	return append(dst, `"}`...)
}
