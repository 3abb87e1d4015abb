package config

import (
	"math"
	"time"

	"github.com/freshet-io/freshet/internal/feature"
)

// FeatureLogTime is the last field of a feature log's records: the event time.
const FeatureLogTime = "_event_time"

// MaxFeatureLogBytes is the most that a record of a feature log has, whatever the source of its events takes: features may
// keep more than one event had, and JSON spells some of it longer.
const MaxFeatureLogBytes = 8 << 20

// KeepsLog reports whether a view's events are logged: it asks for it, and the plane has an offline store.
func (p *Plane) KeepsLog(v *View) bool {
	return v.History == "events" && (p.Connections.ClickHouse != nil || p.Connections.Parquet != nil)
}

// FeatureLog returns the topic of a view's log as a source: one record for each event that the view accepted, with the
// entity's join keys, the event's time, and the features as of that time when the event was processed. Its records are keyed
// by the join keys. An event that is ahead of its record is so in the log too, so the log allows any skew.
func (p *Plane) FeatureLog(v *View) *Source {
	s := &Source{
		Name: v.Name, Description: v.Description, Topic: p.Prefix + "features." + v.Name, Format: "json", Partitioned: true,
		EventID: -1, AllowedSkew: time.Duration(math.MaxInt64), StartAt: "earliest", MaxRecordBytes: MaxFeatureLogBytes,
	}
	for i, k := range v.Entity.JoinKeys {
		s.Schema = append(s.Schema, Field{Name: k.Name, Type: k.Type, Required: true})
		s.Key = append(s.Key, i)
	}
	for _, f := range v.Features {
		s.Schema = append(s.Schema, Field{Name: f.Name, Type: f.Type, Description: f.Description})
	}
	s.EventTime = EventTime{Field: len(s.Schema)}
	s.Schema = append(s.Schema, Field{Name: FeatureLogTime, Type: feature.Timestamp, Required: true})
	return s
}
