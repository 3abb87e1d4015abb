// Package join brings labels and the inferences that they are of together, as functions of records: a Case is what is
// remembered of one inference id, Panes what a change of it makes to the sums of quality. There is no I/O, clock or
// goroutine in here. How records come here and state is kept is the processors' subject, what is measured of joined
// cases that of monitors/quality.
//
// Rules that the code cites:
//
//   - J1 Of several inferences with one id the first counts, in the order in which they are read; the others are duplicates,
//     counted in their own panes.
//   - J2 A label counts if its time is at most `within` after its inference's. Of those that count the latest does, by time,
//     then partition and offset; a later one takes the earlier one's case out of the sums and puts its own in.
//   - J3 Time is the least watermark of all partitions of inferences and labels that are not idle (watch.Progress). An id is
//     forgotten when it has passed its inference's time, or that of its last label if the inference is missing, by `within`.
//   - J4 A case is counted in the pane of its inference's time, for all rows and for each of its slices.
//   - J5 Sums are those of one definition: cases that were counted under an earlier one are not taken out of those of
//     another.
package join
