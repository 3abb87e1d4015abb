package config

import (
	"strings"
	"time"

	"github.com/freshet-io/freshet/internal/feature"
)

// The defaults and bounds of a source.
const (
	defaultSkew           = 5 * time.Minute
	maxSkew               = 30 * 24 * time.Hour
	defaultHorizon        = time.Hour
	maxHorizon            = 31 * 24 * time.Hour
	defaultMaxRecordBytes = 1 << 20
	maxRecordBytes        = 64 << 20
)

func (r *resolver) source(s *sourceSpec) {
	r.name("source", s.Name)
	if !r.sourceNames.add(r.issues, s.Name) {
		return
	}
	src := &Source{
		Name:           s.Name.V,
		Description:    s.Description.V,
		Topic:          s.Topic.V,
		Format:         "json",
		Partitioned:    s.Partitioning.V != "unknown",
		EventTime:      EventTime{Field: -1},
		EventID:        -1,
		Tombstones:     s.Tombstones.V == "delete",
		AllowedSkew:    defaultSkew,
		StartAt:        "earliest",
		MaxRecordBytes: defaultMaxRecordBytes,
	}
	r.topic(s.Topic)
	if s.Format.Set && s.Format.V != "json" {
		r.errorf(s.Format.Pos, "this version reads json only, not %s", s.Format.V)
	}
	if s.StartAt.Set {
		src.StartAt = s.StartAt.V
	}
	r.interval("allowed_skew", s.AllowedSkew, 0, maxSkew, &src.AllowedSkew)
	if s.MaxRecordBytes.Set {
		src.MaxRecordBytes = int(s.MaxRecordBytes.V)
		if s.MaxRecordBytes.V < 1 || s.MaxRecordBytes.V > maxRecordBytes {
			r.errorf(s.MaxRecordBytes.Pos, "max_record_bytes must be from 1 to 64MiB")
		}
	}
	known := r.schema(s, src)
	if known {
		r.sourceKey(s, src)
		if s.EventTime != nil {
			src.EventTime = r.eventTime(s.EventTime, src)
		}
		r.eventID(s.EventID, src)
	}
	if src.Tombstones && len(s.Key) == 0 {
		r.errorf(s.Tombstones.Pos, "tombstones: delete needs a key, since a record without a value is known by its key only")
	}
	if known { // with other mistakes views can be checked still
		r.sources[src.Name] = src
		r.plane.Sources = append(r.plane.Sources, src)
	}
}

// topic checks a topic's name, that no other source reads it, and that it is not one of Freshet's own.
func (r *resolver) topic(a At[string]) {
	switch {
	case !a.Set:
		return
	case !topicName.MatchString(a.V) || a.V == "." || a.V == "..":
		r.errorf(a.Pos, "topic name %q is not allowed: letters, digits, dots, - and _ only, at most 200", a.V)
	case r.plane.Prefix != "" && strings.HasPrefix(a.V, r.plane.Prefix):
		r.errorf(a.Pos, "topic %q starts with the prefix %q of Freshet's own topics", a.V, r.plane.Prefix)
	case r.topics[a.V].Line > 0:
		r.errorf(a.Pos, "topic %q is used twice; first in %s", a.V, seenFrom(r.topics[a.V], a.Pos))
	default:
		r.topics[a.V] = a.Pos
	}
}

// schema resolves the fields. It returns false if what refers to them cannot be checked.
func (r *resolver) schema(s *sourceSpec, src *Source) bool {
	known := names{kind: "field"}
	ok := len(s.Schema) > 0
	if !ok && s.Name.Set {
		r.errorf(s.Name.Pos, "source %q has no schema", s.Name.V)
	}
	for _, f := range s.Schema {
		if !r.column("field", f.Name) {
			ok = false
			continue
		}
		if !known.add(r.issues, f.Name) {
			continue
		}
		t, err := feature.ParseType(f.Type.V)
		if !f.Type.Set || err != nil {
			t = feature.Null // a mistake that has been told; what refers to the field can be checked but for its type
		}
		src.Schema = append(src.Schema, Field{Name: f.Name.V, Description: f.Description.V, Type: t, Required: f.Required.V})
	}
	return ok
}

func (r *resolver) sourceKey(s *sourceSpec, src *Source) {
	seen := names{kind: "key field"}
	for _, k := range s.Key {
		if !seen.add(r.issues, k) {
			continue
		}
		i := r.fieldIndex(k, src)
		if i < 0 {
			continue
		}
		if src.Schema[i].Type == feature.Float64 {
			r.errorf(k.Pos, "key field %q is a float64, and a float cannot be a key", k.V)
			continue
		}
		src.Key = append(src.Key, i)
	}
	if s.Partitioning.Set && s.Partitioning.V == "murmur2" && len(s.Key) == 0 {
		r.errorf(s.Partitioning.Pos, "partitioning: murmur2 needs a key")
	}
}

func (r *resolver) eventTime(s *eventTimeSpec, src *Source) EventTime {
	et := EventTime{Field: r.fieldIndex(s.Field, src)}
	if et.Field < 0 {
		return et
	}
	et.Format = TimeFormat(s.Format.V)
	switch t := src.Schema[et.Field].Type; t {
	case feature.Timestamp:
		if s.Format.Set {
			r.errorf(s.Format.Pos, "event_time.format is for a string or int64 field; %q is of type timestamp", s.Field.V)
		}
	case feature.String:
		if !s.Format.Set {
			et.Format = RFC3339
		} else if et.Format != RFC3339 {
			r.errorf(s.Format.Pos, "event_time.format %s is for an int64 field; %q is of type string", s.Format.V, s.Field.V)
		}
	case feature.Int64:
		if !s.Format.Set {
			r.errorf(s.Field.Pos, "event_time needs a format, unix_s, unix_ms or unix_us, since %q is of type int64", s.Field.V)
		} else if et.Format == RFC3339 {
			r.errorf(s.Format.Pos, "event_time.format rfc3339 is for a string field; %q is of type int64", s.Field.V)
		}
	case feature.Null: // not known
	default:
		r.errorf(s.Field.Pos, "event_time.field must be a timestamp, a string or an int64; %q is of type %s", s.Field.V, t)
	}
	if !s.Zone.Set {
		return et
	}
	zone, err := time.LoadLocation(s.Zone.V)
	switch {
	case src.Schema[et.Field].Type == feature.Int64:
		r.errorf(s.Zone.Pos, "event_time.zone is for times written as text; %q is of type int64", s.Field.V)
	case err != nil || s.Zone.V == "Local" || s.Zone.V == "":
		r.errorf(s.Zone.Pos, "unknown time zone %q; give an IANA name such as Europe/Berlin or UTC", s.Zone.V)
	default:
		et.Zone = zone
	}
	return et
}

func (r *resolver) eventID(s *eventIDSpec, src *Source) {
	if s == nil {
		return
	}
	src.EventIDHorizon = defaultHorizon
	r.interval("event_id.horizon", s.Horizon, time.Second, maxHorizon, &src.EventIDHorizon)
	src.EventID = r.fieldIndex(s.Field, src)
	if src.EventID < 0 {
		return
	}
	switch t := src.Schema[src.EventID].Type; t {
	case feature.String, feature.Int64, feature.Bytes, feature.Null:
	default:
		r.errorf(s.Field.Pos, "event_id.field must be a string, an int64 or bytes; %q is of type %s", s.Field.V, t)
	}
}
