package ingest

import (
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
)

// scores is the source of a model's inferences.
func scores() *config.Source {
	return &config.Source{
		Name: "scorer", Topic: "scores", Format: "json", EventTime: config.EventTime{Field: -1}, EventID: -1, MaxRecordBytes: 1 << 20,
		Key: []int{0}, Nested: "features", NestedFrom: 2,
		Schema: []config.Field{
			{Name: "id", Type: feature.String, Required: true},
			{Name: "prediction", Type: feature.Float64},
			{Name: "n", Type: feature.Int64},
			{Name: "x", Type: feature.Float64},
			{Name: "s", Type: feature.String},
			{Name: "b", Type: feature.Bool},
		},
	}
}

func TestNestedMembersAreTakenAsTheyAre(t *testing.T) {
	d, err := NewDecoder(scores())
	if err != nil {
		t.Fatal(err)
	}
	i, f, s := feature.Int64Value, feature.Float64Value, feature.StringValue
	null := feature.Value{}
	for _, tc := range []struct {
		features string
		want     []feature.Value
		unknown  int
	}{
		{`{"n": 3, "x": 1.5, "s": "a\u0041", "b": true}`, []feature.Value{i(3), f(1.5), s("aA"), feature.BoolValue(true)}, 0},
		{`{"b": false, "s": "", "extra": {"x": [1]}, "x": 2}`, []feature.Value{null, f(2), s(""), feature.BoolValue(false)}, 1},
		{`{"n": 3.5, "x": "1.5", "s": 7, "b": 1}`, []feature.Value{f(3.5), s("1.5"), f(7), f(1)}, 0},
		{`{"n": 12.0, "x": "NaN", "s": "NaN", "b": null}`, []feature.Value{i(12), f(math.NaN()), s("NaN"), null}, 0},
		{`{"n": 1e400, "x": -1e400, "s": [1, {"n": 2}], "b": {}}`, []feature.Value{f(math.Inf(1)), f(math.Inf(-1)), feature.BytesValue(""), feature.BytesValue("")}, 0},
		{`{"x": "-Infinity"}`, []feature.Value{null, f(math.Inf(-1)), null, null}, 0},
		{`{}`, make([]feature.Value, 4), 0},
		{`null`, make([]feature.Value, 4), 0},
	} {
		row := make([]feature.Value, 6)
		unknown, err := d.Decode([]byte(`{"features": `+tc.features+`, "id": "i1", "prediction": 0.25, "n": 99}`), row)
		if err != nil || unknown != tc.unknown+1 { // the n outside is no field
			t.Errorf("%s: %d unknown, %v", tc.features, unknown, err)
			continue
		}
		if row[0].Str() != "i1" || row[1].Float64() != 0.25 {
			t.Errorf("%s: %v", tc.features, row[:2])
		}
		for k, want := range tc.want {
			if got := row[2+k]; got.Type() != want.Type() || got.String() != want.String() {
				t.Errorf("%s: member %d is %s %s, want %s %s", tc.features, k, got.Type(), got, want.Type(), want)
			}
		}
	}
}

func TestNestedObjectsThatAreRefused(t *testing.T) {
	d, err := NewDecoder(scores())
	if err != nil {
		t.Fatal(err)
	}
	for features, want := range map[string]struct {
		class Class
		field string
	}{
		`7`:                  {WrongType, "features"},
		`[{"n": 1}]`:         {WrongType, "features"},
		`{"n": 1, "n": 2}`:   {Malformed, "n"},
		`{"n": 01}`:          {Malformed, ""},
		`{"n": }`:            {Malformed, ""},
		`{"x": NaN}`:         {Malformed, ""},
		`{"s": "\ud800"}`:    {Malformed, ""},
		`{}, "features": {}`: {Malformed, "features"},
		`{"s": ` + strings.Repeat("[", 80) + strings.Repeat("]", 80) + `}`: {Malformed, ""},
	} {
		_, err := d.Decode([]byte(`{"id": "i1", "features": `+features+`}`), make([]feature.Value, 6))
		var fe *FieldError
		if !errors.As(err, &fe) || fe.Class != want.class || fe.Field != want.field {
			t.Errorf("%s: %v, want %v", features, err, want)
		}
	}
}

