package notify

import "time"

// schedule is the time from each attempt to the next, and how many attempts there are: one more than entries. It is the
// example of Standard Webhooks 1.0.0, spec/standard-webhooks.md, "Deliverability and reliability".
var schedule = [...]time.Duration{
	5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour,
	10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
}

const (
	jitterShare  = 0.2 // at most this share of a wait is added to it
	breakerAfter = 5   // failures in a row after which an endpoint is left alone
	breakerFirst = 30 * time.Second
	breakerMost  = 10 * time.Minute
	throttled    = 30 * time.Second   // pause of an endpoint under load that names none
	inFlight     = 4                  // attempts under way at one endpoint
	keepFinal    = 7 * 24 * time.Hour // what is done or dead is remembered so long
)

// retryIn is how long to wait after the attempts so far, or false if there are no more. chance is in [0, 1).
func retryIn(attempts int, asked time.Duration, chance float64) (time.Duration, bool) {
	if attempts < 1 || attempts > len(schedule) {
		return 0, false
	}
	d := schedule[attempts-1]
	return max(d+time.Duration(float64(d)*jitterShare*chance), asked), true
}

// pause is how long to leave an endpoint alone after its failures in a row and what it said.
func pause(failures int, out Outcome) time.Duration {
	var d time.Duration
	if failures >= breakerAfter {
		d = min(breakerFirst<<min(failures-breakerAfter, 10), breakerMost)
	}
	if out.Throttled {
		d = max(d, throttled, out.RetryAfter)
	}
	return d
}
