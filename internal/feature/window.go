package feature

// Second is a second in the unit of all times here, microseconds.
const Second int64 = 1_000_000

// Hop returns the step in which the tail of a window of w microseconds moves: w/60 (w/12 for a sketch) rounded up to
// a whole second, at least one second. w is positive.
func Hop(w int64, sketch bool) int64 {
	parts := int64(60)
	if sketch {
		parts = 12
	}
	step := parts * Second
	return max((w+step-1)/step, 1) * Second
}

// FloorTo returns the largest multiple of hop that is not after t, for negative t too: tiles are aligned to the Unix
// epoch.
func FloorTo(t, hop int64) int64 {
	r := t % hop
	if r < 0 {
		r += hop
	}
	return t - r
}

// WindowStart returns the first moment that a window of w microseconds covers at time t: the window covers
// FloorTo(t-w, hop) <= event time <= t.
func WindowStart(t, w, hop int64) int64 { return FloorTo(t-w, hop) }
