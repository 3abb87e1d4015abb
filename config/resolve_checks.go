package config

import "time"

// The defaults and bounds of checks.
const (
	defaultVolumeThreshold = 0.5
	defaultVolumeWeeks     = 4
	maxVolumeWeeks         = 52
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

// checks resolves what a monitor watches besides distances; its window is resolved.
func (r *resolver) checks(s *monitorSpec, m *Monitor) {
	if s.Quality != nil {
		r.quality(s.Quality, m)
	}
	if s.Volume != nil {
		r.volume(s, m)
	}
}
