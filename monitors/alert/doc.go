// Package alert turns verdicts about columns into few messages: one when something is wrong, one when it is over. It
// is a pure function of (state, evaluation): it has no clock, no input or output, and starts nothing; times are int64
// microseconds UTC that come with the records. So a state that was kept anywhere, fed the same records again, gives the
// same messages with the same ids. Judging columns is the work of monitors/drift, sending messages that of
// monitors/notify, keeping states that of the processors.
//
// The code cites these rules by number.
//
//   - A1 An evaluation counts once. Evaluations of a monitor come in lanes (windows of stream time, ticks of the clock);
//     in a lane ends only grow. One whose end is not after the last of its lane changes nothing.
//   - A2 Windows that count are disjoint. Of a run of like verdicts the first window counts, then each that begins at or
//     after the end of the last that counted; those between, which overlap, count for nothing, but break the run if they
//     differ. Which windows count follows from their bounds alone.
//   - A3 A series fires after k counted windows in a row whose effect is at or over the threshold, significant, on enough
//     samples. Any other judged window ends the run. It recovers after k counted windows in a row whose effect is under
//     the lower cutoff or not significant; a window between the two cutoffs ends that run.
//   - A4 Silence is not health. A window with too few samples neither breaks nor lengthens a run. After k counted ones a
//     series that was normal or pending has no data. One that fires goes on firing: nothing says that it is mended.
//   - A5 A series that its lane no longer mentions for k counted windows is no longer watched: it is forgotten, and if it
//     fired it leaves its episode.
//   - A6 A group is (class, name): what availability, values and performance of one upstream source, or of the monitor,
//     do. Its first firing series opens an episode, which is told at the next evaluation of that lane, with all that
//     fires by then, or at any evaluation a window later, if the lane stopped. What joins later is noted in the
//     history and not sent. The episode ends when none of its series fires or recovers.
//   - A7 An episode is told once and resolved once. Its id is a hash of group, lane and the end of the evaluation that
//     opened it. What was told is resolved, silenced or not; what was never told is never resolved to anybody.
//   - A8 Muting delays telling and changes no state. A silence mutes what it matches from its start until its end. A
//     source that is stale or sends nothing mutes what its columns say, while it fires or recovers and in windows that
//     begin before it last did; a slice of a source that is stale, as one airport's feed, what they say of that slice. An episode whose firing series are all muted is noted in the history. When the muting ends and an
//     unmuted series still fires, the episode is told then, at the next evaluation of any lane, under the id it has had
//     all along; if it was told before the muting began it is not told again.
package alert
