package serving

import "github.com/freshet-io/freshet/internal/feature"

// fieldStatus tells what a value of a response is; the numbers are the Feast protocol's.
type fieldStatus uint8

// The statuses. A value is null unless it is PRESENT.
const (
	statusInvalid       fieldStatus = iota // never answered
	statusPresent                          // the value
	statusNull                             // the entity is known and young enough, the value is null
	statusNotFound                         // the view has no event of the entity, or none young enough to count
	statusOutsideMaxAge                    // the entity's latest event is older than the view's ttl
)

var statusNames = [...]string{"INVALID", "PRESENT", "NULL_VALUE", "NOT_FOUND", "OUTSIDE_MAX_AGE"}

// String returns the protocol's name.
func (s fieldStatus) String() string { return statusNames[s] }

// viewStatus is what the status of a view makes the status of a null value of it.
func viewStatus(s feature.Status) fieldStatus {
	switch s {
	case feature.Present:
		return statusNull
	case feature.OutsideMaxAge:
		return statusOutsideMaxAge
	}
	return statusNotFound
}
