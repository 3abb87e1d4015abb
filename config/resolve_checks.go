package config

import (
	"time"

	"github.com/freshet-io/freshet/internal/feature"
)

// The defaults and bounds of checks.
const (
	defaultVolumeThreshold = 0.5
	defaultVolumeWeeks     = 4
	maxVolumeWeeks         = 52
	maxAge                 = 366 * 24 * time.Hour
)

// qualityTable is the checks of data quality, their defaults, and where a definition has them.
var qualityTable = []struct {
	name      string
	threshold float64
	of        func(*qualitySpec) At[float64]
}{
	{"null_share", 0.05, func(s *qualitySpec) At[float64] { return s.NullShare }},
	{"out_of_range", 0.02, func(s *qualitySpec) At[float64] { return s.OutOfRange }},
	{"unseen", 0.02, func(s *qualitySpec) At[float64] { return s.Unseen }},
	{"type_errors", 0.01, func(s *qualitySpec) At[float64] { return s.TypeErrors }},
	{"not_finite", 0.01, func(s *qualitySpec) At[float64] { return s.NotFinite }},
}

// quality resolves the checks of data quality: those that are given, or all if none is.
func (r *resolver) quality(s *qualitySpec, m *Monitor) {
	for _, row := range qualityTable {
		t := row.of(s)
		if !t.Set {
			continue
		}
		if t.V <= 0 || t.V >= 1 {
			r.errorf(t.Pos, "quality.%s must be above 0 and below 1: it is a share of the values", row.name)
		}
		m.Quality = append(m.Quality, QualityCheck{row.name, t.V})
	}
	if len(m.Quality) > 0 {
		return
	}
	for _, row := range qualityTable {
		m.Quality = append(m.Quality, QualityCheck{row.name, row.threshold})
	}
}

// volume resolves the check of volume, whose hours must be made of whole steps of the window.
func (r *resolver) volume(s *monitorSpec, m *Monitor) {
	v := &Volume{Threshold: defaultVolumeThreshold, Weeks: defaultVolumeWeeks}
	if t := s.Volume.Threshold; t.Set {
		if v.Threshold = t.V; t.V <= 0 {
			r.errorf(t.Pos, "volume.threshold must be above 0")
		}
	}
	if w := s.Volume.Weeks; w.Set {
		if v.Weeks = w.V; w.V < 1 || w.V > maxVolumeWeeks {
			r.errorf(w.Pos, "volume.weeks must be from 1 to %d", maxVolumeWeeks)
		}
	}
	if m.Every > 0 && time.Hour%m.Every != 0 && m.Every%time.Hour != 0 {
		r.errorf(s.Volume.Pos, "volume counts hours: window.every %s must be a part of an hour, or whole hours", formatDuration(m.Every))
	}
	m.Volume = v
}

func (r *resolver) freshness(s *monitorSpec, m *Monitor) {
	seen := names{kind: "freshness of source"}
	for i := range s.Freshness {
		f := &s.Freshness[i]
		src, ok := lookup(r, f.Source, r.sources, &r.sourceNames)
		if !seen.add(r.issues, f.Source) || !ok {
			continue
		}
		out := Freshness{Source: src, By: r.fieldIndex(f.By, src), Stream: f.AsOf.V == "stream"}
		if out.By >= 0 {
			switch t := src.Schema[out.By].Type; t {
			case feature.String, feature.Null: // Null: not known
			default:
				r.errorf(f.By.Pos, "freshness.by must be a string; field %q of source %s is a %s", f.By.V, src.Name, t)
			}
		}
		if out.Stream && !f.By.Set {
			r.errorf(f.AsOf.Pos, "as_of: stream measures by the newest event of the source, which is never old: name a field in by")
		}
		if r.interval("max_age", f.MaxAge, time.Second, maxAge, &out.MaxAge) && out.MaxAge%time.Second != 0 {
			r.errorf(f.MaxAge.Pos, "max_age must be whole seconds")
		}
		m.Freshness = append(m.Freshness, out)
	}
}

// checks resolves what a monitor watches besides distances; its window is resolved.
func (r *resolver) checks(s *monitorSpec, m *Monitor) {
	if s.Quality != nil {
		r.quality(s.Quality, m)
	}
	if s.Volume != nil {
		r.volume(s, m)
	}
	r.freshness(s, m)
}
