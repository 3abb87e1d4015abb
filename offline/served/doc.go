// Package served compares what a model was served with what the offline path computes for the same entities at the same
// times: some inferences of a window are drawn from the table of inferences, become the spine of a training set as served
// (train.Options.AsServed), and each feature is judged (internal/valueskew) instead of written.
//
// Which inferences are drawn follows from their ids alone: those with the smallest hashes. So whoever compares a window, and
// compares it again, draws the same ones, as long as the table has the same rows; every inference is as likely as any other.
//
// Each inference is asked about at the time of its lookup, and before and after it by up to config.ValueSkew.Timing: serving
// is behind its topic by up to a publish interval, and clocks differ.
package served
