package config

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/freshet-io/freshet/internal/feature"
)

const (
	defaultCutoff      = 0.5
	defaultMinCoverage = 0.5
)

// labelTypes are the types of labels that each kind of prediction can be compared with.
var labelTypes = map[string][]string{
	Number:      {"float64", "int64"},
	ClassName:   {"string"},
	Probability: {"bool", "int64", "float64", "string"},
}

// labels makes the source of a model's label events.
func (r *resolver) labels(s *modelSpec, m *Model) {
	l := s.Labels
	if s.Inferences != nil && !s.Inferences.ID.Set {
		r.errorf(l.ID.Pos, "labels need an id in inferences to be joined by")
	}
	r.topic(l.Topic)
	src := &Source{
		Name: m.Name + ".labels", Topic: l.Topic.V, Format: "json", EventTime: EventTime{Field: -1}, EventID: -1,
		Partitioned: true, AllowedSkew: defaultSkew, StartAt: "earliest", MaxRecordBytes: defaultMaxRecordBytes, Key: []int{LabelID},
	}
	t, _ := feature.ParseType(l.Type.V)
	src.Schema = []Field{{Name: l.ID.V, Type: feature.String, Required: true}, {Name: l.Field.V, Type: t, Required: true}}
	if l.ID.Set && l.ID.V == l.Field.V {
		r.errorf(l.Field.Pos, "field %q of the labels is named twice", l.Field.V)
	}
	if et := l.EventTime; et != nil && et.Field.Set {
		r.labelTime(et, src)
	}
	m.Labels = &Labels{Source: src, Positive: l.Positive.V, Cutoff: defaultCutoff}
	r.interval("within", l.Within, time.Second, maxMonitorWindow, &m.Labels.Within)
	if l.Cutoff.Set {
		if m.Labels.Cutoff = l.Cutoff.V; m.Predicts != Probability || !(l.Cutoff.V > 0 && l.Cutoff.V < 1) {
			r.errorf(l.Cutoff.Pos, "cutoff is a number between 0 and 1, of predictions that are a probability")
		}
	}
	if l.Positive.Set && l.Type.V != "string" {
		r.errorf(l.Positive.Pos, "positive is for labels of type string; of %s, %s is the positive class", l.Type.V, pick(l.Type.V == "bool", "true", "1"))
	}
	if allowed := labelTypes[m.Predicts]; allowed != nil && l.Type.Set && !slices.Contains(allowed, l.Type.V) {
		r.errorf(l.Type.Pos, "predictions that are a %s are compared with labels of type %s, not %s", m.Predicts, strings.Join(allowed, " or "), l.Type.V)
	} else if m.Predicts == Probability && l.Type.V == "string" && !l.Positive.Set {
		r.errorf(l.Type.Pos, "which label is it that the probability is of? give labels.positive")
	}
}

// labelTime adds the field with a label's time to the schema, unless it has it.
func (r *resolver) labelTime(et *eventTimeSpec, src *Source) {
	if slices.ContainsFunc(src.Schema, func(f Field) bool { return f.Name == et.Field.V }) {
		r.errorf(et.Field.Pos, "field %q of the labels is named twice", et.Field.V)
		return
	}
	t := feature.String
	if et.Format.Set && TimeFormat(et.Format.V) != RFC3339 {
		t = feature.Int64
	}
	src.Schema = append(src.Schema, Field{Name: et.Field.V, Type: t, Required: true})
	src.EventTime = r.eventTime(et, src)
}

// qualityMetrics says of each metric whether more of it is better, of which predictions it is, and whether it needs to
// know the positive class.
var qualityMetrics = map[string]struct {
	more     bool
	of       []string
	positive bool
}{
	"rmse":              {of: []string{Number}},
	"mae":               {of: []string{Number}},
	"log_loss":          {of: []string{Probability}},
	"calibration_error": {of: []string{Probability}},
	"auc":               {of: []string{Probability}, more: true},
	"accuracy":          {of: []string{Probability, ClassName}, more: true},
	"precision":         {of: []string{Probability, ClassName}, more: true, positive: true},
	"recall":            {of: []string{Probability, ClassName}, more: true, positive: true},
}

// QualityMetrics are the names of all metrics, in order.
func QualityMetrics() []string { return slices.Sorted(maps.Keys(qualityMetrics)) }

