// Package watch is what becomes of a model's inferences on their way to an alert, as functions of records: an
// Accumulator counts inferences into panes (what a profiler does between two commits), a Watch adds the panes up,
// judges the windows that are due and moves the alerts' states on (what an evaluator does). There is no I/O, clock or
// goroutine in here: times come with the records, so that whoever is fed the same records comes to the same messages.
//
// How records are consumed and produced is the processors' subject, how two profiles are compared that of
// monitors/drift, what becomes of verdicts that of monitors/alert.
//
// Rules that the code cites:
//
//   - W1 A pane is a span of event time, a common divisor of the windows, steps and distances of the model's monitors, so
//     short that a window has 24, where whole seconds allow it. An
//     inference is counted in exactly one pane, once for all rows and once for each of its slices.
//   - W2 Counts are those of one build of one baseline. An inference is counted on the baseline of its version, else on
//     that of the version "", else not at all, which is counted and told.
//   - W3 Stream time is the least watermark of the partitions that are not idle. A partition is idle when its watermark
//     has not moved for IdleAfter, by the clock that the profilers write into their records. A partition that no
//     profiler tells of holds stream time up: nobody reads it, and it is not idle. If all are idle,
//     stream time follows that clock.
//   - W4 A window is judged once, when stream time has passed its end and its grace. Windows are judged in the order of
//     their ends. What comes for a judged window later is counted in its pane, for the windows that hold the pane still,
//     and judged windows stay as they are.
//   - W5 A drift's reference is the window of the same length that lies `against` earlier, or, where the series had
//     changed then, the nearest earlier one in which it had not, as far as panes are kept (three windows
//     more than `against`); if there is none, the first one after all: what has been so for so long is the new normal.
//   - W6 State is a set of keyed records: fed to Restore in any order they give the same Watch.
//   - W7 How much rows depend on each other is estimated from a window's own panes, or is what the baseline knows of it, from the
//     live stream that it was made of or has learnt from; of slices it knows nothing. Of panes, what lasts for a good part of a window or longer is therefore underestimated. Not from earlier windows: what
//     they teach takes a feature that is served in another unit every so often for variation.
//   - W8 Windows are judged by labels in a lane of their own, first when inferences and labels have been joined up to its end
//     and its grace, then again, once a step at most, with a higher revision as labels come, until its end and the labels' horizon. The
//     alerts count a window once, in the order of ends: as of the first revision whose coverage is enough, or, if a later window
//     gets there before it or its horizon is over, with too few labels. A window without inferences is not judged by labels.
//   - W9 What has not been read is not old. Freshness is judged at ticks of its own time: the clock that the profilers write
//     into their records, as far as everything that had come by then has been read of every partition, or the source's own
//     stream time. Without profilers, and while they are behind, that time stands still.
package watch
