package ingest

import (
	"fmt"
	"time"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
)

// EventTime returns the event time of a decoded row in microseconds. kafkaMicros is the timestamp of the row's own
// record: it is the event time of a source that names no field, and what an event may not be ahead of by more than the
// source's AllowedSkew. The decision depends on nothing else, so a replay decides alike. The error is a *FieldError.
func EventTime(src *config.Source, row []feature.Value, kafkaMicros int64) (int64, error) {
	at, err := eventTime(src, row, kafkaMicros)
	if err != nil {
		return 0, err
	}
	return at, nil
}

func eventTime(src *config.Source, row []feature.Value, kafkaMicros int64) (int64, *FieldError) {
	if kafkaMicros < 0 { // Kafka says -1 ms for a record that its producer gave none
		return 0, &FieldError{Class: BadTime, Reason: "the record has no Kafka timestamp"}
	}
	if src.EventTime.Field < 0 {
		if kafkaMicros > maxMicros {
			return 0, &FieldError{Class: BadTime, Reason: "the record's Kafka timestamp " + outsideYears}
		}
		return kafkaMicros, nil
	}
	f := &src.Schema[src.EventTime.Field]
	v := &row[src.EventTime.Field]
	if v.IsNull() {
		return 0, &FieldError{Class: MissingField, Field: f.Name, Reason: "is the event time and is absent or null"}
	}
	at, problem := fieldTime(src.EventTime, v)
	if problem != "" {
		return 0, &FieldError{Class: BadTime, Field: f.Name, Reason: showTime(v) + " " + problem}
	}
	if ahead := at - min(kafkaMicros, maxMicros); ahead > src.AllowedSkew.Microseconds() {
		return 0, &FieldError{Class: TooFarAhead, Field: f.Name, Reason: fmt.Sprintf(
			"%s is %s ahead of the record's timestamp; at most %s is allowed", time.UnixMicro(at).UTC().Format(time.RFC3339Nano),
			microsDuration(ahead), src.AllowedSkew)}
	}
	return at, nil
}

// fieldTime reads a non-null field as a time.
func fieldTime(et config.EventTime, v *feature.Value) (us int64, problem string) {
	var ok bool
	switch v.Type() {
	case feature.String:
		return ParseTime(v.Str(), et.Zone)
	case feature.Int64:
		us, ok = unixMicros(v.Int64(), perSecond(et.Format))
	case feature.Float64:
		us, ok = unixMicrosFloat(v.Float64(), perSecond(et.Format))
	default:
		us, ok = v.Int64(), v.Int64() >= minMicros && v.Int64() <= maxMicros
	}
	if !ok {
		return 0, outsideYears
	}
	return us, ""
}

// perSecond is how many units of a Unix time format make a second, 0 for a format that is none.
func perSecond(format config.TimeFormat) int64 {
	switch format {
	case config.UnixSecond:
		return 1
	case config.UnixMilli:
		return 1_000
	case config.UnixMicro:
		return 1_000_000
	}
	return 0
}

// checkEventTime refuses a source whose event-time field cannot be read in its format.
func checkEventTime(src *config.Source) error {
	et := src.EventTime
	if et.Field < 0 {
		return nil
	}
	f := src.Schema[et.Field]
	switch f.Type {
	case feature.Timestamp:
		return nil
	case feature.String:
		if et.Format == config.RFC3339 {
			return nil
		}
		return fmt.Errorf("source %s: event time field %s is a string, whose format must be %s, not %q", src.Name, f.Name, config.RFC3339, et.Format)
	case feature.Int64, feature.Float64:
		if perSecond(et.Format) > 0 {
			return nil
		}
		return fmt.Errorf("source %s: event time field %s is a number, whose format must be %s, %s or %s, not %q", src.Name, f.Name,
			config.UnixSecond, config.UnixMilli, config.UnixMicro, et.Format)
	}
	return fmt.Errorf("source %s: event time field %s cannot be of type %s", src.Name, f.Name, f.Type)
}

func showTime(v *feature.Value) string {
	if v.Type() == feature.String {
		return quote(v.Str())
	}
	return v.String()
}

// microsDuration shows microseconds as a duration; beyond what a Duration holds (292 years) it shows that limit.
func microsDuration(us int64) time.Duration {
	const limit = int64(1<<63-1) / int64(time.Microsecond)
	return time.Duration(min(us, limit)) * time.Microsecond
}
