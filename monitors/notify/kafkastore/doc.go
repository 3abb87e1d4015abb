// Package kafkastore keeps the state of notifications in a compacted Kafka topic, and how far the history of alerts has been
// taken up, beside it: the state says what of a message is known, so the two must not come from different days. (A
// group's offsets expire, and would then have told the whole history again.)
//
// A store has one owner. Opening it ends whatever an earlier owner still had under way and lets it write no more, by the
// same transactional id: who was taken for dead, and is not, cannot put old state over new. It is told so by Lost.
//
// What the records mean is known to monitors/notify; who opens the store, and when, to monitors/notify/deliver.
package kafkastore
