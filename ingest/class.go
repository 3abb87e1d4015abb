package ingest

import "strconv"

// Class says why a record cannot be used. The set is closed: classes are metric labels, header values of dead letters
// and part of the gateway's answers, so they never change meaning.
type Class string

// The classes.
const (
	Malformed    Class = "malformed"     // the payload is not what the source's format demands
	MissingField Class = "missing_field" // a required field is absent or null
	WrongType    Class = "wrong_type"    // a field's value is not of its type, or outside its range
	BadTime      Class = "bad_time"      // the event time cannot be read, or is outside the years 0001 to 9999
	TooFarAhead  Class = "too_far_ahead" // the event time is ahead of the record's own timestamp by more than allowed
	NullKey      Class = "null_key"      // a key field is null, or a tombstone has no key
	BadKey       Class = "bad_key"       // the key is too long, or a tombstone's key cannot be read
	NullValue    Class = "null_value"    // the record has no value and the source takes no tombstones
	TooLarge     Class = "too_large"     // the record is larger than the source allows
)

// Classes returns every class, in the order of the documentation.
func Classes() []Class {
	return []Class{Malformed, MissingField, WrongType, BadTime, TooFarAhead, NullKey, BadKey, NullValue, TooLarge}
}

// FieldError is the refusal of one record.
type FieldError struct {
	Class  Class
	Field  string // of the schema; empty when the record as a whole is refused
	Reason string // for people; quotes at most a short piece of the record
}

// Error says the whole refusal in one line.
func (e *FieldError) Error() string {
	if e.Field == "" {
		return string(e.Class) + ": " + e.Reason
	}
	return string(e.Class) + ": field " + strconv.Quote(e.Field) + ": " + e.Reason
}

// maxQuoted bounds how much of a record a reason repeats.
const maxQuoted = 48

// quote shows a piece of a record in a reason.
func quote[T string | []byte](s T) string {
	if len(s) > maxQuoted {
		return strconv.Quote(string(s[:maxQuoted])) + "…"
	}
	return strconv.Quote(string(s))
}