// FuzzNested holds what the decoder takes to what encoding/json takes.
func FuzzNested(f *testing.F) {
	for _, s := range []string{
		`{"id":"a","features":{"n":1,"x":2.5,"s":"t","b":true}}`, `{"features":null,"id":"a"}`, `{"id":"a","features":{"n":[{"n":1}],"q":{}}}`, `{"id":"a","features":{"x":"NaN"}}`,
	} {
		f.Add([]byte(s))
	}
	d, err := NewDecoder(scores())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		row := make([]feature.Value, 6)
		if _, err := d.Decode(payload, row); err != nil {
			return
		}
		var doc struct {
			Features map[string]any `json:"features"`
		}
		if err := json.Unmarshal(payload, &doc); err != nil && !strings.Contains(err.Error(), "cannot unmarshal number") {
			t.Fatalf("taken, and refused by encoding/json: %v", err)
		}
		for k, name := range []string{"n", "x", "s", "b"} {
			if v, ok := doc.Features[name]; (ok && v != nil) == row[2+k].IsNull() && len(doc.Features) > 0 {
				t.Errorf("%s is %v, read as %s", name, v, row[2+k])
			}
		}
	})
}

func TestGatewayTakesInferences(t *testing.T) {
	p := testPlane(departures())
	labels := &config.Source{
		Name: "scorer.labels", Topic: "labels", Format: "json", EventTime: config.EventTime{Field: -1}, EventID: -1, MaxRecordBytes: 1 << 20, Key: []int{0},
		Schema: []config.Field{{Name: "id", Type: feature.String, Required: true}, {Name: "y", Type: feature.Bool, Required: true}},
	}
	p.Models = []*config.Model{{Name: "scorer", Inferences: scores(), Labels: &config.Labels{Source: labels}}, {Name: "other", Inferences: scores()}}
	producer := &memoryProducer{}
	g, err := NewGateway(p, producer, Options{Now: gatewayNow}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	post := func(path, body string) (int, string) {
		req := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
		req.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		g.ServeHTTP(w, req)
		return w.Code, w.Body.String()
	}
	if code, body := post("/v1/inferences/scorer", `{"id": "i1", "prediction": 0.5, "features": {"n": "not a number"}}`); code != http.StatusOK {
		t.Errorf("%d %s", code, body)
	}
	if len(producer.recs) != 1 || producer.recs[0].Topic != "scores" || string(producer.recs[0].Key) != "i1" {
		t.Errorf("produced %+v", producer.recs)
	}
	if code, body := post("/v1/inferences/scorer", `{"prediction": 0.5}`); code != http.StatusUnprocessableEntity || !strings.Contains(body, "missing_field") {
		t.Errorf("%d %s", code, body)
	}
	if code, body := post("/v1/inferences/departures", `{}`); code != http.StatusNotFound || !strings.Contains(body, `there is no model \"departures\"`) || !strings.Contains(body, `"models":["other","scorer"]`) {
		t.Errorf("%d %s", code, body)
	}
	if code, body := post("/v1/labels/scorer", `[{"id": "i1", "y": true}, {"id": "i2", "y": false}]`); code != http.StatusOK {
		t.Errorf("%d %s", code, body)
	}
	if len(producer.recs) != 3 || producer.recs[1].Topic != "labels" || string(producer.recs[1].Key) != "i1" {
		t.Errorf("produced %+v", producer.recs)
	}
	if code, body := post("/v1/labels/scorer", `{"id": "i1", "y": "perhaps"}`); code != http.StatusUnprocessableEntity || !strings.Contains(body, `"y"`) {
		t.Errorf("%d %s", code, body)
	}
	if code, body := post("/v1/labels/other", `{}`); code != http.StatusNotFound || !strings.Contains(body, `there is no model with labels \"other\"`) || !strings.Contains(body, `"models":["scorer"]`) {
		t.Errorf("%d %s", code, body)
	}
	if code, body := post("/v1/events/scorer", `{}`); code != http.StatusNotFound {
		t.Errorf("%d %s", code, body)
	}
}

func BenchmarkDecodeInference(b *testing.B) {
	src := scores()
	src.Schema = src.Schema[:src.NestedFrom]
	doc := `{"id":"8f14e45f-ceea-467f-a0b1-1234567890ab","prediction":0.73125,"features":{`
	for k := range 25 {
		name := "feature_" + string(rune('a'+k))
		src.Schema = append(src.Schema, config.Field{Name: name, Type: feature.Float64})
		if k > 0 {
			doc += ","
		}
		doc += `"` + name + `":` + []string{"17.25", "0.0031847", "-1204.5", "3"}[k%4]
	}
	doc += "}}"
	d, err := NewDecoder(src)
	if err != nil {
		b.Fatal(err)
	}
	payload, row := []byte(doc), make([]feature.Value, len(src.Schema))
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Decode(payload, row); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(25*float64(b.N)/b.Elapsed().Seconds(), "values/s")
}
