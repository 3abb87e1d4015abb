package config

import "time"

// QualityCheck is a kind of bad value that a monitor watches the share of.
type QualityCheck struct {
	Name      string  // null_share, out_of_range, unseen, type_errors or not_finite
	Threshold float64 // how far the share may lie above the baseline's, 0 to 1
}

// Volume says how far the number of inferences of an hour may lie from that of the same hour of earlier weeks.
type Volume struct {
	Threshold float64 // relative change, above 0
	Weeks     int     // how many earlier weeks are compared with
}

// Freshness says how old the newest event of a source may be.
type Freshness struct {
	Source *Source
	By     int           // index of the string field whose values are judged each; -1: the source as a whole
	MaxAge time.Duration // whole seconds
	// Stream measures ages by the source's own newest event instead of by the clock.
	Stream bool
}
