// Package quality measures how good a model's predictions were, from inferences joined with what turned out to be true.
// Sums are what is kept of the joined cases of a pane: integers and exact sums of floats, so that they can be merged in
// any order, and a case that was counted can be taken out again, when its label is corrected, as if it had never been in.
// A Metric is a function of Sums with its standard error; Judge holds it to a limit.
//
// How labels find their inferences is the processors' subject, which windows are judged when that of monitors/watch.
//
// What is rounded: probabilities to 2^-30 in the sums of calibration, and to one of 1,000 bins in the histograms that the
// AUC is computed of, whose error is at most half the share of pairs of a positive and a negative that fall in one bin.
// Everything else is exact up to the rounding of one case's error, its square and fourth power to a float64.
//
// Standard errors take cases as independent of each other.
package quality
