// Package scenario is tests that users write for their own monitors: inferences that are described or recorded, and the
// messages that are expected of them, on the clock of the inferences. It reads and checks such files, makes the
// inferences, and compares; the monitors themselves run in monitors/playback. Opening recorded rows is the caller's.
package scenario
