package config

import (
	"slices"
	"strings"
	"time"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/spell"
)

// The defaults of value skew. A difference of one per cent of the values is what a broken path makes at the least; with
// as_of only the publish interval and the clocks lie between a lookup and its event.
const (
	defaultTolerance     = 1e-6
	defaultSkewThreshold = 0.01
	defaultSkewRows      = 1000
	maxSkewRows          = 100_000
	defaultSettle        = 10 * time.Minute
	defaultTiming        = time.Second
	defaultTimingLogged  = 10 * time.Second // without as_of
)

// lookup resolves what tells of the lookup that an inference was made from: its as_of and the join keys. The join keys are
// looked for where a monitor compares values, or where they are named.
func (r *resolver) lookup(s *modelSpec, m *Model) {
	if a := s.Inferences.AsOf; a != nil && a.Field.Set {
		t, format := feature.Int64, UnixMicro
		if a.Format.Set {
			format = TimeFormat(a.Format.V)
		}
		if format == RFC3339 {
			t = feature.String
		}
		m.AsOf = EventTime{Field: r.inferenceField(m, a.Field, t, "as_of"), Format: format}
	}
	compared := slices.ContainsFunc(r.spec.Monitors, func(o monitorSpec) bool { return o.ValueSkew != nil && o.Model.V == m.Name })
	if !compared && len(s.Inferences.Entities) == 0 {
		return
	}
	fields, known, unknown := map[string]At[string]{}, []string{}, false
	seen := names{kind: "join key"}
	for _, e := range s.Inferences.Entities {
		if seen.add(r.issues, e.JoinKey) {
			fields[e.JoinKey.V] = e.Field
		}
	}
	for _, f := range m.Service.Features {
		if f.View.Entity == nil { // a mistake that has been told
			unknown = true
			continue
		}
		for _, k := range f.View.Entity.JoinKeys {
			if i := slices.IndexFunc(m.JoinKeys, func(o ModelKey) bool { return o.Name == k.Name }); i >= 0 {
				if m.JoinKeys[i].Type != k.Type {
					r.errorf(s.Name.Pos, "join key %q of model %s's features is a %s of one entity and a %s of another", k.Name, m.Name, m.JoinKeys[i].Type, k.Type)
				}
				continue
			}
			known = append(known, k.Name)
			at, named := fields[k.Name]
			if !named {
				at = At[string]{V: k.Name, Set: true, Pos: s.Inferences.Topic.Pos}
			}
			m.JoinKeys = append(m.JoinKeys, ModelKey{Name: k.Name, Type: k.Type, Field: r.inferenceField(m, at, k.Type, "join key "+k.Name)})
		}
	}
	for _, e := range s.Inferences.Entities {
		if e.JoinKey.Set && !unknown && !slices.Contains(known, e.JoinKey.V) {
			r.errorf(e.JoinKey.Pos, "no feature of service %s has a join key %q%s", m.Service.Name, e.JoinKey.V, spell.Suggest(e.JoinKey.V, known))
		}
	}
}

// inferenceField returns the place of a field that may be another one's too, as a join key may be a slice.
func (r *resolver) inferenceField(m *Model, at At[string], t feature.Type, what string) int {
	src := m.Inferences
	if !at.Set || at.Bad {
		return -1
	}
	if i := slices.IndexFunc(src.Schema, func(f Field) bool { return f.Name == at.V }); i >= 0 {
		if have := src.Schema[i].Type; have != t {
			r.errorf(at.Pos, "field %q of the inferences is a %s, and %s is a %s", at.V, have, what, t)
		}
		return i
	}
	if at.V == src.Nested {
		r.errorf(at.Pos, "field %q of the inferences is the object of features, and %s is a %s", at.V, what, t)
		return -1
	}
	if strings.HasPrefix(at.V, "_") && !r.column("inference field", at) {
		return -1
	}
	src.Schema = append(src.Schema, Field{Name: at.V, Type: t})
	return len(src.Schema) - 1
}

func (r *resolver) valueSkew(s *monitorSpec, m *Monitor) {
	v := s.ValueSkew
	if v == nil {
		return
	}
	out := &ValueSkew{Tolerance: defaultTolerance, Threshold: defaultSkewThreshold, Rows: defaultSkewRows, Settle: defaultSettle, Timing: defaultTiming}
	if m.Model != nil && m.Model.AsOf.Field < 0 {
		out.Timing = defaultTimingLogged
	}
	if v.Tolerance.Set {
		if out.Tolerance = v.Tolerance.V; out.Tolerance < 0 || out.Tolerance >= 1 {
			r.errorf(v.Tolerance.Pos, "value_skew.tolerance must be from 0 to below 1")
		}
	}
	if v.Threshold.Set {
		if out.Threshold = v.Threshold.V; out.Threshold <= 0 || out.Threshold >= 1 {
			r.errorf(v.Threshold.Pos, "value_skew.threshold is a share of values: above 0 and below 1")
		}
	}
	if v.Rows.Set {
		if out.Rows = v.Rows.V; out.Rows < 1 || out.Rows > maxSkewRows {
			r.errorf(v.Rows.Pos, "value_skew.rows must be from 1 to %d", maxSkewRows)
		}
	}
	r.interval("value_skew.settle", v.Settle, 0, 24*time.Hour, &out.Settle)
	r.interval("value_skew.timing", v.Timing, 0, time.Hour, &out.Timing)
	m.ValueSkew = out
	if c := r.plane.Connections; c.ClickHouse == nil && c.Parquet == nil {
		r.warnf(s.Name.Pos, "value_skew compares with the history: freshet run needs connections.clickhouse or connections.parquet for it")
	}
}
