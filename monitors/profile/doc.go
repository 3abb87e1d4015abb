// Package profile says how the values of a column are distributed: exact counts on bins that a reference fixed once and
// for all, with moments, a quantile sketch and what is known of categories that the reference did not have.
//
// Bins are made from a reference (a training set, a window of a stream) and never change: profiles of equal Bins can be
// merged in any order and split, and two windows that are compared are compared on the same bins. Counts is the part
// that can also be subtracted, because it is integers; moments and sketches are only ever merged, so a rolling window
// subtracts the Counts of the pane that leaves and merges the rest of a Profile anew from the panes that stay.
//
// What a distance between two profiles is, and whether it matters, is the matter of monitors/distance,
// monitors/significance and monitors/drift. There is no I/O, no clock, no goroutine and no chance in here: the same
// values in any order give the same counts, the same sketches of numbers and, within rounding, the same moments.
package profile
