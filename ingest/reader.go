package ingest

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
)

// Reader judges the records of one source: size, value, schema, event time and key, in this order. It is used by one
// goroutine at a time; goroutines that share a source have a Reader each.
type Reader struct {
	src       *config.Source
	decoder   Decoder
	keyFields []config.Field
}

// NewReader returns a Reader of src.
func NewReader(src *config.Source) (*Reader, error) {
	d, err := NewDecoder(src)
	if err != nil {
		return nil, err
	}
	if err := checkEventTime(src); err != nil {
		return nil, err
	}
	r := &Reader{src: src, decoder: d}
	for _, i := range src.Key {
		f := src.Schema[i]
		if f.Type == feature.Float64 || f.Type.IsList() {
			return nil, fmt.Errorf("source %s: key field %s: a %s is no key", src.Name, f.Name, f.Type)
		}
		r.keyFields = append(r.keyFields, f)
	}
	return r, nil
}

// Tombstone reports whether Read takes rec as the deletion of its entity.
func (r *Reader) Tombstone(rec *kgo.Record) bool { return rec.Value == nil && r.src.Tombstones }

// Read decodes rec into row, which has one value for each field of the source's schema, and returns its event time in
// microseconds and the number of fields that the schema does not name. The values alias rec.Value. Of a tombstone row
// holds the key fields, all else null, and its event time is the record's timestamp.
//
// A record that is refused (err) is a dead letter; row is then undefined.
func (r *Reader) Read(rec *kgo.Record, row []feature.Value) (at int64, unknown int, err *FieldError) {
	if size := len(rec.Key) + len(rec.Value); size > r.src.MaxRecordBytes {
		return 0, 0, tooLarge(size, r.src.MaxRecordBytes)
	}
	if rec.Value == nil {
		at, err = r.readTombstone(rec, row)
		return at, 0, err
	}
	return r.read(rec.Value, rec.Timestamp.UnixMicro(), row)
}

// read judges a payload whose record has, or will have, the timestamp kafkaMicros.
func (r *Reader) read(payload []byte, kafkaMicros int64, row []feature.Value) (at int64, unknown int, err *FieldError) {
	unknown, decodeErr := r.decoder.Decode(payload, row)
	if decodeErr != nil {
		return 0, 0, fieldError(decodeErr)
	}
	if at, err = eventTime(r.src, row, kafkaMicros); err != nil {
		return 0, 0, err
	}
	if err = r.checkKey(row); err != nil {
		return 0, 0, err
	}
	return at, unknown, nil
}

// plainKeyBytes is how much text a key may have and be within feature.MaxKeyBytes in either spelling: an escape takes
// six bytes.
const plainKeyBytes = feature.MaxKeyBytes/6 - 64

// checkKey refuses a row whose key is no key, so that it is refused as a whole: not put aside by the views that have
// the key and counted by those that do not.
func (r *Reader) checkKey(row []feature.Value) *FieldError {
	text := 0
	for _, i := range r.src.Key {
		switch row[i].Type() {
		case feature.Null:
			return nullKey(&r.src.Schema[i])
		case feature.String, feature.Bytes:
			text += len(row[i].Str())
		}
	}
	if text <= plainKeyBytes {
		return nil
	}
	if _, err := r.AppendEntityKey(nil, row, r.src.Key); err != nil {
		return err
	}
	_, err := r.AppendRecordKey(nil, row)
	return err
}

func (r *Reader) readTombstone(rec *kgo.Record, row []feature.Value) (at int64, err *FieldError) {
	if !r.src.Tombstones {
		return 0, &FieldError{Class: NullValue, Reason: "the record has no value; the source takes no tombstones"}
	}
	vals, err := parseRecordKey(rec.Key, r.keyFields)
	if err != nil {
		return 0, err
	}
	clear(row)
	for k, i := range r.src.Key {
		row[i] = vals[k]
	}
	at = rec.Timestamp.UnixMicro()
	if at < 0 || at > maxMicros {
		return 0, &FieldError{Class: BadTime, Reason: "the record has no Kafka timestamp"}
	}
	return at, r.checkKey(row)
}

// AppendEntityKey appends the canonical key bytes (feature.AppendKey) of the entity that row belongs to; fields are
// the indices of the entity's join keys in the source's schema, as config.View.KeyFields.
func (r *Reader) AppendEntityKey(dst []byte, row []feature.Value, fields []int) ([]byte, *FieldError) {
	start := len(dst)
	for _, i := range fields {
		if row[i].IsNull() {
			return dst[:start], nullKey(&r.src.Schema[i])
		}
		var err error
		if dst, err = feature.AppendKey(dst, row[i]); err != nil {
			return dst[:start], &FieldError{Class: BadKey, Field: r.src.Schema[i].Name, Reason: err.Error()}
		}
	}
	if n := len(dst) - start; n > feature.MaxKeyBytes {
		return dst[:start], &FieldError{Class: BadKey, Reason: "entity key of " + strconv.Itoa(n) + " bytes; at most " + strconv.Itoa(feature.MaxKeyBytes)}
	}
	return dst, nil
}

// AppendRecordKey appends the Kafka record key (see the function AppendRecordKey) of row's event.
func (r *Reader) AppendRecordKey(dst []byte, row []feature.Value) ([]byte, *FieldError) {
	var few [4]feature.Value
	vals := few[:0]
	for _, i := range r.src.Key {
		if row[i].IsNull() {
			return dst, nullKey(&r.src.Schema[i])
		}
		vals = append(vals, row[i])
	}
	key, err := AppendRecordKey(dst, vals...)
	if err != nil {
		return dst, &FieldError{Class: BadKey, Reason: err.Error()}
	}
	if n := len(key) - len(dst); n > feature.MaxKeyBytes {
		return dst, &FieldError{Class: BadKey, Reason: "record key of " + strconv.Itoa(n) + " bytes; at most " + strconv.Itoa(feature.MaxKeyBytes)}
	}
	return key, nil
}

// fieldError unwraps a decoder's error, which is a *FieldError by contract.
func fieldError(err error) *FieldError {
	var fe *FieldError
	if !errors.As(err, &fe) {
		return &FieldError{Class: Malformed, Reason: err.Error()}
	}
	return fe
}

func nullKey(f *config.Field) *FieldError {
	return &FieldError{Class: NullKey, Field: f.Name, Reason: "is part of the key and is absent or null"}
}

func tooLarge(size, limit int) *FieldError {
	return &FieldError{Class: TooLarge, Reason: "record of " + strconv.Itoa(size) + " bytes; the source takes at most " + strconv.Itoa(limit)}
}
