package config

import (
	"slices"
	"strings"

	"github.com/freshet-io/freshet/internal/feature"
)

func (r *resolver) model(s *modelSpec) {
	r.name("model", s.Name)
	added := r.modelNames.add(r.issues, s.Name)
	svc, ok := lookup(r, s.Service, r.services, &r.serviceNames)
	before := len(r.errors)
	m := &Model{Name: s.Name.V, Description: s.Description.V, Service: svc, ID: -1, Version: -1, Prediction: -1, AsOf: EventTime{Field: -1}}
	if s.Inferences != nil && ok {
		r.inferences(s, m)
	}
	if s.Labels != nil {
		r.labels(s, m)
	}
	if other := r.sources[s.Name.V]; other != nil && s.Name.Set {
		r.errorf(s.Name.Pos, "a source is called %q too, and dead letters and metrics go by that name", s.Name.V)
	}
	if added && ok && s.Inferences != nil {
		r.models[s.Name.V] = m
		if len(r.errors) == before {
			r.plane.Models = append(r.plane.Models, m)
		}
	}
}

// inferences makes the source of a model's inference events.
func (r *resolver) inferences(spec *modelSpec, m *Model) {
	s := spec.Inferences
	src := &Source{
		Name: m.Name, Description: m.Description, Topic: s.Topic.V, Format: "json", EventTime: EventTime{Field: -1}, EventID: -1,
		Partitioned: true, AllowedSkew: defaultSkew, StartAt: "earliest", MaxRecordBytes: defaultMaxRecordBytes, Nested: "features",
	}
	m.Inferences = src
	r.topic(s.Topic)
	if s.Format.Set && s.Format.V != "json" {
		r.errorf(s.Format.Pos, "this version reads json only, not %s", s.Format.V)
	}
	if s.Features.Set {
		src.Nested = s.Features.V
	}
	taken := map[string]bool{src.Nested: true}
	add := func(a At[string], t feature.Type, required bool) int {
		if !a.Set || a.Bad {
			return -1
		}
		if taken[a.V] {
			r.errorf(a.Pos, "field %q of the inferences is named twice", a.V)
			return -1
		}
		taken[a.V] = true
		if strings.HasPrefix(a.V, "_") {
			r.column("inference field", a)
			return -1
		}
		src.Schema = append(src.Schema, Field{Name: a.V, Type: t, Required: required})
		return len(src.Schema) - 1
	}
	if m.ID = add(s.ID, feature.String, true); m.ID >= 0 {
		src.Key = []int{m.ID}
	}
	m.Version = add(s.Version, feature.String, false)
	if et := s.EventTime; et != nil && et.Field.Set {
		t := feature.String
		if et.Format.Set && TimeFormat(et.Format.V) != RFC3339 {
			t = feature.Int64
		}
		if add(et.Field, t, true) >= 0 {
			src.EventTime = r.eventTime(et, src)
		}
	}
	if p := s.Prediction; p != nil && p.Field.Set && p.Type.Set {
		t := feature.Float64
		if m.Class = p.Type.V == ClassName; m.Class {
			t = feature.String
		}
		m.Predicts = p.Type.V
		m.Prediction = add(p.Field, t, false)
	}
	for _, sl := range s.Slices {
		if i := add(sl, feature.String, false); i >= 0 {
			m.Slices = append(m.Slices, i)
		}
	}
	r.lookup(spec, m)
	src.NestedFrom = len(src.Schema)
	m.inputs()
}

// inputs adds the columns that the model's service returns, and the prediction.
func (m *Model) inputs() {
	add := func(name string, t feature.Type, place int) {
		switch t {
		case feature.Bool, feature.Int64, feature.Float64, feature.String:
			m.Inferences.Schema = append(m.Inferences.Schema, Field{Name: name, Type: t})
			m.Columns = append(m.Columns, Column{Name: name, Field: len(m.Inferences.Schema) - 1, Type: t, Feature: place})
		}
	}
	for i, f := range m.Service.Features {
		add(f.View.Features[f.Index].Name, f.View.Features[f.Index].Type, i)
	}
	for _, q := range m.Service.Request {
		add(q.Name, q.Type, -1)
	}
	for i, d := range m.Service.Derived {
		add(d.Name, d.Type, len(m.Service.Features)+i)
	}
	if p := m.Prediction; p >= 0 && !slices.ContainsFunc(m.Columns, func(c Column) bool { return c.Name == PredictionColumn }) {
		m.Columns = append(m.Columns, Column{Name: PredictionColumn, Field: p, Type: m.Inferences.Schema[p].Type, Feature: -1})
	}
}
