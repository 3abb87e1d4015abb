package ingest

import (
	"encoding/binary"
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

// headerCut follows the others on the dead letter of a record that is too large for one: its value says how large the
// original's key, value and headers were, in bytes.
const headerCut = "freshet.cut"

// MaxLetterBytes is the max.message.bytes of topics of dead letters, and the largest batch of who writes to them.
const MaxLetterBytes = 16 << 20

// A record whose key, value and headers are larger than wholeBytes together is cut: room for its dead letter's own headers and the
// batch is left. What is kept of it is for people to see whose it is.
const (
	wholeBytes     = MaxLetterBytes - 64<<10
	keptValueBytes = 1 << 20
	keptKeyBytes   = 64 << 10
)

var letterHeaders = [...]string{headerSource, headerTopic, headerPartition, headerOffset, headerTimestamp, headerClass, headerReason, headerTime}

// headerReplayed is added to a record at each replay; its value is the dead letter's coordinates.
const headerReplayed = "freshet.replayed"

// DeadLetterTopic returns the name of the topic of a source's dead letters.
func DeadLetterTopic(p *config.Plane, source string) string { return p.Prefix + "dlq." + source }

// DeadLetter returns the dead letter of rec, a record of the named source as it was consumed, for topic. It shares the
// key, value and header values with rec. Its own timestamp is now, so that the topic's retention counts from when it
// was dead-lettered; the original's is in a header. Of a record that is larger than any dead letter the beginnings of its
// key and value are kept, and none of its headers.
func DeadLetter(topic, source string, rec *kgo.Record, cause *FieldError, now time.Time) *kgo.Record {
	reason := cause.Reason
	if cause.Field != "" {
		reason = cause.Field + ": " + reason
	}
	rec, sizes := cut(rec)
	headers := make([]kgo.RecordHeader, 0, len(rec.Headers)+len(letterHeaders)+1)
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
	if sizes != "" {
		headers = append(headers, kgo.RecordHeader{Key: headerCut, Value: []byte(sizes)})
	}
	return &kgo.Record{Topic: topic, Key: rec.Key, Value: rec.Value, Headers: headers, Timestamp: now}
}

// cut returns what is kept of a record, and the original's sizes if that is not all of it.
func cut(rec *kgo.Record) (kept *kgo.Record, sizes string) {
	headers := 0
	for _, h := range rec.Headers {
		headers += len(h.Key) + len(h.Value) + 2*binary.MaxVarintLen32
	}
	if len(rec.Key)+len(rec.Value)+headers <= wholeBytes {
		return rec, ""
	}
	short := *rec
	short.Key, short.Value, short.Headers = rec.Key[:min(len(rec.Key), keptKeyBytes)], rec.Value[:min(len(rec.Value), keptValueBytes)], nil
	return &short, fmt.Sprintf("key=%d value=%d headers=%d", len(rec.Key), len(rec.Value), headers)
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
	Cut      string    // sizes of the record's parts in bytes, if it was so large that only its beginning was kept; else empty
	Original *kgo.Record
}

// ParseLetter reads a record of a dead-letter topic. Original has the topic, partition, offset, timestamp, key, value
// and headers of the record that could not be used, or what was kept of them.
func ParseLetter(rec *kgo.Record) (Letter, error) {
	at := Coordinates{rec.Topic, rec.Partition, rec.Offset}
	bad := func(what string) (Letter, error) {
		return Letter{}, fmt.Errorf("dead letter %s: %s", at, what)
	}
	ours := rec.Headers
	sizes := ""
	if last := len(ours) - 1; last >= 0 && ours[last].Key == headerCut {
		ours, sizes = ours[:last], string(ours[last].Value)
	}
	n := len(ours) - len(letterHeaders)
	if n < 0 {
		return bad("it lacks the headers of a dead letter")
	}
	// Only the last headers are ours: the original may itself be a replayed record, or carry anything.
	var text [len(letterHeaders)]string
	for i, h := range ours[n:] {
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
		Cut:    sizes,
	}
	l.Original = &kgo.Record{
		Topic: l.Origin.Topic, Partition: l.Origin.Partition, Offset: l.Origin.Offset, Timestamp: time.UnixMilli(millis),
		Key: rec.Key, Value: rec.Value, Headers: rec.Headers[:n:n],
	}
	return l, nil
}
