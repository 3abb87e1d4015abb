package ingest

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
)

// A dead letter is the record that could not be used, with its key, value and headers untouched, followed by exactly
// these headers in this order. Their values are plain text, so that any Kafka tool shows them.
const (
	headerSource    = "freshet.source"    // the source's name in the definition
	headerTopic     = "freshet.topic"     // where the record was read
	headerPartition = "freshet.partition" // decimal
	headerOffset    = "freshet.offset"    // decimal
	headerTimestamp = "freshet.timestamp" // of the original record, in milliseconds as Kafka keeps it, decimal
	headerClass     = "freshet.class"     // a Class
	headerReason    = "freshet.reason"    // for people, with the field's name
	headerTime      = "freshet.time"      // when it was dead-lettered, RFC 3339
)

var letterHeaders = [...]string{headerSource, headerTopic, headerPartition, headerOffset, headerTimestamp, headerClass, headerReason, headerTime}

// headerReplayed is added to a record at each replay; its value is the dead letter's coordinates.
const headerReplayed = "freshet.replayed"

// DeadLetterTopic returns the name of the topic of a source's dead letters.
func DeadLetterTopic(p *config.Plane, source string) string { return p.Prefix + "dlq." + source }

// DeadLetter returns the dead letter of rec, a record of the named source as it was consumed, for topic. It shares the
// key, value and header values with rec. Its own timestamp is now, so that the topic's retention counts from when it
// was dead-lettered; the original's is in a header.
func DeadLetter(topic, source string, rec *kgo.Record, cause *FieldError, now time.Time) *kgo.Record {
	reason := cause.Reason
	if cause.Field != "" {
		reason = cause.Field + ": " + reason
	}
	headers := make([]kgo.RecordHeader, 0, len(rec.Headers)+len(letterHeaders))
	headers = append(headers, rec.Headers...)
	for i, text := range [...]string{
		source,
		rec.Topic,
		strconv.FormatInt(int64(rec.Partition), 10),
		strconv.FormatInt(rec.Offset, 10),
		strconv.FormatInt(rec.Timestamp.UnixMilli(), 10),
		string(cause.Class),
		reason,
		now.UTC().Format(time.RFC3339Nano),
	} {
		headers = append(headers, kgo.RecordHeader{Key: letterHeaders[i], Value: []byte(text)})
	}
	return &kgo.Record{Topic: topic, Key: rec.Key, Value: rec.Value, Headers: headers, Timestamp: now}
}

// Coordinates name one record.
type Coordinates struct {
	Topic     string
	Partition int32
	Offset    int64
}

// String returns topic/partition/offset.
func (c Coordinates) String() string { return fmt.Sprintf("%s/%d/%d", c.Topic, c.Partition, c.Offset) }

// ParseCoordinates is the inverse of String.
func ParseCoordinates(s string) (Coordinates, error) {
	rest, offset, ok1 := cutLast(s)
	topic, partition, ok2 := cutLast(rest)
	p, err1 := strconv.ParseInt(partition, 10, 32)
	o, err2 := strconv.ParseInt(offset, 10, 64)
	if !ok1 || !ok2 || err1 != nil || err2 != nil || topic == "" || p < 0 || o < 0 {
		return Coordinates{}, fmt.Errorf("%q names no record; expected topic/partition/offset", s)
	}
	return Coordinates{Topic: topic, Partition: int32(p), Offset: o}, nil
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, '/')
	if i < 0 {
		return "", "", false
	}
	return s[:i], s[i+1:], true
}

// Letter is a dead letter as it was read.
type Letter struct {
	At       Coordinates // of the dead letter
	Source   string
	Origin   Coordinates // of the record that could not be used
	Class    Class
	Reason   string
	Time     time.Time // when it was dead-lettered
	Original *kgo.Record
}

// ParseLetter reads a record of a dead-letter topic. Original has the topic, partition, offset, timestamp, key, value
// and headers of the record that could not be used.
func ParseLetter(rec *kgo.Record) (Letter, error) {
	at := Coordinates{rec.Topic, rec.Partition, rec.Offset}
	bad := func(what string) (Letter, error) {
		return Letter{}, fmt.Errorf("dead letter %s: %s", at, what)
	}
	n := len(rec.Headers) - len(letterHeaders)
	if n < 0 {
		return bad("it lacks the headers of a dead letter")
	}
	// Only the last headers are ours: the original may itself be a replayed record, or carry anything.
	var text [len(letterHeaders)]string
	for i, h := range rec.Headers[n:] {
		if h.Key != letterHeaders[i] {
			return bad(fmt.Sprintf("header %q where %q belongs", h.Key, letterHeaders[i]))
		}
		text[i] = string(h.Value)
	}
	partition, err1 := strconv.ParseInt(text[2], 10, 32)
	offset, err2 := strconv.ParseInt(text[3], 10, 64)
	millis, err3 := strconv.ParseInt(text[4], 10, 64)
	when, err4 := time.Parse(time.RFC3339Nano, text[7])
	if err1 != nil || err2 != nil || err3 != nil || err4 != nil {
		return bad("its headers hold no partition, offset, timestamp or time")
	}
	l := Letter{
		At:     at,
		Source: text[0],
		Origin: Coordinates{Topic: text[1], Partition: int32(partition), Offset: offset},
		Class:  Class(text[5]),
		Reason: text[6],
		Time:   when,
	}
	l.Original = &kgo.Record{
		Topic: l.Origin.Topic, Partition: l.Origin.Partition, Offset: l.Origin.Offset, Timestamp: time.UnixMilli(millis),
		Key: rec.Key, Value: rec.Value, Headers: rec.Headers[:n:n],
	}
	return l, nil
}
