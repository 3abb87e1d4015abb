// Package playback runs a model's monitors over inferences that have happened, on the clock of their event times: the
// functions that profilers and evaluators are made of (monitors/watch), fed without Kafka. A backtest over history and a
// test of a user's own rules are both a Player and a sequence of rows; where rows come from is elsewhere.
//
// What a Player says is what the processes would have said if every inference had come at its event time:
//
//   - Y1 Rows are added in the order of event time. A row that is earlier than one before it is counted in its pane, and
//     in the windows that have not been judged yet, as a late one is.
//   - Y2 The clock is the event time of the last row, or what Advance says. Time passes between rows: windows in which
//     nothing came are judged, and a stream that stops is told of.
//   - Y3 The same rows, baselines and definition give the same judgements, whenever and wherever they are played.
package playback