// performance resolves what a monitor holds its model's quality to.
func (r *resolver) performance(s *monitorSpec, m *Monitor) {
	p := s.Performance
	m.Performance = &Performance{MinCoverage: defaultMinCoverage, Against: p.Against.V}
	switch {
	case m.Model.Labels == nil:
		r.errorf(p.Pos, "model %s has no labels to measure its performance by", m.Model.Name)
		return
	case m.Model.Predicts == "":
		r.errorf(p.Pos, "model %s logs no prediction to compare its labels with", m.Model.Name)
		return
	}
	if p.MinCoverage.Set {
		if m.Performance.MinCoverage = p.MinCoverage.V; !(p.MinCoverage.V > 0 && p.MinCoverage.V <= 1) {
			r.errorf(p.MinCoverage.Pos, "min_coverage must be above 0 and at most 1")
		}
	}
	if d := p.Duplicates; d.Set {
		if m.Performance.MaxDuplicates = d.V; !(d.V > 0 && d.V < 1) {
			r.errorf(d.Pos, "max_duplicates must be above 0 and below 1: it is a share of the inferences")
		}
	}
	r.performanceAgainst(s, m)
	known := names{kind: "metric"}
	for i := range p.Metrics {
		if known.add(r.issues, p.Metrics[i].Name) {
			r.metric(&p.Metrics[i], m)
		}
	}
}

func (r *resolver) performanceAgainst(s *monitorSpec, m *Monitor) {
	a := s.Performance.Against
	if !a.Set || m.Size <= 0 || m.Every <= 0 {
		return
	}
	switch {
	case a.V < m.Size:
		r.errorf(a.Pos, "performance.against %s is shorter than window.size %s: the windows would overlap", formatDuration(a.V), formatDuration(m.Size))
	case a.V%m.Every != 0:
		r.errorf(a.Pos, "performance.against %s is not a whole number of window.every %s", formatDuration(a.V), formatDuration(m.Every))
	case (m.Size+a.V)/m.Every > maxReachSteps:
		r.errorf(a.Pos, "performance.against %s reaches back more than %d steps of window.every %s", formatDuration(a.V), maxReachSteps, formatDuration(m.Every))
	}
}

func (r *resolver) metric(s *metricSpec, m *Monitor) {
	q, ok := qualityMetrics[s.Name.V]
	if !ok {
		return // said already
	}
	out := Metric{Name: s.Name.V, WorseBy: s.WorseBy.V, Bound: pick(q.more, s.Min, s.Max).V}
	limits := 0
	for _, l := range []At[float64]{s.Max, s.Min, s.WorseBy} {
		if l.Set {
			limits++
		}
	}
	switch {
	case !slices.Contains(q.of, m.Model.Predicts):
		r.errorf(s.Name.Pos, "%s is of predictions that are a %s; those of model %s are a %s", s.Name.V, strings.Join(q.of, " or "), m.Model.Name, m.Model.Predicts)
	case q.positive && m.Model.Predicts == ClassName && m.Model.Labels.Positive == "":
		r.errorf(s.Name.Pos, "%s is of one class: say which in the model's labels.positive", s.Name.V)
	case q.more && s.Max.Set:
		r.errorf(s.Max.Pos, "more %s is better: give it min or worse_by", s.Name.V)
	case !q.more && s.Min.Set:
		r.errorf(s.Min.Pos, "less %s is better: give it max or worse_by", s.Name.V)
	case limits != 1:
		r.errorf(s.Name.Pos, "%s needs one limit, %s or worse_by, and has %d", s.Name.V, pick(q.more, "min", "max"), limits)
	case s.WorseBy.Set && m.Performance.Against == 0:
		r.errorf(s.WorseBy.Pos, "worse_by is relative to an earlier window: give performance.against")
	case s.WorseBy.Set && !(s.WorseBy.V > 0 && s.WorseBy.V < 100) || s.WorseBy.Set && q.more && s.WorseBy.V >= 1:
		r.errorf(s.WorseBy.Pos, "worse_by must be above 0, and below %s of %s", pick(q.more, "1", "100"), s.Name.V)
	case s.Max.Set && !(s.Max.V > 0):
		r.errorf(s.Max.Pos, "max must be above 0")
	case s.Min.Set && !(s.Min.V > 0 && s.Min.V < 1):
		r.errorf(s.Min.Pos, "min must be between 0 and 1")
	default:
		m.Performance.Metrics = append(m.Performance.Metrics, out)
	}
}
