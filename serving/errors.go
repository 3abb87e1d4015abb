package serving

import (
	"fmt"
	"strings"
)

// Kind is the class of a refused or failed lookup; each face maps it to its own codes.
type Kind uint8

// The kinds. Those before Unavailable are the client's mistakes and never become a server error, which clients would retry.
const (
	Invalid     Kind = iota // the request itself: a missing, mistyped or oversized part
	NotFound                // an unknown service, view, feature or entity column
	Collision               // two columns of the response would have one name
	Forbidden               // the caller may not read this service, or features by name
	TooLarge                // more bytes than a request may have
	Encoded                 // a body that is compressed, or otherwise not as it is
	Slow                    // a body that did not arrive in time
	Unavailable             // the online store did not answer, or not consistently
	Deadline                // the request's time is up
	Internal                // stored bytes that cannot be read
)

var kindNames = [...]string{"invalid", "not_found", "collision", "forbidden", "too_large", "encoded", "slow", "unavailable", "deadline", "internal"}

// String returns the kind as metrics label it.
func (k Kind) String() string { return kindNames[k] }

// Error is a refused or failed lookup.
type Error struct {
	Kind    Kind
	Class   string   // the Feast exception a Feast client raises; "" where it has none
	Type    string   // of an Invalid: what is wrong, as FastAPI names it ("missing", "int_type")
	Field   []string // of an Invalid: the path to the field within the request
	Row     int      // the row of the field's column, -1 when no one row is at fault
	Message string
	Err     error // the cause, for the log; clients get Message
}

// Error returns the message and the cause.
func (e *Error) Error() string {
	var b strings.Builder
	if len(e.Field) > 0 {
		b.WriteString(strings.Join(e.Field, "."))
		if e.Row >= 0 {
			fmt.Fprintf(&b, "[%d]", e.Row)
		}
		b.WriteString(": ")
	}
	b.WriteString(e.Message)
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// The exceptions of Feast's Python SDK that lookups raise there.
const (
	feastModule      = "feast.errors"
	serviceNotFound  = "FeatureServiceNotFoundException"
	viewNotFound     = "FeatureViewNotFoundException"
	objectNotFound   = "FeastObjectNotFoundException" // Feast has none for a feature
	entityNotFound   = "EntityNotFoundException"
	featureCollision = "FeatureNameCollisionError"
	permissionError  = "FeastPermissionError"
)

func invalid(typ, format string, args ...any) *Error {
	return &Error{Kind: Invalid, Type: typ, Row: -1, Message: fmt.Sprintf(format, args...)}
}

// at names the field that an Invalid is about.
func (e *Error) at(path ...string) *Error {
	e.Field = path
	return e
}

// inRow names the row of the column.
func (e *Error) inRow(row int) *Error {
	e.Row = row
	return e
}

func notFound(class, format string, args ...any) *Error {
	return &Error{Kind: NotFound, Class: class, Row: -1, Message: fmt.Sprintf(format, args...)}
}

// forbidden is the refusal of a lookup that the caller may not make; service is "" for features by name.
func forbidden(service string) *Error {
	what := fmt.Sprintf("the token may not read feature service %q", service)
	if service == "" {
		what = "the token may not read features by name; ask for one of its feature services"
	}
	return &Error{Kind: Forbidden, Class: permissionError, Row: -1, Message: what}
}

// wrongType is the error for a value of a column that is not of the column's type; got shows the value.
func wrongType(column string, row int, want fmt.Stringer, got string) *Error {
	const most = 64
	if len(got) > most {
		got = strings.ToValidUTF8(got[:most], "") + "..."
	}
	return invalid(want.String()+"_type", "expected %s, got %s", want, got).at("entities", column).inRow(row)
}
