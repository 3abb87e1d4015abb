// Package change changes a plane that is running: what a new definition would change (Plan), views built beside the running
// ones from the history that the offline stores and the topics have (Apply), history that was never in Kafka (Backfill), and
// entities that are to be forgotten everywhere (Forget).
//
// How a state is built, recorded and taken up is package processors' matter (Builder), what a source's past is that of
// offline/replay; this package brings them and the stores together. It is run by commands, never by the plane itself.
package change
